package conformance;

/** Every area of the suite. */
final class Scenarios {
    private Scenarios() {}

    static void all(Suite suite) {
        FramingScenarios.add(suite);
        MetadataScenarios.add(suite);
        TopicScenarios.add(suite);
        CoordinatorScenarios.add(suite);
    }
}
