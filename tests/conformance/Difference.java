package conformance;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import org.apache.kafka.common.protocol.ApiKeys;

/** One place where the two brokers answer differently, in one version. */
record Difference(ApiKeys api, short version, String where, String kafka, String strandline) {
    private static final String ABSENT = "absent";

    /** All of them between two transcripts. */
    static List<Difference> between(
            Suite.Scenario scenario, short version, List<Run.Step> kafka, List<Run.Step> ours) {
        var found = new ArrayList<Difference>();
        var collector = new Collector(scenario, version, found);
        for (int index = 0; index < Math.max(kafka.size(), ours.size()); index++) {
            var first = index < kafka.size() ? kafka.get(index) : null;
            var second = index < ours.size() ? ours.get(index) : null;
            if (first == null || second == null) {
                // The step before it says why one of the two went no further.
                break;
            }
            if (!first.name().equals(second.name())) {
                collector.add(first.name(), "step", first.name(), second.name());
                break;
            }
            collector.compare(first.name(), "", first.answer(), second.answer());
        }
        if (kafka.size() != ours.size()) {
            collector.add("end", "steps", "" + kafka.size(), "" + ours.size());
        }
        return found;
    }

    private record Collector(Suite.Scenario scenario, short version, List<Difference> found) {
        void compare(String step, String path, JsonNode kafka, JsonNode ours) {
            if (kafka != null && ours != null && kafka.isEmpty() != ours.isEmpty()) {
                add(step, path, text(kafka), text(ours));
            } else if (kafka instanceof ObjectNode && ours instanceof ObjectNode) {
                var names = new LinkedHashSet<String>();
                kafka.fieldNames().forEachRemaining(names::add);
                ours.fieldNames().forEachRemaining(names::add);
                names.forEach(name ->
                        compare(step, path + "/" + name, kafka.get(name), ours.get(name)));
            } else if (kafka instanceof ArrayNode && ours instanceof ArrayNode) {
                for (int index = 0; index < Math.max(kafka.size(), ours.size()); index++) {
                    compare(step, path + "/" + index, kafka.get(index), ours.get(index));
                }
            } else if (kafka == null || !kafka.equals(ours)) {
                add(step, path, text(kafka), text(ours));
            }
        }

        void add(String step, String path, String kafka, String ours) {
            var where = scenario.title() + " > " + step + " > " + path;
            found.add(new Difference(scenario.api(), version, where, kafka, ours));
        }

        private static String text(JsonNode node) {
            return node == null ? ABSENT : node.isTextual() ? node.asText() : node.toString();
        }
    }
}
