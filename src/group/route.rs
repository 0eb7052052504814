//! Which partition of the offsets topic a group belongs to.

use super::GroupId;

/// Kafka's choice: the absolute value of Java's hash of the name, modulo the partitions.
pub(super) fn partition_of(group: &GroupId, partitions: i32) -> i32 {
    let hash = java_hash(group.as_str());
    // The one number without an absolute value counts as 0.
    hash.checked_abs().unwrap_or(0).checked_rem(partitions).unwrap_or(0)
}

/// `String.hashCode`, over UTF-16 units.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash("my-group"), -1_906_497_762);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        assert_eq!(java_hash("\u{1f600}"), 0xd83d * 31 + 0xde00);
    }

    #[test]
    fn every_group_has_a_partition() {
        assert_eq!(partition_of(&"polygenelubricants".into(), 50), 0);
        assert_eq!(partition_of(&"hello".into(), 50), 22);
        assert_eq!(partition_of(&"hello".into(), 0), 0);
    }
}
