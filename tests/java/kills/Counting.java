import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ExecutionException;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A word count lives through kills. At quiet moments, everything read being committed, at least
 * once is exactly once: the counts must be right, also after the application was killed and lost
 * its disk. Killed under load it may count words twice, but never too few.
 *
 * Usage: Counting HOST:PORT TEXT STATE_FOLDER
 */
public class Counting {
    private static final int PARTITIONS = 4;

    private final Cluster cluster;
    private final Path disk;
    private final Map<String, Long> truth = new HashMap<>();
    private Process application;

    private Counting(Cluster cluster, Path disk) {
        this.cluster = cluster;
        this.disk = disk;
    }

    public static void main(String[] arguments) throws Exception {
        var lines = Files.readAllLines(Path.of(arguments[1]));
        var third = lines.size() / 3;
        var story = new Counting(new Cluster(arguments[0]), Path.of(arguments[2]));
        try {
            story.create();
            story.start();
            story.feed(lines.subList(0, third));
            story.isExact("the first third");
            story.loseTheApplication();
            Outside.killTheBroker();
            story.start();
            story.feed(lines.subList(third, 2 * third));
            story.isExact("the second third, on counts from the changelog");
            story.loseTheApplication();
            story.feed(lines.subList(2 * third, lines.size()));
            story.start();
            story.isUnderLoad();
            Outside.killTheBroker();
            story.isUnderLoad();
            story.loseTheApplication();
            story.start();
            story.missesNothing();
        } finally {
            story.application.destroyForcibly();
        }
        System.exit(0);
    }

    private void create() throws Exception {
        for (var topic : List.of(WordCount.LINES, WordCount.COUNTS)) {
            var made = new NewTopic(topic, PARTITIONS, (short) 1);
            cluster.admin.createTopics(List.of(made)).all().get();
        }
    }

    private void start() throws IOException {
        application = Jvm.of("WordCount", cluster.bootstrap, disk.toString())
                .redirectOutput(new File(disk + ".log")).start();
    }

    private void loseTheApplication() throws Exception {
        application.destroyForcibly().waitFor();
        try (var files = Files.walk(disk)) {
            files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
        }
        Check.that(!Files.exists(disk), "the state is still there");
    }

    private void feed(List<String> lines) throws Exception {
        for (var partition = 0; partition < PARTITIONS; partition++) {
            var share = partition;
            var mine = IntStream.range(0, lines.size()).filter(i -> i % PARTITIONS == share);
            cluster.produce(WordCount.LINES, partition, mine.mapToObj(lines::get).toList());
        }
        lines.stream().flatMap(WordCount::words).forEach(word -> truth.merge(word, 1L, Long::sum));
    }

    /** Waits until all that was read is committed, first in and then in between. */
    private void isQuiet() throws InterruptedException {
        for (var topic : List.of(WordCount.LINES, WordCount.REPARTITION)) {
            Check.eventually("nothing left of " + topic, () -> behind(topic) == 0);
        }
    }

    /** Waits until it has counted more of what lies there, be that committed or not. */
    private void isUnderLoad() throws InterruptedException {
        var before = total(ends(WordCount.REPARTITION));
        Check.eventually("progress", () -> total(ends(WordCount.REPARTITION)) > before);
        var left = behind(WordCount.LINES) + behind(WordCount.REPARTITION);
        Check.that(left > 0, "done before the kill");
        System.out.println(left + " records left when killed");
    }

    /** How many records of a topic it has not committed. */
    private long behind(String topic) {
        try {
            var committed = cluster.admin.listConsumerGroupOffsets(WordCount.ID)
                    .partitionsToOffsetAndMetadata().get();
            var ends = ends(topic);
            return total(ends) - ends.keySet().stream().map(committed::get)
                    .filter(Objects::nonNull).mapToLong(OffsetAndMetadata::offset).sum();
        } catch (InterruptedException | ExecutionException wrong) {
            throw new AssertionError(wrong);
        }
    }

    private Map<TopicPartition, Long> ends(String topic) {
        try (var consumer = cluster.consumer(Map.of())) {
            return consumer.endOffsets(partitions(topic));
        }
    }

    private static List<TopicPartition> partitions(String topic) {
        return IntStream.range(0, PARTITIONS)
                .mapToObj(partition -> new TopicPartition(topic, partition)).toList();
    }

    private static long total(Map<TopicPartition, Long> offsets) {
        return offsets.values().stream().mapToLong(Long::longValue).sum();
    }

    private void isExact(String when) throws Exception {
        isQuiet();
        var counts = counts();
        Check.that(counts.equals(truth), "after " + when + ": " + wrong(counts));
        System.out.println(truth.size() + " words counted right after " + when);
    }

    private void missesNothing() throws Exception {
        isQuiet();
        var counts = counts();
        var fewer = truth.keySet().stream()
                .filter(word -> counts.getOrDefault(word, 0L) < truth.get(word)).toList();
        Check.that(fewer.isEmpty(), "counted too low: " + fewer);
        Check.same(counts.keySet(), truth.keySet());
        System.out.println("none of " + truth.size() + " words counted too low under load; "
                + wrong(counts).size() + " counted more than once in places");
    }

    private Map<String, String> wrong(Map<String, Long> counts) {
        var wrong = new HashMap<String, String>();
        truth.forEach((word, count) -> {
            if (!count.equals(counts.get(word))) {
                wrong.put(word, counts.get(word) + " for " + count);
            }
        });
        return wrong;
    }

    /** The latest count of each word. */
    private Map<String, Long> counts() {
        var configs = Map.<String, Object>of("bootstrap.servers", cluster.bootstrap);
        var counts = new HashMap<String, Long>();
        try (var consumer = new KafkaConsumer<>(
                configs, new StringDeserializer(), new LongDeserializer())) {
            var all = partitions(WordCount.COUNTS);
            consumer.assign(all);
            consumer.seekToBeginning(all);
            var ends = consumer.endOffsets(all);
            while (all.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
                for (var record : consumer.poll(Check.LIMIT)) {
                    counts.put(record.key(), record.value());
                }
            }
        }
        return counts;
    }
}
