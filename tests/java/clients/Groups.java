import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;

/** Facts about groups, as administrators see them. */
final class Groups {
    private Groups() {}

    public static void a_group_is_listed_described_and_deleted(Cluster cluster) throws Exception {
        var admin = cluster.admin;
        var topic = cluster.topic(2);
        var group = Cluster.fresh("group");
        try (var member = new Member(cluster, topic, member(group))) {
            member.owns(2);
            Check.that(listed(cluster).contains(group), "not listed");
            var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            Check.same(described.state().toString(), "Stable");
            Check.same(described.partitionAssignor(), "range");
            var only = described.members().iterator().next();
            Check.same(only.clientId(), "reader");
            Check.same(only.host(), "/127.0.0.1");
            Check.same(only.assignment().topicPartitions(), member.owned);
            Check.fails(GroupNotEmptyException.class,
                    () -> admin.deleteConsumerGroups(List.of(group)).all());
            Check.fails(GroupSubscribedToTopicException.class, () -> admin
                    .deleteConsumerGroupOffsets(group, Set.of(new TopicPartition(topic, 0)))
                    .all());
        }
        var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        Check.same(described.state().toString(), "Empty");
        admin.deleteConsumerGroups(List.of(group)).all().get();
        Check.that(!listed(cluster).contains(group), "still listed");
        Check.fails(GroupIdNotFoundException.class,
                () -> admin.deleteConsumerGroups(List.of(group)).all());
    }

    public static void offsets_of_a_group_are_set_shown_and_deleted(Cluster cluster)
            throws Exception {
        var admin = cluster.admin;
        var topic = cluster.topic(2);
        var group = Cluster.fresh("group");
        var offsets = Map.of(
                new TopicPartition(topic, 0), new OffsetAndMetadata(5),
                new TopicPartition(topic, 1), new OffsetAndMetadata(7, "mine"));
        admin.alterConsumerGroupOffsets(group, offsets).all().get();
        Check.same(offsets(cluster, group), offsets);
        admin.deleteConsumerGroupOffsets(group, Set.of(new TopicPartition(topic, 0))).all().get();
        Check.same(offsets(cluster, group).keySet(), Set.of(new TopicPartition(topic, 1)));
        Check.same(offsets(cluster, Cluster.fresh("unknown")), Map.of());
    }

    public static void a_member_is_removed_by_an_administrator(Cluster cluster) throws Exception {
        var topic = cluster.topic(1);
        var configs = member(Cluster.fresh("group"));
        configs.put("group.instance.id", "fixed");
        var group = (String) configs.get("group.id");
        new Member(cluster, topic, configs).run(member -> member.owns(1));
        Check.same(state(cluster, group), "Stable");
        var fixed = new org.apache.kafka.clients.admin.MemberToRemove("fixed");
        var options = new org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions(
                Set.of(fixed));
        cluster.admin.removeMembersFromConsumerGroup(group, options).all().get();
        Check.same(state(cluster, group), "Empty");
    }

    private static String state(Cluster cluster, String group) throws Exception {
        var all = cluster.admin.describeConsumerGroups(List.of(group)).all().get();
        return all.get(group).state().toString();
    }

    private static HashMap<String, Object> member(String group) {
        return new HashMap<>(Map.of("group.id", group, "client.id", "reader",
                "partition.assignment.strategy",
                "org.apache.kafka.clients.consumer.RangeAssignor"));
    }

    private static List<String> listed(Cluster cluster) throws Exception {
        return cluster.admin.listConsumerGroups().all().get().stream()
                .map(org.apache.kafka.clients.admin.ConsumerGroupListing::groupId).toList();
    }

    private static Map<TopicPartition, OffsetAndMetadata> offsets(Cluster cluster, String group)
            throws Exception {
        return cluster.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
    }
}
