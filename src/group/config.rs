//! The few numbers groups are run with; names and defaults are Kafka's unless said.

use std::time::Duration;

/// Configuration of the group coordinators.
#[derive(Clone, Debug)]
pub struct Config {
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout: Duration,
    /// `group.max.size`. Kafka has no bound; here memory is bounded.
    pub max_members: usize,
    /// `offsets.retention.minutes`: how long offsets outlive their group's last member.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check: Duration,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.commit.timeout.ms`: how long an answer waits for its record to be committed.
    pub commit_timeout: Duration,
    /// `offsets.topic.num.partitions`, when the topic is created.
    pub partitions: i32,
    /// Bytes of the log after which live state is written again and what is before dropped.
    pub rewrite_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::from_secs(3),
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            max_members: 10_000,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            offsets_retention_check: Duration::from_secs(10 * 60),
            offset_metadata_max_bytes: 4096,
            commit_timeout: Duration::from_secs(5),
            partitions: 50,
            rewrite_bytes: 4 * 1024 * 1024,
        }
    }
}
