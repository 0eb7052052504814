import java.io.PrintStream;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;

/**
 * Runs facts by name against one broker, each with topics and groups of its own. Every public
 * static method of a class is one; its name is the fact. Arguments: HOST:PORT [NAME...]
 */
final class Facts {
    private static final PrintStream OUT = System.out;

    private Facts() {}

    static void run(List<Class<?>> holders, int atOnce, String[] arguments) throws Exception {
        var cluster = new Cluster(arguments[0]);
        var wanted = List.of(arguments).subList(1, arguments.length);
        var facts = new ArrayList<Callable<Boolean>>();
        for (var holder : holders) {
            var methods = List.of(holder.getDeclaredMethods()).stream()
                    .filter(method -> Modifier.isPublic(method.getModifiers()))
                    .filter(method -> wanted.isEmpty() || wanted.contains(method.getName()))
                    .sorted(Comparator.comparing(Method::getName))
                    .toList();
            methods.forEach(method -> facts.add(() -> holds(method, cluster)));
        }
        var threads = Executors.newFixedThreadPool(atOnce);
        var failed = 0;
        for (var outcome : threads.invokeAll(facts)) {
            failed += outcome.get() ? 0 : 1;
        }
        OUT.println(facts.size() + " facts, " + failed + " failed");
        Runtime.getRuntime().halt(failed == 0 && !facts.isEmpty() ? 0 : 1);
    }

    private static boolean holds(Method fact, Cluster cluster) {
        var began = System.nanoTime();
        Throwable trouble = null;
        try {
            fact.invoke(null, cluster);
        } catch (ReflectiveOperationException | RuntimeException wrong) {
            trouble = wrong.getCause() == null ? wrong : wrong.getCause();
        }
        var seconds = (System.nanoTime() - began) / 1e9;
        synchronized (OUT) {
            var outcome = trouble == null ? "ok" : "FAILED";
            OUT.printf("%s %s (%.1f s)%n", outcome, fact.getName(), seconds);
            if (trouble != null) {
                trouble.printStackTrace(OUT);
            }
        }
        return trouble == null;
    }
}
