//! A broker in trouble, judged from outside: what its clients were told, and what its bucket holds.

// A test that cannot go on says so by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout
)]
#![allow(clippy::needless_pass_by_value, clippy::let_underscore_must_use)]

#[path = "chaos/checker.rs"]
mod checker;
#[path = "chaos/damage.rs"]
mod damage;
#[path = "support/history/mod.rs"]
mod history;
#[path = "chaos/librdkafka.rs"]
mod librdkafka;
#[path = "chaos/load.rs"]
mod load;
#[path = "chaos/run.rs"]
mod run;
#[path = "chaos/schedules.rs"]
mod schedules;
mod support;
#[path = "chaos/trouble.rs"]
mod trouble;
#[path = "chaos/world.rs"]
mod world;
