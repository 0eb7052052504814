package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

var franzFacts = []fact{
	{"keys_values_headers_and_nulls_come_back", franzRecords},
	{"every_codec_comes_back", franzCodecs},
	{"every_kind_of_acknowledgement_is_served", franzAcks},
	{"a_batch_too_large_is_refused", franzTooLarge},
	{"a_group_with_the_client_s_default_settings_shares_out_and_goes_on", franzDefaultGroup},
	{"every_balancer_of_a_group_shares_out_partitions", franzBalancers},
	{"a_consumer_starts_where_it_wants", franzSeek},
	{"a_time_is_looked_up_to_the_record", franzTimes},
	{"topics_partitions_and_configs_are_administered", franzTopics},
	{"groups_and_their_offsets_are_administered", franzGroups},
	{"deleted_records_are_gone", franzDeleteRecords},
	{"versions_named_by_hand_are_served_from_2_1_on", franzVersions},
	{"a_transactional_producer_is_told_at_once", franzTransaction},
}

func franz(bootstrap string, options ...kgo.Opt) *kgo.Client {
	return got(kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap)}, options...)...))
}

// soon bounds what must not hang.
func soon() context.Context {
	context, cancel := context.WithCancel(context.Background())
	time.AfterFunc(30*time.Second, cancel)
	return context
}

// franzAdmin runs `with` with an administrator.
func franzAdmin(bootstrap string, with func(admin *kadm.Client)) {
	client := franz(bootstrap)
	defer client.Close()
	with(kadm.NewClient(client))
}

func franzTopic(bootstrap string, partitions int32, configs map[string]*string) string {
	name := fresh("franz")
	franzAdmin(bootstrap, func(admin *kadm.Client) {
		must(got(admin.CreateTopic(soon(), partitions, 1, configs, name)).Err)
	})
	return name
}

func franzProduce(bootstrap, topic string, partition int32, values []string, options ...kgo.Opt) {
	producer := franz(bootstrap, append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	defer producer.Close()
	for _, value := range values {
		record := &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}
		producer.Produce(soon(), record, func(_ *kgo.Record, err error) { must(err) })
	}
	must(producer.Flush(soon()))
}

// franzRead gives the first `count` records of partition 0 from an offset on.
func franzRead(bootstrap, topic string, from kgo.Offset, count int, options ...kgo.Opt) []*kgo.Record {
	partitions := map[string]map[int32]kgo.Offset{topic: {0: from}}
	consumer := franz(bootstrap, append(options, kgo.ConsumePartitions(partitions))...)
	defer consumer.Close()
	records := []*kgo.Record{}
	for len(records) < count {
		fetches := consumer.PollFetches(soon())
		must(fetches.Err())
		records = append(records, fetches.Records()...)
	}
	return records
}

func values(records []*kgo.Record) string {
	texts := []string{}
	for _, record := range records {
		texts = append(texts, string(record.Value))
	}
	return strings.Join(texts, " ")
}

func franzRecords(bootstrap string) {
	topic := franzTopic(bootstrap, 1, nil)
	headers := []kgo.RecordHeader{
		{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")},
		{Key: "empty", Value: []byte{}}, {Key: "null", Value: nil},
	}
	sent := []*kgo.Record{
		{Key: []byte("k"), Value: []byte("v")}, {Key: nil, Value: []byte{}},
		{Key: []byte{}, Value: []byte("x")}, {Key: []byte("tombstone"), Value: nil},
		{Key: []byte("k"), Value: make([]byte, 100_000)},
	}
	producer := franz(bootstrap)
	for _, record := range sent {
		record.Topic, record.Headers = topic, headers
		must(producer.ProduceSync(soon(), record).FirstErr())
	}
	producer.Close()
	same := func(one, other []byte) bool {
		return bytes.Equal(one, other) && (one == nil) == (other == nil)
	}
	for number, record := range franzRead(bootstrap, topic, kgo.NewOffset().AtStart(), len(sent)) {
		hold(record.Offset == int64(number), record)
		hold(same(record.Key, sent[number].Key) && same(record.Value, sent[number].Value), record)
		hold(len(record.Headers) == len(headers), record)
		for place, header := range record.Headers {
			wanted := headers[place]
			hold(header.Key == wanted.Key && same(header.Value, wanted.Value), record.Headers)
		}
	}
}

func franzCodecs(bootstrap string) {
	sent := numbers(2000)
	codecs := []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(),
		kgo.ZstdCompression(),
	}
	for _, codec := range codecs {
		topic := franzTopic(bootstrap, 1, nil)
		linger := kgo.ProducerLinger(50 * time.Millisecond)
		franzProduce(bootstrap, topic, 0, sent, kgo.ProducerBatchCompression(codec), linger)
		found := values(franzRead(bootstrap, topic, kgo.NewOffset().AtStart(), len(sent)))
		hold(found == strings.Join(sent, " "), codec)
	}
}

func franzAcks(bootstrap string) {
	topic := franzTopic(bootstrap, 1, nil)
	loose := kgo.DisableIdempotentWrite()
	for _, acks := range []kgo.Acks{kgo.NoAck(), kgo.LeaderAck(), kgo.AllISRAcks()} {
		franzProduce(bootstrap, topic, 0, []string{"x"}, kgo.RequiredAcks(acks), loose)
	}
	franzProduce(bootstrap, topic, 0, []string{"x"})
	franzRead(bootstrap, topic, kgo.NewOffset().AtStart(), 4)
}

func franzTooLarge(bootstrap string) {
	topic := franzTopic(bootstrap, 1, map[string]*string{"max.message.bytes": kadm.StringPtr("1000")})
	producer := franz(bootstrap, kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer producer.Close()
	record := &kgo.Record{Topic: topic, Value: make([]byte, 2000)}
	err := producer.ProduceSync(soon(), record).FirstErr()
	hold(errors.Is(err, kerr.MessageTooLarge), err)
}

// franzMember is a member of a group that polls all the time.
type franzMember struct {
	client *kgo.Client
	mutex  sync.Mutex
	seen   []string
	owned  int
	ended  chan struct{}
}

func newFranzMember(bootstrap, group, topic string, options ...kgo.Opt) *franzMember {
	member := &franzMember{ended: make(chan struct{})}
	count := func(by int) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
			member.mutex.Lock()
			defer member.mutex.Unlock()
			member.owned += by * len(topics[topic])
		}
	}
	options = append(options, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(count(1)), kgo.OnPartitionsRevoked(func(
			context context.Context, client *kgo.Client, topics map[string][]int32,
		) {
			// What was polled is done; so it is with the partition given away.
			must(client.CommitUncommittedOffsets(context))
			count(-1)(context, client, topics)
		}))
	member.client = franz(bootstrap, options...)
	go func() {
		defer close(member.ended)
		for {
			fetches := member.client.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			member.mutex.Lock()
			for _, record := range fetches.Records() {
				member.seen = append(member.seen, fmt.Sprint(record.Partition, " ", record.Offset))
			}
			member.mutex.Unlock()
			member.client.AllowRebalance()
		}
	}()
	return member
}

func (member *franzMember) state() (owned, seen int) {
	member.mutex.Lock()
	defer member.mutex.Unlock()
	return member.owned, len(member.seen)
}

func (member *franzMember) leave() {
	member.client.Close()
	<-member.ended
}

// franzShares takes a group of one member to two and back.
func franzShares(bootstrap string, options ...kgo.Opt) {
	topic, group := franzTopic(bootstrap, 4, nil), fresh("group")
	produce := func(count int) {
		for partition := range int32(4) {
			franzProduce(bootstrap, topic, partition, numbers(count))
		}
	}
	produce(10)
	options = append(options, kgo.HeartbeatInterval(500*time.Millisecond), kgo.BlockRebalanceOnPoll())
	first := newFranzMember(bootstrap, group, topic, options...)
	eventually("one owns all", func() bool {
		owned, seen := first.state()
		return owned == 4 && seen == 40
	})
	second := newFranzMember(bootstrap, group, topic, options...)
	eventually("each owns half", func() bool {
		one, _ := first.state()
		other, _ := second.state()
		return one == 2 && other == 2
	})
	produce(1)
	eventually("half of it came to each", func() bool {
		_, one := first.state()
		_, other := second.state()
		return one == 42 && other == 2
	})
	first.leave()
	eventually("the other owns all", func() bool {
		owned, _ := second.state()
		return owned == 4
	})
	produce(1)
	eventually("all came", func() bool {
		_, seen := second.state()
		return seen == 6
	})
	second.leave()
	places := map[string]bool{}
	for _, place := range append(first.seen, second.seen...) {
		hold(!places[place], place, " came twice")
		places[place] = true
	}
	franzAdmin(bootstrap, func(admin *kadm.Client) {
		offsets := got(admin.FetchOffsets(soon(), group))
		for partition := range int32(4) {
			offset, _ := offsets.Lookup(topic, partition)
			hold(offset.At == 12, offset)
		}
	})
}

func franzDefaultGroup(bootstrap string) {
	franzShares(bootstrap)
}

func franzBalancers(bootstrap string) {
	balancers := []kgo.GroupBalancer{
		kgo.CooperativeStickyBalancer(), kgo.StickyBalancer(), kgo.RangeBalancer(), kgo.RoundRobinBalancer(),
	}
	together(balancers, func(balancer kgo.GroupBalancer) {
		franzShares(bootstrap, kgo.Balancers(balancer))
	})
}

func franzSeek(bootstrap string) {
	topic := franzTopic(bootstrap, 1, nil)
	franzProduce(bootstrap, topic, 0, numbers(10))
	starts := map[int64]kgo.Offset{
		0: kgo.NewOffset().AtStart(), 7: kgo.NewOffset().At(7), 9: kgo.NewOffset().AtEnd().Relative(-1),
		4: kgo.NewOffset().AtStart().Relative(4),
	}
	for first, start := range starts {
		hold(franzRead(bootstrap, topic, start, 1)[0].Offset == first, first)
	}
	consumer := franz(bootstrap, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		topic: {0: kgo.NewOffset().AtStart()},
	}))
	defer consumer.Close()
	hold(len(consumer.PollFetches(soon()).Records()) == 10)
	for _, offset := range []int64{7, 0, 9} {
		consumer.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: -1, Offset: offset}}})
		records := consumer.PollFetches(soon()).Records()
		hold(len(records) > 0 && records[0].Offset == offset, records)
	}
}

func franzTimes(bootstrap string) {
	topic := franzTopic(bootstrap, 1, nil)
	producer := franz(bootstrap, kgo.ProducerLinger(100*time.Millisecond))
	for number := range 20 {
		at := base.Add(time.Duration(number) * time.Second)
		record := &kgo.Record{Topic: topic, Value: []byte("x"), Timestamp: at}
		producer.Produce(soon(), record, func(_ *kgo.Record, err error) { must(err) })
	}
	must(producer.Flush(soon()))
	producer.Close()
	franzAdmin(bootstrap, func(admin *kadm.Client) {
		for after, offset := range map[int64]int64{-1: 0, 0: 0, 7500: 8, 19_000: 19} {
			found := got(admin.ListOffsetsAfterMilli(soon(), base.UnixMilli()+after, topic))
			place, _ := found.Lookup(topic, 0)
			must(place.Err)
			hold(place.Offset == offset && place.Timestamp == base.UnixMilli()+offset*1000, place)
		}
		found := got(admin.ListOffsetsAfterMilli(soon(), base.UnixMilli()+19_001, topic))
		place, _ := found.Lookup(topic, 0)
		hold(place.Offset == 20, "nothing that late: the end", place)
		found = got(admin.ListMaxTimestampOffsets(soon(), topic))
		place, _ = found.Lookup(topic, 0)
		hold(place.Offset == 19 && place.Timestamp == base.UnixMilli()+19_000, place)
	})
	start := kgo.NewOffset().AfterMilli(base.UnixMilli() + 7500)
	hold(franzRead(bootstrap, topic, start, 1)[0].Offset == 8)
}

func franzTopics(bootstrap string) {
	franzAdmin(bootstrap, func(admin *kadm.Client) {
		topic := fresh("franz")
		must(got(admin.ValidateCreateTopics(soon(), 2, 1, nil, topic))[topic].Err)
		hold(!got(admin.ListTopics(soon())).Has(topic))
		configs := map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}
		created := got(admin.CreateTopic(soon(), 2, 1, configs, topic))
		hold(created.ID != kadm.TopicID{} && created.NumPartitions == 2, created)
		_, err := admin.CreateTopic(soon(), 2, 1, nil, topic)
		hold(errors.Is(err, kerr.TopicAlreadyExists), err)
		must(got(admin.CreatePartitions(soon(), 2, topic)).Error())
		told := got(admin.ListTopics(soon(), topic))[topic]
		hold(len(told.Partitions) == 4 && told.ID == created.ID, told)
		must(got(admin.AlterTopicConfigs(soon(), []kadm.AlterConfig{
			{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("1000")},
			{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: kadm.StringPtr("delete")},
		}, topic))[0].Err)
		shown := map[string]string{}
		for _, config := range got(got(admin.DescribeTopicConfigs(soon(), topic)).On(topic, nil)).Configs {
			shown[config.Key] = config.MaybeValue()
		}
		hold(shown["retention.ms"] == "1000" && shown["cleanup.policy"] == "compact,delete", shown)
		hold(len(got(admin.BrokerMetadata(soon())).Brokers) > 0)
		hold(len(got(got(admin.DescribeBrokerConfigs(soon(), 1)).On("1", nil)).Configs) > 50)
		for _, folders := range got(admin.DescribeAllLogDirs(soon(), nil)) {
			must(folders.Error())
		}
		must(got(admin.DeleteTopic(soon(), topic)).Err)
		eventually("it is gone", func() bool { return !got(admin.ListTopics(soon())).Has(topic) })
	})
}

func franzGroups(bootstrap string) {
	topic, group := franzTopic(bootstrap, 2, nil), fresh("group")
	franzProduce(bootstrap, topic, 0, numbers(10))
	member := newFranzMember(bootstrap, group, topic)
	eventually("it owns all", func() bool {
		owned, seen := member.state()
		return owned == 2 && seen == 10
	})
	franzAdmin(bootstrap, func(admin *kadm.Client) {
		told := got(admin.DescribeGroups(soon(), group))[group]
		hold(told.State == "Stable" && len(told.Members) == 1 && told.ProtocolType == "consumer", told)
		_, assigned := told.AssignedPartitions()[topic]
		hold(assigned, told)
		_, err := admin.DeleteGroup(soon(), group)
		hold(errors.Is(err, kerr.NonEmptyGroup), err)
		member.leave()
		_, listed := got(admin.ListGroups(soon(), "Empty"))[group]
		hold(listed, "an empty group is listed by its state")
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 3, LeaderEpoch: -1, Metadata: "by hand"})
		must(got(admin.CommitOffsets(soon(), group, offsets)).Error())
		offset, _ := got(admin.FetchOffsets(soon(), group)).Lookup(topic, 0)
		hold(offset.At == 3 && offset.Metadata == "by hand", offset)
		lag := got(admin.Lag(soon(), group))[group]
		hold(lag.Lag.Total() == 7, lag)
		set := kadm.TopicsSet{topic: {0: {}}}
		must(got(admin.DeleteOffsets(soon(), group, set)).Error())
		_, there := got(admin.FetchOffsets(soon(), group)).Lookup(topic, 0)
		hold(!there, "a deleted offset is gone")
		must(got(admin.DeleteGroup(soon(), group)).Err)
		_, err = admin.DeleteGroup(soon(), group)
		hold(errors.Is(err, kerr.GroupIDNotFound), err)
	})
}

func franzDeleteRecords(bootstrap string) {
	topic := franzTopic(bootstrap, 1, nil)
	franzProduce(bootstrap, topic, 0, numbers(10))
	franzAdmin(bootstrap, func(admin *kadm.Client) {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 4})
		answer, _ := got(admin.DeleteRecords(soon(), offsets)).Lookup(topic, 0)
		hold(answer.Err == nil && answer.LowWatermark == 4, answer)
		offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 11})
		answer, _ = got(admin.DeleteRecords(soon(), offsets)).Lookup(topic, 0)
		hold(errors.Is(answer.Err, kerr.OffsetOutOfRange), answer)
	})
	hold(franzRead(bootstrap, topic, kgo.NewOffset().AtStart(), 6)[0].Offset == 4)
}

func franzVersions(bootstrap string) {
	topic := franzTopic(bootstrap, 1, nil)
	sets := []*kversion.Versions{kversion.V2_1_0(), kversion.V2_8_0(), kversion.V3_9_0(), kversion.Stable()}
	for count, versions := range sets {
		franzProduce(bootstrap, topic, 0, []string{"x"}, kgo.MaxVersions(versions))
		from := kgo.NewOffset().At(int64(count))
		franzRead(bootstrap, topic, from, 1, kgo.MaxVersions(versions))
	}
}

func franzTransaction(bootstrap string) {
	producer := franz(bootstrap, kgo.TransactionalID(fresh("id")))
	defer producer.Close()
	began := time.Now()
	err := producer.BeginTransaction()
	hold(err != nil && strings.Contains(err.Error(), "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"), err)
	hold(time.Since(began) < 4*time.Second, "retried: ", err)
}
