package conformance;

import java.nio.ByteBuffer;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.MessageUtil;

/** The bytes of a request on the wire. */
final class Frame {
    private Frame() {}

    /** A request as any client sends it. */
    static byte[] of(short version, int correlation, String client, ApiMessage request) {
        var body = bytes(request, version);
        return sized(concat(header(request.apiKey(), version, correlation, client), body));
    }

    /** A request header; of an API that does not exist, with the oldest layout. */
    static byte[] header(short api, short version, int correlation, String client) {
        short layout = 1;
        for (var type : ApiMessageType.values()) {
            if (type.apiKey() == api) {
                layout = type.requestHeaderVersion(version);
            }
        }
        var header = new RequestHeaderData()
                .setRequestApiKey(api)
                .setRequestApiVersion(version)
                .setCorrelationId(correlation)
                .setClientId(client);
        return bytes(header, layout);
    }

    /** Bytes with their length before them. */
    static byte[] sized(byte[] bytes) {
        return ByteBuffer.allocate(4 + bytes.length).putInt(bytes.length).put(bytes).array();
    }

    static byte[] concat(byte[] first, byte[] second) {
        return ByteBuffer.allocate(first.length + second.length).put(first).put(second).array();
    }

    static byte[] bytes(org.apache.kafka.common.protocol.Message message, short version) {
        var buffer = MessageUtil.toByteBufferAccessor(message, version).buffer();
        var bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }
}
