import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;

/** Another Java process like this one. */
final class Jvm {
    private Jvm() {}

    static ProcessBuilder of(String main, String... arguments) {
        var command = new ArrayList<>(List.of("java"));
        command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), main));
        command.addAll(List.of(arguments));
        return new ProcessBuilder(command).redirectErrorStream(true);
    }
}
