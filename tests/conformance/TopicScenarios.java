package conformance;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.CreatePartitionsRequestData;
import org.apache.kafka.common.message.CreatePartitionsRequestData.CreatePartitionsAssignment;
import org.apache.kafka.common.message.CreatePartitionsRequestData.CreatePartitionsTopic;
import org.apache.kafka.common.message.CreateTopicsRequestData;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableReplicaAssignment;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopic;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopicConfig;
import org.apache.kafka.common.message.DeleteTopicsRequestData;
import org.apache.kafka.common.message.DeleteTopicsRequestData.DeleteTopicState;
import org.apache.kafka.common.protocol.ApiKeys;

/** Topics made, grown and deleted. */
final class TopicScenarios {
    private TopicScenarios() {}

    static void add(Suite suite) {
        suite.each(ApiKeys.CREATE_TOPICS, "good", TopicScenarios::good);
        suite.each(ApiKeys.CREATE_TOPICS, "bad", TopicScenarios::bad);
        suite.each(ApiKeys.CREATE_TOPICS, "more replicas than brokers", run -> {
            run.ask("3", create(topic(run.name("f3"), 1, 3)));
            run.ask("32767", create(topic(run.name("f32767"), 1, Short.MAX_VALUE)));
        });
        suite.each(ApiKeys.CREATE_TOPICS, "with configs", TopicScenarios::configs);
        suite.each(ApiKeys.CREATE_TOPICS, "with assignments", TopicScenarios::assignments);
        suite.each(ApiKeys.DELETE_TOPICS, "by name", TopicScenarios::deleteByName);
        suite.between(ApiKeys.DELETE_TOPICS, "by id", 6, 6, TopicScenarios::deleteById);
        suite.each(ApiKeys.CREATE_PARTITIONS, "good and bad", TopicScenarios::grow);
    }

    private static CreatableTopic topic(String name, int partitions, int factor) {
        return new CreatableTopic()
                .setName(name)
                .setNumPartitions(partitions)
                .setReplicationFactor((short) factor);
    }

    private static CreateTopicsRequestData create(CreatableTopic... topics) {
        var request = new CreateTopicsRequestData().setTimeoutMs(30_000);
        for (var topic : topics) {
            request.topics().add(topic);
        }
        return request;
    }

    private static void good(Run run) throws Exception {
        run.ask("one", create(topic(run.name("one"), 1, 1)));
        run.ask("again", create(topic(run.name("one"), 1, 1)));
        run.ask("two", create(topic(run.name("a"), 2, 1), topic(run.name("b"), 3, 1)));
        run.ask("defaults", create(topic(run.name("defaults"), -1, -1)));
        run.ask("only checked", create(topic(run.name("unmade"), 4, 1)).setValidateOnly(true));
        run.ask("only checked, there", create(topic(run.name("one"), 1, 1)).setValidateOnly(true));
        run.ask("made after all", create(topic(run.name("unmade"), 4, 1)));
        run.ask("none", create());
    }

    private static void bad(Run run) throws Exception {
        for (int partitions : new int[] {0, -2, Integer.MIN_VALUE}) {
            run.ask(partitions + " partitions", create(topic(run.name("p"), partitions, 1)));
        }
        for (int factor : new int[] {0, -2}) {
            run.ask("factor " + factor, create(topic(run.name("f"), 1, factor)));
        }
        for (var name : new String[] {"", ".", "..", "a b", "ä", "a/b", "a".repeat(250)}) {
            run.ask("name " + name.substring(0, Math.min(5, name.length())),
                    create(topic(name, 1, 1)));
        }
        var same = run.name("same");
        run.ask("the same twice", create(topic(same, 1, 1), topic(same, 1, 1)));
        run.ask("twice beside a good one",
                create(topic(same, 1, 1), topic(run.name("good"), 1, 1), topic(same, 2, 1)));
        run.ask("dots", create(topic(run.name("x.y"), 1, 1)));
        run.ask("dots and underscores meet", create(topic(run.name("x_y"), 1, 1)));
        run.ask("internal", create(topic("__cluster_metadata", 1, 1)));
        run.ask("too many together", create(topic(run.name("many"), 9_999, 1),
                topic(run.name("few"), 2, 1), topic("a b", 1, 1)).setValidateOnly(true));
    }

    private static void configs(Run run) throws Exception {
        run.ask("good", create(with(run.name("good"), "retention.ms", "1000")));
        run.ask("unknown", create(with(run.name("unknown"), "no.such.config", "1")));
        run.ask("not a number", create(with(run.name("text"), "retention.ms", "long")));
        run.ask("out of range", create(with(run.name("range"), "retention.ms", "-2")));
        run.ask("null", create(with(run.name("null"), "retention.ms", null)));
        run.ask("empty", create(with(run.name("empty"), "retention.ms", "")));
        run.ask("spaces", create(with(run.name("spaces"), "retention.ms", " 5 ")));
        run.ask("policy", create(with(run.name("policy"), "cleanup.policy", "compact,delete")));
        run.ask("bad policy", create(with(run.name("policy2"), "cleanup.policy", "burn")));
        run.ask("codec", create(with(run.name("codec"), "compression.type", "zstd")));
        run.ask("bad codec", create(with(run.name("codec2"), "compression.type", "rar")));
        run.ask("boolean", create(with(run.name("boolean"), "preallocate", "TRUE")));
        run.ask("bad boolean", create(with(run.name("boolean2"), "preallocate", "yes")));
        var twice = with(run.name("twice"), "retention.ms", "1");
        twice.configs().add(
                new CreatableTopicConfig().setName("segment.ms").setValue("100"));
        run.ask("two configs", create(twice));
    }

    private static CreatableTopic with(String name, String key, String value) {
        var topic = topic(name, 1, 1);
        topic.configs().add(new CreatableTopicConfig().setName(key).setValue(value));
        return topic;
    }

    private static void assignments(Run run) throws Exception {
        run.ask("good", create(assigned(run.name("good"), -1, -1, 0, 1)));
        run.ask("with counts", create(assigned(run.name("counts"), 1, 1, 0, 1)));
        run.ask("unknown broker", create(assigned(run.name("broker"), -1, -1, 0, 9)));
        run.ask("from 1", create(assigned(run.name("gap"), -1, -1, 1, 1)));
        run.ask("broker twice", create(assigned(run.name("twice"), -1, -1, 0, 1, 1)));
        run.ask("no broker", create(assigned(run.name("nobody"), -1, -1, 0)));
    }

    private static CreatableTopic assigned(
            String name, int partitions, int factor, int partition, Integer... brokers) {
        var topic = topic(name, partitions, factor);
        topic.assignments().add(new CreatableReplicaAssignment()
                .setPartitionIndex(partition)
                .setBrokerIds(java.util.List.of(brokers)));
        return topic;
    }

    private static void deleteByName(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        run.ask("there and missing", delete(run, topic.name(), run.name("missing")));
        run.ask("again", delete(run, topic.name()));
        run.ask("bad name", delete(run, "bad name"));
        run.ask("none", delete(run));
        var twice = run.prepare.topic("twice", 1);
        run.ask("twice", delete(run, twice.name(), twice.name()));
    }

    private static DeleteTopicsRequestData delete(Run run, String... names) {
        var request = new DeleteTopicsRequestData().setTimeoutMs(30_000);
        for (var name : names) {
            if (run.version >= 6) {
                request.topics().add(new DeleteTopicState().setName(name));
            } else {
                request.topicNames().add(name);
            }
        }
        return request;
    }

    private static void deleteById(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        run.ask("unknown", byId(new Uuid(3, 4)));
        run.ask("zero", byId(Uuid.ZERO_UUID));
        var both = byId(topic.id());
        both.topics().get(0).setName(topic.name());
        run.ask("id and name", both);
        run.ask("there", byId(topic.id()));
        run.ask("again", byId(topic.id()));
    }

    private static DeleteTopicsRequestData byId(Uuid id) {
        var request = new DeleteTopicsRequestData().setTimeoutMs(30_000);
        request.topics().add(new DeleteTopicState().setTopicId(id).setName(null));
        return request;
    }

    private static void grow(Run run) throws Exception {
        var name = run.prepare.topic("t", 2).name();
        run.ask("same", grow(name, 2));
        run.ask("fewer", grow(name, 1));
        run.ask("below zero", grow(name, -1));
        run.ask("missing", grow(run.name("missing"), 2));
        run.ask("bad name", grow("bad name", 2));
        run.ask("only checked", grow(name, 4).setValidateOnly(true));
        run.ask("more", grow(name, 3));
        var twice = grow(name, 4);
        twice.topics().add(new CreatePartitionsTopic().setName(name).setCount(5));
        run.ask("twice", twice);
        run.ask("assigned", assigned(name, 4, 1));
        run.ask("assigned to nobody known", assigned(name, 5, 9));
        run.ask("too few assigned", assigned(name, 6, 1));
    }

    private static CreatePartitionsRequestData grow(String name, int count) {
        var request = new CreatePartitionsRequestData().setTimeoutMs(30_000);
        request.topics().add(
                new CreatePartitionsTopic().setName(name).setCount(count).setAssignments(null));
        return request;
    }

    private static CreatePartitionsRequestData assigned(String name, int count, int broker) {
        var request = grow(name, count);
        request.topics().iterator().next().setAssignments(java.util.List.of(
                new CreatePartitionsAssignment().setBrokerIds(java.util.List.of(broker))));
        return request;
    }
}
