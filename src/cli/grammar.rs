//! How people write places in a topic, times and settings on a command line.
//!
//! ```text
//! place = start | end | N | -N (the last N) | +N (after the first N) | @TIME
//! time  = 2026-11-24T12:00:00Z | 2026-11-24 | seconds or milliseconds since 1970 | 1h (ago)
//! ```
//! Invariant: a text that could mean two things is refused.

use std::time::Duration;

use crate::{
    env::clock::Clock,
    types::{Millis, Offset},
};

/// A place in every partition that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// The first record there is.
    Start,
    /// After the last record there is.
    End,
    /// This offset.
    At(Offset),
    /// So many records before the end.
    BeforeEnd(i64),
    /// So many records after the start.
    AfterStart(i64),
    /// The first record not before a time.
    Time(When),
}

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// By the calendar.
    At(Millis),
    /// Before now.
    Ago(Duration),
}

/// Milliseconds since 1970 have so many digits from 1973 on; seconds have fewer for long.
const MILLISECONDS_DIGITS: usize = 12;

impl When {
    /// The point on the wall clock.
    pub(super) fn on(self, clock: &dyn Clock) -> Millis {
        match self {
            Self::At(time) => time,
            Self::Ago(ago) => {
                let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                Millis(clock.wall().0.saturating_sub(ago))
            }
        }
    }
}

pub(super) fn place(text: &str) -> Result<Where, String> {
    let number = |digits: &str| digits.parse::<i64>().ok().filter(|number| *number >= 0);
    match text {
        "start" | "beginning" | "earliest" | "oldest" => return Ok(Where::Start),
        "end" | "latest" | "newest" => return Ok(Where::End),
        _ => {}
    }
    let understood = if let Some(time) = text.strip_prefix('@') {
        return when(time).map(Where::Time);
    } else if let Some(back) = text.strip_prefix('-') {
        number(back).map(Where::BeforeEnd)
    } else if let Some(on) = text.strip_prefix('+') {
        number(on).map(Where::AfterStart)
    } else {
        number(text).map(|offset| Where::At(Offset(offset)))
    };
    understood.ok_or_else(|| {
        "write start, end, an offset, -N (the last N), +N (after the first N) or @TIME \
         (@2026-11-24T12:00:00Z, @1h for an hour ago)"
            .to_owned()
    })
}

pub(super) fn when(text: &str) -> Result<When, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: i64 = text.parse().map_err(|_| format!("{text} is beyond every calendar"))?;
        let is_millis = text.len() >= MILLISECONDS_DIGITS;
        return Ok(When::At(Millis(if is_millis { number } else { number.saturating_mul(1000) })));
    }
    let day =
        if text.len() == "2026-11-24".len() { format!("{text}T00:00:00Z") } else { text.into() };
    if let Ok(time) = humantime::parse_rfc3339_weak(&day) {
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        return Ok(When::At(Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))));
    }
    let ago = text.strip_suffix("ago").unwrap_or(text).trim();
    let ago = ago.strip_prefix('-').unwrap_or(ago);
    humantime::parse_duration(ago).map(When::Ago).map_err(|_| {
        format!(
            "{text} is no time; write 2026-11-24T12:00:00Z (UTC), 2026-11-24, milliseconds since \
             1970, or 1h for an hour ago"
        )
    })
}

/// `name=value`, where the value may hold anything.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write name=value".to_owned()),
    }
}

/// Partitions: `3`, `0,2`, `0-3`.
pub(super) fn partitions(text: &str) -> Result<Partitions, String> {
    let wrong = || format!("{text} names no partitions; write 3, 0,2 or 0-3");
    let mut found = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: i32 = first.parse().map_err(|_| wrong())?;
        let last: i32 = last.parse().map_err(|_| wrong())?;
        if first < 0 || first > last || last - first > 100_000 {
            return Err(wrong());
        }
        found.extend(first..=last);
    }
    found.sort_unstable();
    found.dedup();
    Ok(Partitions(found))
}

/// Indexes of partitions, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partitions(pub(super) Vec<i32>);

/// A text with `\t`, `\n`, `\r`, `\0`, `\\`, `\xFF` for what a shell makes hard to write.
pub(super) fn escaped(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match letters.next() {
            Some('t') => bytes.push(b'\t'),
            Some('n') => bytes.push(b'\n'),
            Some('r') => bytes.push(b'\r'),
            Some('0') => bytes.push(0),
            Some('\\') => bytes.push(b'\\'),
            Some('x') => {
                let digits: String = letters.by_ref().take(2).collect();
                let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 2);
                bytes.push(byte.ok_or_else(|| format!("\\x{digits} is no byte; write \\x1f"))?);
            }
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!(
                    "\\{other} means nothing here; there are \\t \\n \\r \\0 \\\\ \\xFF"
                ));
            }
        }
    }
    Ok(bytes)
}

/// A separator: at least a byte.
pub(super) fn separator(text: &str) -> Result<Separator, String> {
    let bytes = escaped(text)?;
    if bytes.is_empty() { Err("it must not be empty".to_owned()) } else { Ok(Separator(bytes)) }
}

/// Bytes between things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Separator(pub(super) Vec<u8>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        assert_eq!(place("start"), Ok(Where::Start));
        assert_eq!(place("earliest"), Ok(Where::Start));
        assert_eq!(place("latest"), Ok(Where::End));
        assert_eq!(place("17"), Ok(Where::At(Offset(17))));
        assert_eq!(place("-5"), Ok(Where::BeforeEnd(5)));
        assert_eq!(place("+5"), Ok(Where::AfterStart(5)));
        assert_eq!(place("@1h"), Ok(Where::Time(When::Ago(Duration::from_secs(3600)))));
        for wrong in ["", "-", "--5", "+-5", "5.5", "begin", "@", "@yesterday", "-end"] {
            assert!(place(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn times_are_read_in_every_form_people_paste() {
        let noon = When::At(Millis(1_764_000_000_000));
        for text in [
            "1764000000000",
            "1764000000",
            "2025-11-24T16:00:00Z",
            "2025-11-24 16:00:00",
            "2025-11-24T16:00:00.000Z",
        ] {
            assert_eq!(when(text), Ok(noon), "{text}");
        }
        assert_eq!(when("2025-11-24"), Ok(When::At(Millis(1_763_942_400_000))));
        for text in ["90m", "-90m", "90m ago", "1h 30m"] {
            assert_eq!(when(text), Ok(When::Ago(Duration::from_secs(5400))), "{text}");
        }
        for wrong in ["", "noon", "2025-13-01", "99999999999999999999"] {
            assert!(when(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn settings_and_partitions_are_read_whole() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("a").is_err() && pair("=b").is_err());
        assert_eq!(partitions("0-2,5,1"), Ok(Partitions(vec![0, 1, 2, 5])));
        assert!(partitions("3-1").is_err() && partitions("").is_err() && partitions("-1").is_err());
    }

    #[test]
    fn escapes_stand_for_bytes() {
        assert_eq!(escaped(r"a\t\x00\xfF\\é"), Ok(b"a\t\x00\xff\\\xc3\xa9".to_vec()));
        assert!(escaped(r"\x1").is_err() && escaped(r"\xzz").is_err());
        assert!(escaped(r"\q").is_err() && escaped("\\").is_err() && separator("").is_err());
    }
}
