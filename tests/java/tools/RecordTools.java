import java.nio.file.Files;
import java.util.List;

/** Tools that produce, consume and delete records. */
final class RecordTools {
    private static final String TOOLS = "org.apache.kafka.tools.";

    private RecordTools() {}

    public static void the_console_takes_and_shows_records(Cluster cluster) throws Exception {
        var topic = cluster.topic(1);
        Tool.fed("h:1\tkey\tvalue\nh:2\tkey2\tvalue2\n", TOOLS + "ConsoleProducer",
                "--bootstrap-server", cluster.bootstrap, "--topic", topic, "--reader-property",
                "parse.key=true", "--reader-property", "parse.headers=true",
                "--compression-codec", "zstd");
        Tool.shows(Tool.run(TOOLS + "consumer.ConsoleConsumer", "--bootstrap-server",
                cluster.bootstrap, "--topic", topic, "--from-beginning", "--max-messages", "2",
                "--formatter-property", "print.key=true", "--formatter-property",
                "print.headers=true", "--formatter-property", "print.offset=true"),
                "Offset:0 h:1 key value", "Offset:1 h:2 key2 value2", "Processed a total of 2");
    }

    public static void performance_is_measured(Cluster cluster) throws Exception {
        var topic = cluster.topic(2);
        Tool.shows(Tool.run(TOOLS + "ProducerPerformance", "--bootstrap-server",
                cluster.bootstrap, "--topic", topic, "--num-records", "20000", "--record-size",
                "100", "--throughput", "-1"), "20000 records sent, ");
        Tool.shows(Tool.run(TOOLS + "ConsumerPerformance", "--bootstrap-server",
                cluster.bootstrap, "--topic", topic, "--num-records", "20000"),
                ", 1.9073, ", ", 20000, ");
        Tool.shows(Tool.run(TOOLS + "EndToEndLatency", "--bootstrap-server", cluster.bootstrap,
                "--topic", cluster.topic(1), "--num-records", "100", "--producer-acks", "all",
                "--record-size", "20"), "Avg latency: ", "Percentiles: ");
    }

    public static void what_is_sent_is_verified(Cluster cluster) throws Exception {
        var topic = cluster.topic(1);
        Tool.shows(Tool.apart(TOOLS + "VerifiableProducer", "--bootstrap-server",
                cluster.bootstrap, "--topic", topic, "--max-messages", "3"),
                "\"name\":\"producer_send_success\",\"key\":null,\"value\":\"2\",\"offset\":2,");
        Tool.shows(Tool.run(TOOLS + "VerifiableConsumer", "--bootstrap-server",
                cluster.bootstrap, "--topic", topic, "--group-id", Cluster.fresh("group"),
                "--max-messages", "3"),
                "\"name\":\"partitions_assigned\"",
                "\"name\":\"records_consumed\",\"count\":3,",
                "\"offset\":3}],\"success\":true}");
    }

    public static void offsets_are_shown_and_records_deleted(Cluster cluster) throws Exception {
        var topic = cluster.topic(2);
        cluster.produce(topic, 1, List.of("0", "1", "2", "3"));
        var file = Files.createTempFile("records", ".json");
        Files.writeString(file, "{\"version\":1,\"partitions\":[{\"topic\":\"" + topic
                + "\",\"partition\":1,\"offset\":3}]}");
        Tool.shows(Tool.run(TOOLS + "DeleteRecordsCommand", "--bootstrap-server",
                cluster.bootstrap, "--offset-json-file", file.toString()),
                "partition: " + topic + "-1 low_watermark: 3");
        Files.delete(file);
        Tool.shows(offsets(cluster, topic, "earliest"), topic + ":0:0", topic + ":1:3");
        Tool.shows(offsets(cluster, topic, "latest"), topic + ":0:0", topic + ":1:4");
        Tool.shows(offsets(cluster, topic, "1"), topic + ":1:3");
    }

    private static String offsets(Cluster cluster, String topic, String time) throws Exception {
        return Tool.run(TOOLS + "GetOffsetShell", "--bootstrap-server", cluster.bootstrap,
                "--topic", topic, "--time", time);
    }
}
