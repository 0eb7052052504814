//! How one budget of memory becomes the budgets of all parts.
//!
//! Owns: the split, the least there can be. Does not own: keeping to a budget: each part does.
//! Invariant: the parts come to no more than the budget, whatever is set by itself.
//!
//! | part | what it bounds | units |
//! |---|---|---|
//! | process | code, threads, metadata, groups, producer state; 1/16, 24 MiB at least | |
//! | connections | open connections, and what each may read of a request by right | 6 |
//! | tail | newest records, kept in the buffers they were written from | 12 |
//! | wal | batches that wait for the disk, and the buffer that is being filled | 4 |
//! | upload | objects being built and on their way to the bucket | 11 |
//! | cache | blocks, footers and manifests read from the bucket | 10 |
//! | cold | bytes on their way from the bucket, and blocks on their way to the disk tier | 6 |
//! | requests | requests being read or run, with what unpacking them takes | 6 |
//! | replies | replies from before they are read together to when they are written | 5 |
//!
//! What is set by itself is taken off first; the others share the rest in the same proportions.

use crate::types::ByteCount;

/// The whole budget when none is given.
const DEFAULT: ByteCount = ByteCount::mib(512);
/// The process takes this part of the budget...
const PROCESS: u64 = 16;
/// ...and at least this: an idle broker has half of it.
const LEAST_PROCESS: ByteCount = ByteCount::mib(24);
/// Less than this a unit and the smallest parts would not work: a WAL buffer is 4 MiB, a request
/// to the bucket 8 MiB.
const LEAST_UNIT: ByteCount = ByteCount::kib(1536);
/// What an open connection takes that does nothing, measured at 1,000 of them, and the least of a
/// request that it reads by right.
const CONNECTION: ByteCount = ByteCount::kib(20);
/// Connections when nothing is said of them, however large the budget is.
const MOST_CONNECTIONS: u32 = 10_000;

const CONNECTIONS_UNITS: u64 = 6;
const TAIL_UNITS: u64 = 12;
const WAL_UNITS: u64 = 4;
const UPLOAD_UNITS: u64 = 11;
const CACHE_UNITS: u64 = 10;
const COLD_UNITS: u64 = 6;
const REQUESTS_UNITS: u64 = 6;
const REPLIES_UNITS: u64 = 5;

/// What every part may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The whole.
    pub budget: ByteCount,
    /// What no part of its own bounds.
    pub process: ByteCount,
    /// Open connections.
    pub connections: ByteCount,
    /// Newest records.
    pub tail: ByteCount,
    /// Batches that wait for the disk.
    pub wal: ByteCount,
    /// Objects on their way to the bucket.
    pub upload: ByteCount,
    /// Blocks, footers and manifests.
    pub cache: ByteCount,
    /// Bytes on their way from the bucket.
    pub cold: ByteCount,
    /// Requests.
    pub requests: ByteCount,
    /// Replies.
    pub replies: ByteCount,
}

/// What was set by itself, and by which key.
#[derive(Clone, Debug, Default)]
pub(super) struct Fixed {
    pub(super) connections: Option<(&'static str, ByteCount)>,
    pub(super) tail: Option<(&'static str, ByteCount)>,
    pub(super) cache: Option<(&'static str, ByteCount)>,
    pub(super) cold: Option<(&'static str, ByteCount)>,
    pub(super) requests: Option<(&'static str, ByteCount)>,
}

/// What so many connections take.
pub(super) fn of_connections(count: u32) -> ByteCount {
    ByteCount(CONNECTION.0.saturating_mul(count.into()))
}

/// Splits `budget` (the default when none is given).
///
/// # Errors
/// When it is too small for what is set by itself and the least of everything else; the text says
/// which keys to change, and to what.
pub(super) fn split(budget: Option<ByteCount>, fixed: &Fixed) -> Result<Memory, String> {
    let budget = budget.unwrap_or(DEFAULT);
    let process = LEAST_PROCESS.0.max(budget.0 / PROCESS);
    let shared = [
        (fixed.connections, CONNECTIONS_UNITS),
        (fixed.tail, TAIL_UNITS),
        (None, WAL_UNITS),
        (None, UPLOAD_UNITS),
        (fixed.cache, CACHE_UNITS),
        (fixed.cold, COLD_UNITS),
        (fixed.requests, REQUESTS_UNITS),
        (None, REPLIES_UNITS),
    ];
    let set: Vec<_> = shared.iter().filter_map(|(set, _)| *set).collect();
    let of_set = set.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(bytes.0));
    let units: u64 = shared.iter().filter(|(set, _)| set.is_none()).map(|(_, units)| units).sum();
    let rest = budget.0.saturating_sub(process).saturating_sub(of_set);
    if rest < units * LEAST_UNIT.0 {
        return Err(too_small(budget, of_set.saturating_add(units * LEAST_UNIT.0), &set));
    }
    let part = |set: Option<(&'static str, ByteCount)>, part: u64| {
        set.map_or(ByteCount(rest / units.max(1) * part), |(_, bytes)| bytes)
    };
    Ok(Memory {
        budget,
        process: ByteCount(process),
        connections: part(fixed.connections, CONNECTIONS_UNITS),
        tail: part(fixed.tail, TAIL_UNITS),
        wal: part(None, WAL_UNITS),
        upload: part(None, UPLOAD_UNITS),
        cache: part(fixed.cache, CACHE_UNITS),
        cold: part(fixed.cold, COLD_UNITS),
        requests: part(fixed.requests, REQUESTS_UNITS),
        replies: part(None, REPLIES_UNITS),
    })
}

/// Why `budget` does not do; `parts` is what all but the process takes at least.
fn too_small(budget: ByteCount, parts: u64, set: &[(&str, ByteCount)]) -> String {
    // Beyond 16/15 of the parts the process takes a sixteenth, and not its least any more.
    let large = parts.saturating_add(parts / (PROCESS - 1)).saturating_add(1);
    let least = large.max(parts.saturating_add(LEAST_PROCESS.0));
    let mib = least.div_ceil(ByteCount::mib(1).0);
    let takes: Vec<_> = set.iter().map(|(key, bytes)| format!("{key} takes {bytes}")).collect();
    if takes.is_empty() {
        return format!("{budget} is too small: give at least {mib}MiB");
    }
    let takes = takes.join(", ");
    format!("{budget} is too small, as {takes}: raise it to at least {mib}MiB, or lower those")
}

impl Memory {
    /// Its parts by name.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, ByteCount); 9] {
        [
            ("process", self.process),
            ("connections", self.connections),
            ("tail", self.tail),
            ("wal", self.wal),
            ("upload", self.upload),
            ("cache", self.cache),
            ("cold", self.cold),
            ("requests", self.requests),
            ("replies", self.replies),
        ]
    }

    /// Connections that fit in their part, where nothing is said of them.
    pub(super) fn most_connections(&self) -> u32 {
        let fit = self.connections.0 / CONNECTION.0;
        u32::try_from(fit).unwrap_or(u32::MAX).min(MOST_CONNECTIONS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(memory: &Memory) -> u64 {
        memory.parts().iter().map(|(_, bytes)| bytes.0).sum()
    }

    #[test]
    fn the_default_is_split_to_the_last_byte() {
        let memory = split(None, &Fixed::default()).unwrap();
        let mib = memory.parts().map(|(_, bytes)| bytes.0 / ByteCount::mib(1).0);
        assert_eq!(mib, [32, 48, 96, 32, 88, 80, 48, 48, 40]);
        assert_eq!(sum(&memory), ByteCount::mib(512).0);
        assert_eq!(memory.most_connections(), 2457);
    }

    #[test]
    fn the_least_budget_is_told_and_does() {
        let refused = split(Some(ByteCount::mib(64)), &Fixed::default()).unwrap_err();
        assert_eq!(refused, "64.0 MiB is too small: give at least 114MiB");
        assert!(split(Some(ByteCount::mib(113)), &Fixed::default()).is_err());
        assert!(split(Some(ByteCount::mib(114)), &Fixed::default()).is_ok());
    }

    #[test]
    fn what_is_set_by_itself_is_named_when_it_does_not_fit() {
        let fixed = Fixed {
            tail: Some(("--tail-memory", ByteCount::mib(300))),
            cold: Some(("--cold-memory", ByteCount::mib(200))),
            ..Fixed::default()
        };
        let refused = split(None, &fixed).unwrap_err();
        assert_eq!(
            refused,
            "512.0 MiB is too small, as --tail-memory takes 300.0 MiB, --cold-memory takes 200.0 MiB: \
             raise it to at least 601MiB, or lower those"
        );
        let memory = split(Some(ByteCount::mib(601)), &fixed).unwrap();
        assert_eq!(memory.tail, ByteCount::mib(300));
    }

    proptest! {
        #[test]
        fn the_parts_come_to_no_more_than_the_budget_and_the_least_told_does(
            budget in 0..4096_u64,
            set in prop::array::uniform5(prop::option::of(0..2048_u64)),
        ) {
            let budget = ByteCount::mib(budget);
            let [connections, tail, cache, cold, requests] =
                set.map(|mib| mib.map(|mib| ("--x", ByteCount::mib(mib))));
            let fixed = Fixed { connections, tail, cache, cold, requests };
            match split(Some(budget), &fixed) {
                Ok(memory) => {
                    prop_assert!(sum(&memory) <= budget.0);
                    prop_assert!(memory.parts().iter().all(|(_, bytes)| bytes.0 > 0)
                        || set.contains(&Some(0)));
                    prop_assert!(tail.is_none_or(|(_, tail)| memory.tail == tail));
                }
                Err(reason) => {
                    let least = reason.split("at least ").nth(1).unwrap();
                    let least = least.split("MiB").next().unwrap().parse().unwrap();
                    prop_assert!(ByteCount::mib(least) > budget);
                    prop_assert!(split(Some(ByteCount::mib(least)), &fixed).is_ok());
                }
            }
        }
    }
}
