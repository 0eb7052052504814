package conformance;

import java.nio.ByteBuffer;
import java.util.Arrays;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.message.ApiVersionsResponseData;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.protocol.ApiKeys;

/** Frames, headers and versions, good and bad: section C of the wire's checklist. */
final class FramingScenarios {
    private FramingScenarios() {}

    static void add(Suite suite) {
        suite.each(ApiKeys.API_VERSIONS, "table", run -> run.ask("all", client("java", "4.3.1")));
        suite.between(ApiKeys.API_VERSIONS, "client names", 3, 4, FramingScenarios::clientNames);
        suite.once(ApiKeys.API_VERSIONS, "versions that are not", FramingScenarios::badVersions);
        suite.once(ApiKeys.METADATA, "frames that are none", FramingScenarios::badFrames);
        suite.each(ApiKeys.METADATA, "bodies cut short", FramingScenarios::cutBodies);
    }

    private static ApiVersionsRequestData client(String name, String version) {
        return new ApiVersionsRequestData()
                .setClientSoftwareName(name)
                .setClientSoftwareVersion(version);
    }

    private static void clientNames(Run run) throws Exception {
        for (var name : new String[] {"a-b.c", "", "-a", "a-", "a b", "ä", "a".repeat(300)}) {
            var shown = name.substring(0, Math.min(9, name.length()));
            run.ask("name " + shown, client(name, "1"), FramingScenarios::noTable);
            run.ask("version " + shown, client("a", name), FramingScenarios::noTable);
        }
    }

    /** The table is compared by a scenario of its own. */
    private static void noTable(ApiVersionsResponseData answer) {
        answer.setApiKeys(new ApiVersionsResponseData.ApiVersionCollection())
                .setSupportedFeatures(new ApiVersionsResponseData.SupportedFeatureKeyCollection())
                .setFinalizedFeatures(new ApiVersionsResponseData.FinalizedFeatureKeyCollection())
                .setFinalizedFeaturesEpoch(-1);
    }

    /** KIP-511: answered in version 0, whatever was asked. */
    private static void badVersions(Run run) throws Exception {
        for (short version : new short[] {5, 99, Short.MAX_VALUE, -1, Short.MIN_VALUE}) {
            var frame = Frame.concat(
                    headerOf(ApiKeys.API_VERSIONS.id, version), new byte[] {1, 2, 3});
            run.raw("ApiVersions " + version, (short) 0, Frame.sized(frame));
        }
        var header = headerOf(ApiKeys.API_VERSIONS.id, (short) 99);
        var noTags = Arrays.copyOf(header, header.length - 1);
        run.raw("no tags after the header", (short) 0, Frame.sized(noTags));
    }

    /** A header as ApiVersions 4 has it, with any key and version. */
    private static byte[] headerOf(short api, short version) {
        var header = Frame.header(ApiKeys.API_VERSIONS.id, (short) 4, 1, "raw");
        ByteBuffer.wrap(header).putShort(api).putShort(version);
        return header;
    }

    private static void badFrames(Run run) throws Exception {
        run.raw("size -1", ByteBuffer.allocate(4).putInt(-1).array());
        run.raw("size 0", ByteBuffer.allocate(4).putInt(0).array());
        run.raw("size too large", ByteBuffer.allocate(4).putInt(104_857_601).array());
        run.raw("size largest", ByteBuffer.allocate(4).putInt(Integer.MAX_VALUE).array());
        run.raw("header cut short", Frame.sized(new byte[] {0, 3, 0, 1, 0}));
        run.raw("one byte", Frame.sized(new byte[] {0}));
        run.raw("HTTP", "GET / HTTP/1.1\r\nhost: a\r\n\r\n".getBytes());
        for (short key : new short[] {4, 7, 52, 93, 999, -1}) {
            run.raw("key " + key, Frame.sized(headerOf(key, (short) 0)));
        }
        for (short version : new short[] {-1, 14, 99}) {
            run.raw("version " + version, Frame.sized(headerOf(ApiKeys.METADATA.id, version)));
        }
    }

    private static void cutBodies(Run run) throws Exception {
        var request = new MetadataRequestData();
        var topic = run.prepare.topic("t", 1);
        request.topics().add(new MetadataRequestData.MetadataRequestTopic().setName(topic.name()));
        var whole = Frame.bytes(request, run.version);
        var header = Frame.header(ApiKeys.METADATA.id, run.version, 1, "raw");
        for (int length : new int[] {0, 1, 4, whole.length / 2, whole.length - 1}) {
            var cut = Frame.concat(header, Arrays.copyOf(whole, length));
            run.raw("first " + length + " bytes", Frame.sized(cut));
        }
        var longer = Frame.concat(header, Arrays.copyOf(whole, whole.length + 3));
        run.raw("three bytes more", Frame.sized(longer));
    }
}
