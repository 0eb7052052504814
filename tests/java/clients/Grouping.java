import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.common.TopicPartition;

/** Facts about members of groups and their commits. */
final class Grouping {
    private static final int PARTITIONS = 6;

    private Grouping() {}

    public static void range_members_share_and_one_leaves(Cluster cluster) throws Exception {
        membersShareAndOneLeaves(cluster, RangeAssignor.class);
    }

    public static void sticky_members_share_and_one_leaves(Cluster cluster) throws Exception {
        membersShareAndOneLeaves(cluster, StickyAssignor.class);
    }

    public static void cooperative_members_share_and_one_leaves(Cluster cluster)
            throws Exception {
        var revoked = membersShareAndOneLeaves(cluster, CooperativeStickyAssignor.class);
        // The half that moves, and at the end all of it, are given up; never what is kept.
        Check.same(revoked, PARTITIONS / 2 + PARTITIONS);
    }

    /** What the first member was asked to give up in all. */
    private static int membersShareAndOneLeaves(Cluster cluster, Class<?> assignor)
            throws Exception {
        var topic = cluster.topic(PARTITIONS);
        var configs = member(Cluster.fresh("group"));
        configs.put("partition.assignment.strategy", List.of(assignor));
        var values = new HashSet<String>();
        var first = new Member(cluster, topic, configs);
        try (first) {
            first.owns(PARTITIONS);
            try (var second = new Member(cluster, topic, configs)) {
                second.owns(PARTITIONS / 2);
                first.owns(PARTITIONS / 2);
                values.addAll(produceEverywhere(cluster, topic, "shared"));
                Check.eventually("every record read",
                        () -> first.values.size() + second.values.size() >= values.size());
                Check.that(!first.values.isEmpty() && !second.values.isEmpty(), "one reads all");
                first.values.addAll(second.values);
            }
            first.owns(PARTITIONS);
            values.addAll(produceEverywhere(cluster, topic, "alone"));
            Check.eventually("every record read", () -> first.values.size() >= values.size());
        }
        Check.same(first.values.size(), values.size());
        Check.same(new HashSet<>(first.values), values);
        return first.revoked.get();
    }

    public static void a_static_member_comes_back_without_a_rebalance(Cluster cluster)
            throws Exception {
        var topic = cluster.topic(PARTITIONS);
        var group = Cluster.fresh("group");
        var leader = member(group);
        leader.put("group.instance.id", "leader");
        var follower = member(group);
        follower.put("group.instance.id", "follower");
        try (var stays = new Member(cluster, topic, leader)) {
            stays.owns(PARTITIONS);
            var goes = new Member(cluster, topic, follower);
            goes.owns(PARTITIONS / 2);
            stays.owns(PARTITIONS / 2);
            var owned = goes.owned;
            var generation = goes.generation;
            var rebalances = stays.rebalances.get();
            goes.close();
            try (var back = new Member(cluster, topic, follower)) {
                back.owns(PARTITIONS / 2);
                Check.same(back.owned, owned);
                Check.same(back.generation, generation);
                values(cluster, topic, stays, back);
                Check.same(stays.rebalances.get(), rebalances);
            }
        }
    }

    private static void values(Cluster cluster, String topic, Member... members)
            throws Exception {
        var count = produceEverywhere(cluster, topic, "value").size();
        Check.eventually("every record read",
                () -> List.of(members).stream().mapToInt(m -> m.values.size()).sum() == count);
    }

    public static void a_silent_member_loses_its_partitions_and_may_not_commit(Cluster cluster)
            throws Exception {
        var topic = cluster.topic(2);
        cluster.produce(topic, 0, List.of("value"));
        var configs = member(Cluster.fresh("group"));
        var lazy = new HashMap<>(configs);
        lazy.put("max.poll.interval.ms", 1000);
        try (var silent = cluster.consumer(lazy)) {
            silent.subscribe(List.of(topic));
            Cluster.read(silent, 1);
            try (var other = new Member(cluster, topic, configs)) {
                other.owns(2);
                Check.eventually("the record comes again", () -> !other.values.isEmpty());
                Check.fails(CommitFailedException.class, () -> {
                    silent.commitSync();
                    return "a commit";
                });
            }
        }
    }

    public static void a_commit_is_where_the_next_one_goes_on(Cluster cluster) throws Exception {
        var topic = cluster.topic(1);
        var partition = new TopicPartition(topic, 0);
        cluster.produce(topic, 0, IntStream.range(0, 10).mapToObj(Integer::toString).toList());
        var configs = member(Cluster.fresh("group"));
        configs.put("max.poll.records", 3);
        try (var consumer = cluster.consumer(configs)) {
            consumer.subscribe(List.of(topic));
            Cluster.read(consumer, 3);
            consumer.commitSync();
            Check.same(committed(consumer, partition).offset(), 3L);
        }
        try (var consumer = cluster.consumer(configs)) {
            consumer.subscribe(List.of(topic));
            Check.same(Cluster.read(consumer, 3).get(0).value(), "3");
            var told = new AtomicReference<Object>();
            consumer.commitAsync((offsets, error) -> told.set(error == null ? offsets : error));
            while (told.get() == null) {
                consumer.poll(java.time.Duration.ofMillis(50));
                consumer.seek(partition, 6);
            }
            Check.that(told.get() instanceof Map, "commitAsync: " + told.get());
        }
        try (var consumer = cluster.consumer(configs)) {
            consumer.subscribe(List.of(topic));
            Check.same(Cluster.read(consumer, 3).get(0).value(), "6");
            var words = new OffsetAndMetadata(8, "words of mine");
            consumer.commitSync(Map.of(partition, words));
            Check.same(committed(consumer, partition), words);
        }
    }

    private static OffsetAndMetadata committed(
            org.apache.kafka.clients.consumer.KafkaConsumer<?, ?> consumer, TopicPartition of) {
        return consumer.committed(java.util.Set.of(of)).get(of);
    }

    public static void a_pattern_takes_in_a_topic_made_later(Cluster cluster) throws Exception {
        var prefix = Cluster.fresh("pattern");
        var configs = member(Cluster.fresh("group"));
        configs.put("metadata.max.age.ms", 300);
        try (var consumer = cluster.consumer(configs)) {
            consumer.subscribe(java.util.regex.Pattern.compile(prefix + ".*"));
            for (var name : List.of(prefix + "-one", prefix + "-two")) {
                cluster.produce(name, 0, List.of(name));
                Check.same(Cluster.read(consumer, 1).get(0).value(), name);
                consumer.commitSync();
            }
        }
    }

    private static HashMap<String, Object> member(String group) {
        return new HashMap<>(Map.of("group.id", group, "heartbeat.interval.ms", 200));
    }

    private static HashSet<String> produceEverywhere(Cluster cluster, String topic, String what)
            throws Exception {
        var all = new HashSet<String>();
        for (var partition = 0; partition < PARTITIONS; partition++) {
            var values = List.of(what + " one " + partition, what + " two " + partition);
            cluster.produce(topic, partition, values);
            all.addAll(values);
        }
        return all;
    }
}
