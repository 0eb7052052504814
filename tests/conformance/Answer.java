package conformance;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;

/**
 * What came back, read by Kafka's own classes: a message, with remarks where it is not as Kafka
 * would encode it; or none, and a text that says what came instead.
 */
record Answer(ApiMessage message, JsonNode text, ObjectNode remarks) {
    static final Answer CLOSED = new Answer(null, new TextNode("the connection was closed"), null);
    static final Answer SILENCE = new Answer(null, new TextNode("no answer"), null);

    static Answer decode(ApiMessageType type, short version, int expected, ByteBuffer frame) {
        var message = type.newResponse();
        try {
            var readable = new ByteBufferAccessor(frame);
            var header = new ResponseHeaderData(readable, type.responseHeaderVersion(version));
            var body = Arrays.copyOfRange(frame.array(), frame.position(), frame.limit());
            message.read(readable, version);
            var remarks = new ObjectNode(JsonNodeFactory.instance);
            if (header.correlationId() != expected) {
                remarks.put("correlationId", header.correlationId() - expected);
            }
            if (frame.hasRemaining()) {
                remarks.put("trailingBytes", frame.remaining());
            } else if (!Arrays.equals(body, Frame.bytes(message, version))) {
                // Default values written as tags, for example: some clients cannot read them.
                remarks.put("encoding", "not as Kafka encodes the same answer");
            }
            return new Answer(message, null, remarks);
        } catch (RuntimeException broken) {
            return new Answer(null, new TextNode("cannot be decoded: " + broken.getMessage()), null);
        }
    }
}
