package conformance;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.regex.Pattern;

/** Arguments: KAFKA STRANDLINE ROOT [FILTER]: two addresses, the project, a pattern of scenarios. */
final class Main {
    private static final int SIDE_BY_SIDE = 6;

    /** What a scenario in one version gave. */
    private record Outcome(
            Suite.Scenario scenario, short version, List<Difference> differences, String broken) {}

    /**
     * A transcript; the reason for which it ended early, or null; and whether that was the scenario's
     * own failure, not a missing answer.
     */
    private record Transcript(List<Run.Step> steps, String ended, boolean failed) {}

    private final Address kafka;
    private final Address strandline;
    private final Versions versions;
    private final Clock clock = Clock.now();

    private Main(Address kafka, Address strandline) throws Exception {
        this.kafka = kafka;
        this.strandline = strandline;
        this.versions = Versions.of(kafka, strandline);
    }

    public static void main(String[] arguments) throws Exception {
        var main = new Main(Address.parse(arguments[0]), Address.parse(arguments[1]));
        var explained = Explained.load(Path.of(arguments[2]));
        var filter = Pattern.compile(arguments.length > 3 ? arguments[3] : "");
        var report = main.run(explained, filter);
        report.print(System.out, arguments.length <= 3);
        System.exit(report.passed() ? 0 : 1);
    }

    private Report run(Explained explained, Pattern filter) throws Exception {
        var suite = new Suite(versions);
        Scenarios.all(suite);
        var chosen = suite.scenarios().stream()
                .filter(scenario -> filter.matcher(scenario.title()).find())
                .toList();
        var outcomes = new ArrayList<>(sideBySide(chosen));
        for (var work : work(chosen, true)) {
            outcomes.add(work.call());
        }
        var report = new Report(versions);
        Set<String> ran = new TreeSet<>();
        for (var outcome : outcomes) {
            ran.add(outcome.scenario().title());
            report.tried(outcome.scenario().api(), outcome.version());
            for (var difference : outcome.differences()) {
                var id = explained.id(difference);
                if (id == null) {
                    report.open(difference);
                } else {
                    report.explained(difference, id);
                }
            }
            if (outcome.broken() != null) {
                report.broken(outcome.scenario().title() + " " + outcome.version() + ": "
                        + outcome.broken());
            }
        }
        explained.untrue(ran).forEach(report::broken);
        return report;
    }

    private List<Outcome> sideBySide(List<Suite.Scenario> chosen) throws Exception {
        var pool = Executors.newFixedThreadPool(SIDE_BY_SIDE);
        var outcomes = new ArrayList<Outcome>();
        for (var outcome : pool.invokeAll(work(chosen, false))) {
            outcomes.add(outcome.get());
        }
        pool.shutdown();
        return outcomes;
    }

    private List<Callable<Outcome>> work(List<Suite.Scenario> chosen, boolean alone) {
        var work = new ArrayList<Callable<Outcome>>();
        for (var scenario : chosen) {
            if (scenario.alone() == alone) {
                scenario.versions().forEach(version -> work.add(() -> compare(scenario, version)));
            }
        }
        return work;
    }

    private Outcome compare(Suite.Scenario scenario, short version) throws Exception {
        var theirs = transcript(scenario, version, kafka);
        var ours = transcript(scenario, version, strandline);
        var differences = Difference.between(scenario, version, theirs.steps(), ours.steps());
        String broken = null;
        if (theirs.ended() != null && (theirs.failed() || differences.isEmpty())) {
            broken = "on Kafka: " + theirs.ended();
        } else if (ours.ended() != null && differences.isEmpty()) {
            broken = "on Strandline: " + ours.ended();
        }
        return new Outcome(scenario, version, differences, broken);
    }

    private Transcript transcript(Suite.Scenario scenario, short version, Address address)
            throws Exception {
        try (var run = new Run(scenario, version, address, versions, clock)) {
            try {
                scenario.script().run(run);
                return new Transcript(run.steps(), null, false);
            } catch (Run.Unanswered unanswered) {
                return new Transcript(run.steps(), unanswered.getMessage(), false);
            } catch (Exception wrong) {
                return new Transcript(run.steps(), at(wrong), true);
            }
        }
    }

    /** An exception and the line of the scenario that met it. */
    private static String at(Exception wrong) {
        for (var frame : wrong.getStackTrace()) {
            if (frame.getClassName().endsWith("Scenarios")) {
                return wrong + " at " + frame;
            }
        }
        return wrong.toString();
    }
}
