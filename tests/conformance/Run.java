package conformance;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;

/** One scenario in one version on one broker: what it may do, and the transcript of its answers. */
final class Run implements AutoCloseable {
    /** A step of a scenario and what the broker answered, normalised. */
    record Step(String name, JsonNode answer) {}

    /** The broker ended the connection, or said nothing, where an answer is due. */
    static final class Unanswered extends RuntimeException {
        Unanswered(String what) {
            super(what, null, false, false);
        }
    }

    private static final Duration PATIENCE = Duration.ofSeconds(10);

    /** The version under test. */
    final short version;

    /** A time for records, some minutes ago, in ms: what lies near it is shown as distance from it. */
    final long time;

    final Prepare prepare;
    private final Suite.Scenario scenario;
    private final Address address;
    private final Versions versions;
    private final String prefix;
    private final Normaliser normaliser;
    private final List<Connection> connections = new ArrayList<>();
    private final List<Step> steps = new ArrayList<>();

    Run(Suite.Scenario scenario, short version, Address address, Versions versions, Clock clock)
            throws IOException {
        this.scenario = scenario;
        this.version = version;
        this.address = address;
        this.versions = versions;
        this.time = clock.records();
        this.prefix = scenario.title().replaceAll("[^A-Za-z0-9]+", "-") + "-v" + version
                + "-" + Long.toString(clock.start(), Character.MAX_RADIX) + "-";
        this.normaliser = new Normaliser(prefix, address, clock);
        this.prepare = new Prepare(this);
        connect();
    }

    /** A name that no other scenario uses; a transcript shows it as it was asked for. */
    String name(String name) {
        return prefix + name;
    }

    /** The newest version of an API that both brokers serve. */
    short newest(ApiKeys api) {
        return versions.newest(api);
    }

    /** From now on a transcript shows this topic id with the name of its topic. */
    void know(Prepare.Topic topic) {
        normaliser.know("topicId", topic.id().toString(), topic.name());
    }

    boolean owns(String name) {
        return name.startsWith(prefix);
    }

    /** Another connection, as of another client. */
    Connection connect() throws IOException {
        return connect("conformance");
    }

    Connection connect(String client) throws IOException {
        var connection = new Connection(address, client);
        connections.add(connection);
        return connection;
    }

    /** Sends a request in the version under test and notes the answer. */
    <R extends ApiMessage> R ask(String step, ApiMessage request) throws IOException {
        return ask(step, connections.get(0), request, (R all) -> {});
    }

    /** As above; what the scenario cannot compare is taken out of the answer by `edit`. */
    <R extends ApiMessage> R ask(String step, ApiMessage request, Consumer<R> edit)
            throws IOException {
        return ask(step, connections.get(0), request, edit);
    }

    <R extends ApiMessage> R ask(String step, Connection connection, ApiMessage request)
            throws IOException {
        return ask(step, connection, request, (R all) -> {});
    }

    <R extends ApiMessage> R ask(
            String step, Connection connection, ApiMessage request, Consumer<R> edit)
            throws IOException {
        short asked = versionOf(request);
        return note(step, connection.ask(asked, request), asked, edit);
    }

    /** Sends a request that may be answered with the end of the connection; notes which it is. */
    void closes(String step, Connection connection, ApiMessage request) throws IOException {
        short asked = versionOf(request);
        connection.tell(asked, request);
        note(step, connection.receive(request.apiKey(), asked), asked);
    }

    /** Sends a request whose answer is read later, by {@link #hear}. */
    void start(Connection connection, ApiMessage request) throws IOException {
        connection.tell(versionOf(request), request);
    }

    /** The answer to what was started. */
    <R extends ApiMessage> R hear(String step, Connection connection, ApiKeys api)
            throws IOException {
        return hear(step, connection, api, (R all) -> {});
    }

    <R extends ApiMessage> R hear(
            String step, Connection connection, ApiKeys api, Consumer<R> edit)
            throws IOException {
        short asked = api == scenario.api() ? version : versions.newest(api);
        return note(step, connection.receive(api.id, asked), asked, edit);
    }

    /** Sends bytes and notes what comes back, an answer or the end of the connection. */
    void raw(String step, byte[] bytes) throws IOException {
        raw(step, version, bytes);
    }

    /** As above, where the answer is due in another version. */
    void raw(String step, short version, byte[] bytes) throws IOException {
        try (var connection = new Connection(address, "raw")) {
            connection.send(bytes);
            var api = scenario.api();
            note(step, connection.receive(api.id, version, 1), version);
        }
    }

    /** Sends a request in any version, without noting the answer. */
    <R extends ApiMessage> R quiet(ApiMessage request, short asked) throws IOException {
        var answer = connections.get(0).ask(asked, request);
        return answered(answer, "preparation with " + request.getClass().getSimpleName());
    }

    /** Sends a request in the newest version that both brokers serve, without noting the answer. */
    <R extends ApiMessage> R quiet(ApiMessage request) throws IOException {
        return quiet(request, versions.newest(ApiKeys.forId(request.apiKey())));
    }

    /** Notes a fact that is no answer. */
    void note(String step, JsonNode fact) {
        long same = steps.stream().filter(earlier -> earlier.name().equals(step)).count();
        if (same > 0) {
            throw new IllegalStateException("two steps are named " + step);
        }
        steps.add(new Step(step, normaliser.normalise(fact)));
    }

    /** Waits until something holds. */
    void until(String what, Callable<Boolean> fact) throws Exception {
        long end = System.nanoTime() + PATIENCE.toNanos();
        while (!fact.call()) {
            if (System.nanoTime() > end) {
                throw new Unanswered("waited in vain for " + what);
            }
            Thread.sleep(5);
        }
    }

    /** What was noted. */
    List<Step> steps() {
        return steps;
    }

    @Override
    public void close() throws IOException {
        for (var connection : connections) {
            connection.close();
        }
    }

    /** The version under test for the API under test, the newest of both brokers for others. */
    short versionOf(ApiMessage request) {
        return request.apiKey() == scenario.api().id
                ? version
                : versions.newest(ApiKeys.forId(request.apiKey()));
    }

    private void note(String step, Answer answer, short asked) {
        note(step, answer.message() == null
                ? answer.text()
                : Json.of(answer.message(), asked, answer.remarks()));
    }

    private <R extends ApiMessage> R note(
            String step, Answer answer, short asked, Consumer<R> edit) {
        R message = answered(answer, step, () -> note(step, answer.text()));
        edit.accept(message);
        note(step, Json.of(message, asked, answer.remarks()));
        return message;
    }

    private <R extends ApiMessage> R answered(Answer answer, String what) {
        return answered(answer, what, () -> {});
    }

    @SuppressWarnings("unchecked")
    private <R extends ApiMessage> R answered(Answer answer, String what, Runnable otherwise) {
        if (answer.message() == null) {
            otherwise.run();
            throw new Unanswered(what + ": " + answer.text().asText());
        }
        return (R) answer.message();
    }
}
