package conformance;

import conformance.Prepare.Topic;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsPartition;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData.OffsetForLeaderPartition;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData.OffsetForLeaderTopic;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.record.internal.CompressionType;

/** Where records are, by time and by leader epoch, and where they begin: section L. */
final class OffsetScenarios {
    private OffsetScenarios() {}

    static void add(Suite suite) {
        suite.each(ApiKeys.LIST_OFFSETS, "every kind of time", OffsetScenarios::kinds);
        suite.each(ApiKeys.LIST_OFFSETS, "by time", OffsetScenarios::times);
        suite.each(ApiKeys.LIST_OFFSETS, "bad", OffsetScenarios::bad);
        suite.between(ApiKeys.LIST_OFFSETS, "leader epochs", 4, 11, OffsetScenarios::fenced);
        suite.each(ApiKeys.OFFSET_FOR_LEADER_EPOCH, "good and bad", OffsetScenarios::epochs);
        suite.each(ApiKeys.DELETE_RECORDS, "good and bad", OffsetScenarios::delete);
    }

    private static void kinds(Run run) throws Exception {
        var topic = run.prepare.topic("t", 2);
        Data.append(run, topic, 0, Batch.of(run, 3));
        Data.append(run, topic, 0, new Batch(run.time - 100).record("k", "v"));
        for (int kind = -1; kind >= -8; kind--) {
            run.ask("time " + kind, Data.offsets(topic.name(), 0, kind));
            run.ask("time " + kind + " of nothing", Data.offsets(topic.name(), 1, kind));
        }
        if (run.version >= 2) {
            run.ask("committed", Data.offsets(topic.name(), 0, -1).setIsolationLevel((byte) 1));
        }
        run.ask("least", Data.offsets(topic.name(), 0, Long.MIN_VALUE));
    }

    private static void times(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        Data.append(run, topic, 0, new Batch(run.time)
                .record(0, 0, "a", "a").record(1, 100, "b", "b").record(2, 50, "c", "c"));
        Data.append(run, topic, 0, new Batch(run.time + 200).codec(CompressionType.ZSTD)
                .record(0, 0, "d", "d").record(1, 10, "e", "e").record(2, 20, "f", "f"));
        Data.append(run, topic, 0, new Batch(run.time + 60).record(0, 0, "g", "g"));
        for (int time : new int[] {-1000, 0, 1, 50, 51, 100, 101, 200, 201, 210, 215, 220, 221}) {
            run.ask("time " + time, Data.offsets(topic.name(), 0, run.time + time));
        }
        run.ask("time 0 of all time", Data.offsets(topic.name(), 0, 0));
        run.ask("the end of time", Data.offsets(topic.name(), 0, Long.MAX_VALUE));
        run.quiet(Data.deleteRecords(topic.name(), 0, 4));
        run.ask("before the log's start", Data.offsets(topic.name(), 0, run.time));
    }

    private static void bad(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        run.ask("missing topic", Data.offsets(run.name("missing"), 0, -1));
        run.ask("bad name", Data.offsets("a b", 0, -1));
        run.ask("partition 1", Data.offsets(topic.name(), 1, -1));
        run.ask("partition -1", Data.offsets(topic.name(), -1, -1));
        var twice = Data.offsets(topic.name(), 0, -1);
        twice.topics().get(0).partitions()
                .add(new ListOffsetsPartition().setPartitionIndex(0).setTimestamp(-2));
        run.ask("twice", twice);
        run.ask("nothing", new ListOffsetsRequestData().setReplicaId(-1));
        run.ask("as a debugger", Data.offsets(topic.name(), 0, -1).setReplicaId(-2));
    }

    private static void fenced(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        for (int epoch : new int[] {-1, 0, 1, -2}) {
            var request = Data.offsets(topic.name(), 0, -1);
            request.topics().get(0).partitions().get(0).setCurrentLeaderEpoch(epoch);
            run.ask("leader epoch " + epoch, request);
        }
    }

    private static void epochs(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        run.ask("before any record", epochs(topic, 0, -1, 0));
        Data.append(run, topic, 0, Batch.of(run, 3));
        for (int epoch : new int[] {0, 1, -1, 1000}) {
            run.ask("epoch " + epoch, epochs(topic, 0, -1, epoch));
            run.ask("current epoch " + epoch, epochs(topic, 0, epoch, 0));
        }
        run.ask("partition 1", epochs(topic, 1, -1, 0));
        run.ask("missing", epochs(new Topic(run.name("missing"), null), 0, -1, 0));
    }

    private static OffsetForLeaderEpochRequestData epochs(
            Topic topic, int partition, int current, int epoch) {
        var wanted = new OffsetForLeaderTopic().setTopic(topic.name());
        wanted.partitions().add(new OffsetForLeaderPartition()
                .setPartition(partition)
                .setCurrentLeaderEpoch(current)
                .setLeaderEpoch(epoch));
        var request = new OffsetForLeaderEpochRequestData().setReplicaId(-1);
        request.topics().add(wanted);
        return request;
    }

    private static void delete(Run run) throws Exception {
        var topic = run.prepare.topic("t", 2);
        Data.append(run, topic, 0, Batch.of(run, 5));
        for (long offset : new long[] {2, 1, 2, 6, -2, -1, 5}) {
            run.ask("to " + offset + (offset == 2 ? " after " + run.steps().size() : ""),
                    Data.deleteRecords(topic.name(), 0, offset));
        }
        run.ask("where it begins", Data.offsets(topic.name(), 0, -2));
        run.ask("empty", Data.deleteRecords(topic.name(), 1, 0));
        run.ask("empty to the end", Data.deleteRecords(topic.name(), 1, -1));
        run.ask("partition 2", Data.deleteRecords(topic.name(), 2, 0));
        run.ask("missing", Data.deleteRecords(run.name("missing"), 0, 0));
        var compacted = run.prepare.topic("compacted", 1, "cleanup.policy=compact");
        Data.append(run, compacted, 0, Batch.of(run, 2));
        run.ask("compacted", Data.deleteRecords(compacted.name(), 0, 1));
    }
}
