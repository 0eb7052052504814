//! Requests that are sent again and again: encoded once, their records never copied.
//!
//! Owns: what differs from one sending to the next (lengths, the correlation id). Does not own:
//! which request. Invariant: the field that differs in length is the body's last one.

use bytes::{Buf, Bytes, BytesMut};
use proto_kafka::messages::ProduceRequest;
use tokio::io::AsyncWriteExt;

use super::{Error, Sender, frame};

/// The newest version in which nothing follows the records.
const LAST_VERSION: i16 = 8;

/// A Produce request to one partition, but for its records.
#[derive(Debug)]
pub struct PreparedProduce {
    frame: BytesMut,
}

impl Sender {
    /// Encodes `request`, whose only partition has empty records.
    ///
    /// # Errors
    /// `Malformed` when it cannot be encoded at `version`.
    ///
    /// # Panics
    /// Beyond version 8, where records are not the last field.
    pub fn prepare(
        &self,
        version: i16,
        request: &ProduceRequest,
    ) -> Result<PreparedProduce, Error> {
        assert!(version <= LAST_VERSION, "records end the request");
        let frame = frame::encode(0, &self.client_id, version, request)?;
        Ok(PreparedProduce { frame: BytesMut::from(frame.as_ref()) })
    }

    /// Sends `prepared` with `records`.
    ///
    /// # Errors
    /// `Io` when the connection breaks.
    pub async fn send_prepared(
        &mut self,
        prepared: &mut PreparedProduce,
        records: &Bytes,
    ) -> Result<(), Error> {
        self.correlation = self.correlation.wrapping_add(1);
        prepared.place(self.correlation, records.len())?;
        let mut both = prepared.frame.as_ref().chain(records.as_ref());
        Ok(self.stream.write_all_buf(&mut both).await?)
    }
}

impl PreparedProduce {
    /// Length of the frame, API key and version, then the correlation id.
    const CORRELATION_AT: usize = 8;

    fn place(&mut self, correlation: i32, records: usize) -> Result<(), Error> {
        let whole = self.frame.len().saturating_sub(4).saturating_add(records);
        let whole = u32::try_from(whole).map_err(|_| Error::OutOfStep)?;
        let records = u32::try_from(records).map_err(|_| Error::OutOfStep)?;
        let last = self.frame.len().saturating_sub(4);
        let mut put = |at: usize, bytes: [u8; 4]| {
            if let Some(field) = self.frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                *field = bytes;
            }
        };
        put(0, whole.to_be_bytes());
        put(Self::CORRELATION_AT, correlation.to_be_bytes());
        put(last, records.to_be_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proto_kafka::{
        messages::{
            TopicName,
            produce_request::{PartitionProduceData, TopicProduceData},
        },
        protocol::StrBytes,
    };

    use super::*;

    fn request(records: &'static [u8]) -> ProduceRequest {
        let data = PartitionProduceData::default()
            .with_index(3)
            .with_records(Some(Bytes::from_static(records)));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_static_str("t")))
            .with_partition_data(vec![data]);
        ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic])
    }

    #[test]
    fn a_prepared_request_is_the_one_that_would_have_been_encoded() {
        let client = StrBytes::from_static_str("c");
        for version in 3..=LAST_VERSION {
            let empty = frame::encode(0, &client, version, &request(b"")).unwrap();
            let mut prepared = PreparedProduce { frame: BytesMut::from(empty.as_ref()) };
            for (correlation, records) in [(7, &b"one batch"[..]), (8, b"another"), (9, b"")] {
                prepared.place(correlation, records.len()).unwrap();
                let sent = [prepared.frame.as_ref(), records].concat();
                let whole = frame::encode(correlation, &client, version, &request(records));
                assert_eq!(sent, whole.unwrap());
            }
        }
    }
}
