import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The broker under test: its clients, and names nobody has used. */
final class Cluster {
    final String bootstrap;
    final Admin admin;

    Cluster(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    static String fresh(String what) {
        return what + "-" + UUID.randomUUID();
    }

    String topic(int partitions) throws Exception {
        return topic(partitions, Map.of());
    }

    String topic(int partitions, Map<String, String> configs) throws Exception {
        var name = fresh("topic");
        var topic = new NewTopic(name, partitions, (short) 1).configs(configs);
        admin.createTopics(List.of(topic)).all().get();
        return name;
    }

    KafkaProducer<String, String> producer(Map<String, Object> configs) {
        return new KafkaProducer<>(with(configs), new StringSerializer(), new StringSerializer());
    }

    KafkaProducer<byte[], byte[]> bytesProducer() {
        return new KafkaProducer<>(
                with(Map.of()), new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** By default a new consumer of no group reads from the beginning and commits nothing. */
    KafkaConsumer<String, String> consumer(Map<String, Object> configs) {
        return new KafkaConsumer<>(
                reading(configs), new StringDeserializer(), new StringDeserializer());
    }

    KafkaConsumer<byte[], byte[]> bytesConsumer() {
        return new KafkaConsumer<>(
                reading(Map.of()), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Values onto one partition, every one acknowledged. */
    List<RecordMetadata> produce(String topic, int partition, List<String> values)
            throws Exception {
        var sent = new ArrayList<Future<RecordMetadata>>();
        try (var producer = producer(Map.of("linger.ms", 5))) {
            for (var value : values) {
                sent.add(producer.send(new ProducerRecord<>(topic, partition, null, value)));
            }
        }
        var acknowledged = new ArrayList<RecordMetadata>();
        for (var future : sent) {
            acknowledged.add(future.get());
        }
        return acknowledged;
    }

    /** The next records, this many. */
    static <K, V> List<ConsumerRecord<K, V>> read(KafkaConsumer<K, V> consumer, int count) {
        var records = new ArrayList<ConsumerRecord<K, V>>();
        var end = System.nanoTime() + Check.LIMIT.toNanos();
        while (records.size() < count) {
            Check.that(System.nanoTime() < end, records.size() + " records of " + count);
            consumer.poll(java.time.Duration.ofMillis(200)).forEach(records::add);
        }
        Check.same(records.size(), count);
        return records;
    }

    /** The values of a partition from its beginning. */
    List<String> values(String topic, int partition, int count) {
        try (var consumer = consumer(Map.of())) {
            consumer.assign(List.of(new TopicPartition(topic, partition)));
            return read(consumer, count).stream().map(ConsumerRecord::value).toList();
        }
    }

    private Map<String, Object> reading(Map<String, Object> configs) {
        var all = new HashMap<String, Object>();
        all.put("auto.offset.reset", "earliest");
        all.put("enable.auto.commit", false);
        all.put("group.protocol", "classic");
        all.putAll(configs);
        return with(all);
    }

    private Map<String, Object> with(Map<String, Object> configs) {
        var all = new HashMap<>(configs);
        all.put("bootstrap.servers", bootstrap);
        return all;
    }
}
