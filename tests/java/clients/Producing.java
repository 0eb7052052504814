import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TransactionalIdAuthorizationException;
import org.apache.kafka.common.header.internals.RecordHeader;

/** Facts about producers. */
final class Producing {
    private Producing() {}

    public static void keys_values_headers_and_nulls_come_back(Cluster cluster) throws Exception {
        var topic = cluster.topic(1);
        var key = new byte[] {0, 1, -1};
        var value = "value".getBytes();
        var headers = List.of(
                new RecordHeader("twice", "one".getBytes()),
                new RecordHeader("null", (byte[]) null),
                new RecordHeader("twice", "two".getBytes()),
                new RecordHeader("", new byte[0]));
        var sent = List.of(
                new ProducerRecord<>(topic, 0, key, value, List.copyOf(headers)),
                new ProducerRecord<byte[], byte[]>(topic, 0, null, value),
                new ProducerRecord<byte[], byte[]>(topic, 0, key, null),
                new ProducerRecord<byte[], byte[]>(topic, 0, new byte[0], new byte[0]),
                new ProducerRecord<byte[], byte[]>(topic, 0, null, null));
        try (var producer = cluster.bytesProducer()) {
            sent.forEach(producer::send);
        }
        try (var consumer = cluster.bytesConsumer()) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            var read = Cluster.read(consumer, sent.size());
            for (var i = 0; i < sent.size(); i++) {
                Check.same(read.get(i).key(), sent.get(i).key());
                Check.same(read.get(i).value(), sent.get(i).value());
                Check.same(read.get(i).headers().toArray(), sent.get(i).headers().toArray());
                Check.same(read.get(i).offset(), (long) i);
            }
            Check.same(read.get(0).headers().toArray(), headers.toArray());
        }
    }

    public static void every_codec_comes_back(Cluster cluster) throws Exception {
        for (var codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            var topic = cluster.topic(1);
            var sent = IntStream.range(0, 500).mapToObj(i -> codec + " ".repeat(50) + i).toList();
            try (var producer = cluster.producer(Map.of("compression.type", codec, "linger.ms", 20))) {
                sent.forEach(value -> producer.send(new ProducerRecord<>(topic, value)));
            }
            Check.same(cluster.values(topic, 0, sent.size()), sent);
        }
    }

    public static void a_topic_may_have_a_codec_of_its_own(Cluster cluster) throws Exception {
        for (var codec : List.of("uncompressed", "gzip", "snappy", "lz4", "zstd")) {
            var topic = cluster.topic(1, Map.of("compression.type", codec));
            var sent = IntStream.range(0, 500).mapToObj(i -> codec + " ".repeat(50) + i).toList();
            for (var others : List.of("none", "zstd")) {
                var configs = Map.<String, Object>of("compression.type", others, "linger.ms", 20);
                try (var producer = cluster.producer(configs)) {
                    sent.forEach(value -> producer.send(new ProducerRecord<>(topic, value)));
                }
            }
            var read = cluster.values(topic, 0, 2 * sent.size());
            Check.same(read.subList(0, sent.size()), sent);
            Check.same(read.subList(sent.size(), read.size()), sent);
        }
    }

    /** The default of Java: idempotent, five requests in flight. */
    public static void five_in_flight_keep_their_order_and_none_comes_twice(Cluster cluster)
            throws Exception {
        var topic = cluster.topic(1);
        var sent = IntStream.range(0, 20_000).mapToObj(Integer::toString).toList();
        var configs = Map.<String, Object>of(
                "linger.ms", 0, "batch.size", 400, "max.in.flight.requests.per.connection", 5,
                "enable.idempotence", true);
        try (var producer = cluster.producer(configs)) {
            sent.forEach(value -> producer.send(new ProducerRecord<>(topic, value)));
        }
        Check.same(cluster.values(topic, 0, sent.size()), sent);
    }

    public static void every_kind_of_ack_is_given(Cluster cluster) throws Exception {
        for (var acks : List.of("0", "1", "all")) {
            var topic = cluster.topic(1);
            var configs = Map.<String, Object>of("acks", acks, "enable.idempotence", false);
            try (var producer = cluster.producer(configs)) {
                for (var offset = 0L; offset < 3; offset++) {
                    var told = producer.send(new ProducerRecord<>(topic, "value")).get();
                    Check.same(told.offset(), acks.equals("0") ? -1L : offset);
                }
            }
            Check.same(cluster.values(topic, 0, 3).size(), 3);
        }
    }

    public static void a_key_keeps_its_partition(Cluster cluster) throws Exception {
        var topic = cluster.topic(5);
        var partitions = new HashMap<String, Integer>();
        try (var producer = cluster.producer(Map.of())) {
            for (var i = 0; i < 100; i++) {
                var key = "key" + i % 20;
                var told = producer.send(new ProducerRecord<>(topic, key, "value")).get();
                var first = partitions.putIfAbsent(key, told.partition());
                Check.that(first == null || first == told.partition(), key + " moved");
            }
        }
        Check.that(partitions.values().stream().distinct().count() > 1, "one partition only");
    }

    public static void a_record_too_large_is_refused(Cluster cluster) throws Exception {
        var topic = cluster.topic(1, Map.of("max.message.bytes", "20000"));
        try (var producer = cluster.producer(Map.of())) {
            var large = new ProducerRecord<String, String>(topic, "x".repeat(30_000));
            Check.fails(RecordTooLargeException.class, () -> producer.send(large));
            Check.same(producer.send(new ProducerRecord<>(topic, "small")).get().offset(), 0L);
        }
    }

    public static void log_append_time_is_the_broker_s(Cluster cluster) throws Exception {
        var topic = cluster.topic(1, Map.of("message.timestamp.type", "LogAppendTime"));
        var began = System.currentTimeMillis();
        try (var producer = cluster.producer(Map.of())) {
            var old = new ProducerRecord<String, String>(topic, 0, 1000L, null, "old");
            Check.that(producer.send(old).get().timestamp() >= began, "not the broker's time");
        }
    }

    public static void a_first_record_creates_the_topic(Cluster cluster) throws Exception {
        var topic = Cluster.fresh("created");
        try (var producer = cluster.producer(Map.of())) {
            Check.same(producer.send(new ProducerRecord<>(topic, "value")).get().offset(), 0L);
        }
    }

    public static void a_topic_with_a_bad_name_is_refused(Cluster cluster) throws Exception {
        try (var producer = cluster.producer(Map.of())) {
            var bad = new ProducerRecord<String, String>("bad name!", "value");
            Check.fails(InvalidTopicException.class, () -> producer.send(bad));
        }
    }

    public static void a_transaction_is_refused_at_once(Cluster cluster) throws Exception {
        try (var producer = cluster.producer(Map.of("transactional.id", Cluster.fresh("id")))) {
            var began = System.nanoTime();
            var error = Check.fails(KafkaException.class, () -> {
                producer.initTransactions();
                return "a transactional producer";
            });
            Check.that(error instanceof TransactionalIdAuthorizationException, "not fatal: " + error);
            var millis = (System.nanoTime() - began) / 1_000_000;
            Check.that(millis < 4000, millis + " ms");
        }
    }
}
