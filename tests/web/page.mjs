// What the page shows, in headless Chromium. Usage: page.mjs KAFKA [NAME...], the page's URL in WEB.
// With SCREENSHOTS set to a folder it only loads the broker for a while and takes pictures.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

import { eventually, fresh, main } from '../clients/suite.mjs';

const require = createRequire(`${process.env.CLIENTS}/node_modules/`);
const { Kafka, logLevel } = require('kafkajs');
const { chromium } = require('playwright-core');

const WEB = process.env.WEB;
const HOSTILE = '<script>owned=1</script><img src=x onerror="owned=1">';

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});

const kafka = (bootstrap, clientId = 'page') => new Kafka({
  brokers: [bootstrap], clientId, logLevel: logLevel.NOTHING,
});

/** Works with a page of its own, and fails when the browser had anything to complain about. */
async function onPage(options, work) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => {
    if (!request.url().startsWith(`${WEB}/`)) complaints.push(`asked for ${request.url()}`);
  });
  await page.goto(`${WEB}/`);
  await page.waitForFunction(() => document.body.dataset.health !== 'unknown');
  await work(page, complaints);
  assert.deepEqual(complaints, []);
  await context.close();
}

async function withTopic(bootstrap, partitions, work) {
  const admin = kafka(bootstrap).admin();
  await admin.connect();
  const topic = fresh('tide');
  await admin.createTopics({ topics: [{ topic, numPartitions: partitions }] });
  await work(topic, admin);
  await admin.disconnect();
}

async function produce(bootstrap, topic, count) {
  const producer = kafka(bootstrap).producer();
  await producer.connect();
  const messages = Array.from({ length: count }, (_, at) => ({ value: `${at}`, partition: 0 }));
  await producer.send({ topic, messages });
  await producer.disconnect();
}

/** Texts of the cells of the row called `name`. */
const row = (page, table, name) => page.evaluate(([table, name]) => {
  const rows = [...document.querySelectorAll(`#${table} > tbody > tr`)];
  const found = rows.find((it) => it.querySelector('th')?.textContent === name);
  return found && [...found.children].map((cell) => cell.textContent);
}, [table, name]);

const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);

const brightness = (color) => {
  const [red, green, blue] = color.match(/[\d.]+/g).map(Number);
  return red + green + blue;
};

async function opens(page, name) {
  await page.getByRole('button', { name, exact: true }).press('Enter');
  await page.waitForFunction(() => document.querySelector('.inside table, .inside p + *'));
}

const facts = {
  async topics_that_are_made_and_written_are_shown(bootstrap) {
    await withTopic(bootstrap, 3, (topic) => onPage({}, async (page) => {
      await eventually(() => row(page, 'topics', topic));
      await produce(bootstrap, topic, 1234);
      await eventually(async () => (await row(page, 'topics', topic))[2] === '1,234');
      assert.equal((await row(page, 'topics', topic))[1], '3');
      await opens(page, topic);
      await page.getByText('0 to 1,234').waitFor();
      assert.match(await page.locator('#health').textContent(), /^All is well$/);
    }));
  },

  async lag_moves_up_with_what_is_written_and_down_with_what_is_committed(bootstrap) {
    await withTopic(bootstrap, 1, (topic, admin) => onPage({}, async (page) => {
      const groupId = fresh('shore');
      const commit = (offset) => admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset }] });
      const behind = async () => (await row(page, 'groups', groupId))?.[3];
      await commit('0');
      await eventually(async () => await behind() === 'up to date');
      await produce(bootstrap, topic, 500);
      await eventually(async () => await behind() === '500');
      await commit('450');
      await eventually(async () => await behind() === '50');
    }));
  },

  async what_clients_call_themselves_is_text(bootstrap) {
    await withTopic(bootstrap, 1, async (topic) => {
      const groupId = `${HOSTILE}${fresh('')}`;
      const consumer = kafka(bootstrap, HOSTILE).consumer({ groupId });
      await consumer.connect();
      await consumer.subscribe({ topic });
      await consumer.run({ eachMessage: async () => {} });
      await onPage({}, async (page) => {
        // A topic cannot be called so: where it could, it would be text as well.
        await page.route('**/v1/topics?*', async (route) => {
          const answer = await route.fetch();
          const told = await answer.json();
          told.topics.unshift({ ...told.topics[0], id: 'hostile', topic: HOSTILE });
          await route.fulfill({ json: told });
        });
        await page.route('**/v1/trouble', (route) => route.fulfill({
          json: { lines: [{ level: 'error', message: HOSTILE, fields: HOSTILE, count: 1, first_ms: 0, last_ms: Date.now() }] },
        }));
        await eventually(() => row(page, 'groups', groupId));
        await eventually(() => row(page, 'topics', HOSTILE));
        await eventually(async () => (await page.locator('#trouble').textContent()).includes(HOSTILE));
        await page.getByRole('button', { name: groupId, exact: true }).click();
        await page.locator('.inside td', { hasText: HOSTILE }).first().waitFor();
        const made = () => page.evaluate(() => [
          document.querySelectorAll('script').length, document.querySelectorAll('main img').length, window.owned,
        ]);
        assert.deepEqual(await made(), [1, 0, undefined]);
      });
      await consumer.disconnect();
    });
  },

  async it_is_light_or_dark_as_the_system_says_or_the_button() {
    await onPage({ colorScheme: 'dark' }, async (page) => {
      assert.ok(brightness(await background(page)) < 150);
      const button = page.getByRole('button', { name: /^Theme/ });
      await button.click();
      assert.equal(await button.textContent(), 'Theme: light');
      assert.ok(brightness(await background(page)) > 600);
      await page.reload();
      assert.ok(brightness(await background(page)) > 600, 'it is kept');
    });
    await onPage({ colorScheme: 'light' }, async (page) => {
      assert.ok(brightness(await background(page)) > 600);
    });
  },

  async it_fits_a_phone_whatever_is_on_it(bootstrap) {
    await withTopic(bootstrap, 12, async (topic, admin) => {
      const groupId = `a-group-with-a-name-as-long-as-somebody-liked-it-${'x'.repeat(120)}`;
      await produce(bootstrap, topic, 100);
      await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '1' }] });
      await onPage({ viewport: { width: 320, height: 640 } }, async (page) => {
        await eventually(() => row(page, 'groups', groupId));
        await opens(page, groupId);
        await page.getByRole('button', { name: topic, exact: true }).click();
        await eventually(async () => await page.locator('.inside table').count() >= 2);
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(width <= 320, `${width} wide`);
        // Nothing is cut off either: what has children stays within the page.
        const beyond = await page.evaluate(() => [...document.querySelectorAll('main td, main th, main p, main li, header *')]
          .filter((it) => it.getBoundingClientRect().right > 321).map((it) => it.textContent.slice(0, 40)));
        assert.deepEqual(beyond, []);
      });
    });
  },

  async plots_move(bootstrap) {
    await withTopic(bootstrap, 1, (topic) => onPage({}, async (page) => {
      const line = () => page.locator('.plot .line').first().getAttribute('d');
      await eventually(line);
      const before = await line();
      await produce(bootstrap, topic, 5000);
      await eventually(async () => await line() !== before);
      const told = () => page.locator('.plot svg').first().getAttribute('aria-label');
      await eventually(async () => /at most [\d.]+ (K|M)?i?B\/s/.test(await told()));
    }));
  },

  async rows_are_opened_and_stay_open_by_keyboard_alone(bootstrap) {
    await withTopic(bootstrap, 1, (topic) => onPage({}, async (page) => {
      await eventually(() => row(page, 'topics', topic));
      const button = page.getByRole('button', { name: topic, exact: true });
      await button.focus();
      await page.keyboard.press('Enter');
      assert.equal(await button.getAttribute('aria-expanded'), 'true');
      await page.locator('.inside table').waitFor();
      // Two looks later the focus is where it was, and the row is open.
      for (let looks = 0; looks < 2; looks += 1) await page.waitForResponse((it) => it.url().includes('/v1/storage'));
      const focused = () => page.evaluate(() => document.activeElement.textContent);
      assert.equal(await focused(), topic);
      await page.keyboard.press('Enter');
      assert.equal(await page.locator('.inside').count(), 0);
    }));
  },

  async a_broker_that_does_not_answer_is_said_to_and_its_return_is_seen() {
    await onPage({}, async (page, complaints) => {
      await page.route('**/v1/**', (route) => route.abort());
      await page.getByText('This broker does not answer').waitFor();
      await page.getByText(/Last heard/).waitFor();
      assert.equal(await page.locator('body').getAttribute('data-health'), 'bad');
      await page.unroute('**/v1/**');
      await page.waitForFunction(() => document.body.dataset.health !== 'bad');
      // The browser tells of requests that failed, as it should.
      complaints.splice(0, complaints.length, ...complaints.filter((it) => !it.includes('ERR_FAILED')));
    });
  },

  async a_broker_without_anything_says_what_to_do_next() {
    await onPage({}, async (page) => {
      await page.route('**/v1/topics?*', (route) => route.fulfill({ json: { topics: [], total: 0, next: null } }));
      await page.route('**/v1/groups?*', (route) => route.fulfill({
        json: { groups: [], total: 0, lag: 0, complete: true, next: null },
      }));
      await page.getByText('kcat -P').waitFor();
      await page.getByText('No consumer groups yet').waitFor();
    });
  },
};

// ---- pictures -----------------------------------------------------------------------------------

const TOPICS = [
  ['orders', 6, 900], ['payments', 6, 500], ['clicks', 12, 4000], ['inventory', 3, 300],
  ['shipments', 3, 120], ['audit', 1, 60],
];
const GROUPS = [
  ['billing', 'payments', 1], ['fraud-check', 'payments', 1], ['warehouse', 'orders', 1],
  ['search-index', 'inventory', 1], ['clickstream-to-lake', 'clicks', 0.93], ['notify', 'shipments', 1],
];

/** A shop on a busy afternoon: what is written rises and falls, one group falls behind. */
async function busy(bootstrap, seconds) {
  const admin = kafka(bootstrap).admin();
  await admin.connect();
  await admin.createTopics({
    topics: TOPICS.map(([topic, numPartitions]) => ({
      topic, numPartitions, configEntries: topic === 'audit' ? [{ name: 'retention.ms', value: '31536000000' }] : [],
    })),
  });
  const producer = kafka(bootstrap, 'shop').producer();
  await producer.connect();
  const consumers = [];
  for (const [groupId, topic, share] of GROUPS) {
    for (let member = 0; member < (topic === 'clicks' ? 3 : 2); member += 1) {
      const consumer = kafka(bootstrap, `${groupId}-${member}`).consumer({ groupId });
      await consumer.connect();
      await consumer.subscribe({ topic });
      let held = 0;
      await consumer.run({
        eachBatchAutoResolve: false,
        eachBatch: async ({ batch, resolveOffset, commitOffsetsIfNecessary }) => {
          held += batch.messages.length * (1 - share);
          const last = batch.messages.at(Math.max(0, batch.messages.length - 1 - Math.floor(held / 40)));
          resolveOffset(last.offset);
          await commitOffsetsIfNecessary();
          if (share < 1) await new Promise((resolve) => { setTimeout(resolve, 350); });
        },
      });
      consumers.push(consumer);
    }
  }
  const end = Date.now() + seconds * 1000;
  const began = Date.now();
  const value = Buffer.alloc(220, 'strandline ');
  while (Date.now() < end) {
    const turn = Date.now();
    const at = (turn - began) / 1000;
    const swell = 1 + 0.45 * Math.sin(at / 37) + 0.2 * Math.sin(at / 9) + 0.15 * Math.random();
    const topicMessages = TOPICS.map(([topic, , rate]) => ({
      topic, messages: Array.from({ length: Math.round(rate * swell / 5) }, (_, key) => ({ key: `${key}`, value })),
    }));
    await producer.sendBatch({ topicMessages });
    await new Promise((resolve) => { setTimeout(resolve, Math.max(0, 200 - (Date.now() - turn))); });
  }
  return async () => {
    await producer.disconnect();
    for (const consumer of consumers) await consumer.disconnect();
    await admin.disconnect();
  };
}

async function pictures(bootstrap) {
  const folder = process.env.SCREENSHOTS;
  const load = busy(bootstrap, Number(process.env.SCREENSHOT_SECONDS ?? 620));
  // The pictures are taken under load, when the plots are full.
  const wait = Number(process.env.SCREENSHOT_SECONDS ?? 620) - 20;
  await new Promise((resolve) => { setTimeout(resolve, wait * 1000); });
  const shot = (name, options) => onPage(options, async (page) => {
    await page.waitForTimeout(4500);
    await page.screenshot({ path: `${folder}/${name}.png` });
  });
  await shot('web-light', { colorScheme: 'light', viewport: { width: 1080, height: 1420 } });
  await shot('web-dark', { colorScheme: 'dark', viewport: { width: 1080, height: 1420 } });
  await shot('web-phone', { colorScheme: 'light', viewport: { width: 360, height: 1400 } });
  await (await load)();
}

await main(process.env.SCREENSHOTS ? { pictures } : facts);
