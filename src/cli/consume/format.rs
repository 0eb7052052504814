//! How a record is written.
//!
//! Owns: the templates and JSON's form. Invariant: what `json` writes, `produce -f json` reads back
//! to the same record.

use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use serde::Serialize;

use crate::{
    cli::{grammar, output},
    record::{Header, Record},
};

/// A record and where it is from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) record: &'a Record,
}

/// How records are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A line of JSON each.
    Json,
    /// These, one after the other.
    Template(Vec<Piece>),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key(Form),
    Value(Form),
    Headers,
    Millis,
    Date,
    KeyLength,
    ValueLength,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Raw,
    Hex,
    Base64,
    Json,
}

#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    #[serde(flatten)]
    key: Text<'a>,
    #[serde(flatten)]
    value: Text<'a>,
    headers: Vec<LineHeader<'a>>,
}

/// Bytes under a name: as text where they are, else under `name_base64`.
#[derive(Clone, Copy)]
struct Text<'a> {
    name: &'static str,
    packed_name: &'static str,
    bytes: Option<&'a Bytes>,
}

#[derive(Serialize)]
struct LineHeader<'a> {
    key: std::borrow::Cow<'a, str>,
    #[serde(flatten)]
    value: Text<'a>,
}

impl Serialize for Text<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(1))?;
        let text = self.bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes));
        match text {
            None => map.serialize_entry(self.name, &None::<&str>)?,
            Some(Ok(text)) => map.serialize_entry(self.name, text)?,
            Some(Err(bytes)) => map.serialize_entry(self.packed_name, &BASE64.encode(bytes))?,
        }
        map.end()
    }
}

impl<'a> Text<'a> {
    fn value(bytes: Option<&'a Bytes>) -> Self {
        Self { name: "value", packed_name: "value_base64", bytes }
    }
}

/// A format by its name or as a template.
pub(super) fn parse(text: &str) -> Result<Format, String> {
    let line = |form| Format::Template(vec![Piece::Value(form), Piece::Text(b"\n".to_vec())]);
    match text {
        "value" => Ok(line(Form::Raw)),
        "hex" => Ok(line(Form::Hex)),
        "base64" => Ok(line(Form::Base64)),
        "json" => Ok(Format::Json),
        text if text.contains('%') => template(text).map(Format::Template),
        _ => Err("there are value, json, hex, base64, and texts with % signs: '%k %v\\n'".into()),
    }
}

fn template(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        if !before.is_empty() {
            pieces.push(Piece::Text(grammar::escaped(before)?));
        }
        let sign = after.chars().next();
        rest = after.get(sign.map_or(0, char::len_utf8)..).unwrap_or_default();
        let form = match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((form, after)) if matches!(sign, Some('k' | 'v' | 's')) => {
                rest = after;
                form_of(form)?
            }
            _ => Form::Raw,
        };
        pieces.push(match sign {
            Some('%') => Piece::Text(b"%".to_vec()),
            Some('t') => Piece::Topic,
            Some('p') => Piece::Partition,
            Some('o') => Piece::Offset,
            Some('k') => Piece::Key(form),
            Some('v' | 's') => Piece::Value(form),
            Some('h') => Piece::Headers,
            Some('T') => Piece::Millis,
            Some('d') => Piece::Date,
            Some('K') => Piece::KeyLength,
            Some('S' | 'V') => Piece::ValueLength,
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!(
                    "%{other} means nothing; there are %t %p %o %k %v %s %h %T %d %K %S %%"
                ));
            }
        });
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(grammar::escaped(rest)?));
    }
    Ok(pieces)
}

fn form_of(text: &str) -> Result<Form, String> {
    match text {
        "hex" => Ok(Form::Hex),
        "base64" => Ok(Form::Base64),
        "json" => Ok(Form::Json),
        other => Err(format!("{{{other}}} is no form; there are {{hex}}, {{base64}}, {{json}}")),
    }
}

impl Format {
    /// The same with the key in front, in the form of the value.
    pub(super) fn with_key(self, separator: &[u8]) -> Self {
        match self {
            Self::Json => Self::Json,
            Self::Template(pieces) => {
                let value = |piece: &Piece| match piece {
                    Piece::Value(form) => Some(*form),
                    _ => None,
                };
                let form = pieces.iter().find_map(value).unwrap_or(Form::Raw);
                let key = [Piece::Key(form), Piece::Text(separator.to_vec())];
                Self::Template(key.into_iter().chain(pieces).collect())
            }
        }
    }

    pub(super) fn write(&self, out: &mut impl Write, shown: &Shown<'_>) -> io::Result<()> {
        match self {
            Self::Json => json(out, shown),
            Self::Template(pieces) => pieces.iter().try_for_each(|it| it.write(out, shown)),
        }
    }
}

impl Piece {
    fn write(&self, out: &mut impl Write, shown: &Shown<'_>) -> io::Result<()> {
        let record = shown.record;
        // As kcat has it, nothing is of length -1.
        let length = |bytes: &Option<Bytes>| match bytes {
            Some(bytes) => bytes.len().to_string(),
            None => "-1".to_owned(),
        };
        match self {
            Self::Text(bytes) => out.write_all(bytes),
            Self::Topic => write!(out, "{}", shown.topic),
            Self::Partition => write!(out, "{}", shown.partition),
            Self::Offset => write!(out, "{}", record.offset),
            Self::Key(form) => form.write(out, record.key.as_ref()),
            Self::Value(form) => form.write(out, record.value.as_ref()),
            Self::Headers => headers(out, &record.headers),
            Self::Millis => write!(out, "{}", record.timestamp),
            Self::Date => write!(out, "{}", output::time(record.timestamp)),
            Self::KeyLength => write!(out, "{}", length(&record.key)),
            Self::ValueLength => write!(out, "{}", length(&record.value)),
        }
    }
}

impl Form {
    fn write(self, out: &mut impl Write, bytes: Option<&Bytes>) -> io::Result<()> {
        let Some(bytes) = bytes else {
            return match self {
                Self::Json => write!(out, "null"),
                Self::Raw | Self::Hex | Self::Base64 => Ok(()),
            };
        };
        match self {
            Self::Raw => out.write_all(bytes),
            Self::Hex => bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}")),
            Self::Base64 => write!(out, "{}", BASE64.encode(bytes)),
            Self::Json => {
                serde_json::to_writer(out, &String::from_utf8_lossy(bytes)).map_err(Into::into)
            }
        }
    }
}

/// `name=value,name=value`, as kcat has it.
fn headers(out: &mut impl Write, headers: &[Header]) -> io::Result<()> {
    for (at, header) in headers.iter().enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        out.write_all(&header.key)?;
        out.write_all(b"=")?;
        out.write_all(header.value.as_deref().unwrap_or(b"NULL"))?;
    }
    Ok(())
}

fn json(out: &mut impl Write, shown: &Shown<'_>) -> io::Result<()> {
    let record = shown.record;
    let headers = record.headers.iter().map(|header| LineHeader {
        key: String::from_utf8_lossy(&header.key),
        value: Text::value(header.value.as_ref()),
    });
    let line = Line {
        topic: shown.topic,
        partition: shown.partition,
        offset: record.offset.0,
        timestamp: record.timestamp.0,
        key: Text { name: "key", packed_name: "key_base64", bytes: record.key.as_ref() },
        value: Text::value(record.value.as_ref()),
        headers: headers.collect(),
    };
    serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Millis, Offset};

    fn record() -> Record {
        let header = |key: &'static str, value: Option<&'static str>| Header {
            key: key.into(),
            value: value.map(Bytes::from),
        };
        Record {
            offset: Offset(7),
            timestamp: Millis(1_764_000_000_000),
            key: Some("k".into()),
            value: Some(Bytes::from_static(b"\xffv")),
            headers: vec![header("a", Some("1")), header("b", None)],
        }
    }

    fn written(format: &Format, record: &Record) -> String {
        let mut out = Vec::new();
        format.write(&mut out, &Shown { topic: "tide", partition: 3, record }).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    fn as_template(text: &str) -> String {
        let plain = Record { value: Some("v".into()), ..record() };
        written(&parse(text).unwrap(), &plain)
    }

    #[test]
    fn a_template_says_what_is_where() {
        assert_eq!(as_template("%t/%p@%o %k=%v\\n"), "tide/3@7 k=v\n");
        assert_eq!(as_template("%s %S %K %T %h%%"), "v 1 1 1764000000000 a=1,b=NULL%");
        assert_eq!(as_template("%d"), "2025-11-24T16:00:00Z");
        assert_eq!(as_template("%v{hex} %k{base64} %v{json}"), "76 aw== \"v\"");
        assert_eq!(as_template("%k{x"), "k{x");
        for wrong in ["%", "%q", "%v{x}", "%v\\q", "text"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_stand_for_templates_and_a_separator_brings_the_key() {
        assert_eq!(as_template("value"), "v\n");
        assert_eq!(as_template("hex"), "76\n");
        let keyed = parse("hex").unwrap().with_key(b": ");
        assert_eq!(written(&keyed, &record()), "6b: ff76\n");
    }

    #[test]
    fn json_has_bytes_that_are_no_text_in_base64() {
        let line = concat!(
            r#"{"topic":"tide","partition":3,"offset":7,"timestamp":1764000000000,"key":"k","#,
            r#""value_base64":"/3Y=","headers":[{"key":"a","value":"1"},{"key":"b","value":null}]}"#,
            "\n"
        );
        assert_eq!(written(&Format::Json, &record()), line);
        let tombstone = Record { key: None, value: None, headers: Vec::new(), ..record() };
        let shown = written(&Format::Json, &tombstone);
        assert!(shown.contains(r#""key":null,"value":null,"headers":[]"#), "{shown}");
    }
}
