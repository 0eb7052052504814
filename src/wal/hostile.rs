//! What must hold for any bytes found in a WAL folder.
//!
//! Owns: the properties, and good bytes to start from. Does not own: where bytes come from
//! (`crate::hostile`). Invariant: a property panics when it is broken and for nothing else.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use super::{
    Identity, Member, Previous,
    format::{
        EntryHeader, FileHeader, Kind, SegmentHeader, align, chain_seed, decode_batches,
        put_batch_prefix,
    },
    ledger::{self, Ledger, Listed},
    pool::Name,
    reader::{Files, Reader},
    scan::scan,
};
use crate::{
    env::{bugs::Bugs, disk::DiskFile},
    types::{
        BrokerId, ClusterId, Incarnation, LeaderEpoch, Millis, Offset, PartitionId, SegmentId,
        StorageId, TopicId,
    },
};

const NONCE: u64 = 0x0102_0304_0506_0708;
const SEGMENT: SegmentId = SegmentId { incarnation: Incarnation(7), sequence: 3 };

/// Bytes read for each byte there is: entries and places of entries are looked at 16 KiB at a time.
const READ_COST: u64 = 100;

/// A file that is only read, and counts how much.
#[derive(Debug)]
struct Found {
    bytes: Bytes,
    read: AtomicU64,
}

impl DiskFile for Found {
    fn write_at(&self, _: u64, _: &[Bytes]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(position).unwrap_or(usize::MAX);
        let length = u64::try_from(into.len()).unwrap_or(u64::MAX);
        let before = self.read.fetch_add(length, Ordering::Relaxed);
        let most = self.len()?.saturating_mul(READ_COST).saturating_add(1 << 20);
        assert!(before < most, "{before} bytes were read and it goes on");
        if into.is_empty() {
            return Ok(());
        }
        let part = self.bytes.get(at..).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn preallocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX))
    }
}

fn files(parts: impl IntoIterator<Item = Bytes>) -> Arc<Files> {
    let found = |bytes| Found { bytes, read: AtomicU64::new(0) };
    let parts = parts.into_iter().map(|bytes| -> Arc<dyn DiskFile> { Arc::new(found(bytes)) });
    let parts = parts.collect();
    Arc::new(Files { id: SEGMENT, nonce: NONCE, parts, bugs: Bugs::NONE })
}

/// A WAL file, first byte to last.
pub fn file(bytes: &[u8]) {
    if let Some(Ok(header)) = FileHeader::decode(bytes) {
        let known = header.encode();
        assert_eq!(bytes.get(..72), known.get(..72), "a file header has one form");
    }
    let files = files([Bytes::copy_from_slice(bytes)]);
    let found = scan(&files).expect("memory does not fail");
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    assert!(found.bytes <= align(length), "entries lie in the file");
    let mut reader = Reader::new(files);
    let mut bytes_read = 0;
    for number in 0..found.entries {
        let entry = reader.next().expect("memory does not fail").expect("a counted entry");
        assert_eq!(entry.header.number, number);
        bytes_read += entry.file_bytes();
    }
    assert_eq!(bytes_read, found.bytes, "the same twice");
    // Where an entry does not read there is no end to go on from.
    assert!(found.damage.is_some() || reader.crc() == found.crc, "the same end twice");
}

/// The payloads of two entries under a right chain: how long the first is, and both.
pub fn payloads(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let (first, second) = rest.split_at(usize::from(*first).min(rest.len()));
    let header = SegmentHeader::decode(first);
    if let Some(header) = &header {
        assert_eq!(SegmentHeader::decode(&header.encode()).as_ref(), Some(header));
    }
    let payload = Bytes::copy_from_slice(second);
    let batches = decode_batches(payload.clone());
    if let Some(batches) = &batches {
        let mut again = BytesMut::new();
        for batch in batches {
            let length = u32::try_from(batch.bytes.len()).expect("it came with a u32");
            let offsets = batch.base_offset..batch.end_offset;
            put_batch_prefix(&mut again, batch.partition, batch.leader_epoch, offsets, length);
            again.extend_from_slice(&batch.bytes);
        }
        assert_eq!(again, payload, "batches have one form");
    }
    let good = header.is_some_and(|header| header.segment == SEGMENT);
    let found = scan(&files([chain(&[first, second])])).expect("memory does not fail");
    match (good, batches.is_some()) {
        (true, true) => assert_eq!((found.entries, found.damage), (2, None)),
        (true, false) => assert!(found.entries == 1 && found.damage.is_some(), "{found:?}"),
        (false, _) => assert!(found.entries == 0 && found.damage.is_some(), "{found:?}"),
    }
}

/// A file of entries with these payloads, chained as a writer does it.
fn chain(payloads: &[&[u8]]) -> Bytes {
    let named = FileHeader {
        cluster: ClusterId(Uuid::from_u128(0xc1)),
        storage: StorageId(Uuid::from_u128(0x57)),
        segment: SEGMENT,
        nonce: NONCE,
        part: 0,
    };
    let mut file = BytesMut::from(named.encode().as_ref());
    let mut previous_crc = chain_seed(NONCE);
    for (number, payload) in (0..).zip(payloads) {
        let header = EntryHeader {
            kind: if number == 0 { Kind::Header } else { Kind::Batches },
            nonce: NONCE,
            number,
            lac: number,
            append_ms: Millis(5),
            payload_bytes: u32::try_from(payload.len()).expect("a small payload"),
            previous_crc,
        };
        let (head, crc) = header.encode(crate::crc::crc32c(payload));
        file.extend_from_slice(&head);
        file.extend_from_slice(payload);
        let end = align(u64::try_from(file.len()).unwrap_or(0));
        file.resize(usize::try_from(end).unwrap_or(0), 0);
        previous_crc = crc;
    }
    file.freeze()
}

/// Text of the folder's small files, and names in it.
pub fn names(bytes: &[u8]) {
    if let Ok(identity) = ledger::decode::<Identity>(bytes) {
        assert_eq!(ledger::decode(&ledger::encode(&identity)), Ok(identity));
    }
    if let Ok(ledger) = ledger::decode::<Ledger>(bytes) {
        assert_eq!(ledger::decode(&ledger::encode(&ledger)), Ok(ledger));
    }
    let text = String::from_utf8_lossy(bytes);
    if let Some(name) = Name::decode(&text) {
        assert_eq!(name.encode(), text, "a file has one name");
    }
}

fn header_payload() -> Bytes {
    let segment = SegmentId { sequence: 2, ..SEGMENT };
    let (broker, storage) = (BrokerId(1), StorageId(Uuid::from_u128(0x57)));
    let header = SegmentHeader {
        segment: SEGMENT,
        cluster: ClusterId(Uuid::from_u128(0xc1)),
        previous: Some(Previous { segment, entries: 9 }),
        ensemble: vec![Member { broker, storage, incarnation: Incarnation(7) }],
    };
    header.encode()
}

fn batches_payload() -> Bytes {
    let mut out = BytesMut::new();
    for index in 0..3 {
        let partition = PartitionId { topic: TopicId(Uuid::from_u128(5)), index };
        put_batch_prefix(&mut out, partition, LeaderEpoch(2), Offset(4)..Offset(6), 5);
        out.extend_from_slice(b"batch");
    }
    out.freeze()
}

/// Good files.
#[must_use]
pub fn file_seeds() -> Vec<Vec<u8>> {
    let (header, batches) = (header_payload(), batches_payload());
    let good = [&[&header[..]][..], &[&header, &batches, b"", &batches]];
    good.map(|payloads| chain(payloads).to_vec()).to_vec()
}

/// Good payloads.
#[must_use]
pub fn payload_seeds() -> Vec<Vec<u8>> {
    let (header, batches) = (header_payload(), batches_payload());
    let length = u8::try_from(header.len()).expect("a short header");
    vec![[&[length][..], &header, &batches].concat(), [&[length][..], &header].concat()]
}

/// Good small files and names.
#[must_use]
pub fn name_seeds() -> Vec<Vec<u8>> {
    let mut identity = Identity::new(StorageId(Uuid::from_u128(1)));
    identity.incarnation = Some(Incarnation(7));
    let mut known = Ledger::default();
    known.newest = Some(SEGMENT);
    known.segments.insert(SEGMENT, Listed { parts: 1, fenced: true });
    let name = Name { segment: SEGMENT, nonce: NONCE, part: 2 }.encode();
    vec![ledger::encode(&identity), ledger::encode(&known), name.into_bytes()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_that_promise_more_than_there_is_are_not_each_read_to_the_end() {
        // Every sector begins like an entry that fills the rest of the file.
        let sectors = 2048_u32;
        let mut bytes = BytesMut::from(&chain(&[])[..]);
        for sector in 0..sectors {
            let header = EntryHeader {
                kind: Kind::Batches,
                nonce: NONCE,
                number: 9,
                lac: 0,
                append_ms: Millis(0),
                payload_bytes: (sectors - sector) * 512 - 52,
                previous_crc: 0,
            };
            let (head, _) = header.encode(0);
            bytes.extend_from_slice(&head);
            bytes.extend_from_slice(&[0; 512 - 52]);
        }
        file(&bytes);
        let found = scan(&files([bytes.freeze()])).unwrap();
        assert!(found.damage.is_some_and(|damage| damage.contains("begin")), "it is kept as it is");
    }
}
