//! What a partition's records must look like from the outside.
//!
//! Owns: how many batches there are and of which format, as Kafka counts them
//! (`ByteBufferLogInputStream`, `ProduceRequest.validateRecords`). Does not own: all that is in a
//! batch (`record`).

use bytes::Bytes;

use super::Refused;
use crate::kafka::error::Code;

/// Bytes of a batch before its length counts.
const LENGTH_END: usize = 12;
/// The smallest length a batch of any format ever had.
const LEAST_LENGTH: i32 = 14;
const MAGIC_AT: usize = 16;
const ATTRIBUTES_AT: usize = 22;
const TRANSACTIONAL: u8 = 0x10;
const CODEC: u8 = 0x07;
const ZSTD: u8 = 4;

/// Whether the first batch claims to be part of a transaction.
pub(super) fn is_transactional(records: &[u8]) -> bool {
    records.get(MAGIC_AT) == Some(&2)
        && records.get(ATTRIBUTES_AT).is_some_and(|attributes| attributes & TRANSACTIONAL != 0)
}

/// The one batch there must be, of format 2, in a codec this version knows. The beginning of
/// another one after it is dropped.
pub(super) fn one_batch(version: i16, records: &Bytes) -> Result<Bytes, Refused> {
    let invalid = |text: &str| Err(Refused::new(Code::InvalidRecord, text));
    let Some(length) = first_batch(records)? else {
        return invalid("a partition's records must hold a whole record batch");
    };
    if records.get(MAGIC_AT) != Some(&2) {
        return invalid("record batches must be of format 2");
    }
    let newer = records.get(ATTRIBUTES_AT).is_some_and(|attributes| attributes & CODEC >= ZSTD);
    if newer && version < 7 {
        let text = "codecs newer than lz4 need Produce version 7";
        return Err(Refused::new(Code::UnsupportedCompressionType, text));
    }
    if first_batch(records.get(length..).unwrap_or_default())?.is_some() {
        return invalid("a partition's records must hold exactly one record batch");
    }
    Ok(records.slice(..length.min(records.len())))
}

/// Length of the whole batch that `bytes` begin with; `None` when they end before it does.
fn first_batch(bytes: &[u8]) -> Result<Option<usize>, Refused> {
    let corrupt = |text: &str| Err(Refused::new(Code::CorruptMessage, text));
    let Some((_, stated)) = bytes.first_chunk::<LENGTH_END>().and_then(|b| b.split_last_chunk())
    else {
        return Ok(None);
    };
    let stated = i32::from_be_bytes(*stated);
    if stated < LEAST_LENGTH {
        return corrupt("the length of a record batch is too small");
    }
    match bytes.get(MAGIC_AT) {
        None => return Ok(None),
        Some(0..=2) => {}
        Some(_) => return corrupt("no format of record batches has this number"),
    }
    let length = usize::try_from(stated).ok().and_then(|stated| stated.checked_add(LENGTH_END));
    Ok(length.filter(|length| *length <= bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(length: i32, magic: u8, attributes: u8) -> Vec<u8> {
        let mut batch = vec![0; 61];
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[16] = magic;
        batch[22] = attributes;
        batch
    }

    fn code(version: i16, records: Vec<u8>) -> i16 {
        one_batch(version, &records.into()).map_or_else(|refused| refused.code.code(), |_| 0)
    }

    #[test]
    fn a_partition_takes_exactly_one_batch_of_format_2() {
        assert_eq!(code(13, batch(49, 2, 0)), 0);
        for records in [Vec::new(), vec![0; 11], batch(50, 2, 0), batch(49, 1, 0)] {
            assert_eq!(code(13, records), 87);
        }
        assert_eq!(code(13, batch(i32::MAX, 2, 0)), 87, "cut short");
        assert_eq!(code(13, [batch(49, 2, 0), batch(49, 2, 0)].concat()), 87);
    }

    #[test]
    fn a_length_or_format_that_never_was_is_corrupt() {
        for records in [vec![0; 16], batch(13, 2, 0), batch(-1, 2, 0), batch(49, 3, 0)] {
            assert_eq!(code(13, records), 2);
        }
        let second = [batch(49, 2, 0), batch(49, 0xff, 0)].concat();
        assert_eq!(code(13, second), 2);
    }

    #[test]
    fn the_beginning_of_another_batch_is_dropped() {
        for extra in [&[0; 11][..], &batch(49, 2, 0)[..60]] {
            let records = [&batch(49, 2, 0)[..], extra].concat();
            assert_eq!(one_batch(13, &records.into()).unwrap(), batch(49, 2, 0));
        }
    }

    #[test]
    fn zstd_and_codecs_that_are_not_need_version_7() {
        for codec in 4..8 {
            assert_eq!(code(6, batch(49, 2, codec)), 76);
            assert_eq!(code(7, batch(49, 2, codec)), 0);
        }
    }
}
