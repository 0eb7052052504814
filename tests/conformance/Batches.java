package conformance;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;

/** Record batches as a consumer sees them, as JSON. */
final class Batches {
    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

    private Batches() {}

    static JsonNode shown(BaseRecords records) {
        if (records == null) {
            return NullNode.getInstance();
        }
        var batches = new ArrayNode(NODES);
        for (var batch : ((MemoryRecords) records).batches()) {
            batches.add(batch(batch));
        }
        return batches;
    }

    private static ObjectNode batch(MutableRecordBatch batch) {
        var shown = new ObjectNode(NODES);
        shown.put("valid", batch.isValid());
        shown.put("baseOffset", batch.baseOffset());
        shown.put("lastOffset", batch.lastOffset());
        shown.put("leaderEpoch", batch.partitionLeaderEpoch());
        shown.put("compression", batch.compressionType().name);
        shown.put("timestampType", batch.timestampType().name);
        shown.put("maxTimestamp", batch.maxTimestamp());
        shown.put("producerId", batch.producerId());
        shown.put("producerEpoch", batch.producerEpoch());
        shown.put("baseSequence", batch.baseSequence());
        shown.put("transactional", batch.isTransactional());
        shown.put("control", batch.isControlBatch());
        var records = shown.putArray("records");
        if (batch.isValid()) {
            batch.forEach(record -> records.add(record(record)));
        }
        return shown;
    }

    private static ObjectNode record(Record record) {
        var shown = new ObjectNode(NODES);
        shown.put("offset", record.offset());
        shown.put("timestamp", record.timestamp());
        shown.put("key", text(record.key()));
        shown.put("value", text(record.value()));
        var headers = shown.putArray("headers");
        for (var header : record.headers()) {
            var value = header.value() == null ? null : ByteBuffer.wrap(header.value());
            headers.add(header.key() + "=" + text(value));
        }
        return shown;
    }

    private static String text(ByteBuffer bytes) {
        return bytes == null ? null : StandardCharsets.ISO_8859_1.decode(bytes).toString();
    }
}
