//! Asking before something is destroyed.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::target::Trouble;

#[derive(Args, Debug)]
pub(super) struct Consent {
    /// Do it without asking; needed where there is no terminal to ask at
    #[arg(short, long)]
    pub(super) yes: bool,
}

impl Consent {
    /// Whether to go on. Asks at a terminal; elsewhere only `--yes` is a yes.
    pub(super) fn to(&self, what: &str) -> anyhow::Result<bool> {
        if self.yes {
            return Ok(true);
        }
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(Trouble::Usage(format!(
                "this would {what}; say --yes, for there is no terminal to ask at"
            ))
            .into());
        }
        drop(write!(std::io::stderr(), "This will {what}. Go on? [y/N] "));
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
    }
}
