import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.config.ConfigResource;

/** What only the old Java client can do. */
final class Own {
    private Own() {}

    static TopicDescription describe(Admin admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).all().get().get(topic);
    }

    @SuppressWarnings("deprecation")
    public static void configs_are_set_all_at_once(Cluster cluster) throws Exception {
        var topic = new ConfigResource(ConfigResource.Type.TOPIC,
                cluster.topic(1, Map.of("retention.ms", "1234567")));
        var config = new Config(List.of(new ConfigEntry("segment.bytes", "2000000")));
        cluster.admin.alterConfigs(Map.of(topic, config)).all().get();
        var found = cluster.admin.describeConfigs(List.of(topic)).all().get().get(topic);
        Check.same(found.get("segment.bytes").value(), "2000000");
        Check.that(found.get("retention.ms").isDefault(), "what was not given stays");
    }
}
