package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

var saramaFacts = []fact{
	{"keys_values_headers_and_nulls_come_back", saramaRecords},
	{"every_codec_comes_back", saramaCodecs},
	{"every_kind_of_acknowledgement_is_served", saramaAcks},
	{"a_batch_too_large_is_refused", saramaTooLarge},
	{"a_group_shares_out_partitions_and_goes_on_where_it_was", saramaGroup},
	{"a_consumer_starts_where_it_wants", saramaSeek},
	{"a_time_is_looked_up_to_the_record", saramaTimes},
	{"topics_partitions_and_configs_are_administered", saramaTopics},
	{"groups_and_their_offsets_are_administered", saramaGroups},
	{"deleted_records_are_gone", saramaDeleteRecords},
	{"the_oldest_and_the_newest_protocol_are_served", saramaVersions},
	{"a_protocol_older_than_that_is_refused_and_does_not_hang", saramaTooOld},
	{"a_transactional_producer_is_told_at_once", saramaTransaction},
}

func init() {
	sarama.Logger = log.New(io.Discard, "", 0)
}

// saramaConfig is what most users write.
func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V2_1_0_0
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Return.Errors = true
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	return config
}

func saramaAdmin(bootstrap string, with func(admin sarama.ClusterAdmin)) {
	config := saramaConfig()
	config.Version = sarama.V2_4_0_0 // the first to delete a group's offsets
	admin := got(sarama.NewClusterAdmin([]string{bootstrap}, config))
	defer admin.Close()
	with(admin)
}

func saramaTopic(bootstrap string, partitions int32, configs map[string]*string) string {
	name := fresh("sarama")
	saramaAdmin(bootstrap, func(admin sarama.ClusterAdmin) {
		detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs}
		must(admin.CreateTopic(name, detail, false))
	})
	return name
}

func saramaProduce(bootstrap string, config *sarama.Config, messages ...*sarama.ProducerMessage) {
	producer := got(sarama.NewSyncProducer([]string{bootstrap}, config))
	must(producer.SendMessages(messages))
	must(producer.Close())
}

// saramaMessages are plain ones for one partition.
func saramaMessages(topic string, partition int32, values []string) []*sarama.ProducerMessage {
	messages := []*sarama.ProducerMessage{}
	for _, value := range values {
		messages = append(messages, &sarama.ProducerMessage{
			Topic: topic, Partition: partition, Value: sarama.StringEncoder(value),
		})
	}
	return messages
}

// saramaRead gives `count` messages of partition 0 from an offset on.
func saramaRead(
	bootstrap, topic string, from int64, count int, config *sarama.Config,
) []*sarama.ConsumerMessage {
	consumer := got(sarama.NewConsumer([]string{bootstrap}, config))
	defer consumer.Close()
	partition := got(consumer.ConsumePartition(topic, 0, from))
	defer partition.Close()
	messages := []*sarama.ConsumerMessage{}
	late := time.After(30 * time.Second)
	for len(messages) < count {
		select {
		case message := <-partition.Messages():
			messages = append(messages, message)
		case err := <-partition.Errors():
			panic(err)
		case <-late:
			panic(fmt.Sprint("only ", len(messages), " of ", count))
		}
	}
	return messages
}

func saramaRecords(bootstrap string) {
	topic := saramaTopic(bootstrap, 1, nil)
	headers := []sarama.RecordHeader{
		{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("a"), Value: []byte("2")},
		{Key: []byte("empty"), Value: []byte{}}, {Key: []byte("null"), Value: nil},
	}
	bytes := func(text string) sarama.Encoder { return sarama.ByteEncoder(text) }
	sent := []*sarama.ProducerMessage{
		{Key: bytes("k"), Value: bytes("v")}, {Key: nil, Value: bytes("")},
		{Key: bytes(""), Value: bytes("x")}, {Key: bytes("tombstone"), Value: nil},
		{Key: bytes("k"), Value: bytes(strings.Repeat("\x00", 100_000))},
	}
	for _, message := range sent {
		message.Topic, message.Headers = topic, headers
	}
	saramaProduce(bootstrap, saramaConfig(), sent...)
	same := func(found []byte, wanted sarama.Encoder) bool {
		if wanted == nil {
			return found == nil
		}
		return found != nil && string(found) == string(got(wanted.Encode()))
	}
	for number, message := range saramaRead(bootstrap, topic, 0, len(sent), saramaConfig()) {
		wanted := sent[number]
		hold(message.Offset == int64(number), message.Offset)
		hold(same(message.Key, wanted.Key) && same(message.Value, wanted.Value), number, message)
		hold(len(message.Headers) == len(headers), message.Headers)
		for place, header := range message.Headers {
			hold(string(header.Key) == string(headers[place].Key), header)
			hold(string(header.Value) == string(headers[place].Value), header)
		}
	}
}

func saramaCodecs(bootstrap string) {
	codecs := []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4,
		sarama.CompressionZSTD,
	}
	for _, codec := range codecs {
		topic, config, sent := saramaTopic(bootstrap, 1, nil), saramaConfig(), numbers(2000)
		config.Producer.Compression = codec
		saramaProduce(bootstrap, config, saramaMessages(topic, 0, sent)...)
		for number, message := range saramaRead(bootstrap, topic, 0, len(sent), config) {
			hold(string(message.Value) == sent[number], codec, number)
		}
	}
}

func saramaAcks(bootstrap string) {
	topic := saramaTopic(bootstrap, 1, nil)
	kinds := []sarama.RequiredAcks{sarama.NoResponse, sarama.WaitForLocal, sarama.WaitForAll}
	for _, acks := range kinds {
		config := saramaConfig()
		config.Producer.RequiredAcks = acks
		saramaProduce(bootstrap, config, saramaMessages(topic, 0, []string{"x"})...)
	}
	config := saramaConfig()
	config.Producer.RequiredAcks, config.Producer.Idempotent = sarama.WaitForAll, true
	config.Net.MaxOpenRequests = 1
	saramaProduce(bootstrap, config, saramaMessages(topic, 0, numbers(100))...)
	saramaRead(bootstrap, topic, 0, 103, config)
}

func saramaTooLarge(bootstrap string) {
	limit := "1000"
	topic := saramaTopic(bootstrap, 1, map[string]*string{"max.message.bytes": &limit})
	producer := got(sarama.NewSyncProducer([]string{bootstrap}, saramaConfig()))
	defer producer.Close()
	_, _, err := producer.SendMessage(saramaMessages(topic, 0, []string{strings.Repeat("x", 2000)})[0])
	hold(errors.Is(err, sarama.ErrMessageSizeTooLarge), err)
}

// saramaMember is a member of a group that notes what came and what it owns.
type saramaMember struct {
	group sarama.ConsumerGroup
	stop  context.CancelFunc
	ended chan struct{}
	mutex sync.Mutex
	seen  []string
	owned int
}

func newSaramaMember(bootstrap, group, topic string, config *sarama.Config) *saramaMember {
	member := &saramaMember{
		group: got(sarama.NewConsumerGroup([]string{bootstrap}, group, config)),
		ended: make(chan struct{}),
	}
	going, stop := context.WithCancel(context.Background())
	member.stop = stop
	go func() {
		defer close(member.ended)
		for going.Err() == nil {
			must(member.group.Consume(going, []string{topic}, member))
		}
	}()
	return member
}

func (member *saramaMember) own(count int) {
	member.mutex.Lock()
	defer member.mutex.Unlock()
	member.owned = count
}

func (member *saramaMember) Setup(session sarama.ConsumerGroupSession) error {
	for _, partitions := range session.Claims() {
		member.own(len(partitions))
	}
	return nil
}

func (member *saramaMember) Cleanup(session sarama.ConsumerGroupSession) error {
	member.own(0)
	session.Commit()
	return nil
}

func (member *saramaMember) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for {
		select {
		case message, more := <-claim.Messages():
			if !more {
				return nil
			}
			member.mutex.Lock()
			member.seen = append(member.seen, fmt.Sprint(message.Partition, " ", message.Offset))
			member.mutex.Unlock()
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func (member *saramaMember) has(owned, seen int) func() bool {
	return func() bool {
		member.mutex.Lock()
		defer member.mutex.Unlock()
		return member.owned == owned && len(member.seen) == seen
	}
}

func (member *saramaMember) leave() {
	member.stop()
	<-member.ended
	must(member.group.Close())
}

func saramaGroup(bootstrap string) {
	strategies := []sarama.BalanceStrategy{
		sarama.NewBalanceStrategyRange(), sarama.NewBalanceStrategyRoundRobin(),
		sarama.NewBalanceStrategySticky(),
	}
	together(strategies, func(strategy sarama.BalanceStrategy) {
		config := saramaConfig()
		config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
		saramaShares(bootstrap, config)
	})
}

func saramaShares(bootstrap string, config *sarama.Config) {
	topic, group := saramaTopic(bootstrap, 4, nil), fresh("group")
	produce := func(count int) {
		for partition := range int32(4) {
			saramaProduce(bootstrap, config, saramaMessages(topic, partition, numbers(count))...)
		}
	}
	produce(10)
	first := newSaramaMember(bootstrap, group, topic, config)
	eventually("one owns all", first.has(4, 40))
	second := newSaramaMember(bootstrap, group, topic, config)
	eventually("each owns half", func() bool { return first.has(2, 40)() && second.has(2, 0)() })
	produce(1)
	eventually("half came to each", func() bool { return first.has(2, 42)() && second.has(2, 2)() })
	first.leave()
	eventually("the other owns all", second.has(4, 2))
	produce(1)
	eventually("all came", second.has(4, 6))
	second.leave()
	places := map[string]bool{}
	for _, place := range append(first.seen, second.seen...) {
		hold(!places[place], place, " came twice")
		places[place] = true
	}
	saramaAdmin(bootstrap, func(admin sarama.ClusterAdmin) {
		offsets := got(admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1, 2, 3}}))
		for partition := range int32(4) {
			hold(offsets.GetBlock(topic, partition).Offset == 12, offsets)
		}
	})
}

func saramaSeek(bootstrap string) {
	topic := saramaTopic(bootstrap, 1, nil)
	saramaProduce(bootstrap, saramaConfig(), saramaMessages(topic, 0, numbers(10))...)
	for from, first := range map[int64]int64{sarama.OffsetOldest: 0, 0: 0, 7: 7, 9: 9} {
		hold(saramaRead(bootstrap, topic, from, 1, saramaConfig())[0].Offset == first, first)
	}
	consumer := got(sarama.NewConsumer([]string{bootstrap}, saramaConfig()))
	defer consumer.Close()
	_, err := consumer.ConsumePartition(topic, 0, 11)
	hold(errors.Is(err, sarama.ErrOffsetOutOfRange), err)
}

func saramaTimes(bootstrap string) {
	topic, config := saramaTopic(bootstrap, 1, nil), saramaConfig()
	config.Producer.Compression = sarama.CompressionSnappy
	messages := saramaMessages(topic, 0, numbers(20))
	for number, message := range messages {
		message.Timestamp = base.Add(time.Duration(number) * time.Second)
	}
	saramaProduce(bootstrap, config, messages...)
	client := got(sarama.NewClient([]string{bootstrap}, config))
	defer client.Close()
	for after, offset := range map[int64]int64{-1: 0, 0: 0, 7500: 8, 19_000: 19, 19_001: -1} {
		found := got(client.GetOffset(topic, 0, base.UnixMilli()+after))
		hold(found == offset, after, found)
	}
	hold(got(client.GetOffset(topic, 0, sarama.OffsetNewest)) == 20)
	hold(got(client.GetOffset(topic, 0, sarama.OffsetOldest)) == 0)
}

func saramaTopics(bootstrap string) {
	saramaAdmin(bootstrap, func(admin sarama.ClusterAdmin) {
		topic, compact := fresh("sarama"), "compact"
		detail := &sarama.TopicDetail{
			NumPartitions: 2, ReplicationFactor: 1,
			ConfigEntries: map[string]*string{"cleanup.policy": &compact},
		}
		must(admin.CreateTopic(topic, detail, true))
		_, there := got(admin.ListTopics())[topic]
		hold(!there, "only validated")
		must(admin.CreateTopic(topic, detail, false))
		err := admin.CreateTopic(topic, detail, false)
		hold(errors.Is(err, sarama.ErrTopicAlreadyExists), err)
		listed := got(admin.ListTopics())[topic]
		hold(listed.NumPartitions == 2 && *listed.ConfigEntries["cleanup.policy"] == compact, listed)
		must(admin.CreatePartitions(topic, 4, nil, false))
		told := got(admin.DescribeTopics([]string{topic}))[0]
		hold(told.Err == sarama.ErrNoError && len(told.Partitions) == 4, told)
		shown := func(key string) string {
			asked := sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{key}}
			return got(admin.DescribeConfig(asked))[0].Value
		}
		short := "1000"
		whole := map[string]*string{"retention.ms": &short}
		must(admin.AlterConfig(sarama.TopicResource, topic, whole, false))
		eventually("the whole set is replaced", func() bool {
			return shown("retention.ms") == short && shown("cleanup.policy") == "delete"
		})
		must(admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
			"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationDelete},
		}, false))
		eventually("the default is back", func() bool { return shown("retention.ms") == "604800000" })
		brokers, _, err := admin.DescribeCluster()
		must(err)
		hold(len(brokers) > 0)
		got(admin.DescribeLogDirs([]int32{brokers[0].ID()}))
		must(admin.DeleteTopic(topic))
		eventually("it is gone", func() bool {
			_, there := got(admin.ListTopics())[topic]
			return !there
		})
	})
}

func saramaGroups(bootstrap string) {
	topic, group := saramaTopic(bootstrap, 2, nil), fresh("group")
	saramaProduce(bootstrap, saramaConfig(), saramaMessages(topic, 0, numbers(10))...)
	member := newSaramaMember(bootstrap, group, topic, saramaConfig())
	eventually("it owns all", member.has(2, 10))
	saramaAdmin(bootstrap, func(admin sarama.ClusterAdmin) {
		told := got(admin.DescribeConsumerGroups([]string{group}))[0]
		hold(told.State == "Stable" && len(told.Members) == 1, told)
		for _, one := range told.Members {
			assigned := got(one.GetMemberAssignment())
			hold(len(assigned.Topics[topic]) == 2, assigned)
		}
		err := admin.DeleteConsumerGroup(group)
		hold(errors.Is(err, sarama.ErrNonEmptyGroup), err)
		member.leave()
		hold(got(admin.ListConsumerGroups())[group] == "consumer")
		must(admin.DeleteConsumerGroupOffset(group, topic, 0))
		offsets := got(admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0}}))
		hold(offsets.GetBlock(topic, 0).Offset == -1, offsets)
		must(admin.DeleteConsumerGroup(group))
		_, there := got(admin.ListConsumerGroups())[group]
		hold(!there, "a deleted group is not listed")
	})
}

func saramaDeleteRecords(bootstrap string) {
	topic := saramaTopic(bootstrap, 1, nil)
	saramaProduce(bootstrap, saramaConfig(), saramaMessages(topic, 0, numbers(10))...)
	saramaAdmin(bootstrap, func(admin sarama.ClusterAdmin) {
		must(admin.DeleteRecords(topic, map[int32]int64{0: 4}))
		hold(admin.DeleteRecords(topic, map[int32]int64{0: 11}) != nil, "deleted beyond the end")
	})
	first := saramaRead(bootstrap, topic, sarama.OffsetOldest, 1, saramaConfig())[0]
	hold(first.Offset == 4, first.Offset)
}

func saramaVersions(bootstrap string) {
	topic := saramaTopic(bootstrap, 1, nil)
	// V0_11_0_0 has the oldest requests that Kafka 4 still answers.
	versions := []sarama.KafkaVersion{
		sarama.V0_11_0_0, sarama.V1_0_0_0, sarama.V2_1_0_0, sarama.V3_6_0_0, sarama.MaxVersion,
	}
	for count, version := range versions {
		for _, asks := range []bool{false, true} {
			config := saramaConfig()
			config.Version, config.ApiVersionsRequest = version, asks
			saramaProduce(bootstrap, config, saramaMessages(topic, 0, []string{version.String()})...)
			next := int64(count * 2)
			if asks {
				next += 1
			}
			found := saramaRead(bootstrap, topic, next, 1, config)[0]
			hold(string(found.Value) == version.String(), version, found)
		}
	}
}

func saramaTooOld(bootstrap string) {
	topic, config := saramaTopic(bootstrap, 1, nil), saramaConfig()
	config.Version, config.ApiVersionsRequest = sarama.V0_10_0_0, false
	config.Producer.Retry.Max = 1
	producer := got(sarama.NewSyncProducer([]string{bootstrap}, config))
	defer producer.Close()
	began := time.Now()
	_, _, err := producer.SendMessage(saramaMessages(topic, 0, []string{"x"})[0])
	hold(err != nil, "it was taken")
	hold(time.Since(began) < 15*time.Second, err)
}

func saramaTransaction(bootstrap string) {
	config := saramaConfig()
	config.Producer.Transaction.ID = fresh("id")
	config.Producer.Idempotent, config.Net.MaxOpenRequests = true, 1
	config.Producer.RequiredAcks = sarama.WaitForAll
	began := time.Now()
	_, err := sarama.NewSyncProducer([]string{bootstrap}, config)
	hold(errors.Is(err, sarama.ErrTransactionalIDAuthorizationFailed), err)
	hold(time.Since(began) < 4*time.Second, "retried: ", err)
}
