// Consumes TOPIC with a group of two kafkajs members until COUNT records came, and compares them,
// record by record, with the index they were made from: each key's stanzas in order, none missing,
// none twice. Usage: debian.mjs BOOTSTRAP TOPIC FILE GROUP
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(`${process.env.CLIENTS}/node_modules/`);
const { Kafka, logLevel } = require('kafkajs');
const [bootstrap, topic, path, groupId] = process.argv.slice(2);

const expected = new Map();
let count = 0;
for (const stanza of readFileSync(path, 'latin1').split('\n\n')) {
  const text = stanza.replace(/^\n+|\n+$/g, '');
  if (!text) continue;
  const key = text.split('\n').find((line) => line.startsWith('Package:')).slice(8).trim();
  if (!expected.has(key)) expected.set(key, []);
  expected.get(key).push(text);
  count += 1;
}

const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR });
const seen = new Map();
const offsets = new Set();
let received = 0;
let finish;
const finished = new Promise((resolve) => { finish = resolve; });
const fail = (text) => { console.error(text); process.exit(1); };
const deadline = setTimeout(() => fail(`only ${received} of ${count} records came`), 120_000);

async function member() {
  const consumer = kafka.consumer({ groupId });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      const place = `${partition}:${message.offset}`;
      if (offsets.has(place)) return; // a rebalance may bring a record again: same place, same record
      offsets.add(place);
      const key = message.key.toString('latin1');
      const index = seen.get(key) ?? 0;
      seen.set(key, index + 1);
      const want = expected.get(key)?.[index];
      if (want !== message.value.toString('latin1')) fail(`${key}: record ${index} differs`);
      received += 1;
      if (received === count) finish();
    },
  });
  return consumer;
}

const members = [await member(), await member()];
await finished;
clearTimeout(deadline);
await Promise.all(members.map((consumer) => consumer.disconnect()));
console.log(received);
