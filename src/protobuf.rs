//! A look at a protobuf message from outside before it is decoded.
//!
//! Owns: the bound on what a repeated field makes room for: an empty element takes two bytes and
//! decodes to a struct a hundred times as large. Does not own: any message.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Whether each element of the repeated message `field` of `message` has at least `smallest` bytes;
/// `false`, too, for bytes that are no message.
#[must_use]
pub fn elements_have(message: &[u8], field: u32, smallest: usize) -> bool {
    let mut rest = message;
    while rest.has_remaining() {
        let Ok((tag, kind)) = decode_key(&mut rest) else { return false };
        if tag == field && kind == WireType::LengthDelimited {
            let length = decode_varint(&mut rest).ok().and_then(|it| usize::try_from(it).ok());
            let Some(length) = length.filter(|length| *length <= rest.len()) else { return false };
            if length < smallest {
                return false;
            }
            rest.advance(length);
        } else if skip_field(kind, tag, &mut rest, DecodeContext::default()).is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_elements_of_the_field_are_told_and_others_are_not_looked_at() {
        let message = [0x1a, 3, 1, 2, 3, 0x12, 0, 0x08, 5, 0x1a, 2, 9, 9];
        assert!(elements_have(&message, 3, 2));
        assert!(!elements_have(&message, 3, 3));
        assert!(elements_have(&message, 4, 100));
        assert!(!elements_have(&[0x1a, 5, 1], 3, 0), "cut short");
        assert!(!elements_have(&[0x80], 3, 0), "no message");
    }
}
