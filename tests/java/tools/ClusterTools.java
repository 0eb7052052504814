/** Tools that look at the cluster. */
final class ClusterTools {
    private static final String TOOLS = "org.apache.kafka.tools.";

    private ClusterTools() {}

    public static void the_cluster_is_shown(Cluster cluster) throws Exception {
        var at = cluster.bootstrap;
        var id = cluster.admin.describeCluster().clusterId().get();
        Tool.shows(Tool.run(TOOLS + "ClusterTool", "cluster-id", "--bootstrap-server", at),
                "Cluster ID: " + id);
        Tool.shows(Tool.run(TOOLS + "ClusterTool", "list-endpoints", "--bootstrap-server", at),
                "1 127.0.0.1 " + at.split(":")[1]);
        Tool.shows(Tool.run(TOOLS + "BrokerApiVersionsCommand", "--bootstrap-server", at),
                at + " (id: 1 rack: null isFenced: false) -> (",
                "Produce(0): 0 to 13 [usable: 13]");
        Tool.run(TOOLS + "FeatureCommand", "--bootstrap-server", at, "describe");
        Tool.run(TOOLS + "ClientMetricsCommand", "--bootstrap-server", at, "--list");
    }

    public static void where_partitions_are_is_shown(Cluster cluster) throws Exception {
        var topic = cluster.topic(1);
        var at = cluster.bootstrap;
        Tool.shows(Tool.run(TOOLS + "LogDirsCommand", "--bootstrap-server", at, "--describe",
                "--topic-list", topic), "{\"partition\":\"" + topic + "-0\",\"size\":0,");
        Tool.shows(Tool.run(TOOLS + "LeaderElectionCommand", "--bootstrap-server", at,
                "--election-type", "preferred", "--topic", topic, "--partition", "0"),
                "Valid replica already elected for partitions " + topic + "-0");
        Tool.shows(Tool.run(TOOLS + "reassign.ReassignPartitionsCommand", "--bootstrap-server",
                at, "--list"), "No partition reassignments found.");
    }

    public static void groups_of_every_kind_are_listed(Cluster cluster) throws Exception {
        var group = Cluster.fresh("group");
        new Member(cluster, cluster.topic(1), java.util.Map.of("group.id", group)).run(member -> {
            member.owns(1);
            Tool.shows(Tool.run(TOOLS + "GroupsCommand", "--bootstrap-server", cluster.bootstrap,
                    "--list"), group + " Classic consumer");
        });
    }
}
