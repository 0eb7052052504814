package conformance;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.protocol.ApiKeys;

/** The table of APIs and versions, and what is not as it must be. */
final class Report {
    private enum Cell {
        SAME("="),
        EXPLAINED("~"),
        OPEN("X"),
        NOT_SERVED("-"),
        NOT_TRIED("?");

        final String sign;

        Cell(String sign) {
            this.sign = sign;
        }
    }

    private record Place(String where, String kafka, String strandline) {}

    private final Map<ApiKeys, Map<Short, Cell>> table = new TreeMap<>();
    private final Map<ApiKeys, Map<String, TreeSet<Short>>> explained = new TreeMap<>();
    private final Map<Place, TreeSet<Short>> open = new LinkedHashMap<>();
    private final List<String> broken = new ArrayList<>();

    Report(Versions versions) {
        for (var api : versions.kafka().keySet()) {
            for (short version = api.oldestVersion(); versions.kafkaServes(api, version); version++) {
                var cell = versions.both(api, version) ? Cell.NOT_TRIED : Cell.NOT_SERVED;
                table.computeIfAbsent(api, fresh -> new TreeMap<>()).put(version, cell);
            }
        }
    }

    /** A scenario was run in a version of an API. */
    void tried(ApiKeys api, short version) {
        raise(api, version, Cell.SAME);
    }

    void explained(Difference difference, String id) {
        raise(difference.api(), difference.version(), Cell.EXPLAINED);
        explained.computeIfAbsent(difference.api(), fresh -> new TreeMap<>())
                .computeIfAbsent(id, fresh -> new TreeSet<>())
                .add(difference.version());
    }

    void open(Difference difference) {
        raise(difference.api(), difference.version(), Cell.OPEN);
        var place = new Place(difference.where(), difference.kafka(), difference.strandline());
        open.computeIfAbsent(place, fresh -> new TreeSet<>()).add(difference.version());
    }

    /** A scenario, or what is written about one, is wrong. */
    void broken(String what) {
        broken.add(what);
    }

    boolean passed() {
        return open.isEmpty() && broken.isEmpty();
    }

    void print(PrintStream out, boolean whole) {
        out.println("= same   ~ differs as explained   X differs   - not served   ? not tried");
        var counts = new TreeMap<Cell, Integer>();
        table.forEach((api, row) -> {
            var line = new StringBuilder();
            for (short version = 0; version <= api.latestVersion(); version++) {
                var cell = row.get(version);
                line.append("  ").append(cell == null ? " " : cell.sign);
                if (cell != null) {
                    counts.merge(cell, 1, Integer::sum);
                }
                if (cell == Cell.NOT_TRIED && whole) {
                    broken("no scenario tries " + api.name + " " + version);
                }
            }
            var reasons = new StringBuilder();
            explained.getOrDefault(api, Map.of()).forEach((id, versions) ->
                    reasons.append("  ").append(id).append(' ').append(versions));
            out.printf("%3d %-30s%-60s%s%n", api.id, api.name, line, reasons);
        });
        open.forEach((place, versions) -> out.printf(
                "DIFFERS %s %s%n    Kafka:      %s%n    Strandline: %s%n",
                place.where(), versions, place.kafka(), place.strandline()));
        broken.forEach(what -> out.println("BROKEN " + what));
        out.println("API versions: " + counts + ", differences open: " + open.size());
    }

    private void raise(ApiKeys api, short version, Cell cell) {
        table.get(api).merge(version, cell, (old, fresh) ->
                old == Cell.NOT_TRIED || fresh.compareTo(old) > 0 && old != Cell.NOT_SERVED
                        ? fresh
                        : old);
    }
}
