import java.util.ArrayList;
import java.util.List;

/** kafka-topics, kafka-configs. */
final class TopicTools {
    private static final String TOPICS = "org.apache.kafka.tools.TopicCommand";
    private static final String CONFIGS = "kafka.admin.ConfigCommand";

    private TopicTools() {}

    public static void topics_are_created_shown_changed_and_deleted(Cluster cluster)
            throws Exception {
        var at = cluster.bootstrap;
        var topic = Cluster.fresh("topic");
        Tool.shows(Tool.run(TOPICS, "--bootstrap-server", at, "--create", "--topic", topic,
                "--partitions", "2", "--config", "retention.ms=1000000"),
                "Created topic " + topic);
        Tool.run(TOPICS, "--bootstrap-server", at, "--create", "--if-not-exists",
                "--topic", topic);
        Tool.run(TOPICS, "--bootstrap-server", at, "--alter", "--topic", topic,
                "--partitions", "3");
        Tool.shows(Tool.run(TOPICS, "--bootstrap-server", at, "--describe", "--topic", topic),
                "PartitionCount: 3 ReplicationFactor: 1 Configs: ",
                "retention.ms=1000000",
                "Topic: " + topic + " Partition: 2 Leader: 1 Replicas: 1 Isr: 1 Elr:");
        Check.that(!Tool.run(TOPICS, "--bootstrap-server", at, "--describe",
                "--under-replicated-partitions").contains("Partition:"), "under-replicated");
        Tool.shows(Tool.run(TOPICS, "--bootstrap-server", at, "--list"), topic);
        Tool.run(TOPICS, "--bootstrap-server", at, "--delete", "--topic", topic);
        Check.that(!Tool.run(TOPICS, "--bootstrap-server", at, "--list").contains(topic),
                "still listed");
    }

    public static void configs_of_topics_are_shown_and_changed(Cluster cluster) throws Exception {
        var topic = cluster.topic(1);
        Tool.shows(configs(cluster, "topics", topic, "--alter", "--add-config",
                "cleanup.policy=[compact,delete],retention.ms=1000000"),
                "Completed updating config for topic " + topic);
        Tool.shows(configs(cluster, "topics", topic, "--describe"),
                "cleanup.policy=compact,delete sensitive=false",
                "retention.ms=1000000 sensitive=false");
        configs(cluster, "topics", topic, "--alter", "--delete-config", "retention.ms");
        Check.that(!configs(cluster, "topics", topic, "--describe").contains("retention.ms"),
                "still set");
        Tool.shows(configs(cluster, "topics", topic, "--describe", "--all"),
                "retention.ms=604800000 sensitive=false",
                "max.message.bytes=1048588 sensitive=false");
    }

    public static void configs_of_brokers_are_shown_and_changed(Cluster cluster)
            throws Exception {
        configs(cluster, "brokers", "1", "--alter", "--add-config", "log.cleaner.threads=2");
        Tool.shows(configs(cluster, "brokers", "1", "--describe"),
                "log.cleaner.threads=2 sensitive=false");
        configs(cluster, "brokers", "1", "--alter", "--delete-config", "log.cleaner.threads");
        Check.that(!configs(cluster, "brokers", "1", "--describe").contains("cleaner.threads=2"),
                "still set");
        everywhere(cluster, "--add-config", "log.cleaner.threads=3");
        Tool.shows(configs(cluster, "brokers", "1", "--describe", "--all"),
                "log.cleaner.threads=3 sensitive=false");
        everywhere(cluster, "--delete-config", "log.cleaner.threads");
        Tool.shows(configs(cluster, "brokers", "1", "--describe", "--all"),
                "log.cleaner.threads=1 sensitive=false");
    }

    private static void everywhere(Cluster cluster, String how, String config) throws Exception {
        Tool.run(CONFIGS, "--bootstrap-server", cluster.bootstrap, "--entity-type", "brokers",
                "--entity-default", "--alter", how, config);
    }

    private static String configs(Cluster cluster, String kind, String name, String... what)
            throws Exception {
        var arguments = new ArrayList<>(List.of("--bootstrap-server",
                cluster.bootstrap, "--entity-type", kind, "--entity-name", name));
        arguments.addAll(List.of(what));
        return Tool.run(CONFIGS, arguments.toArray(String[]::new));
    }
}
