//! The topic configurations of Kafka 4.3 (`LogConfig`), sorted by name.

use super::definition::{
    Definition,
    Kind::{Boolean, Double, Int, List, Long, String},
    Rule::{AtLeast, Between, EachOf, GzipLevel, OneOf, ThrottledReplicas},
    Synonym,
};

/// Milliseconds in an hour.
const HOUR: i64 = 3_600_000;
/// Milliseconds in a minute.
const MINUTE: i64 = 60_000;

const fn same(name: &'static str) -> Synonym {
    Synonym { name, scale: 1 }
}

const fn times(name: &'static str, scale: i64) -> Synonym {
    Synonym { name, scale }
}

/// Every topic configuration, sorted by name.
pub const TOPIC: &[Definition] = &[
    Definition::new("cleanup.policy", List, "delete")
        .rule(EachOf(&["compact", "delete"]))
        .acts()
        .from(&[same("log.cleanup.policy")])
        .doc("Whether old records go by time and size (delete), by key (compact), or both."),
    Definition::new("compression.gzip.level", Int, "-1")
        .rule(GzipLevel)
        .acts()
        .from(&[same("compression.gzip.level")])
        .doc("Level used when compression.type is gzip."),
    Definition::new("compression.lz4.level", Int, "9")
        .rule(Between(1, 17))
        .from(&[same("compression.lz4.level")])
        .doc("Level for lz4. The codec used here has one level only."),
    Definition::new("compression.type", String, "producer")
        .rule(OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]))
        .acts()
        .from(&[same("compression.type")])
        .doc("Codec batches are stored in; producer keeps what the producer chose."),
    Definition::new("compression.zstd.level", Int, "3")
        .rule(Between(-131_072, 22))
        .acts()
        .from(&[same("compression.zstd.level")])
        .doc("Level used when compression.type is zstd."),
    Definition::new("delete.retention.ms", Long, "86400000")
        .rule(AtLeast(0))
        .from(&[same("log.cleaner.delete.retention.ms")])
        .doc("How long a tombstone of a compacted topic stays readable."),
    Definition::new("file.delete.delay.ms", Long, "60000")
        .rule(AtLeast(0))
        .from(&[same("log.segment.delete.delay.ms")])
        .doc(
            "Delay before files are deleted. Objects in the bucket follow the broker's own grace.",
        ),
    Definition::new("flush.messages", Long, "9223372036854775807")
        .rule(AtLeast(1))
        .from(&[same("log.flush.interval.messages")])
        .doc("Records between syncs. Every acknowledged record is synced already."),
    Definition::new("flush.ms", Long, "9223372036854775807")
        .rule(AtLeast(0))
        .from(&[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")])
        .doc("Time between syncs. Every acknowledged record is synced already."),
    Definition::new("follower.replication.throttled.replicas", List, "")
        .rule(ThrottledReplicas)
        .doc("Replicas to throttle on the follower side. Moving a partition moves no data."),
    Definition::new("index.interval.bytes", Int, "4096")
        .rule(AtLeast(0))
        .from(&[same("log.index.interval.bytes")])
        .doc("Bytes between index entries. Objects carry their own index."),
    Definition::new("leader.replication.throttled.replicas", List, "")
        .rule(ThrottledReplicas)
        .doc("Replicas to throttle on the leader side. Moving a partition moves no data."),
    Definition::new("local.retention.bytes", Long, "-2")
        .rule(AtLeast(-2))
        .from(&[same("log.local.retention.bytes")])
        .doc("Local size under tiered storage. The bucket is the only home of data."),
    Definition::new("local.retention.ms", Long, "-2")
        .rule(AtLeast(-2))
        .from(&[same("log.local.retention.ms")])
        .doc("Local time under tiered storage. The bucket is the only home of data."),
    Definition::new("max.compaction.lag.ms", Long, "9223372036854775807")
        .rule(AtLeast(1))
        .from(&[same("log.cleaner.max.compaction.lag.ms")])
        .doc("Longest time a record stays ineligible for compaction."),
    Definition::new("max.message.bytes", Int, "1048588")
        .rule(AtLeast(0))
        .acts()
        .from(&[same("message.max.bytes")])
        .doc("Largest record batch accepted, compressed as it was sent."),
    Definition::new("message.timestamp.after.max.ms", Long, "3600000")
        .rule(AtLeast(0))
        .acts()
        .from(&[same("log.message.timestamp.after.max.ms")])
        .doc("How far ahead of the broker's clock a record's timestamp may be (CreateTime)."),
    Definition::new("message.timestamp.before.max.ms", Long, "9223372036854775807")
        .rule(AtLeast(0))
        .acts()
        .from(&[same("log.message.timestamp.before.max.ms")])
        .doc("How far behind the broker's clock a record's timestamp may be (CreateTime)."),
    Definition::new("message.timestamp.type", String, "CreateTime")
        .rule(OneOf(&["CreateTime", "LogAppendTime"]))
        .acts()
        .from(&[same("log.message.timestamp.type")])
        .doc("Whether records keep the producer's time or get the broker's."),
    Definition::new("min.cleanable.dirty.ratio", Double, "0.5")
        .rule(Between(0, 1))
        .from(&[same("log.cleaner.min.cleanable.ratio")])
        .doc("Share of uncompacted bytes at which compaction starts."),
    Definition::new("min.compaction.lag.ms", Long, "0")
        .rule(AtLeast(0))
        .from(&[same("log.cleaner.min.compaction.lag.ms")])
        .doc("Shortest time a record stays uncompacted."),
    Definition::new("min.insync.replicas", Int, "1")
        .rule(AtLeast(1))
        .acts()
        .from(&[same("min.insync.replicas")])
        .doc("Copies an acks=all write needs; with more than there can be it is refused."),
    Definition::new("preallocate", Boolean, "false")
        .from(&[same("log.preallocate")])
        .doc("Whether log files are preallocated. WAL files always are."),
    Definition::new("remote.log.copy.disable", Boolean, "false")
        .doc("Stops copying under tiered storage. The bucket is the only home of data."),
    Definition::new("remote.log.delete.on.disable", Boolean, "false")
        .doc("Deletes tiered data when tiering is turned off. There is no tiering to turn off."),
    Definition::new("remote.storage.enable", Boolean, "false")
        .refused()
        .doc("every topic lives in the bucket; there is no tier to enable"),
    Definition::new("retention.bytes", Long, "-1")
        .acts()
        .from(&[same("log.retention.bytes")])
        .doc("Bytes of a partition kept under cleanup.policy=delete; -1 is no limit."),
    Definition::new("retention.ms", Long, "604800000")
        .rule(AtLeast(-1))
        .acts()
        .from(&[
            same("log.retention.ms"),
            times("log.retention.minutes", MINUTE),
            times("log.retention.hours", HOUR),
        ])
        .doc("Time records are kept under cleanup.policy=delete; -1 is for ever."),
    Definition::new("segment.bytes", Int, "1073741824")
        .rule(AtLeast(1024 * 1024))
        .acts()
        .from(&[same("log.segment.bytes")])
        .doc("Largest batch set of one produce request. Objects have sizes of their own."),
    Definition::new("segment.index.bytes", Int, "10485760")
        .rule(AtLeast(4))
        .from(&[same("log.index.size.max.bytes")])
        .doc("Size of an index file. Objects carry their own index."),
    Definition::new("segment.jitter.ms", Long, "0")
        .rule(AtLeast(0))
        .from(&[same("log.roll.jitter.ms"), times("log.roll.jitter.hours", HOUR)])
        .doc("Jitter of segment.ms."),
    Definition::new("segment.ms", Long, "604800000")
        .rule(AtLeast(1))
        .from(&[same("log.roll.ms"), times("log.roll.hours", HOUR)])
        .doc(
            "Age at which a log file rolls. The WAL rolls within seconds and retention drops runs.",
        ),
    Definition::new("unclean.leader.election.enable", Boolean, "false")
        .from(&[same("unclean.leader.election.enable")])
        .doc("Whether a replica behind may lead. A leader here never lacks acknowledged records."),
];
