//! The commands for people.
//!
//! Owns: words, output and exit codes of each command. Does not own: what a broker does.
//! Invariant: an error says what went wrong, with what, and what to do; the same flag means the
//! same everywhere; what destroys asks first; exit codes are as [`EXIT_CODES`] says.

mod bench;
mod bucket;
mod check;
mod cluster;
mod config;
mod confirm;
mod consume;
mod fsck;
mod grammar;
mod group;
mod log;
mod output;
mod place;
mod produce;
mod serve;
mod shell;
mod table;
mod target;
mod topic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::target::Trouble;
use crate::client;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, or done in part
  2  the command line is not understood
  3  what was named is not there: a topic, a group, a broker
  4  no broker answers, or not in time

`strandline COMMAND --help` says more about each command. Those that talk to a cluster work with
any Kafka; set STRANDLINE_BOOTSTRAP once and leave out --bootstrap.";

/// A Kafka-compatible broker whose home is a bucket.
///
/// `strandline serve` alone runs a broker on local folders; point any Kafka client at
/// 127.0.0.1:9092.
#[derive(Debug, Parser)]
#[command(name = "strandline", version, arg_required_else_help = true, after_help = EXIT_CODES)]
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
    /// List, describe, create, alter, trim and delete topics
    #[command(subcommand, visible_alias = "topics")]
    Topic(topic::Action),
    /// List and describe consumer groups, move their offsets, delete them
    #[command(subcommand, visible_alias = "groups")]
    Group(group::Action),
    /// Write records from standard input to a topic
    Produce(produce::Order),
    /// Read records of topics to standard output
    Consume(consume::Order),
    /// Read and change configs of topics and brokers
    #[command(subcommand)]
    Config(config::Action),
    /// Look at a cluster, and orders to a running broker about it
    #[command(subcommand)]
    Cluster(cluster::Action),
    /// Look at a bucket with no broker running
    #[command(subcommand)]
    Bucket(bucket::Action),
    /// Check that a bucket is whole, from the bucket alone; only reads
    ///
    /// Reads the metadata log, manifests, footers and the list of keys, and tells everything that
    /// is not as it must be: code 1 if anything is. It may run beside a broker.
    Fsck(fsck::Order),
    /// Put load on a Kafka-compatible cluster and measure it
    #[command(subcommand)]
    Bench(bench::Action),
    /// Print completions for a shell
    Completion(shell::Completion),
    /// Print the man page, or write those of all commands into a folder
    Man(shell::Man),
}

/// Runs the command; what it prints is for a person.
#[must_use]
pub fn run(command: Command) -> ExitCode {
    let done = match command.action {
        Action::Serve(serve) => serve::run(*serve),
        Action::Topic(action) => block_on(topic::run(&action)),
        Action::Group(action) => block_on(group::run(&action)),
        Action::Produce(order) => block_on(produce::run(&order)),
        Action::Consume(order) => block_on(consume::run(&order)),
        Action::Config(action) => block_on(config::run(&action)),
        Action::Cluster(action) => block_on(cluster::run(&action)),
        Action::Bucket(action) => block_on(bucket::run(&action)),
        Action::Fsck(order) => block_on(fsck::run(&order)),
        Action::Bench(action) => bench::run(&action),
        Action::Completion(order) => shell::complete(&order),
        Action::Man(order) => shell::man(&order),
    };
    done.unwrap_or_else(|error| {
        output::error(&error);
        code_of(&error)
    })
}

fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(Box::pin(work));
    // A thread that waits for standard input must not hold the process.
    runtime.shutdown_background();
    done
}

/// The exit code of a command that failed.
fn code_of(error: &anyhow::Error) -> ExitCode {
    for cause in error.chain() {
        match cause.downcast_ref::<Trouble>() {
            Some(Trouble::NotThere(_)) => return ExitCode::from(3),
            Some(Trouble::Usage(_)) => return ExitCode::from(2),
            Some(Trouble::Refused(_)) => return ExitCode::FAILURE,
            None => {}
        }
        match cause.downcast_ref::<client::Error>() {
            Some(client::Error::Unreachable { .. } | client::Error::TimedOut { .. }) => {
                return ExitCode::from(4);
            }
            // UNKNOWN_TOPIC_OR_PARTITION, GROUP_ID_NOT_FOUND
            Some(refused) if matches!(refused.code(), Some(3 | 69)) => return ExitCode::from(3),
            Some(_) | None => {}
        }
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_at_peace_with_each_other() {
        Command::command().debug_assert();
    }

    /// Flags with one name take one kind of value, and have one short form, in every command.
    #[test]
    fn the_same_flag_has_the_same_short_form_everywhere() {
        fn visit(
            command: &clap::Command,
            known: &mut std::collections::BTreeMap<String, Option<char>>,
        ) {
            // `serve` has settings, `bench` is measured by its own words.
            if ["serve", "bench"].contains(&command.get_name()) {
                return;
            }
            for flag in command.get_arguments().filter(|flag| flag.get_long().is_some()) {
                let long = flag.get_long().unwrap_or_default().to_owned();
                let short = flag.get_short();
                let first = known.entry(long.clone()).or_insert(short);
                assert_eq!(*first, short, "--{long} of {}", command.get_name());
            }
            for sub in command.get_subcommands() {
                visit(sub, known);
            }
        }
        visit(&Command::command(), &mut std::collections::BTreeMap::new());
    }

    #[test]
    fn exit_codes_tell_scripts_what_failed() {
        let is = |error: anyhow::Error, code: u8| {
            let found = format!("{:?}", code_of(&error.context("cannot do it")));
            assert_eq!(found, format!("{:?}", ExitCode::from(code)));
        };
        is(anyhow::anyhow!("anything"), 1);
        is(Trouble::Usage(String::new()).into(), 2);
        is(target::no_topic("tide").into(), 3);
        is(client::Error::Refused(3).into(), 3);
        is(client::Error::Refused(69).into(), 3);
        is(client::Error::Refused(36).into(), 1);
        let limit = std::time::Duration::from_secs(1);
        is(client::Error::TimedOut { address: String::new(), limit }.into(), 4);
    }
}
