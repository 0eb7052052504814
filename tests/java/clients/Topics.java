import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Facts about topics, their configs and the cluster, as administrators see them. */
final class Topics {
    private Topics() {}

    public static void topics_come_and_go(Cluster cluster) throws Exception {
        var admin = cluster.admin;
        var name = cluster.topic(3);
        Check.that(admin.listTopics().names().get().contains(name), "not listed");
        Check.same(Own.describe(admin, name).partitions().size(), 3);
        Check.fails(TopicExistsException.class, () -> create(cluster, name, 1, (short) 1));
        Check.fails(InvalidPartitionsException.class,
                () -> create(cluster, Cluster.fresh("topic"), 0, (short) 1));
        Check.fails(InvalidReplicationFactorException.class,
                () -> create(cluster, Cluster.fresh("topic"), 1, (short) 0));
        admin.deleteTopics(List.of(name)).all().get();
        Check.that(!admin.listTopics().names().get().contains(name), "still listed");
        Check.fails(UnknownTopicOrPartitionException.class, () -> Own.describe(admin, name));
        Check.fails(UnknownTopicOrPartitionException.class,
                () -> admin.deleteTopics(List.of(name)).all());
    }

    public static void a_topic_only_validated_is_not_created(Cluster cluster) throws Exception {
        var topic = new NewTopic(Cluster.fresh("topic"), 2, (short) 1);
        var options = new org.apache.kafka.clients.admin.CreateTopicsOptions().validateOnly(true);
        var told = cluster.admin.createTopics(List.of(topic), options);
        Check.same(told.numPartitions(topic.name()).get(), 2);
        Check.that(!cluster.admin.listTopics().names().get().contains(topic.name()), "created");
    }

    public static void partitions_are_added_and_used(Cluster cluster) throws Exception {
        var name = cluster.topic(1);
        cluster.admin.createPartitions(Map.of(name, NewPartitions.increaseTo(3))).all().get();
        cluster.produce(name, 2, List.of("value"));
        Check.same(cluster.values(name, 2, 1), List.of("value"));
        Check.fails(InvalidPartitionsException.class, () ->
                cluster.admin.createPartitions(Map.of(name, NewPartitions.increaseTo(2))).all());
    }

    public static void topic_configs_are_shown_set_and_unset(Cluster cluster) throws Exception {
        var name = cluster.topic(1, Map.of("retention.ms", "1234567"));
        var topic = new ConfigResource(ConfigResource.Type.TOPIC, name);
        check(cluster, topic, "retention.ms", "1234567", "DYNAMIC_TOPIC_CONFIG");
        check(cluster, topic, "cleanup.policy", "delete", "DEFAULT_CONFIG");
        alter(cluster, topic, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
        check(cluster, topic, "cleanup.policy", "delete,compact", "DYNAMIC_TOPIC_CONFIG");
        alter(cluster, topic, "cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT);
        check(cluster, topic, "cleanup.policy", "compact", "DYNAMIC_TOPIC_CONFIG");
        alter(cluster, topic, "retention.ms", null, AlterConfigOp.OpType.DELETE);
        check(cluster, topic, "retention.ms", "604800000", "DEFAULT_CONFIG");
        Check.fails(InvalidConfigurationException.class, () ->
                alter(cluster, topic, "retention.ms", "soon", AlterConfigOp.OpType.SET));
        Check.fails(InvalidConfigurationException.class, () ->
                alter(cluster, topic, "no.such.config", "1", AlterConfigOp.OpType.SET));
    }

    public static void broker_configs_are_shown_set_and_unset(Cluster cluster) throws Exception {
        var id = cluster.admin.describeCluster().nodes().get().iterator().next().idString();
        var broker = new ConfigResource(ConfigResource.Type.BROKER, id);
        alter(cluster, broker, "log.cleaner.threads", "2", AlterConfigOp.OpType.SET);
        check(cluster, broker, "log.cleaner.threads", "2", "DYNAMIC_BROKER_CONFIG");
        alter(cluster, broker, "log.cleaner.threads", null, AlterConfigOp.OpType.DELETE);
        check(cluster, broker, "log.cleaner.threads", "1", "DEFAULT_CONFIG");
    }

    public static void deleted_records_are_gone(Cluster cluster) throws Exception {
        var partition = new TopicPartition(cluster.topic(1), 0);
        cluster.produce(partition.topic(), 0, List.of("0", "1", "2", "3"));
        Check.same(deleteBefore(cluster, partition, 3), 3L);
        Check.same(cluster.values(partition.topic(), 0, 1), List.of("3"));
        Check.same(offset(cluster, partition, OffsetSpec.earliest()), 3L);
        Check.fails(OffsetOutOfRangeException.class, () -> deleteBefore(cluster, partition, 9));
        Check.same(deleteBefore(cluster, partition, -1), 4L);
    }

    public static void offsets_are_listed_by_end_and_time(Cluster cluster) throws Exception {
        var partition = new TopicPartition(cluster.topic(1), 0);
        cluster.produce(partition.topic(), 0, List.of("0", "1"));
        Check.same(offset(cluster, partition, OffsetSpec.earliest()), 0L);
        Check.same(offset(cluster, partition, OffsetSpec.latest()), 2L);
        Check.same(offset(cluster, partition, OffsetSpec.forTimestamp(0)), 0L);
        Check.same(offset(cluster, partition, OffsetSpec.forTimestamp(Long.MAX_VALUE)), -1L);
    }

    public static void the_cluster_and_its_disks_are_described(Cluster cluster) throws Exception {
        var described = cluster.admin.describeCluster();
        var node = described.nodes().get().iterator().next();
        Check.same(node.host() + ":" + node.port(), cluster.bootstrap);
        Check.same(described.controller().get(), node);
        Check.that(!described.clusterId().get().isEmpty(), "no cluster id");
        var name = cluster.topic(2);
        cluster.produce(name, 1, List.of("x".repeat(1000)));
        var partition = new TopicPartition(name, 1);
        Check.eventually("its size", () -> size(cluster, node.id(), partition) > 1000);
    }

    private static long size(Cluster cluster, int broker, TopicPartition partition) {
        try {
            var disks = cluster.admin.describeLogDirs(List.of(broker)).descriptions().get(broker);
            return disks.get().values().stream()
                    .mapToLong(disk -> disk.replicaInfos().get(partition).size()).sum();
        } catch (InterruptedException | ExecutionException wrong) {
            throw new AssertionError(wrong);
        }
    }

    private static Object create(Cluster cluster, String name, int partitions, short replicas) {
        return cluster.admin
                .createTopics(List.of(new NewTopic(name, partitions, replicas))).all();
    }

    private static Object alter(Cluster cluster, ConfigResource resource, String name,
            String value, AlterConfigOp.OpType kind) throws Exception {
        Collection<AlterConfigOp> ops =
                Set.of(new AlterConfigOp(new ConfigEntry(name, value), kind));
        return cluster.admin.incrementalAlterConfigs(Map.of(resource, ops)).all().get();
    }

    private static void check(Cluster cluster, ConfigResource resource, String name,
            String value, String source) throws Exception {
        var found = cluster.admin.describeConfigs(List.of(resource)).all().get().get(resource);
        Check.same(found.get(name).value() + " " + found.get(name).source(), value + " " + source);
    }

    private static long deleteBefore(Cluster cluster, TopicPartition partition, long offset)
            throws Exception {
        var before = Map.of(partition, RecordsToDelete.beforeOffset(offset));
        return cluster.admin.deleteRecords(before).lowWatermarks().get(partition).get()
                .lowWatermark();
    }

    private static long offset(Cluster cluster, TopicPartition partition, OffsetSpec of)
            throws Exception {
        return cluster.admin.listOffsets(Map.of(partition, of)).partitionResult(partition).get()
                .offset();
    }
}
