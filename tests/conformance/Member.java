package conformance;

import java.nio.ByteBuffer;
import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.message.HeartbeatRequestData;
import org.apache.kafka.common.message.JoinGroupRequestData;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocol;
import org.apache.kafka.common.message.JoinGroupResponseData;
import org.apache.kafka.common.message.LeaveGroupRequestData;
import org.apache.kafka.common.message.LeaveGroupRequestData.MemberIdentity;
import org.apache.kafka.common.message.SyncGroupRequestData;
import org.apache.kafka.common.message.SyncGroupRequestData.SyncGroupRequestAssignment;
import org.apache.kafka.common.protocol.ApiKeys;

/** A member of a classic group, on a connection of its own. Its name is its client id. */
final class Member {
    private static final short MEMBER_ID_REQUIRED = 79;

    final Connection connection;
    final String group;
    String id = "";
    int generation = -1;
    private final Run run;
    private final String name;
    private String instance;
    private List<String> protocols = List.of("range", "roundrobin");

    Member(Run run, String group, String name) throws Exception {
        this.run = run;
        this.group = run.name(group);
        this.name = name;
        this.connection = run.connect(name);
    }

    /** A static member. */
    Member instance(String instance) {
        this.instance = instance;
        return this;
    }

    Member protocols(String... names) {
        this.protocols = List.of(names);
        return this;
    }

    JoinGroupRequestData joining() {
        var request = new JoinGroupRequestData()
                .setGroupId(group)
                .setSessionTimeoutMs(30_000)
                .setMemberId(id)
                .setProtocolType("consumer");
        if (run.versionOf(request) >= 1) {
            request.setRebalanceTimeoutMs(60_000);
        }
        if (run.versionOf(request) >= 5) {
            request.setGroupInstanceId(instance);
        }
        protocols.forEach(protocol -> request.protocols().add(new JoinGroupRequestProtocol()
                .setName(protocol)
                .setMetadata(subscription(protocol))));
        return request;
    }

    /** What a consumer sends: Kafka reads it to learn the group's topics. */
    private byte[] subscription(String protocol) {
        var userData = ByteBuffer.wrap((protocol + " of " + name).getBytes());
        var topics = List.of(run.name("subscribed"));
        var bytes = ConsumerProtocol.serializeSubscription(new Subscription(topics, userData));
        return bytes.array();
    }

    /** Joins, with the member id it is given where the version wants one, and notes the answers. */
    JoinGroupResponseData join(String step) throws Exception {
        JoinGroupResponseData answer = run.ask(step, connection, joining());
        if (answer.errorCode() == MEMBER_ID_REQUIRED) {
            id = answer.memberId();
            answer = run.ask(step + " with its id", connection, joining());
        }
        return joined(answer);
    }

    /** Sends the join whose answer waits for others. */
    void startJoin(String step) throws Exception {
        if (id.isEmpty() && instance == null && run.versionOf(joining()) >= 4) {
            JoinGroupResponseData answer = run.ask(step, connection, joining());
            id = answer.memberId();
        }
        run.start(connection, joining());
    }

    JoinGroupResponseData hearJoin(String step) throws Exception {
        return joined(run.hear(step, connection, ApiKeys.JOIN_GROUP));
    }

    private JoinGroupResponseData joined(JoinGroupResponseData answer) {
        if (answer.errorCode() == 0) {
            id = answer.memberId();
            generation = answer.generationId();
        }
        return answer;
    }

    SyncGroupRequestData syncing(Member... assigned) {
        var request = new SyncGroupRequestData()
                .setGroupId(group)
                .setGenerationId(generation)
                .setMemberId(id);
        if (run.versionOf(request) >= 3) {
            request.setGroupInstanceId(instance);
        }
        if (run.versionOf(request) >= 5) {
            request.setProtocolType("consumer").setProtocolName(protocols.get(0));
        }
        for (var member : assigned) {
            request.assignments().add(new SyncGroupRequestAssignment()
                    .setMemberId(member.id)
                    .setAssignment(("for " + member.name).getBytes()));
        }
        return request;
    }

    void sync(String step, Member... assigned) throws Exception {
        run.ask(step, connection, syncing(assigned));
    }

    HeartbeatRequestData beating() {
        var request = new HeartbeatRequestData()
                .setGroupId(group)
                .setGenerationId(generation)
                .setMemberId(id);
        return run.versionOf(request) >= 3 ? request.setGroupInstanceId(instance) : request;
    }

    void beat(String step) throws Exception {
        run.ask(step, connection, beating());
    }

    /** Waits until a heartbeat is answered with an error of this code. */
    void untilBeat(short error) throws Exception {
        short newest = run.newest(ApiKeys.HEARTBEAT);
        run.until("heartbeat " + error, () -> {
            var answer = connection.ask(newest, beating());
            return ((org.apache.kafka.common.message.HeartbeatResponseData) answer.message())
                    .errorCode() == error;
        });
    }

    LeaveGroupRequestData leaving() {
        var request = new LeaveGroupRequestData().setGroupId(group);
        if (run.versionOf(request) < 3) {
            return request.setMemberId(id);
        }
        return request.setMembers(List.of(
                new MemberIdentity().setMemberId(id).setGroupInstanceId(instance)));
    }

    void leave(String step) throws Exception {
        run.ask(step, connection, leaving());
    }

    /** Joins as the only member and syncs. */
    Member alone() throws Exception {
        join(name + " joins");
        sync(name + " syncs", this);
        return this;
    }
}
