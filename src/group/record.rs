//! Kafka's own record format of `__consumer_offsets`.
//!
//! Owns: keys and values of committed offsets and of classic groups, and the one part of a
//! consumer's subscription that is looked into. Does not own: batches.
//!
//! All numbers are big-endian. A string is an i16 length and UTF-8, a nullable one -1 for null,
//! bytes an i32 length. From value version 4 on lengths are varints of length + 1, 0 for null, and
//! structs end with tagged fields.
//!
//! | record | key | value; versions 0 to 4 are read |
//! |---|---|---|
//! | offset | i16 0 or 1, group, topic, i32 partition | i16 version, i64 offset, i32 leader epoch (3+), metadata, i64 commit time, i64 expire time (1 only), tag 0: uuid of the topic (4+) |
//! | group | i16 2, group | i16 version, protocol type, i32 generation, protocol?, leader?, i64 time of state (2+), members: id, instance? (3+), client id, host, i32 rebalance timeout (1+), i32 session timeout, subscription, assignment |
//!
//! As Kafka 4.3 does, groups are written as version 3, offsets as version 4, or as version 1 where
//! the client gave a time to keep them.
//!
//! No value means the offset or the group is deleted. Keys of other versions belong to other kinds
//! of groups and are skipped.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;
use uuid::Uuid;

use super::{Committed, GroupId, InstanceId, MemberId, Position, TopicPartition};
use crate::types::{LeaderEpoch, Millis, Offset, TopicId};

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const GROUP_VALUE: i16 = 3;
/// The one version of offsets with a time to expire at.
const EXPIRING_OFFSET: i16 = 1;
const FLEXIBLE_VALUE: i16 = 4;
const TOPIC_ID_TAG: usize = 0;

/// The bytes are not what the format says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a record of the offsets topic is malformed")]
pub(super) struct Malformed;

/// One change of the state of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// An offset was committed, or deleted.
    Offset { group: GroupId, partition: TopicPartition, committed: Option<Committed> },
    /// A group came to this, or was deleted.
    Group { group: GroupId, record: Option<GroupRecord> },
}

/// A classic group as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GroupRecord {
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) generation: i32,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<MemberId>,
    pub(super) since: Option<Millis>,
    pub(super) members: Vec<MemberRecord>,
}

/// A member as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MemberRecord {
    pub(super) member: MemberId,
    pub(super) instance: Option<InstanceId>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) subscription: Bytes,
    pub(super) assignment: Bytes,
}

impl Change {
    /// The record's key and value.
    ///
    /// # Errors
    /// When a text is too long for the format.
    pub(super) fn encode(&self) -> Result<(Bytes, Option<Bytes>), Malformed> {
        let mut key = BytesMut::new();
        let mut value = BytesMut::new();
        let is_there = match self {
            Self::Offset { group, partition, committed } => {
                key.put_i16(OFFSET_KEY);
                put_text(&mut key, group.as_str())?;
                put_text(&mut key, &partition.topic)?;
                key.put_i32(partition.index);
                committed.as_ref().map(|committed| put_offset(&mut value, committed))
            }
            Self::Group { group, record } => {
                key.put_i16(GROUP_KEY);
                put_text(&mut key, group.as_str())?;
                record.as_ref().map(|record| put_group(&mut value, record))
            }
        };
        is_there.transpose()?;
        Ok((key.freeze(), is_there.map(|_| value.freeze())))
    }

    /// Reads a record; `None` for kinds that are not known here.
    ///
    /// # Errors
    /// When the bytes are not what the format says.
    pub(super) fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, Malformed> {
        let mut key = Reader { bytes: key, is_flexible: false };
        let version = key.i16()?;
        if !(0..=GROUP_KEY).contains(&version) {
            return Ok(None);
        }
        let group = GroupId(key.text()?);
        if version == GROUP_KEY {
            let record = value.map(get_group).transpose()?;
            return Ok(Some(Self::Group { group, record }));
        }
        let partition = TopicPartition { topic: key.text()?, index: key.i32()? };
        let committed = value.map(get_offset).transpose()?;
        Ok(Some(Self::Offset { group, partition, committed }))
    }
}

/// Topics of a consumer's subscription, by the part all its versions begin with: an i16 version
/// and an array of topics. `None` when it is not that.
pub(super) fn subscribed_topics(subscription: &Bytes) -> Option<Vec<Arc<str>>> {
    let mut reader = Reader { bytes: subscription.clone(), is_flexible: false };
    reader.i16().ok()?;
    let count = reader.i32().ok()?;
    // As many are made room for as the bytes can hold.
    (0..count).map(|_| reader.text().ok()).collect()
}

fn put_offset(out: &mut BytesMut, committed: &Committed) -> Result<(), Malformed> {
    let Position { offset, leader_epoch, metadata, topic, retention_ms } = &committed.position;
    if let Some(retention) = retention_ms {
        out.put_i16(EXPIRING_OFFSET);
        out.put_i64(offset.0);
        put_text(out, metadata)?;
        out.put_i64(committed.at.0);
        out.put_i64(committed.at.0.saturating_add(*retention));
        return Ok(());
    }
    out.put_i16(FLEXIBLE_VALUE);
    out.put_i64(offset.0);
    out.put_i32(leader_epoch.map_or(-1, |epoch| epoch.0));
    put_varint(out, metadata.len().saturating_add(1))?;
    out.put_slice(metadata.as_bytes());
    out.put_i64(committed.at.0);
    match topic {
        Some(TopicId(id)) => {
            put_varint(out, 1)?;
            put_varint(out, TOPIC_ID_TAG)?;
            put_varint(out, id.as_bytes().len())?;
            out.put_slice(id.as_bytes());
        }
        None => put_varint(out, 0)?,
    }
    Ok(())
}

fn get_offset(value: Bytes) -> Result<Committed, Malformed> {
    let (mut reader, version) = Reader::of_value(value)?;
    let offset = Offset(reader.i64()?);
    let epoch = if version >= 3 { reader.i32()? } else { -1 };
    let metadata = reader.text()?;
    let at = Millis(reader.i64()?);
    let expires = if version == EXPIRING_OFFSET { reader.i64()? } else { -1 };
    let retention_ms = expires.checked_sub(at.0).filter(|_| expires >= 0);
    let mut topic = None;
    reader.tags(|tag, field| {
        if tag == TOPIC_ID_TAG {
            let id = Uuid::from_slice(field).map_err(|_| Malformed)?;
            topic = Some(TopicId(id)).filter(|_| !id.is_nil());
        }
        Ok(())
    })?;
    let leader_epoch = Some(LeaderEpoch(epoch)).filter(|epoch| epoch.0 >= 0);
    let position = Position { offset, leader_epoch, metadata, topic, retention_ms };
    Ok(Committed { position, at })
}

fn put_group(out: &mut BytesMut, record: &GroupRecord) -> Result<(), Malformed> {
    out.put_i16(GROUP_VALUE);
    put_text(out, record.protocol_type.as_deref().unwrap_or_default())?;
    out.put_i32(record.generation);
    put_nullable(out, record.protocol.as_deref())?;
    put_nullable(out, record.leader.as_ref().map(MemberId::as_str))?;
    out.put_i64(record.since.map_or(-1, |since| since.0));
    out.put_i32(i32::try_from(record.members.len()).map_err(|_| Malformed)?);
    for member in &record.members {
        put_text(out, member.member.as_str())?;
        put_nullable(out, member.instance.as_ref().map(InstanceId::as_str))?;
        put_text(out, &member.client_id)?;
        put_text(out, &member.client_host)?;
        out.put_i32(member.rebalance_timeout_ms);
        out.put_i32(member.session_timeout_ms);
        for bytes in [&member.subscription, &member.assignment] {
            out.put_i32(i32::try_from(bytes.len()).map_err(|_| Malformed)?);
            out.put_slice(bytes);
        }
    }
    Ok(())
}

fn get_group(value: Bytes) -> Result<GroupRecord, Malformed> {
    let (mut reader, version) = Reader::of_value(value)?;
    let mut record = GroupRecord {
        protocol_type: Some(reader.text()?).filter(|text| !text.is_empty()),
        generation: reader.i32()?,
        protocol: reader.nullable()?,
        leader: reader.nullable()?.map(MemberId),
        since: None,
        members: Vec::new(),
    };
    if version >= 2 {
        record.since = Some(Millis(reader.i64()?)).filter(|since| since.0 >= 0);
    }
    for _ in 0..reader.count()? {
        record.members.push(get_member(&mut reader, version)?);
    }
    Ok(record)
}

fn get_member(reader: &mut Reader, version: i16) -> Result<MemberRecord, Malformed> {
    let member = MemberId(reader.text()?);
    let instance = if version >= 3 { reader.nullable()?.map(InstanceId) } else { None };
    let client_id = reader.text()?;
    let client_host = reader.text()?;
    let rebalance = if version >= 1 { reader.i32()? } else { -1 };
    let session_timeout_ms = reader.i32()?;
    let record = MemberRecord {
        member,
        instance,
        client_id,
        client_host,
        rebalance_timeout_ms: if rebalance < 0 { session_timeout_ms } else { rebalance },
        session_timeout_ms,
        subscription: reader.blob()?,
        assignment: reader.blob()?,
    };
    reader.tags(|_, _| Ok(()))?;
    Ok(record)
}

fn put_varint(out: &mut BytesMut, value: usize) -> Result<(), Malformed> {
    let mut value = u32::try_from(value).map_err(|_| Malformed)?;
    while value >= 0x80 {
        out.put_u8(u8::try_from(value & 0x7f).map_err(|_| Malformed)? | 0x80);
        value >>= 7;
    }
    out.put_u8(u8::try_from(value).map_err(|_| Malformed)?);
    Ok(())
}

fn put_text(out: &mut BytesMut, text: &str) -> Result<(), Malformed> {
    out.put_i16(i16::try_from(text.len()).map_err(|_| Malformed)?);
    out.put_slice(text.as_bytes());
    Ok(())
}

fn put_nullable(out: &mut BytesMut, text: Option<&str>) -> Result<(), Malformed> {
    match text {
        Some(text) => put_text(out, text),
        None => {
            out.put_i16(-1);
            Ok(())
        }
    }
}

struct Reader {
    bytes: Bytes,
    is_flexible: bool,
}

impl Reader {
    fn of_value(bytes: Bytes) -> Result<(Self, i16), Malformed> {
        let mut reader = Self { bytes, is_flexible: false };
        let version = reader.i16()?;
        if !(0..=FLEXIBLE_VALUE).contains(&version) {
            return Err(Malformed);
        }
        reader.is_flexible = version == FLEXIBLE_VALUE;
        Ok((reader, version))
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        self.bytes.try_get_i16().map_err(|_| Malformed)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.bytes.try_get_i32().map_err(|_| Malformed)
    }

    fn i64(&mut self) -> Result<i64, Malformed> {
        self.bytes.try_get_i64().map_err(|_| Malformed)
    }

    fn varint(&mut self) -> Result<usize, Malformed> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.bytes.try_get_u8().map_err(|_| Malformed)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(value).map_err(|_| Malformed);
            }
        }
        Err(Malformed)
    }

    /// Length of a text, an array or bytes; `None` for null.
    fn len(&mut self, fixed: fn(&mut Self) -> Result<i32, Malformed>) -> LenResult {
        if self.is_flexible {
            return Ok(self.varint()?.checked_sub(1));
        }
        match fixed(self)? {
            -1 => Ok(None),
            len => usize::try_from(len).map(Some).map_err(|_| Malformed),
        }
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        self.len(Self::i32)?.ok_or(Malformed)
    }

    fn take(&mut self, len: usize) -> Result<Bytes, Malformed> {
        if len > self.bytes.len() {
            return Err(Malformed);
        }
        Ok(self.bytes.split_to(len))
    }

    fn nullable(&mut self) -> Result<Option<Arc<str>>, Malformed> {
        let Some(len) = self.len(|reader| reader.i16().map(i32::from))? else { return Ok(None) };
        let bytes = self.take(len)?;
        std::str::from_utf8(&bytes).map(|text| Some(text.into())).map_err(|_| Malformed)
    }

    fn text(&mut self) -> Result<Arc<str>, Malformed> {
        self.nullable()?.ok_or(Malformed)
    }

    /// Bytes of their own: a slice would keep the whole batch in memory.
    fn blob(&mut self) -> Result<Bytes, Malformed> {
        let len = self.count()?;
        self.take(len).map(|bytes| Bytes::copy_from_slice(&bytes))
    }

    /// Reads the tagged fields at the end of a struct; those unknown are `known`'s to skip.
    fn tags(
        &mut self,
        mut known: impl FnMut(usize, &[u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if !self.is_flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let len = self.varint()?;
            known(tag, &self.take(len)?)?;
        }
        Ok(())
    }
}

type LenResult = Result<Option<usize>, Malformed>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOPIC: u128 = 0xd2b0_8c83_5cf8_4521_a57a_7d7f_bece_6972;

    fn partition() -> TopicPartition {
        TopicPartition { topic: "orders".into(), index: 0 }
    }

    fn committed() -> Committed {
        let position = Position {
            offset: Offset(258),
            leader_epoch: Some(LeaderEpoch(5)),
            metadata: "m".into(),
            topic: Some(TopicId(Uuid::from_u128(TOPIC))),
            retention_ms: None,
        };
        Committed { position, at: Millis(0x01a2_0cd9_0f20) }
    }

    fn group_record() -> GroupRecord {
        GroupRecord {
            protocol_type: Some("consumer".into()),
            generation: 3,
            protocol: Some("range".into()),
            leader: Some("a-1".into()),
            since: Some(Millis(9)),
            members: vec![MemberRecord {
                member: "a-1".into(),
                instance: None,
                client_id: "a".into(),
                client_host: "/::1".into(),
                rebalance_timeout_ms: 300_000,
                session_timeout_ms: 45_000,
                subscription: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t"),
                assignment: Bytes::from_static(b"as"),
            }],
        }
    }

    fn encoded(committed: Committed) -> (Bytes, Bytes) {
        let (group, partition) = ("six".into(), partition());
        let change = Change::Offset { group, partition, committed: Some(committed) };
        let (key, value) = change.encode().unwrap();
        assert_eq!(Change::decode(key.clone(), value.clone()), Ok(Some(change)));
        (key, value.unwrap())
    }

    #[test]
    fn an_offset_is_written_as_kafka_writes_it() {
        // From a log of Apache Kafka 4.3.1.
        let (key, value) = encoded(committed());
        assert_eq!(&key[..], b"\0\x01\0\x03six\0\x06orders\0\0\0\0");
        let golden: &[u8] =
            b"\0\x04\0\0\0\0\0\0\x01\x02\0\0\0\x05\x02m\0\0\x01\xa2\x0c\xd9\x0f \x01\0\
            \x10\xd2\xb0\x8c\x83\\\xf8E!\xa5z}\x7f\xbe\xceir";
        assert_eq!(&value[..], golden);
    }

    #[test]
    fn an_offset_with_a_time_of_its_own_is_written_as_kafka_writes_it() {
        let mut committed = Committed { at: Millis(0x01a2_0cd9_0f1c), ..committed() };
        committed.position.topic = None;
        committed.position.leader_epoch = None;
        committed.position.retention_ms = Some(1000);
        let golden: &[u8] = b"\0\x01\0\0\0\0\0\0\x01\x02\0\x01m\0\0\x01\xa2\x0c\xd9\x0f\x1c\
            \0\0\x01\xa2\x0c\xd9\x13\x04";
        assert_eq!(&encoded(committed).1[..], golden);
    }

    #[test]
    fn a_group_is_written_as_kafka_writes_it() {
        let change = Change::Group { group: "g1".into(), record: Some(group_record()) };
        let (key, value) = change.encode().unwrap();
        assert_eq!(&key[..], b"\0\x02\0\x02g1");
        let golden: &[u8] = b"\0\x03\0\x08consumer\0\0\0\x03\0\x05range\0\x03a-1\
            \0\0\0\0\0\0\0\x09\0\0\0\x01\0\x03a-1\xff\xff\0\x01a\0\x04/::1\
            \0\x04\x93\xe0\0\0\xaf\xc8\0\0\0\x09\0\0\0\0\0\x01\0\x01t\0\0\0\x02as";
        assert_eq!(&value.unwrap()[..], golden);
    }

    #[test]
    fn a_deleted_offset_or_group_has_no_value() {
        let offset = Change::Offset { group: "g".into(), partition: partition(), committed: None };
        let group = Change::Group { group: "g".into(), record: None };
        for change in [offset, group] {
            let (key, value) = change.encode().unwrap();
            assert_eq!(value, None);
            assert_eq!(Change::decode(key, None), Ok(Some(change)));
        }
    }

    #[test]
    fn older_and_flexible_offset_values_are_read() {
        let key = Bytes::from_static(b"\0\0\0\x01g\0\x01t\0\0\0\0");
        let read = |value: &'static [u8]| match Change::decode(
            key.clone(),
            Some(Bytes::from_static(value)),
        ) {
            Ok(Some(Change::Offset { committed: Some(committed), .. })) => committed,
            other => panic!("{other:?}"),
        };
        let zero = read(b"\0\0\0\0\0\0\0\0\0\x09\0\x01m\0\0\0\0\0\0\0\x08");
        assert_eq!((zero.position.offset, zero.at), (Offset(9), Millis(8)));
        assert_eq!(zero.position.leader_epoch, None);
        let one = read(b"\0\x01\0\0\0\0\0\0\0\x09\0\x01m\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x0a");
        assert_eq!((one.at, one.position.retention_ms), (Millis(8), Some(2)));
        let three = read(b"\0\x03\0\0\0\0\0\0\0\x09\0\0\0\x02\0\x01m\0\0\0\0\0\0\0\x08");
        assert_eq!(
            (three.position.leader_epoch, three.position.topic),
            (Some(LeaderEpoch(2)), None)
        );
        let four = read(b"\0\x04\0\0\0\0\0\0\0\x09\0\0\0\x02\x02m\0\0\0\0\0\0\0\x08\0");
        assert_eq!(four.position.leader_epoch, Some(LeaderEpoch(2)));
    }

    #[test]
    fn older_and_flexible_group_values_are_read() {
        let key = Bytes::from_static(b"\0\x02\0\x01g");
        let read = |value: &'static [u8]| match Change::decode(
            key.clone(),
            Some(Bytes::from_static(value)),
        ) {
            Ok(Some(Change::Group { record: Some(record), .. })) => record,
            other => panic!("{other:?}"),
        };
        let zero = read(
            b"\0\0\0\x01c\0\0\0\x02\0\x01r\0\x01m\0\0\0\x01\
              \0\x01m\0\x01i\0\x01h\0\0\0\x0a\0\0\0\x01s\0\0\0\x01a",
        );
        assert_eq!((zero.generation, zero.since), (2, None));
        assert_eq!(zero.members[0].rebalance_timeout_ms, 10);
        let four = read(
            b"\0\x04\x02c\0\0\0\x02\x02r\x02m\0\0\0\0\0\0\0\x07\x02\
              \x02m\x00\x02i\x02h\0\0\0\x0b\0\0\0\x0a\x02s\x02a\x01\x05\x02xx\0",
        );
        assert_eq!((four.since, four.members[0].rebalance_timeout_ms), (Some(Millis(7)), 11));
        assert_eq!(&four.members[0].assignment[..], b"a");
    }

    #[test]
    fn records_of_other_kinds_of_groups_are_skipped() {
        let key = Bytes::from_static(b"\0\x03\0\x01g");
        assert_eq!(Change::decode(key, Some(Bytes::from_static(b"\0\0"))), Ok(None));
    }

    #[test]
    fn the_topics_of_a_subscription_are_found_in_every_version() {
        let newer = Bytes::from_static(b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\0\0\0\0more");
        assert_eq!(subscribed_topics(&newer).unwrap(), ["a".into(), "bc".into()]);
        assert_eq!(subscribed_topics(&Bytes::from_static(b"\0\x01\x7f\xff\xff\xff")), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            generation in 0..i32::MAX, texts in proptest::collection::vec(".{0,20}", 6),
            blob in proptest::collection::vec(any::<u8>(), 0..50), members in 0_usize..4,
        ) {
            let text = |index: usize| -> Arc<str> { texts[index].as_str().into() };
            let member = MemberRecord {
                member: MemberId(text(0)), instance: Some(InstanceId(text(1))),
                client_id: text(2), client_host: text(3),
                rebalance_timeout_ms: generation, session_timeout_ms: 1,
                subscription: blob.clone().into(), assignment: blob.into(),
            };
            let record = GroupRecord {
                protocol_type: Some(text(4)).filter(|text| !text.is_empty()), generation,
                protocol: Some(text(5)), leader: None, since: Some(Millis(4)),
                members: vec![member; members],
            };
            let change = Change::Group { group: GroupId(text(5)), record: Some(record) };
            let (key, value) = change.encode().unwrap();
            prop_assert_eq!(Change::decode(key, value), Ok(Some(change)));
        }

        #[test]
        fn hostile_bytes_are_an_error_and_no_panic(
            key in proptest::collection::vec(any::<u8>(), 0..40),
            value in proptest::collection::vec(any::<u8>(), 0..80),
            version in 0_u8..6, kind in 0_u8..4, at in 0_usize..80, byte in any::<u8>(),
        ) {
            drop(Change::decode(key.into(), Some(value.clone().into())));
            let _ = subscribed_topics(&value.clone().into());
            let mut versioned = vec![0, version];
            versioned.extend(&value);
            let keys: [&[u8]; 2] = [b"\0\x02\0\x01g", b"\0\x01\0\x01g\0\x01t\0\0\0\0"];
            let key = Bytes::from_static(keys[usize::from(kind) % 2]);
            drop(Change::decode(key.clone(), Some(versioned.into())));
            let change = Change::Group { group: "g".into(), record: Some(group_record()) };
            let mut mutated = change.encode().unwrap().1.unwrap().to_vec();
            let at = at % mutated.len();
            mutated[at] = byte;
            drop(Change::decode(key, Some(mutated.into())));
        }
    }
}
