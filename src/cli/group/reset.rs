//! `group reset`.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::describe::in_use;
use crate::{
    cli::{
        grammar::{self, Partitions, When, Where},
        output, place,
        place::Span,
        table::{Cell, Table},
        target::{self, Target, Trouble},
    },
    client::{Cluster, Committed, Committer, Named},
    types::Offset,
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Order {
    #[command(flatten)]
    target: Target,
    /// Name of the group
    #[arg(value_name = "NAME")]
    name: String,
    /// A topic whose offsets move, as orders, or orders:0,2 for some partitions; repeat it for more
    #[arg(short, long, value_name = "TOPIC[:N]", required_unless_present = "all_topics")]
    topic: Vec<String>,
    /// Every topic the group has offsets of
    #[arg(long, conflicts_with = "topic")]
    all_topics: bool,
    #[command(flatten)]
    to: To,
    /// Do it; without it only what would be done is shown
    #[arg(short, long, visible_alias = "execute")]
    yes: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct To {
    /// To the first record there is
    #[arg(long, visible_alias = "to-start")]
    to_earliest: bool,
    /// To after the last record there is
    #[arg(long, visible_alias = "to-end")]
    to_latest: bool,
    /// To this offset
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// To the first record not before this time, as 2026-11-24T12:00:00Z, or 1h for an hour ago
    #[arg(
        long,
        visible_alias = "to-datetime",
        value_name = "TIME",
        allow_hyphen_values = true,
        value_parser = grammar::when
    )]
    to_time: Option<When>,
    /// So many records on, or back if negative
    #[arg(long, visible_alias = "shift-by", value_name = "N", allow_hyphen_values = true)]
    by: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Reset {
    group: String,
    done: bool,
    partitions: Vec<Moved>,
}

#[derive(Debug, Serialize)]
struct Moved {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    new: i64,
    lag: i64,
}

impl To {
    /// Where to, unless it is by steps.
    fn place(&self) -> Option<Where> {
        let offset = self.to_offset.map(|offset| Where::At(Offset(offset)));
        let time = self.to_time.map(Where::Time);
        let start = self.to_earliest.then_some(Where::Start);
        start.or(self.to_latest.then_some(Where::End)).or(offset).or(time)
    }
}

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let mut cluster = order.target.connect().await?;
    let name = &order.name;
    let context = || format!("cannot reset the group {name}");
    if let Some(group) = cluster.group(name).await.with_context(context)? {
        if let Some(trouble) = in_use(name, &group) {
            return Err(trouble.into());
        }
    } else if order.all_topics || order.to.by.is_some() {
        return Err(target::no_group(name).into());
    }
    let committed = cluster.committed(name).await.with_context(context)?;
    let wanted = wanted(order, &mut cluster, &committed).await?;
    let spans = place::resolve(&mut cluster, &wanted, order.to.place().unwrap_or(Where::Start));
    let spans = spans.await.with_context(context)?;
    let moved: Vec<Moved> =
        spans.iter().map(|(key, span)| moved(order, key, *span, committed.get(key))).collect();
    if order.yes && !moved.is_empty() {
        let offsets: BTreeMap<Named, Offset> =
            moved.iter().map(|it| ((it.topic.clone(), it.partition), Offset(it.new))).collect();
        cluster.commit(name, Committer::ADMINISTRATOR, &offsets).await.with_context(context)?;
    }
    let reset = Reset { group: name.clone(), done: order.yes, partitions: moved };
    if order.json {
        output::json(&reset)?;
    } else {
        print(&reset);
    }
    Ok(ExitCode::SUCCESS)
}

/// The partitions that are meant.
async fn wanted(
    order: &Order,
    cluster: &mut Cluster,
    committed: &BTreeMap<Named, Committed>,
) -> anyhow::Result<Vec<Named>> {
    let mut names: Vec<(String, Option<Partitions>)> = Vec::new();
    for text in &order.topic {
        match text.split_once(':') {
            None => names.push((text.clone(), None)),
            Some((topic, some)) => {
                let some = grammar::partitions(some).map_err(Trouble::Usage)?;
                names.push((topic.to_owned(), Some(some)));
            }
        }
    }
    if order.all_topics {
        return still_there(cluster, committed).await;
    }
    let topics: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
    let metadata = cluster.metadata(Some(&topics), false).await?;
    let mut wanted = Vec::new();
    for (name, only) in &names {
        let topic = target::topic(&metadata, name)?;
        wanted.extend(place::chosen(name, topic, only.as_ref())?);
    }
    Ok(wanted)
}

/// The partitions the group has offsets of that are there.
async fn still_there(
    cluster: &mut Cluster,
    committed: &BTreeMap<Named, Committed>,
) -> anyhow::Result<Vec<Named>> {
    let mut topics: Vec<String> = committed.keys().map(|(topic, _)| topic.clone()).collect();
    topics.dedup();
    let metadata = cluster.metadata(Some(&topics), false).await?;
    let is_there = |(topic, partition): &&Named| {
        metadata.topics.get(topic).is_some_and(|it| it.partitions.contains_key(partition))
    };
    Ok(committed.keys().filter(is_there).cloned().collect())
}

fn moved(order: &Order, key: &Named, span: Span, committed: Option<&Committed>) -> Moved {
    let committed = committed.map(|committed| committed.offset);
    let new = match order.to.by {
        // Without an offset there is nothing to count from but the start.
        Some(by) => {
            let from = committed.unwrap_or(span.start);
            Offset(from.0.saturating_add(by)).clamp(span.start, span.end)
        }
        None => span.place,
    };
    Moved {
        topic: key.0.clone(),
        partition: key.1,
        committed: committed.map(|offset| offset.0),
        new: new.0,
        lag: span.end.since(new),
    }
}

fn print(reset: &Reset) {
    let mut table = Table::new(&["TOPIC", "#PARTITION", "#COMMITTED", "#NEW", "#LAG-THEN"]);
    for it in &reset.partitions {
        table.row([
            Cell::from(&it.topic),
            it.partition.into(),
            Cell::or_none(it.committed),
            it.new.into(),
            it.lag.into(),
        ]);
    }
    table.print();
    let group = &reset.group;
    if reset.partitions.is_empty() {
        output::note(format!("the group {group} has no offsets that could move"));
    } else if reset.done {
        output::note(format!("moved the offsets of the group {group}"));
    } else {
        output::note("nothing was changed; say the same with --yes to do it");
    }
}
