package conformance;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * The differences that are meant, from {@code explained.tsv}: one a line, five columns parted by
 * tabs, `#` begins a comment.
 *
 * <ol>
 *   <li>id: what {@code docs/compatibility.md} explains under that name, in words for people.
 *   <li>versions in which it occurs: `3`, `0-4`, `0-2,5`, or `*` for any.
 *   <li>where: API/scenario > step > path. In this and the next columns `*` stands for any text.
 *   <li>what Kafka answers there.
 *   <li>what Strandline answers there.
 * </ol>
 *
 * A line that matches nothing, a version of its list in which it matches nothing, and an id that
 * only one of the two files knows are errors: what is written there is true.
 */
final class Explained {
    private static final String TABLE = "explained.tsv";
    private static final Pattern ID = Pattern.compile("^\\| `([a-z0-9-]+)` \\|", Pattern.MULTILINE);

    private static final class Line {
        final String id;
        final String text;
        final String where;
        final Set<Short> versions;
        final List<Pattern> patterns;
        final Set<Short> matched = new TreeSet<>();

        Line(String text) {
            var columns = text.split("\t");
            if (columns.length != 5) {
                throw new IllegalArgumentException(TABLE + ": five columns are due in " + text);
            }
            this.id = columns[0];
            this.text = text;
            this.where = columns[2];
            this.versions = versions(columns[1]);
            this.patterns = List.of(glob(columns[2]), glob(columns[3]), glob(columns[4]));
        }

        boolean matches(Difference difference) {
            return (versions.isEmpty() || versions.contains(difference.version()))
                    && patterns.get(0).matcher(difference.where()).matches()
                    && patterns.get(1).matcher(difference.kafka()).matches()
                    && patterns.get(2).matcher(difference.strandline()).matches();
        }

        private static Set<Short> versions(String text) {
            var versions = new TreeSet<Short>();
            if (text.equals("*")) {
                return versions;
            }
            for (var range : text.split(",")) {
                var ends = range.split("-");
                short last = Short.parseShort(ends[ends.length - 1]);
                for (short version = Short.parseShort(ends[0]); version <= last; version++) {
                    versions.add(version);
                }
            }
            return versions;
        }

        private static Pattern glob(String text) {
            var quoted = Pattern.quote(text).replace("*", "\\E.*\\Q");
            return Pattern.compile(quoted, Pattern.DOTALL);
        }
    }

    private final List<Line> lines;
    private final Set<String> told;

    private Explained(List<Line> lines, Set<String> told) {
        this.lines = lines;
        this.told = told;
    }

    static Explained load(Path root) throws IOException {
        var table = root.resolve("tests/conformance").resolve(TABLE);
        var lines = Files.readAllLines(table).stream()
                .filter(line -> !line.isBlank() && !line.startsWith("#"))
                .map(Line::new)
                .toList();
        var document = Files.readString(root.resolve("docs/compatibility.md"));
        var told = ID.matcher(document).results()
                .map(found -> found.group(1))
                .collect(Collectors.toCollection(TreeSet::new));
        return new Explained(lines, told);
    }

    /** The id under which a difference is explained, or null. */
    String id(Difference difference) {
        String id = null;
        for (var line : lines) {
            if (line.matches(difference)) {
                line.matched.add(difference.version());
                id = line.id;
            }
        }
        return id;
    }

    /** What is written and not true, after every difference was asked about. */
    List<String> untrue(Set<String> ran) {
        var untrue = new ArrayList<String>();
        for (var line : lines) {
            var missing = new TreeSet<>(line.versions);
            missing.removeAll(line.matched);
            boolean concerned = ran.stream().anyMatch(title -> couldMatch(line, title));
            if (concerned && (line.matched.isEmpty() || !missing.isEmpty())) {
                untrue.add("no longer occurs" + (missing.isEmpty() ? "" : " in " + missing)
                        + ": " + line.text);
            }
            if (!told.contains(line.id)) {
                untrue.add("docs/compatibility.md has no line for `" + line.id + "`");
            }
        }
        var used = lines.stream().map(line -> line.id).collect(Collectors.toSet());
        told.stream().filter(id -> !used.contains(id)).forEach(id ->
                untrue.add("docs/compatibility.md explains `" + id + "`, which nothing uses"));
        return untrue.stream().distinct().toList();
    }

    /** Whether a line speaks of a scenario that was run: not all are when a filter is given. */
    private static boolean couldMatch(Line line, String title) {
        var scenario = line.where.split(" > ")[0];
        return Line.glob(scenario).matcher(title).matches();
    }
}
