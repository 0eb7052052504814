package conformance;

import conformance.Prepare.Topic;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchRequestData.ForgottenTopic;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.protocol.ApiKeys;

/** What consumers read: section F of the checklist. */
final class FetchScenarios {
    private FetchScenarios() {}

    static void add(Suite suite) {
        suite.each(ApiKeys.FETCH, "offsets", FetchScenarios::offsets);
        suite.each(ApiKeys.FETCH, "limits", FetchScenarios::limits);
        suite.each(ApiKeys.FETCH, "waits", FetchScenarios::waits);
        suite.each(ApiKeys.FETCH, "partitions that are not", FetchScenarios::noPartition);
        suite.each(ApiKeys.FETCH, "isolation", FetchScenarios::isolation);
        suite.between(ApiKeys.FETCH, "leader epochs", 9, 18, FetchScenarios::epochs);
        suite.between(ApiKeys.FETCH, "sessions", 7, 18, FetchScenarios::sessions);
        suite.between(ApiKeys.FETCH, "bad sessions", 7, 18, FetchScenarios::badSessions);
        suite.each(ApiKeys.FETCH, "after deleted records", FetchScenarios::deleted);
    }

    private static Topic filled(Run run, int batches) throws Exception {
        var topic = run.prepare.topic("t", 2);
        for (int batch = 0; batch < batches; batch++) {
            Data.append(run, topic, 0, Batch.of(run, 3));
        }
        return topic;
    }

    private static void offsets(Run run) throws Exception {
        var topic = filled(run, 3);
        for (long offset : new long[] {0, 1, 3, 8, 9, 10, 99, -1, -2, Long.MAX_VALUE}) {
            run.ask("offset " + offset, Data.fetch(run.version, topic, 0, offset));
        }
        run.ask("empty partition", Data.fetch(run.version, topic, 1, 0));
        run.ask("beyond an empty partition", Data.fetch(run.version, topic, 1, 1));
        run.ask("nothing", Data.fetch());
    }

    private static void limits(Run run) throws Exception {
        var topic = filled(run, 4);
        Data.append(run, topic, 1, Batch.of(run, 2));
        int batch = Batch.of(run, 3).bytes().length;
        for (int most : new int[] {0, 1, batch, batch + 1, 2 * batch, -1}) {
            run.ask("partition's limit " + (most - batch), Data.add(Data.fetch(), run.version,
                    topic, Data.at(0, 0).setPartitionMaxBytes(most)));
            run.ask("whole limit " + (most - batch), Data.add(Data.fetch(), run.version, topic,
                    Data.at(0, 0), Data.at(1, 0)).setMaxBytes(most));
        }
        run.ask("in the middle of a batch", Data.add(Data.fetch(), run.version,
                topic, Data.at(0, 4).setPartitionMaxBytes(1)));
        run.ask("the other order", Data.add(Data.fetch(), run.version, topic,
                Data.at(1, 0), Data.at(0, 0)).setMaxBytes(batch));
    }

    private static void waits(Run run) throws Exception {
        var topic = filled(run, 1);
        run.ask("in vain", Data.fetch(run.version, topic, 0, 3).setMinBytes(1).setMaxWaitMs(50));
        run.ask("too few bytes",
                Data.fetch(run.version, topic, 0, 0).setMinBytes(100_000).setMaxWaitMs(50));
        run.ask("an error does not wait", Data.fetch(run.version, topic, 0, 99)
                .setMinBytes(1).setMaxWaitMs(60_000));
        var waiting = run.connect();
        run.start(waiting,
                Data.fetch(run.version, topic, 0, 3).setMinBytes(1).setMaxWaitMs(60_000));
        Data.append(run, topic, 0, Batch.of(run, 1));
        run.hear("woken", waiting, ApiKeys.FETCH, FetchScenarios::noHighWatermark);
    }

    /** What wakes a fetch is the append or the high watermark behind it: it may show either. */
    private static void noHighWatermark(FetchResponseData answer) {
        answer.responses().forEach(topic -> topic.partitions().forEach(
                partition -> partition.setHighWatermark(-1).setLastStableOffset(-1)));
    }

    private static void noPartition(Run run) throws Exception {
        var topic = filled(run, 1);
        var missing = new Topic(run.name("missing"), new Uuid(8, 8));
        run.ask("missing topic", Data.fetch(run.version, missing, 0, 0));
        run.ask("no name, no id", Data.fetch(run.version, new Topic("", Uuid.ZERO_UUID), 0, 0));
        run.ask("partition 2", Data.fetch(run.version, topic, 2, 0));
        run.ask("partition -1", Data.fetch(run.version, topic, -1, 0));
        run.ask("one good, one missing", Data.add(
                Data.fetch(run.version, topic, 0, 0), run.version, missing, Data.at(0, 0)));
        run.ask("twice", Data.add(
                Data.fetch(run.version, topic, 0, 0), run.version, topic, Data.at(0, 0)));
        run.ask("as a follower that is not", Data.fetch(run.version, topic, 0, 0)
                .setReplicaId(run.version >= 15 ? -1 : 7));
    }

    private static void isolation(Run run) throws Exception {
        var topic = filled(run, 1);
        run.ask("committed", Data.fetch(run.version, topic, 0, 0).setIsolationLevel((byte) 1));
        run.ask("at the end", Data.fetch(run.version, topic, 0, 3).setIsolationLevel((byte) 1));
        run.ask("level 7", Data.fetch(run.version, topic, 0, 0).setIsolationLevel((byte) 7));
    }

    private static void epochs(Run run) throws Exception {
        var topic = filled(run, 1);
        for (int epoch : new int[] {-1, 0, 1, 1000}) {
            run.ask("leader epoch " + epoch, Data.add(Data.fetch(), run.version, topic,
                    Data.at(0, 0).setCurrentLeaderEpoch(epoch)));
        }
        if (run.version >= 12) {
            for (int epoch : new int[] {-1, 0, 1, 1000}) {
                run.ask("last fetched epoch " + epoch, Data.add(Data.fetch(), run.version, topic,
                        Data.at(0, 3).setLastFetchedEpoch(epoch)));
            }
        }
    }

    private static FetchRequestData session(int id, int epoch) {
        return Data.fetch().setSessionId(id).setSessionEpoch(epoch);
    }

    private static void sessions(Run run) throws Exception {
        var topic = filled(run, 2);
        FetchResponseData first = run.ask("first",
                Data.add(session(0, 0), run.version, topic, Data.at(0, 0), Data.at(1, 0)));
        int id = first.sessionId();
        run.ask("nothing new", Data.add(session(id, 1), run.version, topic, Data.at(0, 6)));
        Data.append(run, topic, 1, Batch.of(run, 1));
        run.ask("news of the other", session(id, 2));
        run.ask("nothing moved", session(id, 3));
        var forgotten = new ForgottenTopic();
        if (run.version >= 13) {
            forgotten.setTopicId(topic.id());
        } else {
            forgotten.setTopic(topic.name());
        }
        forgotten.partitions().add(1);
        var request = session(id, 4);
        request.forgottenTopicsData().add(forgotten);
        run.ask("one forgotten", request);
        run.ask("wrong epoch", session(id, 9));
        run.ask("closed", session(id, -1));
        run.ask("after the end", session(id, 5));
    }

    private static void badSessions(Run run) throws Exception {
        var topic = filled(run, 1);
        run.ask("unknown", session(123_456_789, 1));
        run.ask("none, epoch 1", session(0, 1));
        run.ask("epoch -2", session(0, -2));
        run.ask("unknown, full", Data.add(session(123_456_789, 0), run.version, topic,
                Data.at(0, 0)));
        run.ask("sessionless", Data.add(session(0, -1), run.version, topic, Data.at(0, 0)));
        run.ask("empty and full", session(0, 0));
    }

    private static void deleted(Run run) throws Exception {
        var topic = filled(run, 3);
        run.quiet(Data.deleteRecords(topic.name(), 0, 4));
        for (long offset : new long[] {0, 3, 4, 9}) {
            run.ask("offset " + offset, Data.fetch(run.version, topic, 0, offset));
        }
    }
}
