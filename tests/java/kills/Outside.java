import java.io.IOException;

/** What happens to the broker, by the hand of whoever started this program. */
final class Outside {
    private Outside() {}

    /** Asks for the broker to be killed and started again; returns when it serves. */
    static void killTheBroker() throws IOException {
        System.out.println("kill -9 the broker");
        Check.that(System.in.read() == '\n', "the broker was not killed");
    }
}
