//! What must hold for any bytes taken for an object's footer or a snapshot of producers.
//!
//! Owns: the properties, and good bytes to start from. Does not own: where bytes come from
//! (`crate::hostile`). Invariant: a property panics when it is broken and for nothing else.

use bytes::Bytes;
use prost::Message;

use super::{
    Footer, OpenTransaction, ProducerBatch, ProducerSnapshot, TRAILER_BYTES, decode_producers,
    encode_producers, format, length,
};
use crate::types::{Millis, Offset, ProducerEpoch, ProducerId};

/// The last bytes of an object, and a footer's message under a right trailer.
pub fn footer(bytes: &[u8]) {
    let tail = Bytes::copy_from_slice(bytes);
    for object_bytes in [length(bytes), length(bytes).saturating_add(5)] {
        if let Ok(range) = Footer::locate(object_bytes, &tail) {
            assert!(range.start <= range.end && range.end == object_bytes);
        }
        if let Ok(footer) = Footer::decode(object_bytes, &tail) {
            holds(&footer, object_bytes, object_bytes);
        }
    }
    // Alone the trailer's CRC would keep everything but noise out.
    let sealed = format::seal(bytes);
    let blocks = format::parse(tail.clone()).map_or(0, |footer| blocks_bytes(&footer));
    let object_bytes = blocks.saturating_add(length(&sealed));
    if let Ok(footer) = Footer::decode(object_bytes, &sealed) {
        holds(&footer, object_bytes, length(&sealed));
    }
}

fn blocks_bytes(footer: &format::Footer) -> u64 {
    let blocks = footer.runs.iter().flat_map(|run| &run.blocks);
    blocks.map(|block| u64::from(block.bytes)).fold(0, u64::saturating_add)
}

fn holds(footer: &Footer, object_bytes: u64, tail_bytes: u64) {
    assert!(footer.weight() > 0);
    let mut position = 0;
    for run in footer.runs() {
        assert_eq!(run.range().start, position, "runs tile the object");
        position = run.range().end;
        assert!(run.base < run.end);
        assert_eq!(run.block_of(run.base), Some(0));
        assert_eq!(run.block_of(Offset(run.end.0 - 1)), Some(run.blocks.len() - 1));
        assert_eq!(run.block_of(run.end), None);
        assert_eq!(footer.find(run.partition, run.base), Some(run));
        assert_eq!(footer.find(run.partition, Offset(run.end.0 - 1)), Some(run));
        assert!(run.block_of_time(run.max_timestamp).is_none_or(|at| at < run.blocks.len()));
        assert!(run.blocks.iter().all(|block| !block.range.is_empty()), "no block is empty");
        drop(run.producers());
    }
    assert!(position + TRAILER_BYTES <= object_bytes && tail_bytes <= object_bytes);
}

/// A snapshot of producers.
pub fn producers(bytes: &[u8]) {
    if let Ok(producers) = decode_producers(Bytes::copy_from_slice(bytes)) {
        let again = decode_producers(encode_producers(&producers));
        assert_eq!(again.ok(), Some(producers));
    }
}

/// Good footers, with trailer and without.
#[must_use]
pub fn footer_seeds() -> Vec<Vec<u8>> {
    let run = |topic: u8, partition, base, position| format::Run {
        topic: vec![topic; 16].into(),
        partition,
        base,
        end: base + 20,
        position,
        max_timestamp: 1000,
        last_append: 2000,
        epochs: vec![
            format::EpochStart { epoch: 3, start: base },
            format::EpochStart { epoch: 5, start: base + 7 },
        ],
        blocks: vec![
            format::Block { bytes: 100, crc: 9, base, max_timestamp: 900 },
            format::Block { bytes: 50, crc: 8, base: base + 7, max_timestamp: 1000 },
        ],
        producers: encode_producers(&[producer()]),
        aborted: vec![format::Aborted { producer: 4, first: base, last: base + 9, last_stable: 1 }],
    };
    let runs = vec![run(1, 0, 10, 0), run(1, 0, 30, 150), run(1, 2, 0, 300), run(2, 0, 5, 450)];
    let footer = format::Footer { object: 77, incarnation: 7, runs };
    let empty = format::Footer { object: 1, incarnation: 1, runs: Vec::new() };
    [footer, empty]
        .into_iter()
        .flat_map(|footer| [footer.encode_to_vec(), format::encode_tail(&footer).to_vec()])
        .collect()
}

fn producer() -> ProducerSnapshot {
    let batch = ProducerBatch {
        first_sequence: 5,
        last_sequence: 6,
        base_offset: Offset(10),
        end_offset: Offset(12),
        append_ms: Millis(2000),
    };
    ProducerSnapshot {
        producer_id: ProducerId(4),
        epoch: ProducerEpoch(2),
        last_append: Millis(2000),
        batches: vec![batch; 5],
        transaction: Some(OpenTransaction { first_offset: Offset(10), started: Millis(1) }),
        coordinator_epoch: -1,
    }
}

/// Good snapshots.
#[must_use]
pub fn producer_seeds() -> Vec<Vec<u8>> {
    vec![encode_producers(&[]).to_vec(), encode_producers(&[producer(), producer()]).to_vec()]
}
