// Asks the broker every two seconds and shows what it says. Every text from outside goes through
// textContent: names of topics, groups and clients are chosen by whoever connects.

import { Plot } from "./plot.js";
import { ago, brief, bytes, count, duration, many } from "./words.js";

const EVERY_MS = 2000;
const PATIENCE_MS = 5000;
const SPAN_MS = 600_000;
const ROWS = 50;
// An error in the log is worth a word in the verdict for so long.
const FRESH_MS = 600_000;
// The log on disk is filling from here on, and what is older than this should be in the bucket.
const FULL = 0.7;
const OLD_SECONDS = 300;

const $ = (id) => document.getElementById(id);

function say(element, text) {
  // Unchanged text is left alone, so that screen readers are not told it again.
  if (element.textContent !== text) element.textContent = text;
}

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" });
  const told = await answer.json();
  return answer.ok ? told : { refused: told.error ?? `the answer was ${answer.status}` };
}

// ---- themes -------------------------------------------------------------------------------------

const THEMES = ["system", "light", "dark"];

function kept() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null;
  }
}

function dress(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Then it is asked for again the next time.
  }
}

let theme = THEMES.includes(kept()) ? kept() : "system";
dress(theme);
$("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  dress(theme);
});

// ---- tables -------------------------------------------------------------------------------------

/** Rows by key: what is there is changed in place, so that focus and what is open stay. */
class Table {
  constructor(id, create, update, inside) {
    this.body = $(id).querySelector("tbody");
    this.table = $(id);
    this.empty = $(`${id}-empty`);
    this.rows = new Map();
    Object.assign(this, { create, update, inside });
  }

  show(items, nothing) {
    this.table.hidden = items.length === 0;
    this.empty.hidden = items.length > 0;
    const parts = [nothing].flat().map((part) => part.textContent ?? part);
    if (parts.join("") !== this.empty.textContent) this.empty.replaceChildren(...[nothing].flat());
    const keys = new Set(items.map((item) => item.key));
    for (const [key, row] of this.rows) {
      if (keys.has(key)) continue;
      row.inside?.remove();
      row.element.remove();
      this.rows.delete(key);
    }
    let place = this.body.firstChild;
    for (const item of items) {
      const row = this.rows.get(item.key) ?? this.add(item);
      this.update(row.cells, item);
      if (row.element === place) place = place.nextSibling;
      else this.body.insertBefore(row.element, place);
      if (row.inside) {
        if (row.inside === place) place = place.nextSibling;
        else this.body.insertBefore(row.inside, place);
        this.fill(row);
      }
    }
  }

  add(item) {
    const element = make("tr");
    const name = make("th", "name");
    name.scope = "row";
    const cells = { name, ...this.create(element, name, item) };
    element.prepend(name);
    const row = { element, cells, item, inside: null };
    if (this.inside) {
      const button = make("button", "", item.name);
      button.type = "button";
      button.setAttribute("aria-expanded", "false");
      button.addEventListener("click", () => this.toggle(row, button));
      name.append(button);
    } else {
      name.append(item.name);
    }
    this.rows.set(item.key, row);
    return row;
  }

  toggle(row, button) {
    const open = row.inside === null;
    button.setAttribute("aria-expanded", String(open));
    if (!open) {
      row.inside.remove();
      row.inside = null;
      return;
    }
    row.inside = make("tr", "inside");
    const cell = make("td");
    cell.colSpan = 9;
    cell.append(make("p", "", "Asking…"));
    row.inside.append(cell);
    row.element.after(row.inside);
    this.fill(row);
  }

  async fill(row) {
    const cell = row.inside.firstChild;
    try {
      const told = await ask(row.item.path);
      cell.replaceChildren(...(told.refused ? [make("p", "", told.refused)] : this.inside(told)));
    } catch {
      // The verdict says that nobody answers; what was shown stays.
    }
  }
}

function cell(row, className) {
  const element = make("td", className);
  row.append(element);
  return element;
}

/** A table in a table: heads, and rows of texts; numbers are those whose head ends with "#". */
function small(heads, rows) {
  const table = make("table");
  const head = make("thead");
  const line = make("tr");
  const kinds = heads.map((text) => (text.endsWith("#") ? "number" : ""));
  heads.forEach((text, at) => {
    const element = make("th", kinds[at], text.replace("#", ""));
    element.scope = "col";
    line.append(element);
  });
  head.append(line);
  const body = make("tbody");
  for (const texts of rows) {
    const line = make("tr");
    texts.forEach((text, at) => line.append(make("td", kinds[at], text)));
    body.append(line);
  }
  table.append(head, body);
  return table;
}

const STATES = { Stable: "good", Empty: "", PreparingRebalance: "warn", CompletingRebalance: "warn" };
const STATE_WORDS = { Stable: "stable", Empty: "empty", PreparingRebalance: "rebalancing", CompletingRebalance: "rebalancing" };

const groups = new Table(
  "groups",
  (row) => {
    const state = cell(row, "wide");
    const pill = make("span", "pill");
    state.append(pill);
    return { pill, members: cell(row, "number wide"), lag: cell(row, "number") };
  },
  (cells, { group }) => {
    cells.pill.className = `pill ${STATES[group.state] ?? ""}`;
    say(cells.pill, STATE_WORDS[group.state] ?? group.state);
    say(cells.members, count(group.members));
    say(cells.lag, group.lag === 0 ? "up to date" : `${count(group.lag)}`);
    cells.lag.className = `number ${group.lag === 0 ? "muted" : "behind"}`;
  },
  (told) => {
    const parts = [];
    if (told.partitions.length) {
      const rows = told.partitions.map((it) => [`${it.topic} / ${it.partition}`, count(it.offset), it.lag === null ? "not here" : count(it.lag)]);
      parts.push(small(["Partition", "Committed#", "Behind#"], rows));
    } else {
      parts.push(make("p", "", "It has committed nothing yet."));
    }
    if (told.members.length) {
      const rows = told.members.map((it) => [it.client_id, it.client_host]);
      parts.push(small(["Member", "From"], rows));
    } else {
      parts.push(make("p", "", "Nobody is in it just now."));
    }
    return parts;
  },
);

const topics = new Table(
  "topics",
  (row) => ({
    partitions: cell(row, "number wide"),
    records: cell(row, "number wide"),
    rate: cell(row, "number"),
    wal: cell(row, "number wide"),
    bucket: cell(row, "number"),
  }),
  (cells, { topic, rate }) => {
    say(cells.partitions, count(topic.partitions));
    say(cells.records, count(topic.records));
    say(cells.rate, rate === null ? "–" : `${brief(rate)} /s`);
    say(cells.wal, topic.wal_bytes ? bytes(topic.wal_bytes) : "–");
    say(cells.bucket, topic.bytes ? bytes(topic.bytes) : "–");
    cells.rate.classList.toggle("muted", !rate);
  },
  (told) => {
    const rows = told.partitions.map((it) => [
      String(it.partition),
      String(it.leader),
      it.high_watermark === null ? "not here" : `${count(it.log_start)} to ${count(it.high_watermark)}`,
      it.wal_bytes ? bytes(it.wal_bytes) : "–",
      bytes(it.bytes),
    ]);
    const parts = [small(["Partition", "Leader#", "Offsets#", "Not in the bucket#", "In the bucket#"], rows)];
    if (told.next !== null) parts.push(make("p", "", `The first ${rows.length} of ${told.total} partitions.`));
    const configs = Object.entries(told.configs).map(([name, value]) => `${name}=${value}`);
    if (configs.length) parts.push(make("p", "", `Set: ${configs.join(", ")}`));
    return parts;
  },
);

const brokers = new Table(
  "brokers",
  (row) => {
    const status = cell(row, "");
    const pill = make("span", "pill");
    status.append(pill);
    return { pill, rack: cell(row, "wide"), leads: cell(row, "number") };
  },
  (cells, { broker }) => {
    const [kind, word] = { registered: ["good", "in the cluster"], fenced: ["bad", "fenced"], drained: ["", "left, drained"] }[broker.status] ?? ["", broker.status];
    cells.pill.className = `pill ${kind}`;
    say(cells.pill, word);
    say(cells.rack, broker.rack ?? "–");
    say(cells.leads, count(broker.leads));
  },
);

// ---- plots --------------------------------------------------------------------------------------

const rate = (value) => `${bytes(value)}/s`;
const plots = [
  new Plot("Written", [{ of: (s) => s.appended_bytes_per_second }], rate, "bytes"),
  new Plot("Read", [{ of: (s) => s.read_bytes_per_second }], rate, "bytes"),
  new Plot(
    "Time of a write",
    [{ name: "p50", of: (s) => s.produce_p50_seconds }, { name: "p99", of: (s) => s.produce_p99_seconds }],
    duration,
    "seconds",
  ),
  new Plot("Not yet in the bucket", [{ of: (s) => s.wal_bytes }], bytes, "bytes"),
];
$("plots").append(...plots.map((plot) => plot.element));

// ---- what is shown --------------------------------------------------------------------------------

let samples = [];
let heard = null;
let written = new Map();

/** The one sentence: how it is, and why. */
function verdict(cluster, storage, trouble) {
  const wal = storage.wal;
  if (!cluster.ready) return ["bad", "Not serving", `${cluster.reason}.`];
  const waiting = `${bytes(wal.bytes)} of ${bytes(wal.budget_bytes)} are taken.`;
  const away = storage.bucket.away;
  if (away) {
    return ["warn", "Serving, but the bucket does not answer", `For ${duration(away.seconds)}: ${away.reason}. Records are safe on this disk and wait there: ${waiting}`];
  }
  if (wal.bytes > wal.budget_bytes * FULL) {
    return ["warn", "Serving, but the log on disk is filling", `More comes in than goes to the bucket. ${waiting}`];
  }
  if (wal.bytes > 0 && wal.oldest_seconds > OLD_SECONDS) {
    return ["warn", "Serving, but uploads are late", `The oldest record that the bucket lacks is ${duration(wal.oldest_seconds)} old.`];
  }
  const error = trouble.find((line) => line.level === "error" && cluster.now_ms - line.last_ms < FRESH_MS);
  if (error) return ["warn", "Serving, with trouble", `${error.message} (${ago(error.last_ms, cluster.now_ms)})`];
  const clients = many(cluster.connections, "connection");
  const risk = wal.bytes > 0 ? `${bytes(wal.bytes)} are only on this disk so far, the oldest for ${duration(wal.oldest_seconds)}.` : "Every record is in the bucket.";
  return ["good", "All is well", `Serving ${many(cluster.topics, "topic")} with ${many(cluster.partitions, "partition")} to ${clients}. ${risk}`];
}

function judge([health, title, why]) {
  document.body.dataset.health = health;
  say($("health"), title);
  say($("why"), why);
}

function place(storage, last) {
  const { wal, bucket } = storage;
  say($("wal-bytes"), bytes(wal.bytes));
  say($("wal-note"), wal.bytes > 0 ? `the oldest ${duration(wal.oldest_seconds)} old, room for ${bytes(wal.budget_bytes)}` : `nothing waits, room for ${bytes(wal.budget_bytes)}`);
  $("wal-meter").value = wal.budget_bytes > 0 ? wal.bytes / wal.budget_bytes : 0;
  say($("way-bytes"), bytes(storage.uploading_bytes));
  const speed = last?.uploaded_bytes_per_second ?? 0;
  say($("way-note"), bucket.away ? "the bucket does not answer" : speed > 0 ? `${rate(speed)} arrive` : storage.uploading_bytes > 0 ? "being packed and sent" : "nothing just now");
  say($("bucket-bytes"), bytes(bucket.bytes));
  say($("bucket-note"), `${many(bucket.objects, "object")} at ${storage.bucket_url}`);
}

function list(told, table, name, rows, nothing) {
  if (told.refused) {
    say($(`${name}-count`), "");
    table.show([], `Nothing to show: ${told.refused}`);
    return;
  }
  const items = rows(told);
  const lag = told.lag ? `, ${count(told.lag)} records behind together` : "";
  const more = told.total > items.length ? `the first ${items.length} of ${count(told.total)}` : told.total > 0 ? count(told.total) : "";
  say($(`${name}-count`), `${more}${lag}`);
  table.show(items, nothing);
}

function topicRows(told) {
  const now = performance.now();
  const next = new Map();
  const items = told.topics.map((topic) => {
    const before = written.get(topic.id);
    const rate = before ? Math.max(0, topic.written - before.written) / ((now - before.at) / 1000) : null;
    next.set(topic.id, { written: topic.written, at: now });
    return { key: topic.id, name: topic.topic, topic, rate, path: `/v1/topics/${encodeURIComponent(topic.topic)}?limit=200` };
  });
  written = next;
  return items;
}

function groupRows(told) {
  return told.groups.map((group) => ({ key: group.group, name: group.group || "(no name)", group, path: `/v1/groups/${encodeURIComponent(group.group)}` }));
}

function brokerRows(cluster) {
  const row = (broker) => {
    const self = broker.id === cluster.broker ? ", this one" : "";
    return { key: String(broker.id), name: `${broker.id} at ${broker.host}:${broker.port}${self}`, broker };
  };
  return cluster.brokers.map(row);
}

function troubleLines(lines, now) {
  const items = lines.slice(0, 20).map((line) => {
    const item = make("li");
    const level = make("span");
    level.append(make("span", `pill ${line.level === "error" ? "bad" : "warn"}`, line.level === "error" ? "error" : "warning"));
    const times = line.count > 1 ? `${count(line.count)} times, last ` : "";
    item.append(level, make("span", "what", line.message), make("span", "when", `${times}${ago(line.last_ms, now)}`));
    if (line.fields) item.append(make("span", "fields", line.fields));
    return item;
  });
  $("trouble").replaceChildren(...items);
  $("trouble-empty").hidden = items.length > 0;
  say($("trouble-empty"), "Nothing to report. Warnings and errors of the log would be here.");
}

function tryIt(cluster) {
  const self = cluster.brokers.find((broker) => broker.id === cluster.broker);
  if (!self) return "No topics yet.";
  const command = make("code", "", `echo hello | kcat -P -b ${self.host}:${self.port} -t tide`);
  return ["No topics yet. One is made by the first write: ", command];
}

async function look() {
  const since = samples.length ? samples.at(-1).at_ms : 0;
  const [cluster, storage, flow, trouble, topicList, groupList] = await Promise.all(
    ["/v1/cluster", "/v1/storage", `/v1/flow?since=${since}`, "/v1/trouble", `/v1/topics?largest=true&limit=${ROWS}`, `/v1/groups?largest=true&limit=${ROWS}`].map(ask),
  );
  heard = performance.now();
  document.body.classList.remove("stale");
  say($("cluster"), cluster.cluster ?? "not known yet");
  say($("broker"), cluster.broker === null ? "not registered yet" : String(cluster.broker));
  say($("version"), cluster.version);
  document.title = `${cluster.ready ? "" : "Not serving: "}Strandline${cluster.broker === null ? "" : ` ${cluster.broker}`}`;
  // After a restart the clock may be another, and the samples are.
  const last = samples.at(-1)?.at_ms ?? 0;
  const fresh = flow.samples.filter((s) => s.at_ms > last);
  samples = [...samples, ...fresh].filter((s) => s.at_ms > cluster.now_ms - SPAN_MS && s.at_ms <= cluster.now_ms + 5000);
  for (const plot of plots) plot.show(samples, cluster.now_ms);
  judge(verdict(cluster, storage, trouble.lines));
  place(storage, samples.at(-1));
  list(topicList, topics, "topics", topicRows, tryIt(cluster));
  list(groupList, groups, "groups", groupRows, "No consumer groups yet. Each appears with its first member or commit.");
  brokers.show(brokerRows(cluster), "No broker is known before the metadata is read.");
  troubleLines(trouble.lines, cluster.now_ms);
}

function unheard() {
  document.body.classList.add("stale");
  const since = heard === null ? "It has not answered since this page was opened." : `Last heard ${duration(Math.round((performance.now() - heard) / 1000))} ago; what is below is from then.`;
  judge(["bad", "This broker does not answer", `${since} Asking again.`]);
}

let looking = false;

async function lookOnce() {
  if (looking) return;
  looking = true;
  try {
    await look();
  } catch {
    unheard();
  }
  looking = false;
}

async function run() {
  await lookOnce();
  // A page that nobody sees asks seldom.
  setTimeout(run, document.hidden ? EVERY_MS * 5 : EVERY_MS);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) lookOnce();
});
run();
