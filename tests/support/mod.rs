//! What the process tests share: a broker as a child process, and a client to load it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod installed;
pub mod process;
pub mod s3_double;
pub mod topics;
