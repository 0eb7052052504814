import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.stream.Stream;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Counts words for ever: lines in, the latest count of each word out, at least once. Between them
 * a topic that brings equal words together and one that keeps the counts. Usage: WordCount
 * HOST:PORT STATE_FOLDER
 */
public class WordCount {
    static final String ID = "word-count";
    static final String LINES = "lines";
    static final String COUNTS = "counts";
    static final String REPARTITION = ID + "-words-repartition";

    public static void main(String[] arguments) {
        var builder = new StreamsBuilder();
        builder.<String, String>stream(LINES)
                .flatMapValues(line -> words(line).toList())
                .groupBy((key, word) -> word, Grouped.as("words"))
                .count(Materialized.as("totals"))
                .toStream()
                .to(COUNTS, Produced.with(Serdes.String(), Serdes.Long()));
        var config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, ID);
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        config.put(StreamsConfig.STATE_DIR_CONFIG, arguments[1]);
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.AT_LEAST_ONCE);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 200);
        // Who comes back under its name need not wait for the session of the killed one to end.
        config.put("group.instance.id", "counter");
        new KafkaStreams(builder.build(), config).start();
    }

    /** Runs of ASCII letters, in lower case. */
    static Stream<String> words(String line) {
        return List.of(line.split("[^A-Za-z]+")).stream()
                .filter(word -> !word.isEmpty())
                .map(word -> word.toLowerCase(Locale.ROOT));
    }
}
