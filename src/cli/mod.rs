//! The commands for people.
//!
//! Owns: words, output and exit codes of each command. Does not own: what a broker does.
//! Invariant: an error says what went wrong, with what, and what to do; exit code 0 is success,
//! 1 a failure, 2 a command line that is not understood.

mod bench;
mod bucket;
mod check;
mod cluster;
mod log;
mod output;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A Kafka-compatible broker whose home is a bucket.
///
/// `strandline serve` alone runs a broker on local folders; point any Kafka client at
/// 127.0.0.1:9092.
#[derive(Debug, Parser)]
#[command(name = "strandline", version, arg_required_else_help = true)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run a broker
    ///
    /// Every setting may be a flag, a variable STRANDLINE_<NAME> or a key of a TOML file
    /// (--config), in that order; unknown keys are errors. docs/configuration.md says more.
    Serve(Box<serve::Serve>),
    /// Orders to a running broker about its cluster
    #[command(subcommand)]
    Cluster(cluster::Action),
    /// Look at a bucket with no broker running
    #[command(subcommand)]
    Bucket(bucket::Action),
    /// Put load on a Kafka-compatible cluster and measure it
    #[command(subcommand)]
    Bench(bench::Action),
}

/// Runs the command; what it prints is for a person.
#[must_use]
pub fn run(command: Command) -> ExitCode {
    let done = match command.action {
        Action::Serve(serve) => serve::run(*serve),
        Action::Cluster(action) => cluster::run(&action),
        Action::Bucket(action) => bucket::run(&action),
        Action::Bench(action) => bench::run(&action),
    };
    done.unwrap_or_else(|error| {
        output::error(&error);
        ExitCode::FAILURE
    })
}
