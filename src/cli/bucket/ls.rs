//! `bucket ls`: what is in a bucket, from the bucket alone.
//!
//! Invariants: nothing is written; an object that metadata names and the bucket lacks is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use serde::Serialize;

use super::Target;
use crate::{
    cli::{
        output,
        table::{Cell, Table},
        target::Trouble,
    },
    cluster::{self, Partition, Seen, Topic},
    env::Env,
    manifest::Manifests,
    store::{
        GetError, Store,
        path::{self, Name},
    },
    types::{ByteCount, Incarnation, Millis, ObjectId, PartitionId},
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Order {
    #[command(flatten)]
    target: Target,
    /// Only topics whose name holds this text
    #[arg(short, long, value_name = "TEXT")]
    topic: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    cluster_id: String,
    topics: Vec<InTopic>,
    /// Objects of records that metadata names, or will delete.
    objects: Sum,
    /// Objects of records that no metadata names: just uploaded, or left by a crash and swept later.
    not_named: Sum,
    /// Objects that metadata names and the bucket lacks.
    missing: Vec<String>,
    metadata: Sum,
    manifests: Sum,
    /// What is there and not ours.
    foreign: Sum,
    /// Whether the last broker gave its lease back: all it had is here.
    drained: bool,
    /// Where the broker that holds the lease is, or was.
    holder: Option<String>,
    /// Bytes the last broker had beside the bucket, when it last said so.
    not_in_bucket_bytes: u64,
}

#[derive(Debug, Serialize)]
struct InTopic {
    name: String,
    id: String,
    partitions: usize,
    objects: usize,
    bytes: u64,
    offsets: i64,
    /// When the oldest and the newest of its records that are here were appended, milliseconds
    /// since 1970; of the oldest it is the end of its upload's time.
    oldest_ms: Option<i64>,
    newest_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Sum {
    objects: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// Manifests that are read at once.
const AT_ONCE: usize = 16;
const MANIFEST_MEMORY: ByteCount = ByteCount::mib(64);
/// How often the signs of life move.
const TICK: std::time::Duration = std::time::Duration::from_millis(100);

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let env = Env::real();
    let store = order.target.open(&env, true).await?;
    let bar = if order.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.set_message("reading metadata");
    bar.enable_steady_tick(TICK);
    let report = Box::pin(read(order, &store, &env, &bar)).await;
    bar.finish_and_clear();
    let report = report?;
    if order.json {
        output::json(&report)?;
    } else {
        print(&report);
    }
    Ok(if report.missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn read(
    order: &Order,
    store: &Store,
    env: &Env,
    bar: &ProgressBar,
) -> anyhow::Result<Report> {
    let Some(seen) = cluster::look(store, env).await? else {
        let text = "the bucket holds no cluster; is it the right bucket and prefix?";
        return Err(Trouble::NotThere(text.to_owned()).into());
    };
    let state = &seen.state;
    let wanted = order.topic.as_deref().unwrap_or_default();
    let topics: Vec<&Arc<Topic>> =
        state.topics.values().filter(|topic| topic.name.contains(wanted)).collect();
    let manifests = Manifests::new(store.clone(), MANIFEST_MEMORY);
    let mut found = Vec::new();
    for topic in topics {
        bar.set_message(format!("reading {}", topic.name));
        found.push(in_topic(topic, &manifests).await?);
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    let mut report = listing(store, &seen, bar).await?;
    report.topics = found;
    if !report.missing.is_empty() {
        // A running broker may have dropped and deleted them since its metadata was read.
        let now = cluster::look(store, env).await?;
        let objects = now.iter().flat_map(|seen| &seen.state.objects);
        let keys = objects.map(|(id, it)| path::data(*id, it.incarnation, it.nonce));
        let named: BTreeSet<String> = keys.map(|key| key.to_string()).collect();
        report.missing.retain(|key| named.contains(key));
    }
    Ok(report)
}

/// What a partition has in the bucket.
#[derive(Default)]
struct Held {
    objects: BTreeSet<ObjectId>,
    bytes: u64,
    oldest: Option<Millis>,
    newest: Option<Millis>,
}

impl Held {
    fn run(&mut self, object: ObjectId, bytes: u64, last_append: Millis) {
        self.objects.insert(object);
        self.bytes = self.bytes.saturating_add(bytes);
        self.oldest = Some(self.oldest.map_or(last_append, |oldest| oldest.min(last_append)));
        self.newest = self.newest.max(Some(last_append));
    }

    fn add(&mut self, other: Self) {
        self.objects.extend(other.objects);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.oldest = [self.oldest, other.oldest].into_iter().flatten().min();
        self.newest = self.newest.max(other.newest);
    }
}

async fn in_topic(topic: &Topic, manifests: &Manifests) -> anyhow::Result<InTopic> {
    let parts = topic.partitions.iter().zip(0..).map(|(partition, index)| {
        let id = PartitionId { topic: topic.id, index };
        async move {
            in_partition(partition, id, manifests)
                .await
                .with_context(|| format!("cannot read the manifest of {}-{index}", topic.name))
        }
    });
    let parts: Vec<Held> = stream::iter(parts).buffer_unordered(AT_ONCE).try_collect().await?;
    let mut all = Held::default();
    for part in parts {
        all.add(part);
    }
    Ok(InTopic {
        name: topic.name.clone(),
        id: output::id(topic.id.0),
        partitions: topic.partitions.len(),
        objects: all.objects.len(),
        bytes: all.bytes,
        offsets: topic.partitions.iter().map(|it| it.end.since(it.log_start).max(0)).sum(),
        oldest_ms: all.oldest.map(|time| time.0),
        newest_ms: all.newest.map(|time| time.0),
    })
}

async fn in_partition(
    partition: &Partition,
    id: PartitionId,
    manifests: &Manifests,
) -> Result<Held, crate::manifest::LoadError> {
    let mut held = Held::default();
    if let Some(named) = partition.manifest {
        let manifest = manifests.get(id, named.version).await?;
        for run in manifest.runs_from(partition.log_start) {
            held.run(run.object, run.bytes, run.last_append);
        }
    }
    for run in partition.runs.iter().filter(|run| run.end > partition.log_start) {
        held.run(run.object, run.bytes, run.last_append);
    }
    Ok(held)
}

/// Every object there is, by what it is.
async fn listing(store: &Store, seen: &Seen, bar: &ProgressBar) -> anyhow::Result<Report> {
    let state = &seen.state;
    let mut missing: BTreeMap<(ObjectId, Incarnation, u64), ()> = state
        .objects
        .iter()
        .map(|(id, object)| ((*id, object.incarnation, object.nonce), ()))
        .collect();
    let unlinked: BTreeSet<_> =
        state.unlinked.iter().map(|(id, it)| (*id, it.incarnation, it.nonce)).collect();
    let lease = seen.lease.as_ref();
    let mut report = Report {
        cluster_id: output::id(state.cluster_id.0),
        topics: Vec::new(),
        objects: Sum::default(),
        not_named: Sum::default(),
        missing: Vec::new(),
        metadata: Sum::default(),
        manifests: Sum::default(),
        foreign: Sum::default(),
        drained: lease.is_some_and(|lease| lease.released),
        holder: lease.filter(|it| !it.released).map(|lease| lease.address.clone()),
        not_in_bucket_bytes: lease.map_or(0, |lease| lease.at_risk.bytes),
    };
    let (mut after, mut count) = (None, 0_u64);
    loop {
        let page = store.list(&path::everything(), after.as_ref()).await?;
        for listed in &page.listed {
            count += 1;
            let sum = match path::name(&listed.key) {
                Some(Name::Data(name)) => {
                    let key = (name.object, name.incarnation, name.nonce);
                    let is_named = missing.remove(&key).is_some() || unlinked.contains(&key);
                    if is_named { &mut report.objects } else { &mut report.not_named }
                }
                Some(Name::Manifest { .. }) => &mut report.manifests,
                Some(
                    Name::Cluster
                    | Name::LogEntry(_)
                    | Name::Snapshot { .. }
                    | Name::Lease
                    | Name::Floor,
                ) => &mut report.metadata,
                None => &mut report.foreign,
            };
            sum.add(listed.bytes);
        }
        bar.set_message(format!("listing: {}", output::count(count, "object")));
        after = page.listed.last().map(|last| last.key.clone());
        if !page.more || after.is_none() {
            break;
        }
    }
    for (object, incarnation, nonce) in missing.into_keys() {
        let key = path::data(object, incarnation, nonce);
        // It may have been written since its part of the listing was read.
        match store.head(&key).await {
            Ok(head) => report.objects.add(head.bytes),
            Err(GetError::Absent) => report.missing.push(key.to_string()),
            Err(GetError::Failed(failure)) => return Err(failure.into()),
        }
    }
    Ok(report)
}

fn print(report: &Report) {
    output::line(format!("cluster {}", console::style(&report.cluster_id).bold()));
    output::line("");
    let heads = ["TOPIC", "#PARTITIONS", "#OBJECTS", "#SIZE", "#OFFSETS", "OLDEST", "NEWEST"];
    let mut table = Table::new(&heads);
    let time = |ms: Option<i64>| {
        // Whole seconds: a table is narrow, and JSON has the rest.
        Cell::or_none(ms.map(|ms| output::time(Millis(ms - ms.rem_euclid(1000)))))
    };
    for topic in &report.topics {
        table.row([
            Cell::from(&topic.name),
            topic.partitions.into(),
            topic.objects.into(),
            ByteCount(topic.bytes).into(),
            topic.offsets.into(),
            time(topic.oldest_ms),
            time(topic.newest_ms),
        ]);
    }
    if table.is_empty() {
        output::line("no topics");
    }
    table.print();
    output::line("");
    let mut table = Table::new(&["KIND", "#OBJECTS", "#SIZE"]);
    for (kind, sum) in [
        ("records", report.objects),
        ("records no metadata names yet", report.not_named),
        ("manifests", report.manifests),
        ("metadata", report.metadata),
        ("not ours", report.foreign),
    ] {
        if sum.objects > 0 {
            table.row([kind.into(), sum.objects.into(), ByteCount(sum.bytes).into()]);
        }
    }
    table.print();
    if let Some(holder) = &report.holder {
        let bytes = ByteCount(report.not_in_bucket_bytes);
        output::line("");
        output::line(format!(
            "held by the broker at {holder}; at its last word it had {bytes} that were not here yet"
        ));
    }
    if !report.missing.is_empty() {
        output::error(&anyhow::anyhow!(
            "{} that metadata names {} not in the bucket: what they held cannot be read; look \
             for a lifecycle rule or a person that deletes under this prefix",
            output::count(report.missing.len(), "object"),
            if report.missing.len() == 1 { "is" } else { "are" }
        ));
    }
    for key in &report.missing {
        output::note(console::style(format!("missing: {key}")).red().for_stderr());
    }
}
