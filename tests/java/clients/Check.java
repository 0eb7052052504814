import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.function.BooleanSupplier;

/** What a fact says when it does not hold. */
final class Check {
    static final Duration LIMIT = Duration.ofSeconds(90);

    private Check() {}

    static void that(boolean fact, String otherwise) {
        if (!fact) {
            throw new AssertionError(otherwise);
        }
    }

    static void same(Object found, Object wanted) {
        that(Objects.deepEquals(found, wanted), "found " + found + ", wanted " + wanted);
    }

    /** Waits until it is so. */
    static void eventually(String what, BooleanSupplier fact) throws InterruptedException {
        var end = System.nanoTime() + LIMIT.toNanos();
        while (!fact.getAsBoolean()) {
            that(System.nanoTime() < end, "not within " + LIMIT + ": " + what);
            Thread.sleep(20);
        }
    }

    /** The error an action ends with, which must be of this kind. */
    static <E extends Throwable> E fails(Class<E> kind, Callable<?> action) throws Exception {
        Object answer;
        try {
            answer = action.call();
            answer = answer instanceof Future<?> future ? future.get() : answer;
        } catch (Exception thrown) {
            var error = thrown instanceof ExecutionException ? thrown.getCause() : thrown;
            if (kind.isInstance(error)) {
                return kind.cast(error);
            }
            throw thrown;
        }
        throw new AssertionError("no " + kind.getSimpleName() + " but " + answer);
    }
}
