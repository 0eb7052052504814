import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;

/** What only the current Java client can do. */
final class Own {
    private Own() {}

    static TopicDescription describe(Admin admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    public static void a_topic_is_described_and_deleted_by_id(Cluster cluster) throws Exception {
        var name = cluster.topic(2);
        var id = describe(cluster.admin, name).topicId();
        var ids = TopicCollection.ofTopicIds(List.of(id));
        var described = cluster.admin.describeTopics(ids).allTopicIds().get().get(id);
        Check.same(described.name(), name);
        cluster.admin.deleteTopics(ids).all().get();
        Check.that(!cluster.admin.listTopics().names().get().contains(name), "still listed");
    }

    public static void the_offset_of_the_newest_time_is_listed(Cluster cluster) throws Exception {
        var partition = new TopicPartition(cluster.topic(1), 0);
        var now = System.currentTimeMillis();
        try (var producer = cluster.producer(Map.of())) {
            for (var time : List.of(now - 5, now, now - 9)) {
                producer.send(new ProducerRecord<>(partition.topic(), 0, time, null, "value"));
            }
        }
        var found = cluster.admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp()))
                .partitionResult(partition).get();
        Check.same(found.offset() + " " + found.timestamp(), "1 " + now);
    }

    /** The old client splits for ever, on Apache Kafka too. */
    public static void a_batch_too_large_is_split(Cluster cluster) throws Exception {
        var topic = cluster.topic(1, Map.of("max.message.bytes", "20000"));
        var value = "x".repeat(1000);
        var sent = new ArrayList<Future<RecordMetadata>>();
        try (var producer = cluster.producer(Map.of("batch.size", 100_000, "linger.ms", 200))) {
            for (var i = 0; i < 90; i++) {
                sent.add(producer.send(new ProducerRecord<>(topic, value)));
            }
        }
        for (var i = 0; i < sent.size(); i++) {
            Check.same(sent.get(i).get().offset(), (long) i);
        }
    }

    public static void a_group_is_listed_with_state_and_type(Cluster cluster) throws Exception {
        var topic = cluster.topic(1);
        var group = Cluster.fresh("group");
        new Member(cluster, topic, Map.of("group.id", group)).run(member -> {
            member.owns(1);
            var found = cluster.admin.listGroups().all().get().stream()
                    .filter(listing -> listing.groupId().equals(group)).findFirst().orElseThrow();
            Check.same(found.groupState().orElseThrow(), GroupState.STABLE);
            Check.same(found.type().orElseThrow().toString(), "Classic");
        });
    }
}
