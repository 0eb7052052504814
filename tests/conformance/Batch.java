package conformance;

import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.DefaultRecord;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.ByteBufferOutputStream;

/** A record batch of which every field may be a lie; told nothing, it is a right one. */
final class Batch {
    static final int LOG_APPEND_TIME = 0x08;
    static final int TRANSACTIONAL = 0x10;
    static final int CONTROL = 0x20;
    static final int DELETE_HORIZON = 0x40;

    private static final int HEADER = 61;
    private static final int CRC = 17;
    private static final int ATTRIBUTES = 21;

    private record Entry(int delta, long time, String key, String value, Header[] headers) {}

    private final long time;
    private final List<Entry> entries = new ArrayList<>();
    private CompressionType codec = CompressionType.NONE;
    private int flags;
    private long baseOffset;
    private byte magic = 2;
    private int leaderEpoch = -1;
    private Integer lastOffsetDelta;
    private Integer count;
    private Long maxTimestamp;
    private long producerId = -1;
    private short producerEpoch = -1;
    private int sequence = -1;
    private byte[] trailing = {};
    private byte[] payload;

    /** An empty batch whose records are from `time` on. */
    Batch(long time) {
        this.time = time;
    }

    /** A right batch of as many records. */
    static Batch of(Run run, int records) {
        var batch = new Batch(run.time);
        for (int index = 0; index < records; index++) {
            batch.record("k" + index, "value " + index);
        }
        return batch;
    }

    /** The next record, one ms after the one before. */
    Batch record(String key, String value, String... headers) {
        return record(entries.size(), entries.size(), key, value, headers);
    }

    Batch record(int delta, long afterBase, String key, String value, String... headers) {
        var made = new Header[headers.length];
        for (int index = 0; index < headers.length; index++) {
            made[index] = new RecordHeader(headers[index], headers[index].getBytes());
        }
        entries.add(new Entry(delta, afterBase, key, value, made));
        return this;
    }

    Batch codec(CompressionType codec) {
        this.codec = codec;
        return this;
    }

    Batch flags(int flags) {
        this.flags = flags;
        return this;
    }

    Batch baseOffset(long offset) {
        this.baseOffset = offset;
        return this;
    }

    Batch magic(int magic) {
        this.magic = (byte) magic;
        return this;
    }

    Batch leaderEpoch(int epoch) {
        this.leaderEpoch = epoch;
        return this;
    }

    Batch lastOffsetDelta(int delta) {
        this.lastOffsetDelta = delta;
        return this;
    }

    Batch count(int count) {
        this.count = count;
        return this;
    }

    Batch maxTimestamp(long time) {
        this.maxTimestamp = time;
        return this;
    }

    Batch producer(long id, int epoch, int sequence) {
        this.producerId = id;
        this.producerEpoch = (short) epoch;
        this.sequence = sequence;
        return this;
    }

    /** Bytes after the last record, within the batch. */
    Batch trailing(byte[] bytes) {
        this.trailing = bytes;
        return this;
    }

    /** Bytes in place of the records. */
    Batch payload(byte[] bytes) {
        this.payload = bytes;
        return this;
    }

    byte[] bytes() {
        var records = payload == null ? encoded() : payload;
        int last = entries.size() - 1;
        var latest = entries.stream().mapToLong(entry -> time + entry.time()).max().orElse(time);
        var bytes = ByteBuffer.allocate(HEADER + records.length)
                .putLong(baseOffset)
                .putInt(HEADER - 12 + records.length)
                .putInt(leaderEpoch)
                .put(magic)
                .putInt(0)
                .putShort((short) (codec.id | flags))
                .putInt(lastOffsetDelta == null ? last : lastOffsetDelta)
                .putLong(time)
                .putLong(maxTimestamp == null ? latest : maxTimestamp)
                .putLong(producerId)
                .putShort(producerEpoch)
                .putInt(sequence)
                .putInt(count == null ? entries.size() : count)
                .put(records)
                .array();
        return sealed(bytes);
    }

    /** A batch with its checksum made right. */
    static byte[] sealed(byte[] batch) {
        var crc = new CRC32C();
        crc.update(batch, ATTRIBUTES, batch.length - ATTRIBUTES);
        ByteBuffer.wrap(batch).putInt(CRC, (int) crc.getValue());
        return batch;
    }

    private byte[] encoded() {
        var buffer = new ByteBufferOutputStream(512);
        try (var out = new DataOutputStream(
                Compression.of(codec).build().wrapForOutput(buffer, RecordBatch.MAGIC_VALUE_V2))) {
            for (var entry : entries) {
                DefaultRecord.writeTo(out, entry.delta(), entry.time(), text(entry.key()),
                        text(entry.value()), entry.headers());
            }
            out.write(trailing);
        } catch (IOException impossible) {
            throw new UncheckedIOException(impossible);
        }
        var written = buffer.buffer().flip();
        var bytes = new byte[written.remaining()];
        written.get(bytes);
        return bytes;
    }

    private static ByteBuffer text(String text) {
        return text == null ? null : ByteBuffer.wrap(text.getBytes());
    }
}
