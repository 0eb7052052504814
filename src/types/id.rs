//! Names of things: brokers, disks, incarnations, segments, topics, objects, producers.
//!
//! Owns: the ids and their text forms. Does not own: who hands them out.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! uuid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_simple().fmt(f)
            }
        }
    };
}

number!(
    /// A broker as clients know it.
    BrokerId(i32)
);
number!(
    /// Index of an entry of the metadata log; the first is 1.
    MetadataIndex(u64)
);
number!(
    /// One registration of a broker process: the index of the entry that registered it.
    Incarnation(u64)
);
number!(
    /// An object in the bucket, reserved through the metadata log, never reused.
    ObjectId(u64)
);
number!(
    /// Kafka's producer id.
    ProducerId(i64)
);
number!(
    /// Kafka's producer epoch.
    ProducerEpoch(i16)
);
uuid!(
    /// A topic; a topic created again has another.
    TopicId
);
uuid!(
    /// A cluster: one bucket prefix.
    ClusterId
);
uuid!(
    /// A WAL folder. A wiped or replaced disk is another one (correctness.md H10).
    StorageId
);

impl MetadataIndex {
    /// The index after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A partition of a topic, by topic id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId {
    /// The topic.
    pub topic: TopicId,
    /// Its index, from 0.
    pub index: i32,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.index)
    }
}

/// A stretch of one incarnation's write-ahead log. Text form: `INCARNATION-SEQUENCE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// Who writes it; nobody else ever does (I7).
    pub incarnation: Incarnation,
    /// Its place among the incarnation's segments, from 0.
    pub sequence: u64,
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.incarnation, self.sequence)
    }
}

impl FromStr for SegmentId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a segment is written INCARNATION-SEQUENCE";
        let (incarnation, sequence) = text.split_once('-').ok_or(FORM)?;
        let incarnation = Incarnation(incarnation.parse().map_err(|_| FORM)?);
        Ok(Self { incarnation, sequence: sequence.parse().map_err(|_| FORM)? })
    }
}

impl Serialize for SegmentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SegmentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
