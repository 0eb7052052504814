package conformance;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.protocol.ApiMessage;

/** Kafka's own rendering of a message as JSON, with record batches taken apart. */
final class Json {
    private Json() {}

    static JsonNode of(ApiMessage message, short version, ObjectNode remarks) {
        var node = converted(message, version);
        if (message instanceof FetchResponseData fetched) {
            showRecords(fetched, node);
        }
        if (remarks != null && !remarks.isEmpty()) {
            ((ObjectNode) node).set("remarks", remarks);
        }
        return node;
    }

    private static JsonNode converted(ApiMessage message, short version) {
        try {
            var converter = Class.forName(message.getClass().getName() + "JsonConverter");
            var write = converter.getMethod("write", message.getClass(), short.class);
            return (JsonNode) write.invoke(null, message, version);
        } catch (ReflectiveOperationException missing) {
            throw new IllegalStateException("no converter of " + message.getClass(), missing);
        }
    }

    private static void showRecords(FetchResponseData fetched, JsonNode node) {
        for (int topic = 0; topic < fetched.responses().size(); topic++) {
            var partitions = fetched.responses().get(topic).partitions();
            for (int index = 0; index < partitions.size(); index++) {
                var shown = (ObjectNode) node.at("/responses/" + topic + "/partitions/" + index);
                shown.remove("recordsSizeInBytes");
                shown.set("records", Batches.shown(partitions.get(index).records()));
            }
        }
    }
}
