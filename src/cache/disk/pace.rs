//! How fast the tier may write: the WAL's disk is its disk.

use std::time::Duration;

/// A token bucket in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    burst: u64,
    level: u64,
    last: Duration,
}

impl Pace {
    /// A full bucket at `now`.
    pub(super) fn new(bytes_per_second: u64, burst: u64, now: Duration) -> Self {
        Self { bytes_per_second, burst, level: burst, last: now }
    }

    /// Takes `bytes` and tells how long to wait before they are written. More than a burst at once
    /// waits for a whole one.
    pub(super) fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let since = u64::try_from(now.saturating_sub(self.last).as_micros()).unwrap_or(u64::MAX);
        let more = since.saturating_mul(self.bytes_per_second) / 1_000_000;
        if more > 0 {
            self.level = self.level.saturating_add(more).min(self.burst);
            self.last = now;
        }
        let wanted = bytes.min(self.burst);
        let short = wanted.saturating_sub(self.level);
        self.level = self.level.saturating_sub(wanted);
        if short == 0 {
            return Duration::ZERO;
        }
        let wait = Duration::from_micros(short.saturating_mul(1_000_000) / self.bytes_per_second);
        // What flows in meanwhile is spent.
        self.last = now.saturating_add(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_long_run_the_rate_holds_whatever_the_sizes() {
        let (rate, burst) = (1_000_000, 100_000);
        let mut pace = Pace::new(rate, burst, Duration::ZERO);
        let (mut now, mut bytes) = (Duration::ZERO, 0);
        for size in [1, 70_000, 30_000, 99_999, 5].into_iter().cycle().take(5000) {
            now += pace.take(size, now);
            bytes += size;
        }
        let least = Duration::from_micros((bytes - burst) * 1_000_000 / rate);
        assert!(now >= least - Duration::from_millis(10), "{bytes} bytes in {now:?}");
        assert!(now <= least + Duration::from_millis(10), "{bytes} bytes in {now:?}");
    }

    #[test]
    fn a_rest_is_worth_one_burst() {
        let mut pace = Pace::new(1000, 100, Duration::ZERO);
        assert_eq!(pace.take(100, Duration::from_secs(60)), Duration::ZERO);
        assert_eq!(pace.take(100, Duration::from_secs(60)), Duration::from_millis(100));
    }
}
