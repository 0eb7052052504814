//! Reading as a member of a consumer group: partitions are shared, offsets are committed.
//!
//! Invariant: an offset is committed only after its records were written to standard output, so
//! that a member that dies leaves nothing unread behind; some may be read twice.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::Context;

use super::{Order, Printer, Reach, ends_of, lanes::Lanes};
use crate::{
    cli::{output, place},
    client::{Cluster, Committer, Membership, Named},
    env::{clock, signal::Terminations},
    types::Offset,
};

/// How often the coordinator hears of us and what was read is committed.
const BEAT: Duration = Duration::from_secs(3);
/// UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS: others will read it again.
const TOO_LATE: [i16; 3] = [25, 22, 27];

/// How the reading of what was assigned ends.
enum Turn {
    /// The group changed.
    JoinAgain,
    /// Enough.
    End,
}

struct Reader<'a> {
    order: &'a Order,
    group: &'a str,
    cluster: Cluster,
    member: Membership,
    printer: Printer,
    signals: Terminations,
    /// What is committed already.
    committed: BTreeMap<Named, Offset>,
}

pub(super) async fn run(
    order: &Order,
    group: &str,
    mut cluster: Cluster,
) -> anyhow::Result<ExitCode> {
    let signals = Terminations::listen().context("cannot listen for signals")?;
    let joined = Membership::join(&mut cluster, group, &order.topics).await;
    let member = joined.with_context(|| format!("cannot join the group {group}"))?;
    let printer = Printer::new(order);
    let committed = BTreeMap::new();
    let mut reader = Reader { order, group, cluster, member, printer, signals, committed };
    let done = loop {
        match Box::pin(reader.read()).await {
            Ok(Turn::JoinAgain) => {}
            Ok(Turn::End) => break reader.commit().await,
            Err(error) => break Err(error),
        }
        reader.commit().await?;
        reader.printer.positions.clear();
        reader.committed.clear();
        let again = reader.member.join_again(&mut reader.cluster).await;
        again.with_context(|| format!("cannot stay in the group {group}"))?;
    };
    // The group finds out by itself, if later.
    drop(reader.member.leave().await);
    done.map(|()| ExitCode::SUCCESS)
}

impl Reader<'_> {
    /// Reads what the group gave, until it changes or it is enough.
    async fn read(&mut self) -> anyhow::Result<Turn> {
        let reaches = self.reaches().await?;
        // Connections of its own: the coordinator is spoken to meanwhile.
        let mut lanes = Lanes::new(self.order.target.connect().await?, reaches);
        let mut beats = clock::interval(BEAT);
        let mut is_at_end = false;
        loop {
            // `next` forgets nothing when it is dropped: what was not handed out is fetched again.
            tokio::select! {
                biased;
                () = self.signals.next() => return Ok(Turn::End),
                _ = beats.tick() => {
                    self.commit().await?;
                    let alive = self.member.beat(&mut self.cluster).await;
                    if !alive.with_context(|| format!("cannot stay in the group {}", self.group))? {
                        return Ok(Turn::JoinAgain);
                    }
                }
                fetched = lanes.next(), if !is_at_end => match fetched? {
                    Some(fetched) => {
                        if !self.printer.print(&fetched)? || self.printer.is_done() {
                            return Ok(Turn::End);
                        }
                    }
                    // Without partitions there is nothing to read until the group changes.
                    None if self.order.exit || self.order.until.is_some() => return Ok(Turn::End),
                    None => is_at_end = true,
                }
            }
        }
    }

    /// Where the group is, or where the order says for partitions it has not read.
    async fn reaches(&mut self) -> anyhow::Result<BTreeMap<Named, Reach>> {
        let assigned = self.member.assigned().to_vec();
        let cluster = &mut self.cluster;
        let committed = cluster.committed(self.group).await?;
        let begins = place::resolve(cluster, &assigned, self.order.offset).await?;
        let ends = ends_of(self.order, cluster, &assigned).await?;
        let reach = |(key, span): (Named, place::Span)| {
            let known = committed.get(&key).map(|committed| committed.offset);
            let end = ends.get(&key).copied();
            (key, Reach { next: known.unwrap_or(span.place), end })
        };
        Ok(begins.into_iter().map(reach).collect())
    }

    async fn commit(&mut self) -> anyhow::Result<()> {
        let positions = self.printer.positions.iter();
        let new: BTreeMap<Named, Offset> = positions
            .filter(|(key, offset)| self.committed.get(*key) != Some(offset))
            .map(|(key, offset)| (key.clone(), *offset))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let (generation, member) = (self.member.generation(), self.member.id().to_owned());
        let by = Committer { generation, member: &member };
        match self.cluster.commit(self.group, by, &new).await {
            Ok(()) => self.committed.extend(new),
            Err(error) if error.code().is_some_and(|code| TOO_LATE.contains(&code)) => {
                let what = output::count(new.len(), "partition");
                output::note(format!(
                    "the group changed before what was read of {what} could be committed; it may \
                     be read again"
                ));
            }
            Err(error) => {
                let text = format!("cannot commit for the group {}", self.group);
                return Err(error).context(text);
            }
        }
        Ok(())
    }
}
