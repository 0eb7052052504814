import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** kafka-consumer-groups. */
final class GroupTools {
    private GroupTools() {}

    public static void a_group_is_listed_and_described(Cluster cluster) throws Exception {
        var topic = cluster.topic(2);
        var group = Cluster.fresh("group");
        var configs = Map.<String, Object>of("group.id", group, "client.id", "reader");
        cluster.produce(topic, 1, List.of("one", "two"));
        new Member(cluster, topic, configs).run(member -> {
            member.owns(2);
            Check.eventually("both read", () -> member.values.size() == 2);
            Tool.shows(groups(cluster, "--list", "--state", "--type"), group + " Classic Stable");
            Tool.shows(describe(cluster, group, "--members"), "/127.0.0.1 reader 2");
            Tool.shows(describe(cluster, group, "--members", "--verbose"), topic + ":0,1");
            Tool.shows(describe(cluster, group, "--state"),
                    group + " " + cluster.bootstrap + " (1) range Stable 1");
            Check.eventually("the commit is shown", () -> shown(cluster, group)
                    .contains(group + " " + topic + " 1 2 2 0 reader-"));
        });
        Tool.shows(describe(cluster, group), "has no active members.",
                group + " " + topic + " 1 2 2 0 - - -");
        Tool.shows(describe(cluster, group, "--state"), "(1) - Empty 0");
        Tool.shows(groups(cluster, "--list", "--state", "Empty"), group + " Empty");
    }

    public static void offsets_are_reset_in_every_way(Cluster cluster) throws Exception {
        var topic = cluster.topic(1);
        var group = Cluster.fresh("group");
        cluster.produce(topic, 0, IntStream.range(0, 10).mapToObj(Integer::toString).toList());
        var before = List.of("--to-datetime", "2020-01-01T00:00:00.000");
        reset(cluster, group, topic, 0, List.of("--to-earliest"));
        reset(cluster, group, topic, 10, List.of("--to-latest"));
        reset(cluster, group, topic, 7, List.of("--to-offset", "7"));
        reset(cluster, group, topic, 4, List.of("--shift-by", "-3"));
        reset(cluster, group, topic, 0, before);
        reset(cluster, group, topic, 10, List.of("--shift-by", "99"));
        reset(cluster, group, topic, 0, List.of("--by-duration", "PT1H"));
        reset(cluster, group, topic, 0, List.of("--to-current"));
        var file = Files.createTempFile("offsets", ".csv");
        Files.writeString(file, "\"" + topic + "\",0,6\n");
        reset(cluster, group, topic, 6, List.of("--from-file", file.toString()));
        Files.delete(file);
        groups(cluster, "--group", group, "--topic", topic, "--reset-offsets", "--to-earliest",
                "--dry-run");
        Check.same(committed(cluster, group, topic), 6L);
    }

    public static void offsets_and_groups_are_deleted(Cluster cluster) throws Exception {
        var topic = cluster.topic(1);
        var group = Cluster.fresh("group");
        var offsets = Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(0));
        cluster.admin.alterConsumerGroupOffsets(group, offsets).all().get();
        Tool.shows(groups(cluster, "--delete-offsets", "--group", group, "--topic", topic),
                topic + " 0 Successful");
        cluster.admin.alterConsumerGroupOffsets(group, offsets).all().get();
        Tool.shows(groups(cluster, "--delete", "--group", group),
                "Deletion of requested consumer groups ('" + group + "') was successful.");
        Check.that(!groups(cluster, "--list").contains(group), "still listed");
    }

    private static void reset(
            Cluster cluster, String group, String topic, long offset, List<String> to)
            throws Exception {
        var arguments = new ArrayList<>(List.of("--reset-offsets", "--execute", "--group", group));
        if (!to.get(0).equals("--from-file")) {
            arguments.addAll(List.of("--topic", topic));
        }
        arguments.addAll(to);
        Tool.shows(groups(cluster, arguments.toArray(String[]::new)),
                group + " " + topic + " 0 " + offset);
        Check.same(committed(cluster, group, topic), offset);
    }

    private static long committed(Cluster cluster, String group, String topic) throws Exception {
        var offsets = cluster.admin.listConsumerGroupOffsets(group);
        return offsets.partitionsToOffsetAndMetadata().get().get(new TopicPartition(topic, 0))
                .offset();
    }

    private static String shown(Cluster cluster, String group) {
        try {
            return String.join("\n", Tool.lines(describe(cluster, group)));
        } catch (Exception wrong) {
            throw new AssertionError(wrong);
        }
    }

    private static String describe(Cluster cluster, String group, String... what)
            throws Exception {
        var arguments = new ArrayList<>(List.of("--describe", "--group", group));
        arguments.addAll(List.of(what));
        return groups(cluster, arguments.toArray(String[]::new));
    }

    private static String groups(Cluster cluster, String... what) throws Exception {
        var arguments = new ArrayList<>(List.of("--bootstrap-server", cluster.bootstrap));
        arguments.addAll(List.of(what));
        return Tool.run("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
                arguments.toArray(String[]::new));
    }
}
