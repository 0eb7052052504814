import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.WakeupException;

/** A member of a group in a thread of its own, as an application would run it. */
final class Member implements AutoCloseable {
    final Queue<String> values = new ConcurrentLinkedQueue<>();
    final AtomicInteger rebalances = new AtomicInteger();
    final AtomicInteger revoked = new AtomicInteger();
    volatile Set<TopicPartition> owned = Set.of();
    volatile Throwable trouble;
    volatile int generation;
    private final KafkaConsumer<String, String> consumer;
    private final Thread thread;

    Member(Cluster cluster, String topic, Map<String, Object> configs) {
        consumer = cluster.consumer(configs);
        thread = new Thread(() -> read(topic), "member");
        thread.start();
    }

    private void read(String topic) {
        try (consumer) {
            consumer.subscribe(List.of(topic), new Counting());
            while (true) {
                for (var record : consumer.poll(Duration.ofMillis(100))) {
                    values.add(record.value());
                }
                commit();
                owned = Set.copyOf(consumer.assignment());
                generation = consumer.groupMetadata().generationId();
            }
        } catch (WakeupException closed) {
            owned = Set.of();
        } catch (RuntimeException wrong) {
            trouble = wrong;
        }
    }

    private void commit() {
        try {
            consumer.commitSync();
        } catch (RebalanceInProgressException later) {
            // A cooperative member keeps reading through a rebalance, and commits after it.
        }
    }

    interface Life {
        void of(Member member) throws Exception;
    }

    /** Lives through this, then closes. */
    void run(Life life) throws Exception {
        try (this) {
            life.of(this);
        }
    }

    /** Waits until the member owns this many partitions. */
    void owns(int partitions) throws InterruptedException {
        Check.eventually(partitions + " partitions, not " + owned + " " + trouble,
                () -> owned.size() == partitions);
    }

    @Override
    public void close() throws InterruptedException {
        consumer.wakeup();
        thread.join();
        Check.that(trouble == null, "a member failed: " + trouble);
    }

    private final class Counting implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            revoked.addAndGet(partitions.size());
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            rebalances.incrementAndGet();
        }
    }
}
