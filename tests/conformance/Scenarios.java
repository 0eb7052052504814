package conformance;

/** Every area of the suite. */
final class Scenarios {
    private Scenarios() {}

    static void all(Suite suite) {
        FramingScenarios.add(suite);
        MetadataScenarios.add(suite);
        TopicScenarios.add(suite);
        ProduceScenarios.add(suite);
        IdempotenceScenarios.add(suite);
        FetchScenarios.add(suite);
        OffsetScenarios.add(suite);
        ConfigScenarios.add(suite);
        OperationScenarios.add(suite);
        CoordinatorScenarios.add(suite);
        GroupScenarios.add(suite);
        CommitScenarios.add(suite);
    }
}
