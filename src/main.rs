//! The `strandline` program.

fn main() {}
