import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/** One of Kafka's command-line tools, run in this process; one at a time, for they print. */
final class Tool {
    /** How a tool ends the process it thinks it has to itself. */
    private static final class Exited extends Error {}

    private Tool() {}

    /** What the tool prints, which must end well. */
    static String run(String main, String... arguments) throws Exception {
        return fed("", main, arguments);
    }

    static String fed(String input, String main, String... arguments) throws Exception {
        var printed = new ByteArrayOutputStream();
        var code = end(input, main, arguments, printed);
        Check.that(code == 0, main + " ended with " + code + ": " + printed);
        return printed.toString();
    }

    /** The same of a tool that does need a process to itself. */
    static String apart(String main, String... arguments) throws Exception {
        var process = Jvm.of(main, arguments).start();
        var printed = new String(process.getInputStream().readAllBytes());
        var code = process.waitFor();
        Check.that(code == 0, main + " ended with " + code + ": " + printed);
        return printed;
    }

    private static int end(
            String input, String main, String[] arguments, ByteArrayOutputStream printed)
            throws Exception {
        var out = System.out;
        var err = System.err;
        var to = new PrintStream(printed, true);
        // A tool may catch what ends it and end itself again: the first time counts.
        var codes = new ArrayList<Integer>();
        var hooks = new ArrayList<Runnable>();
        Exit.setExitProcedure((code, message) -> {
            codes.add(code);
            throw new Exited();
        });
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        System.setOut(to);
        System.setErr(to);
        System.setIn(new ByteArrayInputStream(input.getBytes()));
        try {
            Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException thrown) {
            if (!(thrown.getCause() instanceof Exited)) {
                throw thrown;
            }
        } finally {
            hooks.forEach(Runnable::run);
            System.setOut(out);
            System.setErr(err);
        }
        return codes.isEmpty() ? 0 : codes.get(0);
    }

    /** The words of each line that is there, runs of blanks made one. */
    static List<String> lines(String printed) {
        var lines = new ArrayList<String>();
        printed.lines().map(line -> line.strip().replaceAll("\\s+", " "))
                .filter(line -> !line.isEmpty()).forEach(lines::add);
        return lines;
    }

    /** That this is among the lines. */
    static void shows(String printed, String... wanted) {
        for (var line : wanted) {
            Check.that(lines(printed).stream().anyMatch(found -> found.contains(line)),
                    "no '" + line + "' in " + printed);
        }
    }
}
