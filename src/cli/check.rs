//! The checklist of `strandline serve --check`, as a person or a program reads it.

use std::process::ExitCode;

use super::output;
use crate::{
    broker::{Finding, Verdict},
    config,
};

/// Columns that the first two words of a line take.
const MARGIN: usize = 24;

/// Prints the findings; the exit code is 1 when a start would fail.
pub(super) fn show(findings: &[Finding], json: bool) -> anyhow::Result<ExitCode> {
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count();
    if json {
        let ok = failed == 0;
        let document = serde_json::json!({ "ok": ok, "checks": findings });
        output::line(serde_json::to_string_pretty(&document)?);
    } else {
        for finding in findings {
            let word = match finding.verdict {
                Verdict::Ok => "ok",
                Verdict::Note => "note",
                Verdict::Failed => "FAILED",
            };
            output::line(format!("{word:<8}{:<16}{}", finding.about, finding.found));
            if let Some(advice) = &finding.advice {
                output::line(format!("{:MARGIN$}→ {advice}", ""));
            }
        }
        match failed {
            0 => output::line("a broker can start with this"),
            failed => output::line(format!("{failed} of {} checks failed", findings.len())),
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What stands for everything when the settings themselves cannot be read.
pub(super) fn unreadable(error: &config::Error) -> Finding {
    Finding {
        about: "settings",
        verdict: Verdict::Failed,
        found: error.to_string(),
        advice: Some("docs/configuration.md and `strandline serve --help` list them".to_owned()),
    }
}
