//! When each request is due.
//!
//! Invariant: the n-th request is due at `start + n / rate`, however late the ones before it
//! were; lateness is part of what is measured.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use crate::env::{
    clock::{self, Clock},
    task,
};

/// Due times that may wait for a sender. More would only hide that it falls behind.
const WAITING_MAX: usize = 65_536;

/// When the `n`-th of `rate` a second is due, from the start.
pub(super) fn due(n: u64, rate: f64) -> Duration {
    // A count of requests is exact in an f64 up to 2^53.
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "below 2^53")]
    let n = n as f64;
    Duration::try_from_secs_f64(n / rate).unwrap_or(Duration::MAX)
}

/// Sends the due times (boot time) of `rate` a second until `end`, to `connections` receivers in
/// turn. A thread of its own, for the runtime's timer is only good to a millisecond.
pub(super) fn start(
    clock: Arc<dyn Clock>,
    rate: f64,
    end: Duration,
    connections: usize,
) -> std::io::Result<Vec<mpsc::Receiver<Duration>>> {
    let waiting = (WAITING_MAX / connections.max(1)).max(1);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..connections).map(|_| mpsc::channel(waiting)).unzip();
    let pacer = move || {
        let began = clock.boot();
        for (n, sender) in (0..).zip(senders.iter().cycle()) {
            let at = began.saturating_add(due(n, rate));
            if at >= end {
                break;
            }
            clock::block(at.saturating_sub(clock.boot()));
            if sender.blocking_send(at).is_err() {
                break;
            }
        }
    };
    // It ends by itself when a receiver does; there is nothing to join for.
    drop(task::thread("pacer", pacer)?);
    Ok(receivers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_even_distances_whatever_came_before() {
        assert_eq!(due(0, 500.0), Duration::ZERO);
        assert_eq!(due(1, 500.0), Duration::from_millis(2));
        assert_eq!(due(5_000, 500.0), Duration::from_secs(10));
    }

    #[test]
    fn connections_have_their_turns_and_the_rate_is_that_of_all() {
        let clock = Arc::new(clock::SystemClock);
        let end = clock.boot() + Duration::from_secs(60);
        let mut waiting = start(clock, 1_000_000.0, end, 3).unwrap();
        let mut next = || {
            let due = |ticks: &mut mpsc::Receiver<_>| ticks.blocking_recv().unwrap();
            waiting.iter_mut().map(due).collect::<Vec<Duration>>()
        };
        let (first, second) = (next(), next());
        let micros = Duration::from_micros;
        assert_eq!(first, [first[0], first[0] + micros(1), first[0] + micros(2)]);
        assert_eq!(second[0], first[0] + micros(3));
    }
}
