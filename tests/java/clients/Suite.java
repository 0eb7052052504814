import java.util.List;

/** What users of the Java client depend on. Most facts wait: several run at once. */
public class Suite {
    public static void main(String[] arguments) throws Exception {
        Facts.run(List.of(Producing.class, Grouping.class, Reading.class, Topics.class,
                Groups.class, Own.class), 8, arguments);
    }
}
