import java.util.List;

/** What users of Kafka's command-line tools depend on. */
public class Tools {
    public static void main(String[] arguments) throws Exception {
        Facts.run(List.of(TopicTools.class, GroupTools.class, RecordTools.class,
                ClusterTools.class), 1, arguments);
    }
}
