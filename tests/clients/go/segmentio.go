package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

var segmentioFacts = []fact{
	{"keys_values_headers_and_nulls_come_back", segmentioRecords},
	{"every_codec_comes_back", segmentioCodecs},
	{"every_kind_of_acknowledgement_is_served", segmentioAcks},
	{"a_batch_too_large_is_refused", segmentioTooLarge},
	{"a_topic_is_made_by_the_first_record", segmentioAutoCreate},
	{"a_group_shares_out_partitions_and_goes_on_where_it_was", segmentioGroup},
	{"a_consumer_starts_where_it_wants", segmentioSeek},
	{"a_time_is_looked_up_to_the_record", segmentioTimes},
	{"topics_partitions_and_configs_are_administered", segmentioTopics},
	{"groups_and_their_offsets_are_administered", segmentioGroups},
	{"a_transactional_producer_is_told_at_once", segmentioTransaction},
}

// segmentioTransport looks at the cluster often: what a client is told comes from what it keeps.
var segmentioTransport = &kafka.Transport{MetadataTTL: 50 * time.Millisecond}

func segmentio(bootstrap string) *kafka.Client {
	address := kafka.TCP(bootstrap)
	return &kafka.Client{Addr: address, Timeout: 30 * time.Second, Transport: segmentioTransport}
}

func segmentioTopic(bootstrap string, partitions int, configs ...kafka.ConfigEntry) string {
	name := fresh("segmentio")
	asked := &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: name, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs,
	}}}
	must(got(segmentio(bootstrap).CreateTopics(soon(), asked)).Errors[name])
	return name
}

// segmentioWriter sends what it is given at once, to the partition that each message names.
func segmentioWriter(bootstrap, topic string) *kafka.Writer {
	return &kafka.Writer{
		Addr: kafka.TCP(bootstrap), Topic: topic, BatchTimeout: 10 * time.Millisecond, BatchSize: 1000,
		RequiredAcks: kafka.RequireAll, Transport: segmentioTransport,
		Balancer: kafka.BalancerFunc(func(message kafka.Message, _ ...int) int {
			partition, _ := message.WriterData.(int)
			return partition
		}),
	}
}

func segmentioMessages(partition int, values []string) []kafka.Message {
	messages := []kafka.Message{}
	for _, value := range values {
		messages = append(messages, kafka.Message{Value: []byte(value), WriterData: partition})
	}
	return messages
}

func segmentioProduce(bootstrap, topic string, messages ...kafka.Message) {
	writer := segmentioWriter(bootstrap, topic)
	must(writer.WriteMessages(soon(), messages...))
	must(writer.Close())
}

// segmentioRead gives `count` messages of partition 0 from an offset on.
func segmentioRead(bootstrap, topic string, from int64, count int) []kafka.Message {
	reader := segmentioReader(bootstrap, topic)
	defer reader.Close()
	must(reader.SetOffset(from))
	messages := []kafka.Message{}
	for len(messages) < count {
		messages = append(messages, got(reader.ReadMessage(soon())))
	}
	return messages
}

func segmentioReader(bootstrap, topic string) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, Topic: topic, MaxWait: 100 * time.Millisecond,
	})
}

func segmentioRecords(bootstrap string) {
	topic := segmentioTopic(bootstrap, 1)
	headers := []kafka.Header{
		{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")},
		{Key: "empty", Value: []byte{}}, {Key: "null", Value: nil},
	}
	sent := []kafka.Message{
		{Key: []byte("k"), Value: []byte("v")}, {Key: nil, Value: []byte("no key")},
		{Key: []byte("tombstone"), Value: nil}, {Key: []byte("k"), Value: make([]byte, 100_000)},
	}
	for number := range sent {
		sent[number].Headers = headers
	}
	segmentioProduce(bootstrap, topic, sent...)
	for number, message := range segmentioRead(bootstrap, topic, 0, len(sent)) {
		wanted := sent[number]
		hold(message.Offset == int64(number), message)
		hold(bytes.Equal(message.Key, wanted.Key) && (message.Key == nil) == (wanted.Key == nil), message)
		hold(bytes.Equal(message.Value, wanted.Value), message)
		hold((message.Value == nil) == (wanted.Value == nil), message)
		hold(len(message.Headers) == len(headers), message.Headers)
		for place, header := range message.Headers {
			hold(header.Key == headers[place].Key && bytes.Equal(header.Value, headers[place].Value), header)
		}
	}
}

func segmentioCodecs(bootstrap string) {
	sent := numbers(2000)
	codecs := []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd}
	for _, codec := range codecs {
		topic := segmentioTopic(bootstrap, 1)
		writer := segmentioWriter(bootstrap, topic)
		writer.Compression = codec
		must(writer.WriteMessages(soon(), segmentioMessages(0, sent)...))
		must(writer.Close())
		for number, message := range segmentioRead(bootstrap, topic, 0, len(sent)) {
			hold(string(message.Value) == sent[number], codec, number)
		}
	}
}

func segmentioAcks(bootstrap string) {
	topic := segmentioTopic(bootstrap, 1)
	for _, acks := range []kafka.RequiredAcks{kafka.RequireNone, kafka.RequireOne, kafka.RequireAll} {
		writer := segmentioWriter(bootstrap, topic)
		writer.RequiredAcks = acks
		must(writer.WriteMessages(soon(), segmentioMessages(0, []string{"x"})...))
		must(writer.Close())
	}
	segmentioRead(bootstrap, topic, 0, 3)
}

func segmentioTooLarge(bootstrap string) {
	limit := kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "1000"}
	topic := segmentioTopic(bootstrap, 1, limit)
	writer := segmentioWriter(bootstrap, topic)
	defer writer.Close()
	err := writer.WriteMessages(soon(), segmentioMessages(0, []string{strings.Repeat("x", 2000)})...)
	var each kafka.WriteErrors
	hold(errors.As(err, &each) && errors.Is(each[0], kafka.MessageSizeTooLarge), err)
}

func segmentioAutoCreate(bootstrap string) {
	topic := fresh("segmentio")
	writer := segmentioWriter(bootstrap, topic)
	writer.AllowAutoTopicCreation = true
	defer writer.Close()
	// The first answer may be that it is not there yet; this client leaves the rest to its user.
	eventually("it is there", func() bool {
		err := writer.WriteMessages(soon(), segmentioMessages(0, []string{"x"})...)
		hold(err == nil || errors.Is(err, kafka.UnknownTopicOrPartition) ||
			errors.Is(err, kafka.LeaderNotAvailable), err)
		return err == nil
	})
	hold(string(segmentioRead(bootstrap, topic, 0, 1)[0].Value) == "x")
}

// segmentioMember is a member of a group that commits each message after it noted it.
type segmentioMember struct {
	reader *kafka.Reader
	ended  chan struct{}
	mutex  sync.Mutex
	seen   []string
}

func newSegmentioMember(bootstrap, group, topic string, balancer kafka.GroupBalancer) *segmentioMember {
	member := &segmentioMember{ended: make(chan struct{})}
	member.reader = kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, GroupID: group, GroupTopics: []string{topic},
		StartOffset: kafka.FirstOffset, GroupBalancers: []kafka.GroupBalancer{balancer},
		HeartbeatInterval: 500 * time.Millisecond, MaxWait: 100 * time.Millisecond,
		JoinGroupBackoff: 100 * time.Millisecond,
	})
	go func() {
		defer close(member.ended)
		for {
			message, err := member.reader.FetchMessage(context.Background())
			if errors.Is(err, io.EOF) {
				return
			}
			must(err)
			member.mutex.Lock()
			place := fmt.Sprint(message.Partition, " ", message.Offset)
			member.seen = append(member.seen, place)
			member.mutex.Unlock()
			must(member.reader.CommitMessages(context.Background(), message))
		}
	}()
	return member
}

func (member *segmentioMember) count() int {
	member.mutex.Lock()
	defer member.mutex.Unlock()
	return len(member.seen)
}

func (member *segmentioMember) leave() {
	must(member.reader.Close())
	<-member.ended
}

func segmentioGroup(bootstrap string) {
	balancers := []kafka.GroupBalancer{kafka.RangeGroupBalancer{}, kafka.RoundRobinGroupBalancer{}}
	together(balancers, func(balancer kafka.GroupBalancer) {
		segmentioShares(bootstrap, balancer)
	})
}

func segmentioShares(bootstrap string, balancer kafka.GroupBalancer) {
	topic, group := segmentioTopic(bootstrap, 4), fresh("group")
	produce := func(count int) {
		for partition := range 4 {
			segmentioProduce(bootstrap, topic, segmentioMessages(partition, numbers(count))...)
		}
	}
	owns := func(wanted ...int) func() bool {
		return func() bool {
			told := segmentioDescribe(bootstrap, group)
			if told.GroupState != "Stable" || len(told.Members) != len(wanted) {
				return false
			}
			for place, member := range told.Members {
				owned := 0
				for _, assigned := range member.MemberAssignments.Topics {
					owned += len(assigned.Partitions)
				}
				if owned != wanted[place] {
					return false
				}
			}
			return true
		}
	}
	produce(10)
	first := newSegmentioMember(bootstrap, group, topic, balancer)
	eventually("one owns all", func() bool { return owns(4)() && first.count() == 40 })
	second := newSegmentioMember(bootstrap, group, topic, balancer)
	eventually("each owns half", owns(2, 2))
	produce(1)
	eventually("all came", func() bool { return first.count()+second.count() == 44 })
	hold(first.count() == 42, first.seen)
	first.leave()
	eventually("the other owns all", owns(4))
	produce(1)
	eventually("all came to the other", func() bool { return second.count() == 6 })
	second.leave()
	places := map[string]bool{}
	for _, place := range append(first.seen, second.seen...) {
		hold(!places[place], place, " came twice")
		places[place] = true
	}
	asked := &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0, 1, 2, 3}}}
	for _, offset := range got(segmentio(bootstrap).OffsetFetch(soon(), asked)).Topics[topic] {
		hold(offset.CommittedOffset == 12, offset)
	}
}

func segmentioDescribe(bootstrap, group string) kafka.DescribeGroupsResponseGroup {
	asked := &kafka.DescribeGroupsRequest{GroupIDs: []string{group}}
	return got(segmentio(bootstrap).DescribeGroups(soon(), asked)).Groups[0]
}

func segmentioSeek(bootstrap string) {
	topic := segmentioTopic(bootstrap, 1)
	segmentioProduce(bootstrap, topic, segmentioMessages(0, numbers(10))...)
	for from, first := range map[int64]int64{kafka.FirstOffset: 0, 0: 0, 7: 7, 9: 9} {
		hold(segmentioRead(bootstrap, topic, from, 1)[0].Offset == first, first)
	}
	reader := segmentioReader(bootstrap, topic)
	defer reader.Close()
	hold(got(reader.ReadLag(soon())) == 10)
}

func segmentioTimes(bootstrap string) {
	topic := segmentioTopic(bootstrap, 1)
	messages := segmentioMessages(0, numbers(20))
	for number := range messages {
		messages[number].Time = base.Add(time.Duration(number) * time.Second)
	}
	segmentioProduce(bootstrap, topic, messages...)
	for after, offset := range map[int64]int64{-1: 0, 0: 0, 7500: 8, 19_000: 19} {
		at := base.Add(time.Duration(after) * time.Millisecond)
		reader := segmentioReader(bootstrap, topic)
		must(reader.SetOffsetAt(soon(), at))
		hold(got(reader.ReadMessage(soon())).Offset == offset, after)
		must(reader.Close())
		asked := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
			topic: {kafka.TimeOffsetOf(0, at), kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)},
		}}
		found := got(segmentio(bootstrap).ListOffsets(soon(), asked)).Topics[topic][0]
		_, there := found.Offsets[offset]
		hold(found.Error == nil && found.FirstOffset == 0 && found.LastOffset == 20 && there, found)
	}
}

func segmentioTopics(bootstrap string) {
	client, topic := segmentio(bootstrap), segmentioTopic(bootstrap, 2)
	again := &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: 2, ReplicationFactor: 1,
	}}}
	err := got(client.CreateTopics(soon(), again)).Errors[topic]
	hold(errors.Is(err, kafka.TopicAlreadyExists), err)
	more := &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 4}}}
	must(got(client.CreatePartitions(soon(), more)).Errors[topic])
	eventually("it has four partitions", func() bool {
		metadata := got(client.Metadata(soon(), &kafka.MetadataRequest{Topics: []string{topic}}))
		return len(metadata.Topics[0].Partitions) == 4 && len(metadata.Brokers) > 0
	})
	must(got(client.IncrementalAlterConfigs(soon(), &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{
				Name: "retention.ms", Value: "1000", ConfigOperation: kafka.ConfigOperationSet,
			}},
		}},
	})).Resources[0].Error)
	eventually("it is set", func() bool {
		told := got(client.DescribeConfigs(soon(), &kafka.DescribeConfigsRequest{
			Resources: []kafka.DescribeConfigRequestResource{{
				ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
				ConfigNames: []string{"retention.ms"},
			}},
		})).Resources[0]
		must(told.Error)
		return told.ConfigEntries[0].ConfigValue == "1000"
	})
	must(got(client.DeleteTopics(soon(), &kafka.DeleteTopicsRequest{Topics: []string{topic}})).Errors[topic])
	eventually("it is gone", func() bool {
		told := got(client.Metadata(soon(), &kafka.MetadataRequest{Topics: []string{topic}})).Topics[0]
		return errors.Is(told.Error, kafka.UnknownTopicOrPartition)
	})
}

func segmentioGroups(bootstrap string) {
	client, topic, group := segmentio(bootstrap), segmentioTopic(bootstrap, 1), fresh("group")
	committed := got(client.OffsetCommit(soon(), &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: 3, Metadata: "by hand"}}},
	}))
	must(committed.Topics[topic][0].Error)
	asked := &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0}}}
	found := got(client.OffsetFetch(soon(), asked)).Topics[topic][0]
	hold(found.CommittedOffset == 3 && found.Metadata == "by hand", found)
	listed := false
	for _, entry := range got(client.ListGroups(soon(), &kafka.ListGroupsRequest{})).Groups {
		listed = listed || entry.GroupID == group
	}
	hold(listed, "a group of offsets alone is listed")
	must(got(client.OffsetDelete(soon(), &kafka.OffsetDeleteRequest{
		GroupID: group, Topics: map[string][]int{topic: {0}},
	})).Topics[topic][0].Error)
	deleted := got(client.DeleteGroups(soon(), &kafka.DeleteGroupsRequest{GroupIDs: []string{group}}))
	err := deleted.Errors[group]
	hold(err == nil || errors.Is(err, kafka.GroupIdNotFound), "without offsets it may be gone already: ", err)
	told := segmentioDescribe(bootstrap, group)
	hold(told.GroupState == "Dead", told)
}

func segmentioTransaction(bootstrap string) {
	began := time.Now()
	answer := got(segmentio(bootstrap).InitProducerID(soon(), &kafka.InitProducerIDRequest{
		TransactionalID: fresh("id"), TransactionTimeoutMs: 10_000,
	}))
	hold(errors.Is(answer.Error, kafka.TransactionalIDAuthorizationFailed), answer)
	hold(time.Since(began) < 4*time.Second, "retried")
}
