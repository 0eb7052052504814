import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Facts about a consumer that says itself where it reads. */
final class Reading {
    private Reading() {}

    public static void a_consumer_seeks_where_it_wants(Cluster cluster) throws Exception {
        var topic = cluster.topic(1);
        var all = List.of(new TopicPartition(topic, 0));
        cluster.produce(topic, 0, IntStream.range(0, 100).mapToObj(Integer::toString).toList());
        try (var consumer = cluster.consumer(Map.of())) {
            consumer.assign(all);
            consumer.seek(all.get(0), 42);
            Check.same(values(Cluster.read(consumer, 58)).get(0), "42");
            consumer.seekToBeginning(all);
            Check.same(values(Cluster.read(consumer, 100)).get(0), "0");
            consumer.seekToEnd(all);
            Check.same(consumer.position(all.get(0)), 100L);
            Check.that(consumer.poll(Duration.ofMillis(100)).isEmpty(), "records past the end");
            consumer.seek(all.get(0), 99);
            Check.same(values(Cluster.read(consumer, 1)), List.of("99"));
            Check.same(consumer.beginningOffsets(all), Map.of(all.get(0), 0L));
            Check.same(consumer.endOffsets(all), Map.of(all.get(0), 100L));
        }
    }

    public static void a_time_is_looked_up_to_the_record(Cluster cluster) throws Exception {
        for (var codec : List.of("none", "zstd")) {
            var topic = cluster.topic(1);
            var partition = new TopicPartition(topic, 0);
            var start = System.currentTimeMillis() - 1_000_000;
            try (var producer =
                    cluster.producer(Map.of("compression.type", codec, "linger.ms", 20))) {
                for (var i = 0; i < 1000; i++) {
                    producer.send(new ProducerRecord<>(topic, 0, start + i * 10L, null, "" + i));
                }
            }
            try (var consumer = cluster.consumer(Map.of())) {
                for (var i : List.of(0, 1, 7, 500, 998, 999)) {
                    for (var before : List.of(0L, 5L)) {
                        var time = start + i * 10L - before;
                        var found = consumer.offsetsForTimes(Map.of(partition, time));
                        Check.same(found.get(partition).offset(), (long) i);
                        Check.same(found.get(partition).timestamp(), start + i * 10L);
                    }
                }
                var after = Map.of(partition, start + 9_991);
                Check.same(consumer.offsetsForTimes(after).get(partition), null);
            }
        }
    }

    public static void without_an_offset_the_policy_decides(Cluster cluster) throws Exception {
        var topic = cluster.topic(1);
        var all = List.of(new TopicPartition(topic, 0));
        cluster.produce(topic, 0, List.of("zero"));
        var configs = new HashMap<String, Object>(Map.of("group.id", Cluster.fresh("group")));
        configs.put("auto.offset.reset", "none");
        try (var consumer = cluster.consumer(configs)) {
            consumer.assign(all);
            Check.fails(NoOffsetForPartitionException.class, () -> Cluster.read(consumer, 1));
            consumer.seek(all.get(0), 7);
            Check.fails(OffsetOutOfRangeException.class, () -> Cluster.read(consumer, 1));
        }
        configs.put("auto.offset.reset", "latest");
        try (var consumer = cluster.consumer(configs)) {
            consumer.assign(all);
            Check.same(consumer.position(all.get(0)), 1L);
            cluster.produce(topic, 0, List.of("one"));
            Check.same(values(Cluster.read(consumer, 1)), List.of("one"));
        }
    }

    public static void small_fetches_get_everything(Cluster cluster) throws Exception {
        var topic = cluster.topic(3);
        var value = "x".repeat(10_000);
        for (var partition = 0; partition < 3; partition++) {
            cluster.produce(topic, partition, java.util.Collections.nCopies(20, value));
        }
        var configs = Map.<String, Object>of("fetch.max.bytes", 1, "max.partition.fetch.bytes", 1);
        try (var consumer = cluster.consumer(configs)) {
            consumer.assign(IntStream.range(0, 3).mapToObj(p -> new TopicPartition(topic, p)).toList());
            Cluster.read(consumer, 60);
        }
    }

    public static void a_reader_of_committed_records_alone_reads_all(Cluster cluster)
            throws Exception {
        var topic = cluster.topic(1);
        cluster.produce(topic, 0, List.of("zero", "one"));
        try (var consumer = cluster.consumer(Map.of("isolation.level", "read_committed"))) {
            var all = List.of(new TopicPartition(topic, 0));
            consumer.assign(all);
            Check.same(values(Cluster.read(consumer, 2)), List.of("zero", "one"));
            Check.same(consumer.endOffsets(all), Map.of(all.get(0), 2L));
        }
    }

    public static void topics_and_partitions_are_listed(Cluster cluster) throws Exception {
        var topic = cluster.topic(3);
        try (var consumer = cluster.consumer(Map.of())) {
            Check.same(consumer.partitionsFor(topic).size(), 3);
            Check.same(consumer.listTopics().get(topic).get(2).leader().idString(), "1");
        }
    }

    private static List<String> values(List<ConsumerRecord<String, String>> records) {
        return records.stream().map(ConsumerRecord::value).toList();
    }
}
