//! The cluster's metadata: one log in the bucket, one state every broker agrees on.

pub mod configs;
