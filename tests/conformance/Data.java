package conformance;

import conformance.Prepare.Topic;
import java.nio.ByteBuffer;
import org.apache.kafka.common.message.DeleteRecordsRequestData;
import org.apache.kafka.common.message.DeleteRecordsRequestData.DeleteRecordsPartition;
import org.apache.kafka.common.message.DeleteRecordsRequestData.DeleteRecordsTopic;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchRequestData.FetchPartition;
import org.apache.kafka.common.message.FetchRequestData.FetchTopic;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsPartition;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsTopic;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceRequestData.PartitionProduceData;
import org.apache.kafka.common.message.ProduceRequestData.TopicProduceData;
import org.apache.kafka.common.message.ProduceResponseData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.record.internal.MemoryRecords;

/** Requests that carry records or ask for their places, by name or by id as the version wants. */
final class Data {
    private static final short PRODUCE_BY_ID = 13;
    private static final short FETCH_BY_ID = 13;

    private Data() {}

    static ProduceRequestData produce(short version, Topic topic, int partition, byte[] records) {
        return add(new ProduceRequestData().setAcks((short) -1).setTimeoutMs(30_000),
                version, topic, partition, records);
    }

    static ProduceRequestData add(
            ProduceRequestData request, short version, Topic topic, int partition, byte[] records) {
        var wanted = new TopicProduceData();
        if (version >= PRODUCE_BY_ID) {
            wanted.setTopicId(topic.id());
        } else {
            wanted.setName(topic.name());
        }
        wanted.partitionData().add(new PartitionProduceData()
                .setIndex(partition)
                .setRecords(MemoryRecords.readableRecords(ByteBuffer.wrap(records))));
        request.topicData().add(wanted);
        return request;
    }

    /** Appends to a topic, as preparation. */
    static void append(Run run, Topic topic, int partition, Batch batch) throws Exception {
        short newest = run.newest(ApiKeys.PRODUCE);
        ProduceResponseData answer =
                run.quiet(produce(newest, topic, partition, batch.bytes()), newest);
        short error =
                answer.responses().iterator().next().partitionResponses().get(0).errorCode();
        if (error != 0) {
            throw new IllegalStateException("cannot append: error " + error);
        }
    }

    static FetchRequestData fetch() {
        return new FetchRequestData()
                .setReplicaId(-1)
                .setMaxWaitMs(0)
                .setMinBytes(0)
                .setMaxBytes(Integer.MAX_VALUE)
                .setSessionEpoch(-1);
    }

    static FetchRequestData fetch(short version, Topic topic, int partition, long offset) {
        return add(fetch(), version, topic, at(partition, offset));
    }

    static FetchPartition at(int partition, long offset) {
        return new FetchPartition()
                .setPartition(partition)
                .setFetchOffset(offset)
                .setPartitionMaxBytes(1 << 20);
    }

    static FetchRequestData add(
            FetchRequestData request, short version, Topic topic, FetchPartition... partitions) {
        var wanted = new FetchTopic();
        if (version >= FETCH_BY_ID) {
            wanted.setTopicId(topic.id());
        } else {
            wanted.setTopic(topic.name());
        }
        wanted.partitions().addAll(java.util.List.of(partitions));
        request.topics().add(wanted);
        return request;
    }

    static ListOffsetsRequestData offsets(String topic, int partition, long timestamp) {
        var wanted = new ListOffsetsTopic().setName(topic);
        wanted.partitions().add(
                new ListOffsetsPartition().setPartitionIndex(partition).setTimestamp(timestamp));
        var request = new ListOffsetsRequestData().setReplicaId(-1);
        request.topics().add(wanted);
        return request;
    }

    static DeleteRecordsRequestData deleteRecords(String topic, int partition, long offset) {
        var wanted = new DeleteRecordsTopic().setName(topic);
        wanted.partitions().add(
                new DeleteRecordsPartition().setPartitionIndex(partition).setOffset(offset));
        var request = new DeleteRecordsRequestData().setTimeoutMs(30_000);
        request.topics().add(wanted);
        return request;
    }
}
