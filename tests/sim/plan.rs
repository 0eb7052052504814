//! What a seed draws: sizes, clients, which faults there are, and how each life ends.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use strandline::{
    cluster,
    config::{Config, Settings},
    types::ByteCount,
};

use crate::chance::Chance;

/// A kind of fault; a seed has some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The bucket fails a request before it does anything.
    FailBefore,
    /// It does what was asked and says that it failed.
    FailAfter,
    /// A put lands long after it was reported as timed out.
    Late,
    /// A put lands a second time.
    Twice,
    /// Requests take seconds.
    Slow,
    /// It answers nothing for a while.
    Outage,
    /// It answers nothing but 503 for a while.
    Storm,
    /// Bodies of objects come damaged.
    Damaged,
    /// A write or sync of the disk fails.
    DiskError,
    /// It is full for a while.
    DiskFull,
    /// It takes no writes for a while.
    ReadOnly,
    /// A sync takes seconds.
    Stall,
    /// The wall clock jumps.
    Jump,
    /// Retention by time or size.
    Retention,
    /// DeleteRecords.
    DeleteRecords,
    /// Topics come and go.
    Topics,
}

const KINDS: &[Kind] = &[
    Kind::FailBefore,
    Kind::FailAfter,
    Kind::Late,
    Kind::Twice,
    Kind::Slow,
    Kind::Outage,
    Kind::Storm,
    Kind::Damaged,
    Kind::DiskError,
    Kind::DiskFull,
    Kind::ReadOnly,
    Kind::Stall,
    Kind::Jump,
    Kind::Retention,
    Kind::DeleteRecords,
    Kind::Topics,
];

/// How a life of the broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The process is killed; the disk keeps what it was given.
    Kill,
    /// The power goes; what was not synced lands in part.
    Power,
    /// The power goes within so many changes of the disk after half the life.
    PowerAtDisk(u64),
    /// The process is killed before the bucket does the request that is so many away, or after it.
    KillAtBucket(u64, bool),
    /// It is asked to drain.
    Drain,
    /// It is asked to end at once.
    AtOnce,
}

#[derive(Clone, Debug)]
pub struct Life {
    pub time: Duration,
    pub ending: Ending,
    /// Faults rest.
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Producer {
    pub idempotent: bool,
    pub depth: usize,
    pub records: u64,
    pub pause: u64,
    pub partition: i32,
    pub acks: i16,
}

#[derive(Debug)]
pub struct Plan {
    pub kinds: BTreeSet<Kind>,
    pub lives: Vec<Life>,
    pub partitions: i32,
    pub producers: Vec<Producer>,
    pub config: Config,
    pub metadata: cluster::Config,
    pub retention_ms: Option<u64>,
    pub retention_bytes: Option<u64>,
    /// Usual time of a request to the bucket, at most, and of a turn of the disk.
    pub bucket_ms: u64,
    pub disk_ms: u64,
    /// Of 1000 requests to the bucket, about so many meet each kind of fault.
    pub rate: u64,
}

pub fn wal_dir() -> PathBuf {
    PathBuf::from("/sim/wal")
}

impl Plan {
    pub fn draw(seed: u64) -> Self {
        let chance = Chance::of(seed, 1);
        let share = chance.pick(&[0, 10, 25, 50]);
        let kinds: BTreeSet<Kind> =
            KINDS.iter().copied().filter(|_| chance.percent(share)).collect();
        let partitions = i32::try_from(chance.between(1, 3)).unwrap();
        let lives = (0..chance.between(1, 4)).map(|_| life(&chance)).collect();
        let producers = (0..chance.between(1, 3)).map(|_| producer(&chance, partitions)).collect();
        let retention = kinds.contains(&Kind::Retention);
        let by_time = retention && chance.percent(60);
        let by_bytes = retention && (!by_time || chance.percent(40));
        Self {
            lives,
            partitions,
            producers,
            config: config(&chance),
            metadata: cluster::Config {
                snapshot_entries: chance.between(3, 40),
                keep_entries: chance.between(0, 20),
                keep_for: chance.millis(4_000, 60_000),
                ..cluster::Config::default()
            },
            retention_ms: by_time.then(|| chance.between(500, 20_000)),
            retention_bytes: by_bytes.then(|| chance.between(1, 20_000)),
            bucket_ms: chance.pick(&[1, 5, 30, 200]),
            disk_ms: chance.pick(&[1, 5, 20]),
            rate: chance.pick(&[5, 20, 80]),
            kinds,
        }
    }

    pub fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}

fn life(chance: &Chance) -> Life {
    let ending = match chance.below(10) {
        0 | 1 => Ending::Kill,
        2 | 3 => Ending::Power,
        4 | 5 => Ending::PowerAtDisk(chance.between(0, 60)),
        6 => Ending::KillAtBucket(chance.between(0, 30), false),
        7 => Ending::KillAtBucket(chance.between(0, 30), true),
        8 => Ending::Drain,
        _ => Ending::AtOnce,
    };
    // Many lives are so short that the start itself is cut.
    let most = chance.pick(&[100, 1000, 8_000, 25_000]);
    Life { time: chance.millis(1, most), ending, quiet: chance.percent(20) }
}

fn producer(chance: &Chance, partitions: i32) -> Producer {
    Producer {
        idempotent: chance.percent(60),
        depth: usize::try_from(chance.between(1, 5)).unwrap(),
        records: chance.between(1, 5),
        pause: chance.pick(&[5, 50, 300, 1500]),
        partition: i32::try_from(chance.below(u64::try_from(partitions).unwrap())).unwrap(),
        acks: chance.pick(&[-1, -1, 1]),
    }
}

fn config(chance: &Chance) -> Config {
    let settings = Settings {
        bucket: Some("s3://simulated".to_owned()),
        wal_dir: Some(wal_dir()),
        cache_disk: Some(ByteCount(0)),
        drain_timeout: Some(Duration::from_secs(60)),
        ..Settings::default()
    };
    let no_file = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let mut config = settings.resolve(std::iter::empty(), no_file).unwrap();
    config.roll_bytes = ByteCount(chance.pick(&[8, 16, 64]) * 1024);
    config.roll_after = chance.millis(50, chance.pick(&[200, 2000, 10_000]));
    config.wal_budget = Some(ByteCount(config.roll_bytes.0 * chance.pick(&[4, 16, 1000])));
    config.kafka.insert("offsets.topic.num.partitions".to_owned(), "2".to_owned());
    config.lease = chance.millis(3000, 30_000);
    config.retention_check = chance.millis(300, 10_000);
    config.delete_grace = chance.millis(500, 10_000);
    config.sweep = chance.millis(2000, 20_000);
    config.manifest_after = chance.millis(500, 20_000);
    config.memory.tail = ByteCount(chance.pick(&[0, 4096, 64 * 1024, 1 << 20]));
    config.memory.cache = ByteCount(chance.pick(&[0, 16 * 1024, 1 << 20]));
    config
}
