//! The broker configurations Kafka's tools show or set, sorted by name.
//!
//! Kafka has some three hundred; these are the ones with a meaning here or that a tool asks for.

use super::definition::{
    Definition,
    Kind::{Boolean, Double, Int, List, Long, Short, String},
    Rule::{AddressCounts, AtLeast, Between, EachOf, GzipLevel, OneOf},
};

const FOR_TOPICS: &str = "Default of the topic configuration it stands for.";

/// Every broker configuration, sorted by name.
pub const BROKER: &[Definition] = &[
    Definition::new("auto.create.topics.enable", Boolean, "true")
        .acts()
        .doc("Whether a Metadata request for an unknown topic creates it."),
    Definition::new("auto.leader.rebalance.enable", Boolean, "true")
        .doc("Whether leaders go back to the preferred replica. Leaders are placed by load."),
    Definition::new("background.threads", Int, "10")
        .rule(AtLeast(1))
        .dynamic()
        .doc("Threads for background work."),
    Definition::unset("broker.id", Int).doc("Id of this broker."),
    Definition::unset("broker.rack", String).doc("Rack of this broker."),
    Definition::new("compression.gzip.level", Int, "-1").rule(GzipLevel).dynamic().doc(FOR_TOPICS),
    Definition::new("compression.lz4.level", Int, "9")
        .rule(Between(1, 17))
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("compression.type", String, "producer")
        .rule(OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]))
        .acts()
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("compression.zstd.level", Int, "3")
        .rule(Between(-131_072, 22))
        .acts()
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("connections.max.idle.ms", Long, "600000")
        .acts()
        .doc("A connection on which neither side sent for this long is closed; negative is never."),
    Definition::new("controlled.shutdown.enable", Boolean, "true")
        .doc("Whether a stopping broker hands over first. It always drains."),
    Definition::new("default.replication.factor", Int, "1")
        .rule(AtLeast(1))
        .acts()
        .doc("Replication factor of topics created without one."),
    Definition::new("delete.topic.enable", Boolean, "true")
        .acts()
        .doc("Whether topics may be deleted."),
    Definition::new("fetch.max.bytes", Int, "57671680")
        .rule(AtLeast(1024))
        .doc("Most bytes one fetch answers with."),
    Definition::unset("follower.replication.throttled.rate", Long)
        .rule(AtLeast(0))
        .dynamic()
        .shown_once_set()
        .doc("Throttle of reassignments. Moving a partition moves no data."),
    Definition::new("group.initial.rebalance.delay.ms", Int, "3000")
        .rule(AtLeast(0))
        .acts()
        .doc("How long an empty classic group waits for more members."),
    Definition::new("group.max.session.timeout.ms", Int, "1800000")
        .acts()
        .doc("Longest session timeout a group member may ask for."),
    Definition::new("group.max.size", Int, "2147483647")
        .rule(AtLeast(1))
        .acts()
        .doc("Most members of a group; never more than 10000."),
    Definition::new("group.min.session.timeout.ms", Int, "6000")
        .acts()
        .doc("Shortest session timeout a group member may ask for."),
    Definition::unset("leader.replication.throttled.rate", Long)
        .rule(AtLeast(0))
        .dynamic()
        .shown_once_set()
        .doc("Throttle of reassignments. Moving a partition moves no data."),
    Definition::new("listeners", List, "PLAINTEXT://:9092").doc("Where clients connect."),
    Definition::new("log.cleaner.backoff.ms", Long, "15000")
        .rule(AtLeast(0))
        .dynamic()
        .doc("Pause of the cleaner with nothing to do."),
    Definition::new("log.cleaner.delete.retention.ms", Long, "86400000")
        .rule(AtLeast(0))
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("log.cleaner.enable", Boolean, "true").doc("Whether topics are compacted."),
    Definition::new("log.cleaner.max.compaction.lag.ms", Long, "9223372036854775807")
        .rule(AtLeast(1))
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("log.cleaner.min.cleanable.ratio", Double, "0.5")
        .rule(Between(0, 1))
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("log.cleaner.min.compaction.lag.ms", Long, "0")
        .rule(AtLeast(0))
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("log.cleaner.threads", Int, "1")
        .rule(AtLeast(0))
        .dynamic()
        .doc("Threads of the cleaner."),
    Definition::new("log.cleanup.policy", List, "delete")
        .rule(EachOf(&["compact", "delete"]))
        .acts()
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("log.flush.interval.messages", Long, "9223372036854775807")
        .rule(AtLeast(1))
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::unset("log.flush.interval.ms", Long).rule(AtLeast(0)).dynamic().doc(FOR_TOPICS),
    Definition::new("log.flush.scheduler.interval.ms", Long, "9223372036854775807")
        .rule(AtLeast(0))
        .doc(FOR_TOPICS),
    Definition::new("log.index.interval.bytes", Int, "4096")
        .rule(AtLeast(0))
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("log.index.size.max.bytes", Int, "10485760")
        .rule(AtLeast(4))
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("log.local.retention.bytes", Long, "-2")
        .rule(AtLeast(-2))
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("log.local.retention.ms", Long, "-2")
        .rule(AtLeast(-2))
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("log.message.timestamp.after.max.ms", Long, "3600000")
        .rule(AtLeast(0))
        .acts()
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("log.message.timestamp.before.max.ms", Long, "9223372036854775807")
        .rule(AtLeast(0))
        .acts()
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("log.message.timestamp.type", String, "CreateTime")
        .rule(OneOf(&["CreateTime", "LogAppendTime"]))
        .acts()
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("log.preallocate", Boolean, "false").dynamic().doc(FOR_TOPICS),
    Definition::new("log.retention.bytes", Long, "-1").acts().dynamic().doc(FOR_TOPICS),
    Definition::new("log.retention.check.interval.ms", Long, "300000")
        .rule(AtLeast(1))
        .doc("How often retention looks for something to delete."),
    Definition::new("log.retention.hours", Int, "168").acts().doc(FOR_TOPICS),
    Definition::unset("log.retention.minutes", Int).acts().doc(FOR_TOPICS),
    Definition::unset("log.retention.ms", Long).rule(AtLeast(-1)).acts().dynamic().doc(FOR_TOPICS),
    Definition::new("log.roll.hours", Int, "168").rule(AtLeast(1)).doc(FOR_TOPICS),
    Definition::new("log.roll.jitter.hours", Int, "0").rule(AtLeast(0)).doc(FOR_TOPICS),
    Definition::unset("log.roll.jitter.ms", Long).rule(AtLeast(0)).dynamic().doc(FOR_TOPICS),
    Definition::unset("log.roll.ms", Long).rule(AtLeast(1)).dynamic().doc(FOR_TOPICS),
    Definition::new("log.segment.bytes", Int, "1073741824")
        .rule(AtLeast(1024 * 1024))
        .acts()
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("log.segment.delete.delay.ms", Long, "60000")
        .rule(AtLeast(0))
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("max.connection.creation.rate", Int, "2147483647")
        .rule(AtLeast(0))
        .acts()
        .dynamic()
        .doc("Connections taken in a second; others wait. At least one is."),
    Definition::new("max.connections", Int, "2147483647")
        .rule(AtLeast(0))
        .acts()
        .dynamic()
        .doc("Most connections of this broker; --max-connections is a limit above it."),
    Definition::new("max.connections.per.ip", Int, "2147483647")
        .rule(AtLeast(0))
        .acts()
        .dynamic()
        .doc("Most connections from one address."),
    Definition::new("max.connections.per.ip.overrides", String, "")
        .rule(AddressCounts)
        .acts()
        .dynamic()
        .doc("The same for single addresses, as ADDRESS:COUNT with commas between."),
    Definition::new("message.max.bytes", Int, "1048588")
        .rule(AtLeast(0))
        .acts()
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::new("min.insync.replicas", Int, "1")
        .rule(AtLeast(1))
        .acts()
        .dynamic()
        .doc(FOR_TOPICS),
    Definition::unset("node.id", Int).doc("Id of this broker."),
    Definition::new("num.io.threads", Int, "8")
        .rule(AtLeast(1))
        .dynamic()
        .doc("Request threads. One runtime serves requests."),
    Definition::new("num.network.threads", Int, "3")
        .rule(AtLeast(1))
        .dynamic()
        .doc("Socket threads. One runtime serves requests."),
    Definition::new("num.partitions", Int, "1")
        .rule(AtLeast(1))
        .acts()
        .doc("Partitions of topics created without a count."),
    Definition::new("num.replica.fetchers", Int, "1")
        .dynamic()
        .doc("Replica fetchers. Followers get data with the write."),
    Definition::new("offset.metadata.max.bytes", Int, "4096")
        .acts()
        .doc("Most bytes of metadata with a committed offset."),
    Definition::new("offsets.retention.check.interval.ms", Long, "600000")
        .rule(AtLeast(1))
        .acts()
        .doc("How often expired offsets are looked for."),
    Definition::new("offsets.retention.minutes", Int, "10080")
        .rule(AtLeast(1))
        .acts()
        .doc("How long offsets of an empty group are kept."),
    Definition::new("offsets.topic.compression.codec", Int, "0")
        .doc("Codec of the offsets topic: 0 is none."),
    Definition::new("offsets.topic.num.partitions", Int, "50")
        .rule(AtLeast(1))
        .acts()
        .doc("Partitions of the offsets topic when it is created."),
    Definition::new("offsets.topic.replication.factor", Short, "3")
        .rule(AtLeast(1))
        .doc("Replication factor of the offsets topic when it is created."),
    Definition::new("offsets.topic.segment.bytes", Int, "104857600")
        .rule(AtLeast(1))
        .doc("Segment size of the offsets topic."),
    Definition::new("producer.id.expiration.ms", Int, "86400000")
        .rule(AtLeast(1))
        .dynamic()
        .acts()
        .doc("How long a silent producer's sequences are remembered."),
    Definition::new("queued.max.request.bytes", Long, "-1")
        .acts()
        .doc("Memory of large requests being read or run; -1 is 512 MiB. One always fits."),
    Definition::new("queued.max.requests", Int, "500")
        .rule(AtLeast(1))
        .doc("Requests waiting before a connection is read no further."),
    Definition::new("request.timeout.ms", Int, "30000").doc("Longest wait for another broker."),
    Definition::new("socket.request.max.bytes", Int, "104857600")
        .rule(AtLeast(1))
        .acts()
        .doc("Largest request, refused before it is read; of APIs other than Produce 8 MiB."),
    Definition::new("transaction.max.timeout.ms", Int, "900000")
        .rule(AtLeast(1))
        .doc("Longest timeout of a transaction."),
    Definition::new("transaction.state.log.num.partitions", Int, "50")
        .rule(AtLeast(1))
        .doc("Partitions of the transaction topic when it is created."),
    Definition::new("transaction.state.log.replication.factor", Short, "3")
        .rule(AtLeast(1))
        .doc("Replication factor of the transaction topic when it is created."),
    Definition::new("transactional.id.expiration.ms", Int, "604800000")
        .rule(AtLeast(1))
        .doc("How long an unused transactional id is remembered."),
    Definition::new("unclean.leader.election.enable", Boolean, "false").dynamic().doc(FOR_TOPICS),
];
