package conformance;

import java.util.List;
import org.apache.kafka.common.message.DeleteGroupsRequestData;
import org.apache.kafka.common.message.DescribeGroupsRequestData;
import org.apache.kafka.common.message.LeaveGroupRequestData;
import org.apache.kafka.common.message.LeaveGroupRequestData.MemberIdentity;
import org.apache.kafka.common.message.ListGroupsRequestData;
import org.apache.kafka.common.message.ListGroupsResponseData;
import org.apache.kafka.common.message.SyncGroupRequestData;
import org.apache.kafka.common.protocol.ApiKeys;

/** Classic consumer groups: section G of the checklist. */
final class GroupScenarios {
    private static final short REBALANCE = 27;

    private GroupScenarios() {}

    static void add(Suite suite) {
        suite.each(ApiKeys.JOIN_GROUP, "alone", GroupScenarios::alone);
        suite.each(ApiKeys.JOIN_GROUP, "two members", GroupScenarios::rebalance);
        suite.each(ApiKeys.JOIN_GROUP, "bad", GroupScenarios::badJoins);
        suite.each(ApiKeys.JOIN_GROUP, "protocols", GroupScenarios::protocols);
        suite.between(ApiKeys.JOIN_GROUP, "static members", 5, 9, GroupScenarios::staticMembers);
        suite.each(ApiKeys.SYNC_GROUP, "two members", GroupScenarios::rebalance);
        suite.each(ApiKeys.SYNC_GROUP, "bad", GroupScenarios::badSyncs);
        suite.each(ApiKeys.HEARTBEAT, "good and bad", GroupScenarios::beats);
        suite.each(ApiKeys.LEAVE_GROUP, "good and bad", GroupScenarios::leaves);
        suite.between(ApiKeys.LEAVE_GROUP, "many at once", 3, 5, GroupScenarios::manyLeave);
        suite.each(ApiKeys.DESCRIBE_GROUPS, "every state", GroupScenarios::describe);
        suite.each(ApiKeys.LIST_GROUPS, "every state", GroupScenarios::list);
        suite.each(ApiKeys.DELETE_GROUPS, "good and bad", GroupScenarios::delete);
    }

    private static void alone(Run run) throws Exception {
        run.prepare.coordinator();
        var member = new Member(run, "g", "a");
        member.join("joins");
        member.beat("beats before it syncs");
        member.join("joins again");
        member.sync("syncs", member);
        member.beat("beats");
        member.sync("syncs again");
        member.join("joins once more");
        member.sync("syncs anew", member);
        member.leave("leaves");
        member.beat("beats after it left");
        member.join("joins with an old id");
        new Member(run, "g", "b").join("another joins");
    }

    private static void rebalance(Run run) throws Exception {
        run.prepare.coordinator();
        var first = new Member(run, "g", "a").alone();
        var second = new Member(run, "g", "b");
        second.startJoin("b asks");
        first.untilBeat(REBALANCE);
        first.beat("a beats in the rebalance");
        run.ask("a syncs in the rebalance", first.connection, first.syncing(first));
        first.join("a joins again");
        second.hearJoin("b has joined");
        run.start(second.connection, second.syncing());
        first.sync("a assigns", first, second);
        run.hear("b is assigned", second.connection, ApiKeys.SYNC_GROUP);
        second.beat("b beats");
        second.join("b joins again, unchanged");
        second.leave("b leaves");
        first.untilBeat(REBALANCE);
        first.join("a joins alone");
        first.sync("a assigns itself", first);
        run.ask("described", new DescribeGroupsRequestData().setGroups(List.of(first.group)));
    }

    private static void badJoins(Run run) throws Exception {
        run.prepare.coordinator();
        var member = new Member(run, "g", "a");
        run.ask("no group", member.joining().setGroupId(""));
        run.ask("unknown member, no group", member.joining().setMemberId("who"));
        for (int timeout : new int[] {-1, 0, 5_999, 1_800_001}) {
            run.ask("session timeout " + timeout, member.joining().setSessionTimeoutMs(timeout));
        }
        run.ask("no protocol type", member.joining().setProtocolType(""));
        var none = member.joining();
        none.protocols().clear();
        run.ask("no protocols", none);
        member.alone();
        run.ask("unknown member", member.joining().setMemberId("who"));
        run.ask("another type", member.joining().setProtocolType("connect").setMemberId(""));
        run.ask("nothing in common",
                new Member(run, "g", "b").protocols("sticky").joining());
    }

    private static void protocols(Run run) throws Exception {
        run.prepare.coordinator();
        var first = new Member(run, "g", "a").protocols("new", "old").alone();
        var second = new Member(run, "g", "b").protocols("old", "new");
        second.startJoin("b asks");
        first.untilBeat(REBALANCE);
        first.protocols("old").join("a gives one up");
        second.hearJoin("b has joined");
        first.sync("a assigns", first, second);
        second.sync("b is assigned");
    }

    private static void staticMembers(Run run) throws Exception {
        run.prepare.coordinator();
        var first = new Member(run, "g", "a").instance("i");
        first.alone();
        var again = new Member(run, "g", "a2").instance("i");
        again.join("the same instance");
        again.sync("syncs");
        first.beat("the old member beats");
        first.join("the old member joins");
        again.beat("the new member beats");
        var changed = new Member(run, "g", "a3").instance("i").protocols("other");
        changed.join("the same instance with another protocol");
        changed.sync("assigns", changed);
        run.ask("an unknown member of the instance",
                new Member(run, "g", "a4").instance("i").joining().setMemberId("who"));
        run.ask("described", new DescribeGroupsRequestData().setGroups(List.of(first.group)));
        run.ask("leaves by instance", new LeaveGroupRequestData().setGroupId(first.group)
                .setMembers(List.of(new MemberIdentity().setGroupInstanceId("i"))));
    }

    private static void badSyncs(Run run) throws Exception {
        run.prepare.coordinator();
        var member = new Member(run, "g", "a");
        run.ask("no group", sync("", "who", 1));
        run.ask("no such group", sync(member.group, "who", 1));
        member.join("joins");
        run.ask("unknown member", sync(member.group, "who", member.generation));
        run.ask("old generation", member.syncing(member).setGenerationId(0));
        run.ask("new generation", member.syncing(member).setGenerationId(7));
        if (run.version >= 5) {
            run.ask("another type", member.syncing(member).setProtocolType("connect"));
            run.ask("another protocol", member.syncing(member).setProtocolName("sticky"));
        }
        member.sync("no assignment");
        member.beat("beats");
        run.ask("old generation, stable", member.syncing(member).setGenerationId(0));
    }

    private static SyncGroupRequestData sync(String group, String member, int generation) {
        return new SyncGroupRequestData()
                .setGroupId(group).setMemberId(member).setGenerationId(generation);
    }

    private static void beats(Run run) throws Exception {
        run.prepare.coordinator();
        var member = new Member(run, "g", "a");
        run.ask("no group", member.beating().setGroupId(""));
        run.ask("no such group", member.beating().setMemberId("who"));
        member.alone();
        member.beat("good");
        run.ask("old generation", member.beating().setGenerationId(0));
        run.ask("unknown member", member.beating().setMemberId("who"));
        run.ask("no member", member.beating().setMemberId(""));
        if (run.version >= 3) {
            run.ask("unknown instance", member.beating().setGroupInstanceId("who"));
        }
        member.leave("leaves");
        member.beat("after it left");
    }

    private static void leaves(Run run) throws Exception {
        run.prepare.coordinator();
        var member = new Member(run, "g", "a");
        run.ask("no such group", member.leaving());
        member.alone();
        var nobody = new Member(run, "g", "b");
        nobody.id = "who";
        run.ask("unknown member", nobody.leaving());
        run.ask("no group", member.leaving().setGroupId(""));
        member.leave("leaves");
        member.leave("leaves again");
    }

    private static void manyLeave(Run run) throws Exception {
        run.prepare.coordinator();
        var member = new Member(run, "g", "a").instance("i").alone();
        var request = new LeaveGroupRequestData().setGroupId(member.group);
        run.ask("nobody", request);
        run.ask("of three", request.setMembers(List.of(
                new MemberIdentity().setMemberId("who"),
                new MemberIdentity().setMemberId("who").setGroupInstanceId("i"),
                new MemberIdentity().setMemberId("").setGroupInstanceId("j"))));
        run.ask("by instance and twice", request.setMembers(List.of(
                new MemberIdentity().setMemberId(member.id).setGroupInstanceId("i"),
                new MemberIdentity().setMemberId("").setGroupInstanceId("i"))));
    }

    private static DescribeGroupsRequestData describing(Run run, String... groups) {
        var request = new DescribeGroupsRequestData().setGroups(List.of(groups));
        return run.version >= 3 ? request.setIncludeAuthorizedOperations(true) : request;
    }

    private static void describe(Run run) throws Exception {
        run.prepare.coordinator();
        var member = new Member(run, "g", "a");
        run.ask("none", describing(run));
        run.ask("two unknown", describing(run, member.group, run.name("unknown")));
        member.join("joins");
        run.ask("completing", describing(run, member.group));
        member.sync("syncs", member);
        run.ask("stable", describing(run, member.group, member.group));
        var second = new Member(run, "g", "b").instance("i");
        second.startJoin("b asks");
        member.untilBeat(REBALANCE);
        run.ask("preparing", describing(run, member.group));
        member.leave("leaves");
        second.hearJoin("b alone");
        second.leave("b leaves");
        run.ask("empty", describing(run, member.group));
    }

    private static void list(Run run) throws Exception {
        run.prepare.coordinator();
        new Member(run, "stable", "a").alone();
        new Member(run, "completing", "a").join("joins");
        var empty = new Member(run, "empty", "a");
        empty.join("joins too");
        empty.leave("leaves");
        list(run, "all", new ListGroupsRequestData());
        if (run.version >= 4) {
            for (var state : new String[] {"Stable", "stable", "Empty", "CompletingRebalance", "x"}) {
                list(run, "state " + state,
                        new ListGroupsRequestData().setStatesFilter(List.of(state)));
            }
            list(run, "two states",
                    new ListGroupsRequestData().setStatesFilter(List.of("Empty", "Stable")));
        }
        if (run.version >= 5) {
            for (var type : new String[] {"classic", "Classic", "consumer", "x"}) {
                list(run, "type " + type,
                        new ListGroupsRequestData().setTypesFilter(List.of(type)));
            }
        }
    }

    private static void list(Run run, String step, ListGroupsRequestData request)
            throws Exception {
        run.ask(step, request, (ListGroupsResponseData answer) ->
                answer.groups().removeIf(group -> !run.owns(group.groupId())));
    }

    private static void delete(Run run) throws Exception {
        run.prepare.coordinator();
        var member = new Member(run, "g", "a").alone();
        run.ask("with a member", deleting(member.group));
        run.ask("unknown", deleting(run.name("unknown")));
        run.ask("none", deleting());
        member.leave("leaves");
        run.ask("twice and another", deleting(member.group, member.group, run.name("other")));
        run.ask("again", deleting(member.group));
        member.beat("beats");
    }

    private static DeleteGroupsRequestData deleting(String... groups) {
        return new DeleteGroupsRequestData().setGroupsNames(List.of(groups));
    }
}
