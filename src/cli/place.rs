//! From a place as people write it to an offset in each partition.
//!
//! Invariant: what comes out lies between the start and the end of its partition.

use std::collections::BTreeMap;

use super::{
    grammar::{Partitions, Where},
    target::Trouble,
};
use crate::{
    client::{Cluster, Named, Place, Topic},
    types::Offset,
};

/// A partition's offsets, and the place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) place: Offset,
}

/// The partitions of a topic that are meant: those named, or all.
pub(super) fn chosen(
    name: &str,
    topic: &Topic,
    only: Option<&Partitions>,
) -> anyhow::Result<Vec<Named>> {
    let all = || topic.partitions.keys().copied().collect();
    let wanted: Vec<i32> = only.map_or_else(all, |only| only.0.clone());
    if let Some(absent) = wanted.iter().find(|index| !topic.partitions.contains_key(index)) {
        let last = topic.partitions.len().saturating_sub(1);
        let text = format!("the topic {name} has no partition {absent}; it has 0 to {last}");
        return Err(Trouble::NotThere(text).into());
    }
    Ok(wanted.into_iter().map(|index| (name.to_owned(), index)).collect())
}

/// Where `place` is in each of `partitions`.
pub(super) async fn resolve(
    cluster: &mut Cluster,
    partitions: &[Named],
    place: Where,
) -> anyhow::Result<BTreeMap<Named, Span>> {
    let starts = cluster.offsets(partitions, Place::Start).await?;
    let ends = cluster.offsets(partitions, Place::End).await?;
    let times = match place {
        Where::Time(when) => {
            let time = when.on(cluster.env().clock.as_ref());
            cluster.offsets(partitions, Place::At(time)).await?
        }
        Where::Start | Where::End | Where::At(_) | Where::BeforeEnd(_) | Where::AfterStart(_) => {
            BTreeMap::new()
        }
    };
    let known = |of: &BTreeMap<Named, Option<Offset>>, key| of.get(key).copied().flatten();
    let spans = partitions.iter().map(|key| {
        let start = known(&starts, key).unwrap_or(Offset::ZERO);
        let end = known(&ends, key).unwrap_or(start);
        (key.clone(), Span { start, end, place: within(place, start, end, known(&times, key)) })
    });
    Ok(spans.collect())
}

fn within(place: Where, start: Offset, end: Offset, timed: Option<Offset>) -> Offset {
    let offset = match place {
        Where::Start => start,
        Where::End => end,
        Where::At(offset) => offset,
        Where::BeforeEnd(records) => Offset(end.0.saturating_sub(records)),
        Where::AfterStart(records) => Offset(start.0.saturating_add(records)),
        // No record is so new: what comes will be.
        Where::Time(_) => timed.unwrap_or(end),
    };
    offset.clamp(start, end.max(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_lies_between_start_and_end() {
        let is = |place, timed: Option<i64>, wanted| {
            let found = within(place, Offset(10), Offset(20), timed.map(Offset));
            assert_eq!(found, Offset(wanted), "{place:?}");
        };
        is(Where::Start, None, 10);
        is(Where::End, None, 20);
        is(Where::At(Offset(15)), None, 15);
        is(Where::At(Offset(5)), None, 10);
        is(Where::At(Offset(25)), None, 20);
        is(Where::BeforeEnd(3), None, 17);
        is(Where::BeforeEnd(30), None, 10);
        is(Where::AfterStart(3), None, 13);
        let ago = Where::Time(super::super::grammar::When::Ago(std::time::Duration::ZERO));
        is(ago, Some(12), 12);
        is(ago, None, 20);
    }
}
