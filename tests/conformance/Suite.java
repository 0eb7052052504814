package conformance;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.kafka.common.protocol.ApiKeys;

/**
 * The scenarios: the same requests are sent to Apache Kafka and to Strandline, and what the two
 * answer is compared.
 *
 * <p><b>To add one</b>, write in a file of {@code areas/} (and name a new file in {@link Areas}):
 *
 * <pre>
 * suite.each(ApiKeys.METADATA, "unknown topic", run -> {
 *     var request = new MetadataRequestData().setTopics(...run.name("nobody")...);
 *     run.ask("by name", request);
 * });
 * </pre>
 *
 * It runs once for every version of the API that Apache Kafka advertises, and on each broker. All
 * that {@code run.ask} gets is written into a transcript, step by step; the two transcripts are
 * normalised ({@link Normaliser}) and must be equal.
 *
 * <ul>
 *   <li>Scenarios run side by side: every topic, group and id of yours comes from
 *       {@code run.name}, or {@code run.topic}, which also creates it.
 *   <li>Nothing may depend on time but through {@code run.time}; what must wait, waits for a state
 *       that both brokers reach ({@code run.until}).
 *   <li>A field that a version has not got must not be set: {@code if (run.version >= 5)}.
 *   <li>{@code run.quiet} is for preparation: it must be answered, and is not compared.
 *   <li>What changes the whole broker is declared by {@link #alone}: it runs after all others.
 * </ul>
 *
 * A difference is fixed, or gets a line in {@code explained.tsv} and its id a line in
 * {@code docs/compatibility.md}; see {@link Explained}.
 */
final class Suite {
    /** What a scenario does. */
    interface Script {
        void run(Run run) throws Exception;
    }

    /** A scenario: its versions are those it runs in. */
    record Scenario(ApiKeys api, String name, List<Short> versions, boolean alone, Script script) {
        String title() {
            return api.name + "/" + name;
        }
    }

    private final List<Scenario> scenarios = new ArrayList<>();
    private final Versions versions;

    Suite(Versions versions) {
        this.versions = versions;
    }

    /** A scenario for every version of an API that both brokers serve. */
    void each(ApiKeys api, String name, Script script) {
        between(api, name, 0, Short.MAX_VALUE, script);
    }

    /** A scenario for the versions from `first` to `last` of an API. */
    void between(ApiKeys api, String name, int first, int last, Script script) {
        add(api, name, first, last, false, script);
    }

    /** A scenario for the newest version of an API, where versions make no difference. */
    void once(ApiKeys api, String name, Script script) {
        short newest = versions.newest(api);
        add(api, name, newest, newest, false, script);
    }

    /** As {@link #each}, with no other scenario beside it. */
    void alone(ApiKeys api, String name, Script script) {
        add(api, name, 0, Short.MAX_VALUE, true, script);
    }

    List<Scenario> scenarios() {
        return scenarios;
    }

    private void add(
            ApiKeys api, String name, int first, int last, boolean alone, Script script) {
        var wanted = IntStream.rangeClosed(Math.max(first, api.oldestVersion()), last)
                .takeWhile(version -> version <= api.latestVersion())
                .mapToObj(version -> (short) version)
                .filter(version -> versions.both(api, version))
                .toList();
        scenarios.add(new Scenario(api, name, wanted, alone, script));
    }
}
