//! How fast the body of a request goes out.
//!
//! Owns: the pace of the requests of one task, and bodies that keep to it. An upload at full speed
//! takes network and cores in a burst; spread over the time there is, nobody notices it.
//! Invariant: a paced body has the bytes and the length of the body it paces.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use crate::env::clock::{self, Instant};

/// Bytes sent at once; at 10 MB/s a piece every 6 ms.
const PIECE_BYTES: usize = 64 * 1024;

/// Bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pace(u64);

tokio::task_local! {
    static PACE: Option<Pace>;
}

impl Pace {
    /// So many bytes a second; one at least.
    #[must_use]
    pub fn per_second(bytes: u64) -> Self {
        Self(bytes.max(1))
    }

    /// When byte number `sent` is due, after the first.
    fn due(self, sent: u64) -> Duration {
        let nanos = u128::from(sent) * 1_000_000_000 / u128::from(self.0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Runs `requests`; their bodies go out at `pace` if there is one.
pub async fn paced<T>(pace: Option<Pace>, requests: impl Future<Output = T>) -> T {
    PACE.scope(pace, requests).await
}

/// The pace of the task this is called in.
pub(super) fn current() -> Option<Pace> {
    PACE.try_with(|pace| *pace).ok().flatten()
}

/// `body` in pieces, each when it is due.
pub(super) fn spread<E: Send + 'static>(
    pace: Pace,
    body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
) -> impl Stream<Item = Result<Bytes, E>> + Send + 'static {
    struct State<S> {
        body: S,
        rest: Bytes,
        sent: u64,
        begun: Instant,
    }
    let state = State { body, rest: Bytes::new(), sent: 0, begun: clock::moment() };
    stream::unfold(state, move |mut state| async move {
        while state.rest.is_empty() {
            match state.body.next().await? {
                Ok(bytes) => state.rest = bytes,
                Err(error) => return Some((Err(error), state)),
            }
        }
        clock::sleep_until(state.begun + pace.due(state.sent)).await;
        let piece = state.rest.split_to(state.rest.len().min(PIECE_BYTES));
        state.sent += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        Some((Ok(piece), state))
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    async fn pieces(pace: Pace, parts: Vec<Bytes>) -> Vec<Bytes> {
        let body = stream::iter(parts.into_iter().map(Ok::<_, Infallible>));
        spread(pace, body).map(|piece| piece.unwrap()).collect().await
    }

    #[test]
    fn bytes_are_due_at_an_even_pace() {
        let pace = Pace::per_second(1_000_000);
        assert_eq!(pace.due(0), Duration::ZERO);
        assert_eq!(pace.due(65_536), Duration::from_micros(65_536));
        assert_eq!(pace.due(10_000_000_000), Duration::from_secs(10_000));
        assert_eq!(Pace::per_second(0).due(1), Duration::from_secs(1));
        assert_eq!(Pace::per_second(u64::MAX).due(1 << 30), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_body_is_never_early_and_stays_the_same() {
        let parts: Vec<Bytes> = (0..5u8).map(|fill| vec![fill; 50_000].into()).collect();
        let begun = Instant::now();
        let sent = pieces(Pace::per_second(1_000_000), parts.clone()).await;
        assert_eq!(sent.concat(), parts.concat());
        assert!(begun.elapsed() >= Duration::from_millis(200));
    }

    #[tokio::test]
    async fn one_large_part_is_cut() {
        let sent = pieces(Pace::per_second(1 << 40), vec![vec![1; 2 << 20].into()]).await;
        assert_eq!(sent.len(), 32);
    }

    #[tokio::test]
    async fn the_pace_is_that_of_the_task_alone() {
        let pace = Some(Pace::per_second(7));
        assert_eq!(paced(pace, async { current() }).await, pace);
        assert_eq!(current(), None);
    }
}
