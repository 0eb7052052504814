package conformance;

import conformance.Prepare.Topic;
import java.util.List;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.InitProducerIdResponseData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Errors;

/** Producer ids and sequences: section I of the checklist. */
final class IdempotenceScenarios {
    private IdempotenceScenarios() {}

    static void add(Suite suite) {
        suite.each(ApiKeys.INIT_PRODUCER_ID, "ids", IdempotenceScenarios::ids);
        suite.each(ApiKeys.INIT_PRODUCER_ID, "transactional", IdempotenceScenarios::transactional);
        suite.each(ApiKeys.PRODUCE, "duplicates", IdempotenceScenarios::duplicates);
        suite.each(ApiKeys.PRODUCE, "sequences", IdempotenceScenarios::sequences);
        suite.each(ApiKeys.PRODUCE, "producer epochs", IdempotenceScenarios::epochs);
        suite.each(ApiKeys.PRODUCE, "sequences that wrap", IdempotenceScenarios::wrap);
    }

    private static void ids(Run run) throws Exception {
        producer(run);
        run.ask("first", init());
        InitProducerIdResponseData second = run.ask("second", init());
        run.ask("a timeout of 0", init().setTransactionTimeoutMs(0));
        if (run.version >= 3) {
            run.ask("again", init().setProducerId(second.producerId()).setProducerEpoch((short) 0));
            run.ask("of nobody", init().setProducerId(987_654_321).setProducerEpoch((short) 5));
            run.ask("id alone", init().setProducerId(5));
            run.ask("epoch alone", init().setProducerEpoch((short) 5));
        }
        run.ask("empty transactional id", init().setTransactionalId(""));
    }

    /** Kafka makes the topic of transactions on first use, and may be loading it. */
    private static void transactional(Run run) throws Exception {
        var id = run.name("id");
        run.quiet(new FindCoordinatorRequestData()
                .setKeyType((byte) 1).setCoordinatorKeys(List.of(id)));
        run.until("the transactional id", () -> {
            InitProducerIdResponseData answer = run.quiet(init().setTransactionalId(id));
            var exception = Errors.forCode(answer.errorCode()).exception();
            return !(exception instanceof RetriableException);
        });
        run.ask("again", init().setTransactionalId(id));
    }

    private static InitProducerIdRequestData init() {
        return new InitProducerIdRequestData()
                .setTransactionalId(null)
                .setTransactionTimeoutMs(60_000);
    }

    /** A producer id; a broker that has just started may have none to give yet. */
    private static long producer(Run run) throws Exception {
        var given = new InitProducerIdResponseData[1];
        run.until("a producer id", () -> {
            given[0] = run.quiet(init());
            return given[0].errorCode() == Errors.NONE.code();
        });
        return given[0].producerId();
    }

    private static void send(
            Run run, String step, Topic topic, long producer, int epoch, int sequence, int records)
            throws Exception {
        var batch = Batch.of(run, records).producer(producer, epoch, sequence);
        run.ask(step, Data.produce(run.version, topic, 0, batch.bytes()));
    }

    private static void duplicates(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        long producer = producer(run);
        for (int batch = 0; batch < 7; batch++) {
            send(run, "batch " + batch, topic, producer, 0, 2 * batch, 2);
        }
        for (int batch = 6; batch >= 0; batch--) {
            send(run, "batch " + batch + " again", topic, producer, 0, 2 * batch, 2);
        }
        send(run, "half of a batch", topic, producer, 0, 12, 1);
        send(run, "over two batches", topic, producer, 0, 10, 4);
        send(run, "longer than the last", topic, producer, 0, 12, 3);
        send(run, "the next", topic, producer, 0, 14, 1);
        run.ask("what was kept", Data.fetch(run.newest(ApiKeys.FETCH), topic, 0, 0));
    }

    private static void sequences(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        long producer = producer(run);
        send(run, "unknown producer at 5", topic, producer, 0, 5, 1);
        send(run, "gap", topic, producer, 0, 9, 1);
        send(run, "next", topic, producer, 0, 6, 1);
        send(run, "back to 0", topic, producer, 0, 0, 1);
        var two = Batch.of(run, 1).producer(producer, 0, 7).flags(Batch.CONTROL);
        run.ask("control", Data.produce(run.version, topic, 0, two.bytes()));
    }

    private static void epochs(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        long producer = producer(run);
        send(run, "epoch 3", topic, producer, 3, 0, 1);
        send(run, "older epoch", topic, producer, 2, 1, 1);
        send(run, "newer epoch not at 0", topic, producer, 4, 1, 1);
        send(run, "newer epoch", topic, producer, 4, 0, 1);
        send(run, "same epoch", topic, producer, 4, 1, 1);
        send(run, "the old one", topic, producer, 3, 1, 1);
        send(run, "the last again", topic, producer, 4, 1, 1);
        send(run, "epoch -1", topic, producer, -1, 0, 1);
    }

    private static void wrap(Run run) throws Exception {
        var topic = run.prepare.topic("t", 1);
        long producer = producer(run);
        send(run, "near the end", topic, producer, 0, Integer.MAX_VALUE - 1, 2);
        send(run, "from 0", topic, producer, 0, 0, 1);
        send(run, "next", topic, producer, 0, 1, 1);
        long other = producer(run);
        send(run, "to the end", topic, other, 0, Integer.MAX_VALUE - 1, 1);
        send(run, "across", topic, other, 0, Integer.MAX_VALUE, 3);
        send(run, "after", topic, other, 0, 2, 1);
        send(run, "across again", topic, other, 0, Integer.MAX_VALUE, 3);
    }
}
