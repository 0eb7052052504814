package conformance;

import java.io.IOException;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.message.ApiVersionsResponseData;
import org.apache.kafka.common.protocol.ApiKeys;

/** What each of the two brokers says it serves. */
record Versions(Map<ApiKeys, Range> kafka, Map<ApiKeys, Range> strandline) {
    record Range(short oldest, short newest) {
        boolean holds(short version) {
            return oldest <= version && version <= newest;
        }
    }

    static Versions of(Address kafka, Address strandline) throws IOException {
        return new Versions(advertised(kafka), advertised(strandline));
    }

    boolean both(ApiKeys api, short version) {
        return kafkaServes(api, version) && serves(strandline, api, version);
    }

    /** Produce is advertised from 0 by both, and refused below its oldest schema. */
    boolean kafkaServes(ApiKeys api, short version) {
        return version >= api.oldestVersion() && serves(kafka, api, version);
    }

    /** The newest version of an API that both serve; below zero when there is none. */
    short newest(ApiKeys api) {
        if (!kafka.containsKey(api) || !strandline.containsKey(api)) {
            return -1;
        }
        return (short) Math.min(kafka.get(api).newest(), strandline.get(api).newest());
    }

    private static boolean serves(Map<ApiKeys, Range> table, ApiKeys api, short version) {
        return table.containsKey(api) && table.get(api).holds(version);
    }

    private static Map<ApiKeys, Range> advertised(Address address) throws IOException {
        try (var connection = new Connection(address, "conformance")) {
            var request = new ApiVersionsRequestData()
                    .setClientSoftwareName("conformance")
                    .setClientSoftwareVersion("1");
            var answer = connection.ask((short) 4, request);
            var table = new TreeMap<ApiKeys, Range>();
            for (var row : ((ApiVersionsResponseData) answer.message()).apiKeys()) {
                var range = new Range(row.minVersion(), row.maxVersion());
                table.put(ApiKeys.forId(row.apiKey()), range);
            }
            return table;
        }
    }
}
