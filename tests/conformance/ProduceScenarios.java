package conformance;

import conformance.Prepare.Topic;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.record.internal.CompressionType;

/** What producers send: section P of the checklist. */
final class ProduceScenarios {
    private ProduceScenarios() {}

    static void add(Suite suite) {
        suite.each(ApiKeys.PRODUCE, "good batches", ProduceScenarios::good);
        suite.each(ApiKeys.PRODUCE, "every codec", ProduceScenarios::codecs);
        suite.each(ApiKeys.PRODUCE, "acks", ProduceScenarios::acks);
        suite.each(ApiKeys.PRODUCE, "acks 0", ProduceScenarios::unanswered);
        suite.each(ApiKeys.PRODUCE, "topics that are not", ProduceScenarios::noTopic);
        suite.each(ApiKeys.PRODUCE, "batches that lie", ProduceScenarios::lies);
        suite.each(ApiKeys.PRODUCE, "offset deltas", ProduceScenarios::deltas);
        suite.each(ApiKeys.PRODUCE, "batches that lie inside", ProduceScenarios::inside);
        suite.each(ApiKeys.PRODUCE, "flags of the broker", ProduceScenarios::flags);
        suite.each(ApiKeys.PRODUCE, "record sets", ProduceScenarios::sets);
        suite.each(ApiKeys.PRODUCE, "timestamps", ProduceScenarios::timestamps);
        suite.each(ApiKeys.PRODUCE, "log append time", ProduceScenarios::appendTime);
        suite.each(ApiKeys.PRODUCE, "sizes", ProduceScenarios::sizes);
        suite.each(ApiKeys.PRODUCE, "compacted topic", ProduceScenarios::compacted);
        suite.each(ApiKeys.PRODUCE, "recompression", ProduceScenarios::recompression);
        suite.each(ApiKeys.PRODUCE, "too few in sync", ProduceScenarios::inSync);
    }

    private static void produce(Run run, String step, Topic topic, Batch batch) throws Exception {
        produce(run, step, topic, batch.bytes());
    }

    private static void produce(Run run, String step, Topic topic, byte[] records)
            throws Exception {
        run.ask(step, Data.produce(run.version, topic, 0, records));
    }

    /** What is in the partition, after all. */
    private static void log(Run run, Topic topic) throws Exception {
        run.ask("what was kept", Data.fetch(run.newest(ApiKeys.FETCH), topic, 0, 0));
    }

    private static void good(Run run) throws Exception {
        var topic = run.prepare.topic("t", 2);
        produce(run, "one", topic, Batch.of(run, 1));
        produce(run, "three", topic, Batch.of(run, 3));
        produce(run, "headers and nulls", topic, new Batch(run.time)
                .record(null, "no key", "h", "h", "g")
                .record("no value", null)
                .record("", ""));
        produce(run, "a leader epoch", topic, Batch.of(run, 1).leaderEpoch(17));
        produce(run, "a base offset", topic, Batch.of(run, 1).baseOffset(5));
        var two = Data.produce(run.version, topic, 0, Batch.of(run, 1).bytes());
        two.topicData().iterator().next().partitionData().addAll(
                Data.produce(run.version, topic, 1, Batch.of(run, 2).bytes())
                        .topicData().iterator().next().partitionData());
        run.ask("two partitions", two);
        log(run, topic);
    }

    private static void codecs(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        for (var codec : CompressionType.values()) {
            produce(run, codec.name, topic, Batch.of(run, 3).codec(codec));
        }
        for (int codec = 5; codec < 8; codec++) {
            produce(run, "codec " + codec, topic, Batch.of(run, 1).flags(codec));
        }
        log(run, topic);
    }

    private static void acks(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        for (short acks : new short[] {1, -1, 2, -2, Short.MAX_VALUE}) {
            run.ask("acks " + acks,
                    Data.produce(run.version, topic, 0, Batch.of(run, 1).bytes()).setAcks(acks));
        }
        run.ask("no time", Data.produce(run.version, topic, 0, Batch.of(run, 1).bytes())
                .setTimeoutMs(0));
        run.ask("nothing", Data.produce(run.version, topic, 0, Batch.of(run, 1).bytes())
                .setTopicData(new org.apache.kafka.common.message.ProduceRequestData
                        .TopicProduceDataCollection()));
    }

    /** Nothing is answered: what is read next is the answer to the next request, or the end. */
    private static void unanswered(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        var good = run.connect();
        run.start(good, Data.produce(run.version, topic, 0, Batch.of(run, 1).bytes())
                .setAcks((short) 0));
        run.ask("after a good one", good, Data.offsets(topic.name(), 0, -1));
        var bad = run.connect();
        run.start(bad, Data.produce(run.version, topic, 7, Batch.of(run, 1).bytes())
                .setAcks((short) 0));
        run.closes("after one to no partition", bad,
                new ApiVersionsRequestData().setClientSoftwareName("a").setClientSoftwareVersion("1"));
    }

    private static void noTopic(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        var missing = new Topic(run.name("missing"), new Uuid(7, 7));
        produce(run, "missing", missing, Batch.of(run, 1));
        produce(run, "no name, no id", new Topic("", Uuid.ZERO_UUID), Batch.of(run, 1));
        produce(run, "bad name", new Topic("a b", new Uuid(7, 8)), Batch.of(run, 1));
        run.ask("partition 1", Data.produce(run.version, topic, 1, Batch.of(run, 1).bytes()));
        run.ask("partition -1", Data.produce(run.version, topic, -1, Batch.of(run, 1).bytes()));
        run.ask("one good, one missing", Data.add(
                Data.produce(run.version, topic, 0, Batch.of(run, 1).bytes()),
                run.version, missing, 0, Batch.of(run, 1).bytes()));
        log(run, topic);
    }

    private static void lies(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        var wrong = Batch.of(run, 2).bytes();
        wrong[wrong.length - 1] ^= 1;
        produce(run, "checksum", topic, wrong);
        for (int magic : new int[] {0, 1, 3, -1}) {
            produce(run, "magic " + magic, topic, Batch.of(run, 1).magic(magic));
        }
        produce(run, "count 0", topic, new Batch(run.time));
        produce(run, "count -1", topic, Batch.of(run, 2).count(-1));
        produce(run, "count less", topic, Batch.of(run, 3).count(2));
        produce(run, "count and last delta less", topic,
                Batch.of(run, 3).count(2).lastOffsetDelta(1));
        produce(run, "count and last delta more", topic,
                Batch.of(run, 2).count(3).lastOffsetDelta(2));
        produce(run, "last delta more", topic, Batch.of(run, 2).lastOffsetDelta(5));
        produce(run, "last delta -1", topic, Batch.of(run, 1).lastOffsetDelta(-1));
        produce(run, "control", topic, Batch.of(run, 1).flags(Batch.CONTROL));
        produce(run, "transactional", topic, Batch.of(run, 1).flags(Batch.TRANSACTIONAL));
        produce(run, "max timestamp", topic, Batch.of(run, 1).maxTimestamp(run.time - 5));
        produce(run, "producer without sequence", topic, Batch.of(run, 1).producer(7, 0, -1));
        produce(run, "sequence without producer", topic, Batch.of(run, 1).producer(-1, -1, 4));
        log(run, topic);
    }

    private static void flags(Run run) throws Exception {
        var topic = run.prepare.topic("t", 3);
        int[] flags = {Batch.LOG_APPEND_TIME, Batch.DELETE_HORIZON, 0x80};
        for (int partition = 0; partition < flags.length; partition++) {
            var batch = Batch.of(run, 1).flags(flags[partition]).bytes();
            run.ask("flag " + Integer.toHexString(flags[partition]),
                    Data.produce(run.version, topic, partition, batch));
        }
    }

    private static void deltas(Run run) throws Exception {
        for (var codec : new CompressionType[] {CompressionType.NONE, CompressionType.GZIP}) {
            var topic = run.prepare.topic(codec.name, 1);
            produce(run, codec + " gap", topic, new Batch(run.time).codec(codec)
                    .record(0, 0, "a", "a").record(2, 0, "b", "b").lastOffsetDelta(2));
            produce(run, codec + " same", topic, new Batch(run.time).codec(codec)
                    .record(0, 0, "a", "a").record(0, 0, "b", "b"));
        }
    }

    private static void inside(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        for (var codec : new CompressionType[] {CompressionType.NONE, CompressionType.GZIP}) {
            produce(run, codec + " count more", topic, Batch.of(run, 2).codec(codec)
                    .count(4).lastOffsetDelta(3));
            produce(run, codec + " count less", topic, Batch.of(run, 4).codec(codec)
                    .count(2).lastOffsetDelta(1));
            produce(run, codec + " trailing", topic,
                    Batch.of(run, 1).codec(codec).trailing(new byte[] {1, 2, 3}));
            produce(run, codec + " garbage", topic,
                    Batch.of(run, 1).codec(codec).payload(new byte[] {1, 2, 3, 4, 5, 6}));
            produce(run, codec + " nothing", topic,
                    Batch.of(run, 1).codec(codec).payload(new byte[] {}));
        }
        run.ask("what is the end", Data.offsets(topic.name(), 0, -1));
    }

    private static void sets(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        var one = Batch.of(run, 1).bytes();
        produce(run, "two batches", topic, Frame.concat(one, one));
        produce(run, "empty", topic, new byte[] {});
        produce(run, "cut", topic, Arrays.copyOf(one, one.length - 1));
        produce(run, "cut in the header", topic, Arrays.copyOf(one, 30));
        produce(run, "ten bytes", topic, Arrays.copyOf(one, 10));
        produce(run, "bytes after", topic, Arrays.copyOf(one, one.length + 5));
        for (int size : new int[] {-1, 0, 13, 48, Integer.MAX_VALUE}) {
            var lying = one.clone();
            ByteBuffer.wrap(lying).putInt(8, size);
            produce(run, "length " + size, topic, lying);
        }
        log(run, topic);
    }

    private static void timestamps(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1,
                "message.timestamp.before.max.ms=3600000", "message.timestamp.after.max.ms=3600000");
        long hours = 7_200_000;
        produce(run, "too old", topic, new Batch(run.time - hours).record("k", "v"));
        produce(run, "too new", topic, new Batch(run.time + 2 * hours).record("k", "v"));
        produce(run, "one of two too old", topic,
                new Batch(run.time).record("k", "v").record(1, -hours, "k", "v"));
        produce(run, "compressed too old", topic, new Batch(run.time - hours).record("k", "v")
                .codec(CompressionType.ZSTD));
        produce(run, "none", topic, new Batch(-1).record("k", "v"));
        produce(run, "good", topic, Batch.of(run, 2));
        log(run, topic);
    }

    private static void appendTime(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1, "message.timestamp.type=LogAppendTime");
        produce(run, "plain", topic, Batch.of(run, 2));
        produce(run, "compressed", topic, Batch.of(run, 2).codec(CompressionType.LZ4));
        produce(run, "flagged", topic, Batch.of(run, 1).flags(Batch.LOG_APPEND_TIME));
        log(run, topic);
    }

    private static void sizes(Run run) throws Exception {
        var small = run.prepare.topic("small", 1, "max.message.bytes=1000");
        produce(run, "too large", small, new Batch(run.time).record("k", "v".repeat(1000)));
        produce(run, "small enough when compressed", small,
                new Batch(run.time).record("k", "v".repeat(3000)).codec(CompressionType.GZIP));
        int most = 1000 - Batch.of(run, 0).record("k", "").bytes().length;
        produce(run, "largest", small, new Batch(run.time).record("k", "v".repeat(most - 3)));
        produce(run, "one more", small, new Batch(run.time).record("k", "v".repeat(most + 1)));
        var large = run.prepare.topic("large", 1);
        produce(run, "default limit", large,
                new Batch(run.time).record("k", "v".repeat(1_048_600)));
        run.ask("the end", Data.offsets(small.name(), 0, -1));
    }

    private static void compacted(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1, "cleanup.policy=compact");
        produce(run, "keys", topic, Batch.of(run, 2));
        produce(run, "null key", topic, new Batch(run.time).record(null, "v"));
        produce(run, "one null key of three", topic,
                new Batch(run.time).record("a", "v").record(null, "v").record("b", "v"));
        produce(run, "null key compressed", topic,
                new Batch(run.time).record(null, "v").codec(CompressionType.SNAPPY));
        produce(run, "tombstone", topic, new Batch(run.time).record("a", null));
        log(run, topic);
    }

    private static void recompression(Run run) throws Exception {
        for (var codec : new String[] {"uncompressed", "gzip", "snappy", "lz4", "zstd"}) {
            var topic = run.prepare.topic(codec, 1, "compression.type=" + codec);
            produce(run, codec + " of none", topic, Batch.of(run, 3));
            produce(run, codec + " of lz4", topic, Batch.of(run, 3).codec(CompressionType.LZ4));
            run.ask(codec + " kept", Data.fetch(run.newest(ApiKeys.FETCH), topic, 0, 0));
        }
    }

    private static void inSync(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1, "min.insync.replicas=2");
        produce(run, "acks -1", topic, Batch.of(run, 1));
        run.ask("acks 1", Data.produce(run.version, topic, 0, Batch.of(run, 1).bytes())
                .setAcks((short) 1));
    }
}
