package conformance;

import java.util.List;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.FindCoordinatorResponseData;
import org.apache.kafka.common.protocol.ApiKeys;

/** Who coordinates a group. */
final class CoordinatorScenarios {
    private CoordinatorScenarios() {}

    static void add(Suite suite) {
        suite.each(ApiKeys.FIND_COORDINATOR, "of groups", CoordinatorScenarios::groups);
        suite.between(ApiKeys.FIND_COORDINATOR, "key types", 1, 6, CoordinatorScenarios::types);
        suite.between(ApiKeys.FIND_COORDINATOR, "of transactions", 1, 6,
                CoordinatorScenarios::transactions);
    }

    /** The topic of transactions is made on first use. */
    private static void transactions(Run run) throws Exception {
        var id = run.name("id");
        run.until("a coordinator", () -> {
            FindCoordinatorResponseData answer = run.quiet(new FindCoordinatorRequestData()
                    .setKeyType((byte) 1).setCoordinatorKeys(List.of(id)));
            return answer.coordinators().get(0).errorCode() == 0;
        });
        run.ask("of a transaction", find(run, 1, id));
    }

    private static FindCoordinatorRequestData find(Run run, int type, String... keys) {
        var request = new FindCoordinatorRequestData();
        if (run.version >= 1) {
            request.setKeyType((byte) type);
        }
        return run.version >= 4
                ? request.setCoordinatorKeys(List.of(keys))
                : request.setKey(keys[0]);
    }

    private static void groups(Run run) throws Exception {
        run.prepare.coordinator();
        run.ask("a group", find(run, 0, run.name("g"), run.name("h")));
        run.ask("empty", find(run, 0, ""));
        if (run.version >= 4) {
            run.ask("none", find(run, 0));
            run.ask("twice", find(run, 0, run.name("g"), run.name("g")));
        }
    }

    private static void types(Run run) throws Exception {
        for (int type : new int[] {3, 17, -1}) {
            run.ask("type " + type, find(run, type, run.name("g")));
        }
    }
}
