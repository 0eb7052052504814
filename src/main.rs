//! The `strandline` program: parse, run the command, end with its exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    strandline::cli::run(strandline::cli::Command::parse())
}
