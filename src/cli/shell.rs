//! Completions for shells, and man pages, made from the commands as they are.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, CommandFactory};

use super::{Command, output};

#[derive(Args, Debug)]
#[command(after_help = "\
For bash:  source <(strandline completion bash)
For zsh:   strandline completion zsh > \"${fpath[1]}/_strandline\"
For fish:  strandline completion fish > ~/.config/fish/completions/strandline.fish")]
pub(super) struct Completion {
    /// The shell
    shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(super) struct Man {
    /// The folder; without one the page of the program is printed
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

pub(super) fn complete(order: &Completion) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(order.shell, &mut Command::command(), "strandline", &mut script);
    print(&script)
}

pub(super) fn man(order: &Man) -> anyhow::Result<ExitCode> {
    let Some(folder) = &order.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Command::command()).render(&mut page)?;
        return print(&page);
    };
    let shown = folder.display();
    clap_mangen::generate_to(Command::command(), folder).with_context(|| {
        format!("cannot write man pages into {shown}; give a folder that is there")
    })?;
    output::line(format!("man pages are in {shown}; read one with `man {shown}/strandline.1`"));
    Ok(ExitCode::SUCCESS)
}

fn print(bytes: &[u8]) -> anyhow::Result<ExitCode> {
    use std::io::Write;
    // A reader that has seen enough is no failure.
    drop(std::io::stdout().write_all(bytes));
    Ok(ExitCode::SUCCESS)
}
