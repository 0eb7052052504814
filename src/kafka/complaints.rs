//! Log lines about bad clients, a few of them.
//!
//! Owns: how many such lines a hostile client can cause. Invariant: at most [`MOST`] lines in
//! [`EVERY`], and one more that says how many were left out.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::error::NO_TRANSACTIONS_TEXT;
use crate::env::{clock, task::Tasks};

/// Characters of a client's name that a log line shows: it may send 32 KiB of them.
const LOGGED_CHARS: usize = 200;
/// Lines in one period.
const MOST: u64 = 10;
/// One period.
const EVERY: Duration = Duration::from_secs(10);

/// Counts lines.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    in_period: AtomicU64,
}

impl Complaints {
    /// Says that a client's request was bad, unless enough was said.
    pub(super) fn say(&self, client: IpAddr, client_id: &str, error: &dyn std::fmt::Display) {
        if self.may() {
            let client_id = shown(client_id);
            tracing::warn!(%client, %client_id, %error, "bad request, connection closed");
        }
    }

    /// Says that a client wanted transactions, unless enough was said.
    pub(super) fn refused_transaction(&self, client: IpAddr, client_id: &str, id: &str) {
        if self.may() {
            let (client_id, id) = (shown(client_id), shown(id));
            tracing::warn!(
                %client, %client_id, "transactional.id {id} refused: {NO_TRANSACTIONS_TEXT}"
            );
        }
    }

    fn may(&self) -> bool {
        self.in_period.fetch_add(1, Ordering::Relaxed) < MOST
    }

    /// Begins a new period; how many lines the last one left out.
    fn turn(&self) -> u64 {
        self.in_period.swap(0, Ordering::Relaxed).saturating_sub(MOST)
    }

    /// Begins new periods until `tasks` stops.
    pub(super) async fn turns(&self, tasks: Tasks) {
        let stopping = tasks.stopping();
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = clock::sleep(EVERY) => {}
            }
            let left_out = self.turn();
            if left_out > 0 {
                tracing::warn!(left_out, "more bad or refused requests");
            }
        }
    }
}

/// What a log line shows of a name that a client chose.
fn shown(name: &str) -> String {
    name.chars().take(LOGGED_CHARS).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_bad_requests_is_a_few_lines_and_a_count() {
        let complaints = Complaints::default();
        let lines = (0..1000).filter(|_| complaints.may()).count();
        assert_eq!(lines, 10);
        assert_eq!(complaints.turn(), 990);
        assert!(complaints.may(), "the next period has lines again");
        assert_eq!(complaints.turn(), 0);
    }
}
