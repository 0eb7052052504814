package conformance;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import org.apache.kafka.common.message.AlterConfigsRequestData;
import org.apache.kafka.common.message.AlterConfigsRequestData.AlterConfigsResource;
import org.apache.kafka.common.message.DescribeConfigsRequestData;
import org.apache.kafka.common.message.DescribeConfigsRequestData.DescribeConfigsResource;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData;
import org.apache.kafka.common.message.ListConfigResourcesRequestData;
import org.apache.kafka.common.message.ListConfigResourcesResponseData;
import org.apache.kafka.common.protocol.ApiKeys;

/** Configs of topics and brokers, described and altered. */
final class ConfigScenarios {
    private static final byte TOPIC = 2;
    private static final byte BROKER = 4;

    private static final int SET = 0;
    private static final int DELETE = 1;
    private static final int APPEND = 2;
    private static final int SUBTRACT = 3;

    private ConfigScenarios() {}

    static void add(Suite suite) {
        suite.each(ApiKeys.DESCRIBE_CONFIGS, "of a topic", ConfigScenarios::ofTopic);
        suite.each(ApiKeys.DESCRIBE_CONFIGS, "of a broker", ConfigScenarios::ofBroker);
        suite.each(ApiKeys.DESCRIBE_CONFIGS, "bad", ConfigScenarios::bad);
        suite.each(ApiKeys.ALTER_CONFIGS, "of a topic", ConfigScenarios::alter);
        suite.each(ApiKeys.INCREMENTAL_ALTER_CONFIGS, "of a topic", ConfigScenarios::increment);
        suite.each(ApiKeys.INCREMENTAL_ALTER_CONFIGS, "bad", ConfigScenarios::badIncrements);
        suite.each(ApiKeys.LIST_CONFIG_RESOURCES, "kinds", ConfigScenarios::kinds);
    }

    private static DescribeConfigsRequestData describe(int type, String name, String... keys) {
        var resource = new DescribeConfigsResource()
                .setResourceType((byte) type)
                .setResourceName(name)
                .setConfigurationKeys(keys.length == 0 ? null : List.of(keys));
        var request = new DescribeConfigsRequestData();
        request.resources().add(resource);
        return request;
    }

    private static void ofTopic(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1, "retention.ms=5000", "cleanup.policy=compact");
        run.ask("all", describe(TOPIC, topic.name()));
        run.ask("two", describe(TOPIC, topic.name(), "retention.ms", "segment.bytes"));
        run.ask("unknown key", describe(TOPIC, topic.name(), "no.such.key"));
        run.ask("no keys", describe(TOPIC, topic.name(), "x").setResources(List.of(
                new DescribeConfigsResource().setResourceType(TOPIC).setResourceName(topic.name())
                        .setConfigurationKeys(List.of()))));
        run.ask("synonyms", describe(TOPIC, topic.name(), "retention.ms", "segment.bytes",
                "cleanup.policy", "compression.type").setIncludeSynonyms(true));
    }

    private static void ofBroker(Run run) throws Exception {
        run.ask("all", describe(BROKER, "1"));
        run.ask("some", describe(BROKER, "1", "num.partitions", "log.retention.ms"));
        run.ask("of all brokers", describe(BROKER, ""));
        run.ask("synonyms", describe(BROKER, "1", "log.retention.hours", "message.max.bytes")
                .setIncludeSynonyms(true));
    }

    private static void bad(Run run) throws Exception {
        run.ask("missing topic", describe(TOPIC, run.name("missing")));
        run.ask("bad topic", describe(TOPIC, "a b"));
        run.ask("no topic", describe(TOPIC, ""));
        run.ask("another broker", describe(BROKER, "9"));
        run.ask("no number", describe(BROKER, "one"));
        for (int type : new int[] {0, 1, 3, 64, -1}) {
            run.ask("type " + type, describe(type, "1"));
        }
    }

    private static AlterConfigsRequestData set(String topic, String... pairs) {
        var resource = new AlterConfigsResource().setResourceType(TOPIC).setResourceName(topic);
        Arrays.stream(pairs).map(pair -> pair.split("=", 2)).forEach(pair -> resource.configs().add(
                new AlterConfigsRequestData.AlterableConfig()
                        .setName(pair[0]).setValue(pair[1].equals("null") ? null : pair[1])));
        var request = new AlterConfigsRequestData();
        request.resources().add(resource);
        return request;
    }

    private static void alter(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1, "retention.ms=5000").name();
        run.ask("another key", set(topic, "segment.bytes=1048576"));
        dynamic(run, "the first is gone", topic);
        run.ask("only checked", set(topic, "retention.ms=1").setValidateOnly(true));
        run.ask("bad value", set(topic, "retention.ms=long"));
        run.ask("unknown key", set(topic, "no.such.key=1"));
        run.ask("null", set(topic, "retention.ms=null"));
        run.ask("missing topic", set(run.name("missing"), "retention.ms=1"));
        run.ask("nothing", set(topic));
        dynamic(run, "all are gone", topic);
    }

    /** What is set, once the broker has heard of it. */
    private static void dynamic(Run run, String step, String topic) throws Exception {
        run.prepare.settled();
        run.ask(step, describe(TOPIC, topic, "retention.ms", "segment.bytes", "cleanup.policy"));
    }

    private static IncrementalAlterConfigsRequestData change(
            int type, String name, int operation, String key, String value) {
        var resource = new IncrementalAlterConfigsRequestData.AlterConfigsResource()
                .setResourceType((byte) type).setResourceName(name);
        resource.configs().add(new IncrementalAlterConfigsRequestData.AlterableConfig()
                .setName(key).setConfigOperation((byte) operation).setValue(value));
        var request = new IncrementalAlterConfigsRequestData();
        request.resources().add(resource);
        return request;
    }

    private static void increment(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1).name();
        run.ask("set", change(TOPIC, topic, SET, "retention.ms", "7000"));
        run.ask("append", change(TOPIC, topic, APPEND, "cleanup.policy", "compact"));
        dynamic(run, "set and appended", topic);
        run.ask("append again", change(TOPIC, topic, APPEND, "cleanup.policy", "compact"));
        run.ask("subtract", change(TOPIC, topic, SUBTRACT, "cleanup.policy", "delete"));
        run.ask("subtract what is not", change(TOPIC, topic, SUBTRACT, "cleanup.policy", "delete"));
        run.ask("delete", change(TOPIC, topic, DELETE, "retention.ms", null));
        run.ask("delete again", change(TOPIC, topic, DELETE, "retention.ms", null));
        dynamic(run, "subtracted and deleted", topic);
        run.ask("only checked",
                change(TOPIC, topic, SET, "retention.ms", "1").setValidateOnly(true));
        run.ask("subtract the last", change(TOPIC, topic, SUBTRACT, "cleanup.policy", "compact"));
        dynamic(run, "after all", topic);
    }

    private static void badIncrements(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1).name();
        run.ask("append to a number", change(TOPIC, topic, APPEND, "retention.ms", "1"));
        run.ask("bad value", change(TOPIC, topic, SET, "retention.ms", "long"));
        run.ask("out of range", change(TOPIC, topic, SET, "min.insync.replicas", "0"));
        run.ask("bad policy", change(TOPIC, topic, APPEND, "cleanup.policy", "burn"));
        run.ask("unknown key", change(TOPIC, topic, SET, "no.such.key", "1"));
        run.ask("null", change(TOPIC, topic, SET, "retention.ms", null));
        run.ask("operation 4", change(TOPIC, topic, 4, "retention.ms", "1"));
        run.ask("missing topic", change(TOPIC, run.name("missing"), SET, "retention.ms", "1"));
        run.ask("another broker", change(BROKER, "9", SET, "log.retention.ms", "1"));
        run.ask("unknown key of a broker",
                change(BROKER, "1", SET, "no.such.key", "1").setValidateOnly(true));
        run.ask("read only", change(BROKER, "1", SET, "broker.id", "7"));
        run.ask("no number", change(BROKER, "one", SET, "log.retention.ms", "1"));
        run.ask("type 3", change(3, topic, SET, "retention.ms", "1"));
        var twice = change(TOPIC, topic, SET, "retention.ms", "1");
        twice.resources().iterator().next().configs().add(
                new IncrementalAlterConfigsRequestData.AlterableConfig()
                        .setName("retention.ms").setConfigOperation((byte) DELETE).setValue(null));
        run.ask("one key twice", twice);
    }

    private static void kinds(Run run) throws Exception {
        if (run.version == 0) {
            run.ask("client metrics", new ListConfigResourcesRequestData());
            return;
        }
        for (byte type : new byte[] {BROKER, 8, 16, 32, 3}) {
            run.ask("type " + type,
                    new ListConfigResourcesRequestData().setResourceTypes(List.of(type)));
        }
        var topic = run.prepare.topic("t", 1);
        run.ask("every kind", new ListConfigResourcesRequestData(),
                (ListConfigResourcesResponseData answer) -> {
                    answer.configResources().removeIf(resource -> resource.resourceType() == TOPIC
                            && !resource.resourceName().equals(topic.name()));
                    answer.configResources().sort(Comparator.comparing(
                            ListConfigResourcesResponseData.ConfigResource::resourceType));
                });
        run.ask("topics", new ListConfigResourcesRequestData().setResourceTypes(List.of(TOPIC)),
                (ListConfigResourcesResponseData answer) -> answer.configResources()
                        .removeIf(resource -> !resource.resourceName().equals(topic.name())));
    }
}
