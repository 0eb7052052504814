import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * An idempotent producer, five requests in flight, and a member of a group live through kills of
 * the broker: everything is there once and in order. Usage: Order HOST:PORT
 */
public class Order {
    private static final int KILLS = 2;
    private static final int BETWEEN = 3000;

    public static void main(String[] arguments) throws Exception {
        var cluster = new Cluster(arguments[0]);
        var topic = cluster.topic(1);
        var configs = Map.<String, Object>of("group.id", Cluster.fresh("group"));
        try (var member = new Member(cluster, topic, configs)) {
            member.owns(1);
            var sent = produceThroughKills(cluster, topic);
            var wanted = IntStream.range(0, sent).mapToObj(Integer::toString).toList();
            Check.same(cluster.values(topic, 0, sent), wanted);
            Check.eventually("all read", () -> member.values.contains("" + (sent - 1)));
            // The member may see again what it had not committed, but misses nothing.
            Check.same(new ArrayList<>(new LinkedHashSet<>(member.values)), wanted);
            System.out.println(sent + " records in order through " + KILLS + " kills");
        }
        System.exit(0);
    }

    /** How many records were sent, all of them acknowledged. */
    private static int produceThroughKills(Cluster cluster, String topic) throws Exception {
        var acknowledged = new AtomicInteger();
        var wrong = new ArrayList<Exception>();
        var enough = new AtomicBoolean();
        var sent = new AtomicInteger();
        var configs = Map.<String, Object>of("linger.ms", 0, "batch.size", 500,
                "max.in.flight.requests.per.connection", 5, "buffer.memory", 100_000);
        try (var producer = cluster.producer(configs)) {
            var sending = new Thread(() -> {
                while (!enough.get()) {
                    var value = Integer.toString(sent.getAndIncrement());
                    producer.send(new ProducerRecord<>(topic, value), (told, error) -> {
                        acknowledged.incrementAndGet();
                        if (error != null) {
                            wrong.add(error);
                        }
                    });
                }
            });
            sending.start();
            for (var kill = 0; kill < KILLS; kill++) {
                var before = acknowledged.get();
                Check.eventually("acks", () -> acknowledged.get() > before + BETWEEN);
                Outside.killTheBroker();
            }
            var before = acknowledged.get();
            Check.eventually("acks", () -> acknowledged.get() > before + BETWEEN);
            enough.set(true);
            sending.join();
        }
        Check.same(wrong, List.of());
        Check.same(acknowledged.get(), sent.get());
        return sent.get();
    }
}
