//! From bytes on standard input to records.
//!
//! Invariant: an error names the line it is in.

use std::io::{BufRead, BufReader, Read};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::Format;
use crate::{record::Header, types::Millis};

/// The longest record that is read: no broker takes one so long.
const RECORD_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Bytes of input that are read at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// A record as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Input {
    /// From 1.
    pub(super) number: u64,
    /// What it took in the input.
    pub(super) input_bytes: u64,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<Header>,
    pub(super) partition: Option<i32>,
    pub(super) timestamp: Option<Millis>,
}

/// Records that were read together, and what ended the reading, if it failed.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) records: Vec<Input>,
    pub(super) failed: Option<anyhow::Error>,
}

/// How the input is read.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) format: Format,
    pub(super) separator: Option<Vec<u8>>,
    pub(super) empty_is_tombstone: bool,
}

/// A record in JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: Option<serde_json::Value>,
    key_base64: Option<String>,
    value: Option<serde_json::Value>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: Vec<LineHeader>,
    partition: Option<i32>,
    timestamp: Option<i64>,
    // What `consume --json` tells besides; it is another record's.
    #[serde(rename = "topic")]
    _topic: Option<String>,
    #[serde(rename = "offset")]
    _offset: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineHeader {
    key: String,
    value: Option<String>,
    value_base64: Option<String>,
}

impl Source {
    /// Reads standard input to its end, or until nobody listens.
    pub(super) fn read_all(&self, to: &mpsc::Sender<Chunk>) {
        let input = std::io::stdin().lock();
        self.read(&mut BufReader::with_capacity(CHUNK_BYTES, input), to);
    }

    fn read<R: Read>(&self, input: &mut BufReader<R>, to: &mpsc::Sender<Chunk>) {
        let mut chunk = Chunk::default();
        for number in 1.. {
            match self.next(input, number) {
                Ok(Some(record)) => chunk.records.push(record),
                Ok(None) => break,
                Err(error) => {
                    chunk.failed = Some(error);
                    break;
                }
            }
            // What is typed goes at once, what is piped in chunks.
            let is_more_at_hand = input.buffer().contains(&b'\n');
            if !is_more_at_hand && to.blocking_send(std::mem::take(&mut chunk)).is_err() {
                return;
            }
        }
        // Nobody listens any more when another thing failed, which is told.
        drop(to.blocking_send(chunk));
    }

    fn next(&self, input: &mut impl BufRead, number: u64) -> anyhow::Result<Option<Input>> {
        let mut bytes = Vec::new();
        let mut input = input.take(RECORD_BYTES_MAX + 1);
        let read = match self.format {
            Format::Whole => input.read_to_end(&mut bytes)?,
            Format::Lines | Format::Json | Format::Hex | Format::Base64 => {
                input.read_until(b'\n', &mut bytes)?
            }
        };
        if read == 0 {
            return Ok(None);
        }
        let input_bytes = u64::try_from(read).unwrap_or(u64::MAX);
        anyhow::ensure!(input_bytes <= RECORD_BYTES_MAX, "record {number} is longer than 1 GiB");
        if self.format != Format::Whole && bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        let record = self.record(bytes).map_err(|wrong| {
            anyhow::anyhow!("line {number} of the input: {wrong}; nothing after it was written")
        })?;
        Ok(Some(Input { number, input_bytes, ..record }))
    }

    fn record(&self, bytes: Vec<u8>) -> Result<Input, String> {
        if self.format == Format::Json {
            return json(&bytes);
        }
        let (key, value) = match &self.separator {
            None => (None, Bytes::from(bytes)),
            Some(separator) => {
                let bytes = Bytes::from(bytes);
                let mut places = bytes.windows(separator.len());
                match places.position(|window| window == separator.as_slice()) {
                    Some(at) => (Some(bytes.slice(..at)), bytes.slice(at + separator.len()..)),
                    None => {
                        let separator = String::from_utf8_lossy(separator);
                        return Err(format!("it has no {separator:?} between key and value"));
                    }
                }
            }
        };
        let value = if value.is_empty() && self.empty_is_tombstone { None } else { Some(value) };
        let key = key.map(|key| self.decode(key)).transpose()?;
        let value = value.map(|value| self.decode(value)).transpose()?;
        Ok(Input { key, value, ..Input::default() })
    }

    fn decode(&self, bytes: Bytes) -> Result<Bytes, String> {
        match self.format {
            Format::Lines | Format::Whole | Format::Json => Ok(bytes),
            Format::Base64 => base64(&bytes),
            Format::Hex => hex(&bytes),
        }
    }
}

fn base64(text: &[u8]) -> Result<Bytes, String> {
    let decoded = BASE64.decode(text.trim_ascii());
    decoded.map(Bytes::from).map_err(|error| format!("it is no Base64 ({error})"))
}

fn hex(text: &[u8]) -> Result<Bytes, String> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let digits: Option<Vec<u8>> = text.trim_ascii().iter().map(digit).collect();
    let digits = digits.ok_or("it has letters that are not hexadecimal")?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("it has an odd number of hexadecimal digits".to_owned());
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn json(text: &[u8]) -> Result<Input, String> {
    let line: Line = serde_json::from_slice(text).map_err(|error| {
        let error = error.to_string();
        // Every line is a text of its own, so "at line 1" misleads.
        format!("it is no record in JSON: {}", error.replace(" at line 1 column", ", at column"))
    })?;
    let bytes = |plain: Option<serde_json::Value>, packed: Option<String>| match (plain, packed) {
        (None | Some(serde_json::Value::Null), None) => Ok(None),
        (None, Some(packed)) => base64(packed.as_bytes()).map(Some),
        (Some(serde_json::Value::String(text)), None) => Ok(Some(Bytes::from(text))),
        (Some(other), None) => Ok(Some(Bytes::from(other.to_string()))),
        (Some(_), Some(_)) => Err("it has both a text and its Base64".to_owned()),
    };
    let header = |header: LineHeader| {
        let value = bytes(header.value.map(serde_json::Value::String), header.value_base64)?;
        Ok::<_, String>(Header { key: Bytes::from(header.key), value })
    };
    Ok(Input {
        key: bytes(line.key, line.key_base64)?,
        value: bytes(line.value, line.value_base64)?,
        headers: line.headers.into_iter().map(header).collect::<Result<_, _>>()?,
        partition: line.partition,
        timestamp: line.timestamp.map(Millis),
        ..Input::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: Format, separator: Option<&str>, text: &str) -> Vec<anyhow::Result<Input>> {
        let separator = separator.map(|it| it.as_bytes().to_vec());
        let source = Source { format, separator, empty_is_tombstone: true };
        let mut input = text.as_bytes();
        let next = |number| source.next(&mut input, number).transpose();
        (1..).map_while(next).take(10).collect()
    }

    fn pairs(format: Format, separator: Option<&str>, text: &str) -> Vec<(String, String)> {
        let show = |bytes: Option<Bytes>| {
            bytes.map_or("null".to_owned(), |it| String::from_utf8_lossy(&it).into_owned())
        };
        let records = read(format, separator, text).into_iter();
        records.map(Result::unwrap).map(|it| (show(it.key), show(it.value))).collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn a_line_is_a_record_and_a_separator_parts_its_key() {
        let found = pairs(Format::Lines, None, "one\ntwo: 2\r\n\nlast");
        let wanted = [
            pair("null", "one"),
            pair("null", "two: 2\r"),
            pair("null", "null"),
            pair("null", "last"),
        ];
        assert_eq!(found, wanted);
        let found = pairs(Format::Lines, Some("::"), "a::b::c\nk::\n");
        assert_eq!(found, [pair("a", "b::c"), pair("k", "null")]);
        assert_eq!(pairs(Format::Whole, None, "one\ntwo\n"), [pair("null", "one\ntwo\n")]);
    }

    #[test]
    fn packed_forms_are_unpacked() {
        assert_eq!(pairs(Format::Hex, Some(":"), "6b:566F\n"), [pair("k", "Vo")]);
        assert_eq!(pairs(Format::Base64, None, "aGk=\n"), [pair("null", "hi")]);
        let line = r#"{"key":"k","value":{"a":1},"partition":3,"timestamp":7,"topic":"x","offset":1,
            "headers":[{"key":"h","value":"v"},{"key":"n","value":null}]}"#;
        let line = line.replace('\n', "");
        let record = read(Format::Json, None, &line).remove(0).unwrap();
        assert_eq!((record.partition, record.timestamp), (Some(3), Some(Millis(7))));
        assert_eq!(record.value.unwrap(), r#"{"a":1}"#);
        assert_eq!(record.headers.len(), 2);
        let packed = pairs(Format::Json, None, "{\"value_base64\":\"aGk=\",\"key\":null}\n{}\n");
        assert_eq!(packed, [pair("null", "hi"), pair("null", "null")]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let wrong = [
            (Format::Lines, Some(":"), "a:b\nnone\n", "no \":\" between"),
            (Format::Hex, None, "00\n0\n", "odd number"),
            (Format::Hex, None, "00\nzz\n", "not hexadecimal"),
            (Format::Base64, None, "aGk=\n*\n", "no Base64"),
            (Format::Json, None, "{}\n{\"valu\":1}\n", "unknown field `valu`"),
            (Format::Json, None, "{}\n{\"value\":1,\"value_base64\":\"\"}\n", "both"),
        ];
        for (format, separator, text, says) in wrong {
            let mut found = read(format, separator, text);
            let error = found.remove(1).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("line 2"), "{error}");
        }
    }
}
