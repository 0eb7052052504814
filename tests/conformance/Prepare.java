package conformance;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.CreateTopicsRequestData;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopic;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopicConfig;
import org.apache.kafka.common.message.CreateTopicsResponseData;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.FindCoordinatorResponseData;
import org.apache.kafka.common.message.HeartbeatRequestData;
import org.apache.kafka.common.message.HeartbeatResponseData;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsPartition;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsTopic;
import org.apache.kafka.common.message.ListOffsetsResponseData;
import org.apache.kafka.common.protocol.Errors;

/** What scenarios need before they begin; not compared. */
final class Prepare {
    /** A topic that is there and has its leaders. */
    record Topic(String name, Uuid id) {}

    private final Run run;
    private int barriers;

    Prepare(Run run) {
        this.run = run;
    }

    /** A new topic of this scenario, with configs as `key=value`, ready to be used. */
    Topic topic(String name, int partitions, String... configs) throws Exception {
        var wanted = new CreatableTopic()
                .setName(run.name(name))
                .setNumPartitions(partitions)
                .setReplicationFactor((short) 1);
        Arrays.stream(configs).map(config -> config.split("=", 2)).forEach(config -> wanted.configs()
                .add(new CreatableTopicConfig().setName(config[0]).setValue(config[1])));
        var request = new CreateTopicsRequestData().setTimeoutMs(30_000);
        request.topics().add(wanted);
        CreateTopicsResponseData response = run.quiet(request);
        var made = response.topics().iterator().next();
        if (made.errorCode() != Errors.NONE.code()) {
            throw new IllegalStateException("cannot create " + wanted + ": " + made);
        }
        run.until("leaders of " + wanted.name(), () -> led(wanted.name(), partitions));
        var topic = new Topic(wanted.name(), made.topicId());
        run.know(topic);
        return topic;
    }

    /** Waits until the broker knows of all that the controller has done: it hears of it in order. */
    void settled() throws Exception {
        topic("barrier" + barriers++, 1);
    }

    /** Waits until the broker coordinates the groups of this scenario. */
    void coordinator() throws Exception {
        var request = new HeartbeatRequestData()
                .setGroupId(run.name("g"))
                .setGenerationId(1)
                .setMemberId("nobody");
        var find = new FindCoordinatorRequestData().setCoordinatorKeys(List.of(run.name("g")));
        run.until("a coordinator", () -> {
            FindCoordinatorResponseData found = run.quiet(find);
            HeartbeatResponseData beaten = run.quiet(request);
            return found.coordinators().get(0).errorCode() == Errors.NONE.code()
                    && beaten.errorCode() == Errors.UNKNOWN_MEMBER_ID.code();
        });
    }

    private boolean led(String topic, int partitions) throws IOException {
        var asked = new ListOffsetsTopic().setName(topic);
        IntStream.range(0, partitions).forEach(partition -> asked.partitions()
                .add(new ListOffsetsPartition().setPartitionIndex(partition).setTimestamp(-1)));
        var request = new ListOffsetsRequestData().setReplicaId(-1);
        request.topics().add(asked);
        ListOffsetsResponseData response = run.quiet(request);
        return response.topics().stream()
                .flatMap(answered -> answered.partitions().stream())
                .allMatch(partition -> partition.errorCode() == Errors.NONE.code());
    }
}
