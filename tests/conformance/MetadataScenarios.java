package conformance;

import java.util.Arrays;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.DescribeClusterRequestData;
import org.apache.kafka.common.message.DescribeTopicPartitionsRequestData;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.MetadataRequestData.MetadataRequestTopic;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.protocol.ApiKeys;

/** What clients learn of brokers and topics: section M of the checklist. */
final class MetadataScenarios {
    private MetadataScenarios() {}

    static void add(Suite suite) {
        suite.each(ApiKeys.METADATA, "all topics", MetadataScenarios::all);
        suite.between(ApiKeys.METADATA, "no topics", 1, 13,
                run -> run.ask("none", request()));
        suite.each(ApiKeys.METADATA, "topics by name", MetadataScenarios::byName);
        suite.between(ApiKeys.METADATA, "topics by id", 10, 13, MetadataScenarios::byId);
        suite.each(ApiKeys.METADATA, "creation on demand", MetadataScenarios::autoCreate);
        suite.between(ApiKeys.METADATA, "authorized operations", 8, 13, MetadataScenarios::operations);
        suite.each(ApiKeys.DESCRIBE_CLUSTER, "the cluster", MetadataScenarios::cluster);
        suite.each(ApiKeys.DESCRIBE_TOPIC_PARTITIONS, "pages", MetadataScenarios::pages);
    }

    private static MetadataRequestData request(String... names) {
        var request = new MetadataRequestData();
        Arrays.stream(names).forEach(
                name -> request.topics().add(new MetadataRequestTopic().setName(name)));
        return request;
    }

    private static void all(Run run) throws Exception {
        run.prepare.topic("a", 1);
        run.prepare.topic("b", 3);
        var request = request();
        if (run.version >= 1) {
            request.setTopics(null);
        }
        run.ask("all", request, (MetadataResponseData answer) ->
                answer.topics().removeIf(topic -> !run.owns(topic.name())));
    }

    private static void byName(Run run) throws Exception {
        var topic = run.prepare.topic("there", 2);
        var request = request(topic.name(), run.name("missing"), run.name("bad name"), topic.name());
        if (run.version >= 4) {
            request.setAllowAutoTopicCreation(false);
            run.ask("there, missing, bad and twice", request);
            for (var name : new String[] {"", ".", "..", "ä", "a".repeat(249), "a".repeat(250)}) {
                run.ask("name " + (name.isEmpty() ? "empty" : name.length() + name.substring(0, 1)),
                        request(name).setAllowAutoTopicCreation(false));
            }
        }
        run.ask("there", request(topic.name()));
    }

    private static void byId(Run run) throws Exception {
        var topic = run.prepare.topic("there", 1);
        run.ask("by id", byId(topic.id()));
        run.ask("unknown id", byId(new Uuid(1, 2)));
        run.ask("zero id", byId(Uuid.ZERO_UUID));
        var both = byId(topic.id());
        both.topics().get(0).setName(topic.name());
        run.ask("id and name", both);
    }

    private static MetadataRequestData byId(Uuid id) {
        var request = new MetadataRequestData();
        request.topics().add(new MetadataRequestTopic().setName(null).setTopicId(id));
        return request;
    }

    private static void autoCreate(Run run) throws Exception {
        var name = run.name("made");
        run.ask("first", request(name));
        run.until("the topic", () -> {
            MetadataResponseData answer = run.quiet(request(name));
            return answer.topics().iterator().next().errorCode() == 0;
        });
        run.ask("made", request(name));
    }

    private static void operations(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        var request = request(topic.name()).setIncludeTopicAuthorizedOperations(true);
        if (run.version <= 10) {
            request.setIncludeClusterAuthorizedOperations(true);
        }
        run.ask("asked for", request);
    }

    private static void cluster(Run run) throws Exception {
        run.ask("plain", new DescribeClusterRequestData());
        run.ask("operations",
                new DescribeClusterRequestData().setIncludeClusterAuthorizedOperations(true));
        if (run.version >= 1) {
            run.ask("controllers", new DescribeClusterRequestData().setEndpointType((byte) 2));
            run.ask("endpoint type 3", new DescribeClusterRequestData().setEndpointType((byte) 3));
        }
        if (run.version >= 2) {
            run.ask("fenced too", new DescribeClusterRequestData().setIncludeFencedBrokers(true));
        }
    }

    private static void pages(Run run) throws Exception {
        var first = run.prepare.topic("a", 3);
        var second = run.prepare.topic("b", 2);
        run.ask("both", pages(10, first.name(), second.name()));
        run.ask("in another order", pages(10, second.name(), first.name()));
        run.ask("two partitions", pages(2, first.name(), second.name()));
        run.ask("three partitions", pages(3, first.name(), second.name()));
        run.ask("a limit of 0", pages(0, first.name(), second.name()));
        run.ask("missing and bad", pages(10, run.name("missing"), "bad name", first.name()));
        run.ask("full before a missing one",
                pages(3, first.name(), run.name("aa"), second.name()));
        run.ask("a missing one first", pages(3, run.name("Z"), first.name(), second.name()));
        run.ask("from a cursor of another topic",
                pages(10, second.name(), run.name("c")).setCursor(
                        new DescribeTopicPartitionsRequestData.Cursor()
                                .setTopicName(first.name()).setPartitionIndex(0)));
        run.ask("from a cursor", pages(10, first.name(), second.name()).setCursor(
                new DescribeTopicPartitionsRequestData.Cursor()
                        .setTopicName(first.name()).setPartitionIndex(2)));
        run.ask("from a cursor below zero", pages(10, first.name()).setCursor(
                new DescribeTopicPartitionsRequestData.Cursor()
                        .setTopicName(first.name()).setPartitionIndex(-1)));
    }

    private static DescribeTopicPartitionsRequestData pages(int limit, String... names) {
        var request = new DescribeTopicPartitionsRequestData().setResponsePartitionLimit(limit);
        Arrays.stream(names).forEach(name -> request.topics()
                .add(new DescribeTopicPartitionsRequestData.TopicRequest().setName(name)));
        return request;
    }
}
