package conformance;

import java.util.List;
import org.apache.kafka.common.message.DescribeClientQuotasRequestData;
import org.apache.kafka.common.message.DescribeClientQuotasRequestData.ComponentData;
import org.apache.kafka.common.message.DescribeLogDirsRequestData;
import org.apache.kafka.common.message.DescribeLogDirsRequestData.DescribableLogDirTopic;
import org.apache.kafka.common.message.ElectLeadersRequestData;
import org.apache.kafka.common.message.ElectLeadersRequestData.TopicPartitions;
import org.apache.kafka.common.message.ListPartitionReassignmentsRequestData;
import org.apache.kafka.common.message.ListPartitionReassignmentsRequestData.ListPartitionReassignmentsTopics;
import org.apache.kafka.common.protocol.ApiKeys;

/** What operators ask: leaders, reassignments, log directories, quotas. */
final class OperationScenarios {
    private OperationScenarios() {}

    static void add(Suite suite) {
        suite.each(ApiKeys.ELECT_LEADERS, "good and bad", OperationScenarios::elect);
        suite.each(ApiKeys.LIST_PARTITION_REASSIGNMENTS, "none", OperationScenarios::reassignments);
        suite.each(ApiKeys.DESCRIBE_LOG_DIRS, "of topics", OperationScenarios::logDirs);
        suite.each(ApiKeys.DESCRIBE_CLIENT_QUOTAS, "none", OperationScenarios::quotas);
    }

    private static ElectLeadersRequestData elect(String topic, Integer... partitions) {
        var request = new ElectLeadersRequestData().setTimeoutMs(30_000);
        request.topicPartitions()
                .add(new TopicPartitions().setTopic(topic).setPartitions(List.of(partitions)));
        return request;
    }

    private static void elect(Run run) throws Exception {
        var topic = run.prepare.topic("t", 2).name();
        run.ask("preferred", elect(topic, 0, 1));
        run.ask("partition 7", elect(topic, 7));
        run.ask("missing", elect(run.name("missing"), 0));
        if (run.version >= 1) {
            run.ask("unclean", elect(topic, 0).setElectionType((byte) 1));
            run.ask("type 9", elect(topic, 0).setElectionType((byte) 9));
            run.ask("type 9 of all", elect(topic, 0).setElectionType((byte) 9).setTopicPartitions(null));
        }
    }

    private static void reassignments(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1).name();
        run.ask("all", new ListPartitionReassignmentsRequestData().setTopics(null));
        run.ask("of a topic", reassignments(topic));
        run.ask("of a missing topic", reassignments(run.name("missing")));
    }

    private static ListPartitionReassignmentsRequestData reassignments(String topic) {
        return new ListPartitionReassignmentsRequestData().setTopics(List.of(
                new ListPartitionReassignmentsTopics()
                        .setName(topic).setPartitionIndexes(List.of(0))));
    }

    private static void logDirs(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        run.ask("of a topic", logDirs(topic.name(), 0));
        var records = Batch.of(run, 3).bytes();
        run.quiet(Data.produce(run.newest(ApiKeys.PRODUCE), topic, 0, records));
        run.ask("of one with records", logDirs(topic.name(), 0));
        run.ask("of a missing topic", logDirs(run.name("missing"), 0));
    }

    private static DescribeLogDirsRequestData logDirs(String topic, Integer... partitions) {
        var request = new DescribeLogDirsRequestData();
        request.topics().add(new DescribableLogDirTopic()
                .setTopic(topic).setPartitions(List.of(partitions)));
        return request;
    }

    private static void quotas(Run run) throws Exception {
        run.ask("all", new DescribeClientQuotasRequestData());
        run.ask("of users", quotas("user", 2, null));
        run.ask("of a user", quotas("user", 0, "alice").setStrict(true));
        run.ask("of the default client", quotas("client-id", 1, null));
        run.ask("of a planet", quotas("planet", 0, "mars"));
        run.ask("match 9", quotas("user", 9, null));
    }

    private static DescribeClientQuotasRequestData quotas(String entity, int match, String name) {
        return new DescribeClientQuotasRequestData().setComponents(List.of(new ComponentData()
                .setEntityType(entity).setMatchType((byte) match).setMatch(name)));
    }
}
