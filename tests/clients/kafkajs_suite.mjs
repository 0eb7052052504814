// What users of kafkajs depend on. Usage: kafkajs_suite.mjs HOST:PORT [NAME...]
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

import { eventually, fresh, main } from './suite.mjs';

const require = createRequire(`${process.env.CLIENTS}/node_modules/`);
const {
  AssignerProtocol, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel,
} = require('kafkajs');

// kafkajs has gzip built in and takes the other codecs from its user.
const snappy = require('snappyjs');
const lz4 = require('lz4js');
const zstd = await new Promise((resolve) => {
  require('zstd-codec').ZstdCodec.run((built) => resolve(new built.Simple()));
});
const codec = (compress, decompress) => () => ({
  compress: async (encoder) => Buffer.from(compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(decompress(buffer)),
});
CompressionCodecs[CompressionTypes.Snappy] = codec(snappy.compress, snappy.uncompress);
CompressionCodecs[CompressionTypes.LZ4] = codec((bytes) => {
  const frame = lz4.compress(bytes);
  // lz4js says that blocks need the ones before them, which Apache Kafka does not read; it makes one
  // block of this little: set the flag of independence, and the header's checksum that goes with it.
  frame.set([0x60, 0x70, 0x73], 4);
  return frame;
}, lz4.decompress);
CompressionCodecs[CompressionTypes.ZSTD] = codec(
  (bytes) => zstd.compress(bytes), (bytes) => zstd.decompress(bytes),
);

const kafka = (bootstrap) => new Kafka({
  brokers: [bootstrap], logLevel: logLevel.NOTHING, clientId: 'suite',
});

async function withAdmin(bootstrap, work) {
  const admin = kafka(bootstrap).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

async function topic(bootstrap, numPartitions = 1, configs = {}) {
  const name = fresh('kafkajs');
  const configEntries = Object.entries(configs).map(([key, value]) => ({ name: key, value }));
  const topics = [{ topic: name, numPartitions, replicationFactor: 1, configEntries }];
  await withAdmin(bootstrap, (admin) => admin.createTopics({ topics }));
  return name;
}

async function produce(bootstrap, name, messages, { options = {}, ...how } = {}) {
  const producer = kafka(bootstrap).producer({ retry: { retries: 3 }, ...options });
  await producer.connect();
  try {
    return await producer.send({ topic: name, messages, ...how });
  } finally {
    await producer.disconnect();
  }
}

const numbered = (count, partition = 0) => Array.from(
  { length: count }, (_, number) => ({ value: `${number}`, partition }),
);

async function consumer(bootstrap, groupId, name, options = {}) {
  const member = kafka(bootstrap).consumer({
    groupId, heartbeatInterval: 500, maxWaitTimeInMs: 100, ...options,
  });
  member.seen = [];
  member.owned = 0;
  member.on(member.events.GROUP_JOIN, ({ payload }) => {
    member.owned = (payload.memberAssignment[name] ?? []).length;
  });
  await member.connect();
  await member.subscribe({ topics: [name], fromBeginning: true });
  await member.run({
    eachMessage: async ({ partition, message }) => { member.seen.push({ partition, ...message }); },
  });
  return member;
}

/** The first `count` messages of a topic. */
async function read(bootstrap, name, count) {
  const member = await consumer(bootstrap, fresh('reader'), name);
  await eventually(() => member.seen.length >= count);
  await member.disconnect();
  return member.seen;
}

const same = (found, wanted) => (wanted === null ? found === null : found?.equals(Buffer.from(wanted)));

/** A group goes from one member to two and back; nothing comes twice, nothing is lost. */
async function shares(bootstrap, options) {
  const name = await topic(bootstrap, 4);
  const group = fresh('group');
  const produceAll = async (count) => {
    await produce(bootstrap, name, [0, 1, 2, 3].flatMap((partition) => numbered(count, partition)));
  };
  await produceAll(10);
  const first = await consumer(bootstrap, group, name, options);
  await eventually(() => first.owned === 4 && first.seen.length === 40);
  const second = await consumer(bootstrap, group, name, options);
  await eventually(() => first.owned === 2 && second.owned === 2);
  await produceAll(1);
  await eventually(() => first.seen.length === 42 && second.seen.length === 2);
  await first.disconnect();
  await eventually(() => second.owned === 4);
  await produceAll(1);
  await eventually(() => second.seen.length === 6);
  await second.disconnect();
  const seen = [...first.seen, ...second.seen].map(({ partition, offset }) => `${partition}:${offset}`);
  assert.equal(new Set(seen).size, 48, 'nothing twice, nothing lost');
  const offsets = await withAdmin(bootstrap, (admin) => (
    admin.fetchOffsets({ groupId: group, topics: [name] })
  ));
  assert.deepEqual(offsets[0].partitions.map(({ offset }) => offset), ['12', '12', '12', '12']);
}

await main({
  async keys_values_headers_and_nulls_come_back(bootstrap) {
    const name = await topic(bootstrap);
    const headers = { a: ['1', '2'], empty: '', b: Buffer.from([0, 255]) };
    const sent = [['k', 'v'], [null, ''], ['', 'x'], ['tombstone', null], ['k', '\0'.repeat(100_000)]];
    await produce(bootstrap, name, sent.map(([key, value]) => ({ key, value, headers, partition: 0 })));
    const messages = await read(bootstrap, name, sent.length);
    messages.forEach((message, number) => {
      assert.equal(message.offset, `${number}`);
      assert.ok(same(message.key, sent[number][0]) && same(message.value, sent[number][1]), number);
      assert.deepEqual(message.headers.a.map(String), ['1', '2']);
      assert.ok(same(message.headers.empty, '') && same(message.headers.b, headers.b));
    });
  },

  async every_codec_comes_back(bootstrap) {
    const name = await topic(bootstrap);
    for (const compression of Object.values(CompressionTypes)) {
      await produce(bootstrap, name, numbered(500), { compression });
    }
    const messages = await read(bootstrap, name, 2500);
    messages.forEach(({ value }, number) => assert.equal(`${value}`, `${number % 500}`));
  },

  async idempotent_and_every_kind_of_acknowledgement_is_served(bootstrap) {
    const name = await topic(bootstrap);
    for (const acks of [0, 1, -1]) await produce(bootstrap, name, numbered(1), { acks });
    const options = { idempotent: true, maxInFlightRequests: 1 };
    const producer = kafka(bootstrap).producer(options);
    await producer.connect();
    for (let batch = 0; batch < 10; batch += 1) {
      await producer.send({ topic: name, messages: numbered(100) });
    }
    await producer.disconnect();
    const messages = await read(bootstrap, name, 1003);
    messages.slice(3).forEach(({ value }, number) => assert.equal(`${value}`, `${number % 100}`));
  },

  async a_batch_too_large_is_refused(bootstrap) {
    const name = await topic(bootstrap, 1, { 'max.message.bytes': '1000' });
    const large = [{ value: 'x'.repeat(2000) }];
    await assert.rejects(produce(bootstrap, name, large), { type: 'MESSAGE_TOO_LARGE' });
  },

  async a_topic_is_made_by_the_first_record(bootstrap) {
    const name = fresh('kafkajs');
    await produce(bootstrap, name, numbered(1), { options: { retry: { retries: 10 } } });
    assert.equal((await read(bootstrap, name, 1)).length, 1);
  },

  async a_group_shares_out_partitions_and_goes_on_where_it_was(bootstrap) {
    await shares(bootstrap, {});
  },

  async a_member_of_an_assignor_of_one_s_own_is_served(bootstrap) {
    // What users write who want one member to own a topic: everything to the first.
    const toFirst = () => ({
      name: 'first takes all',
      version: 1,
      assign: async ({ members, topics }) => members.map(({ memberId }, place) => ({
        memberId,
        memberAssignment: AssignerProtocol.MemberAssignment.encode({
          version: 1,
          assignment: place ? {} : Object.fromEntries(topics.map((name) => [name, [0]])),
          userData: Buffer.from('mine'),
        }),
      })),
      protocol: ({ topics }) => ({
        name: 'first takes all',
        metadata: AssignerProtocol.MemberMetadata.encode({
          version: 1, topics, userData: Buffer.from('mine'),
        }),
      }),
    });
    const name = await topic(bootstrap);
    await produce(bootstrap, name, numbered(10));
    const member = await consumer(bootstrap, fresh('group'), name, { partitionAssigners: [toFirst] });
    await eventually(() => member.owned === 1 && member.seen.length === 10);
    await member.disconnect();
  },

  async a_consumer_seeks_where_it_wants(bootstrap) {
    const name = await topic(bootstrap);
    await produce(bootstrap, name, numbered(10));
    const member = await consumer(bootstrap, fresh('group'), name);
    await eventually(() => member.seen.length === 10);
    for (const offset of ['7', '0', '9']) {
      member.seen.length = 0;
      member.seek({ topic: name, partition: 0, offset });
      await eventually(() => member.seen.length === 10 - Number(offset));
      assert.equal(member.seen[0].offset, offset);
    }
    member.pause([{ topic: name }]);
    await produce(bootstrap, name, numbered(1));
    member.resume([{ topic: name }]);
    await eventually(() => member.seen.at(-1).offset === '10');
    await member.disconnect();
  },

  async a_time_is_looked_up_to_the_record(bootstrap) {
    const name = await topic(bootstrap);
    const base = 1_700_000_000_000;
    const messages = numbered(20).map((message, number) => (
      { ...message, timestamp: `${base + number * 1000}` }
    ));
    await produce(bootstrap, name, messages, { compression: CompressionTypes.GZIP });
    await withAdmin(bootstrap, async (admin) => {
      for (const [after, offset] of [[-1, '0'], [0, '0'], [7500, '8'], [19_000, '19'], [19_001, '20']]) {
        const [found] = await admin.fetchTopicOffsetsByTimestamp(name, base + after);
        assert.equal(found.offset, offset, `${after}`);
      }
      const [found] = await admin.fetchTopicOffsets(name);
      assert.deepEqual([found.low, found.high], ['0', '20']);
    });
  },

  async topics_partitions_and_configs_are_administered(bootstrap) {
    await withAdmin(bootstrap, async (admin) => {
      const name = await topic(bootstrap, 2, { 'cleanup.policy': 'compact' });
      assert.equal(await admin.createTopics({ topics: [{ topic: name }] }), false, 'it is there');
      await admin.createPartitions({ topicPartitions: [{ topic: name, count: 4 }] });
      await eventually(async () => {
        const { topics } = await admin.fetchTopicMetadata({ topics: [name] });
        return topics[0].partitions.length === 4;
      });
      const shown = async (key) => {
        const type = ConfigResourceTypes.TOPIC;
        const asked = { resources: [{ type, name }], includeSynonyms: true };
        const { resources } = await admin.describeConfigs(asked);
        assert.equal(resources[0].errorCode, 0);
        return resources[0].configEntries.find(({ configName }) => configName === key).configValue;
      };
      assert.equal(await shown('cleanup.policy'), 'compact');
      const configEntries = [{ name: 'retention.ms', value: '1000' }];
      const resources = [{ type: ConfigResourceTypes.TOPIC, name, configEntries }];
      await admin.alterConfigs({ resources });
      await eventually(async () => await shown('retention.ms') === '1000');
      assert.equal(await shown('cleanup.policy'), 'delete', 'the whole set was replaced');
      assert.ok((await admin.describeCluster()).brokers.length > 0);
      assert.ok((await admin.listTopics()).includes(name));
      await admin.deleteTopics({ topics: [name] });
      await eventually(async () => !(await admin.listTopics()).includes(name));
    });
  },

  async groups_and_their_offsets_are_administered(bootstrap) {
    const name = await topic(bootstrap, 2);
    const group = fresh('group');
    await produce(bootstrap, name, numbered(10));
    const member = await consumer(bootstrap, group, name);
    await eventually(() => member.owned === 2 && member.seen.length === 10);
    await withAdmin(bootstrap, async (admin) => {
      const [told] = (await admin.describeGroups([group])).groups;
      assert.deepEqual([told.state, told.protocolType, told.members.length], ['Stable', 'consumer', 1]);
      await assert.rejects(admin.deleteGroups([group]), { name: 'KafkaJSDeleteGroupsError' });
      await member.disconnect();
      const { groups } = await admin.listGroups();
      assert.ok(groups.some(({ groupId }) => groupId === group));
      await admin.setOffsets({ groupId: group, topic: name, partitions: [{ partition: 0, offset: '3' }] });
      const [offsets] = await admin.fetchOffsets({ groupId: group, topics: [name] });
      assert.equal(offsets.partitions.find(({ partition }) => partition === 0).offset, '3');
      await admin.deleteGroups([group]);
      const left = await admin.listGroups();
      assert.ok(!left.groups.some(({ groupId }) => groupId === group));
    });
  },

  async deleted_records_are_gone(bootstrap) {
    const name = await topic(bootstrap);
    await produce(bootstrap, name, numbered(10));
    await withAdmin(bootstrap, async (admin) => {
      assert.equal((await admin.fetchTopicOffsets(name))[0].high, '10');
      await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '4' }] });
      const [found] = await admin.fetchTopicOffsets(name);
      assert.deepEqual([found.low, found.high], ['4', '10']);
      const beyond = { topic: name, partitions: [{ partition: 0, offset: '11' }] };
      await assert.rejects(admin.deleteTopicRecords(beyond));
    });
    assert.equal((await read(bootstrap, name, 6))[0].offset, '4');
  },

  async a_transactional_producer_is_told_at_once(bootstrap) {
    const producer = kafka(bootstrap).producer({
      transactionalId: fresh('id'), maxInFlightRequests: 1, idempotent: true,
    });
    const began = Date.now();
    await producer.connect();
    await assert.rejects(producer.transaction(), (error) => (
      error.type === 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED' && !error.retriable
    ));
    assert.ok(Date.now() - began < 4_000, 'retried');
    await producer.disconnect();
  },
});
