//! From closed WAL segments to objects in the bucket.
