//! `fsck`: whether all that a cluster keeps in its bucket is there, whole and consistent.
//!
//! Owns: words and codes. Does not own: what must hold (`audit`).

use std::process::ExitCode;

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{bucket::Target, output, table::Table, target::Trouble};
use crate::{
    audit::{self, Checked, Finding, Leftovers, Sum},
    env::Env,
    types::ByteCount,
};

#[derive(Args, Debug)]
pub(super) struct Order {
    #[command(flatten)]
    target: Target,
    /// Read every record too and check it: as many bytes as the bucket holds
    #[arg(long)]
    deep: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    cluster_id: Option<String>,
    /// Nothing is wrong.
    whole: bool,
    findings: &'a [Finding],
    /// Findings beyond those told.
    more_findings: u64,
    /// False when damaged metadata kept the rest from being looked at.
    complete: bool,
    /// Whether records were read.
    deep: bool,
    checked: Checked,
    /// What is there and not needed, and goes away by itself.
    leftovers: Leftovers,
}

/// How often the signs of life move.
const TICK: std::time::Duration = std::time::Duration::from_millis(100);

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let env = Env::real();
    let store = order.target.open(&env, true).await?;
    let bar = if order.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.enable_steady_tick(TICK);
    let options = audit::Options { deep: order.deep };
    let tell = |text: String| bar.set_message(text);
    let found = audit::audit(&store, &env, options, &tell).await;
    bar.finish_and_clear();
    let Some(found) = found? else {
        let text = "the bucket holds no cluster; is it the right bucket and prefix?";
        return Err(Trouble::NotThere(text.to_owned()).into());
    };
    let whole = found.findings.is_empty() && found.more == 0;
    let report = Report {
        cluster_id: found.cluster.map(|cluster| output::id(cluster.0)),
        whole,
        findings: &found.findings,
        more_findings: found.more,
        complete: found.complete,
        deep: order.deep,
        checked: found.checked,
        leftovers: found.leftovers,
    };
    if order.json {
        output::json(&report)?;
    } else {
        print(&report);
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report<'_>) {
    if let Some(cluster) = &report.cluster_id {
        output::line(format!("cluster {}", console::style(cluster).bold()));
        output::line("");
    }
    let Checked {
        entries,
        partitions,
        manifests,
        objects,
        runs,
        batches,
        records,
        bytes,
        producer_states,
        ..
    } = report.checked;
    let mut table = Table::new(&["CHECKED", "#COUNT"]);
    for (what, count) in [
        ("entries of the metadata log", entries),
        ("partitions", partitions),
        ("manifests", manifests),
        ("objects", objects),
        ("runs", runs),
        ("producer states worked out again", producer_states),
        ("batches", batches),
        ("records", records),
    ] {
        if count > 0 {
            table.row([what.into(), count.into()]);
        }
    }
    if bytes > 0 {
        table.row(["bytes of records".into(), ByteCount(bytes).into()]);
    }
    table.print();
    print_leftovers(&report.leftovers);
    output::line("");
    if report.whole {
        let depth = if report.deep { "" } else { "; --deep reads every record too" };
        output::line(format!("everything is whole{depth}"));
        return;
    }
    for finding in report.findings {
        let kind = console::style(finding.kind.to_string()).red();
        output::line(format!("{kind}  {}: {}", finding.place, finding.text));
    }
    let count = u64::try_from(report.findings.len()).unwrap_or(u64::MAX);
    let all = count.saturating_add(report.more_findings);
    let rest = if report.complete { "" } else { "; what else there is could not be looked at" };
    output::error(&anyhow::anyhow!(
        "{}: this bucket is not whole{rest}; docs/troubleshooting.md says what each kind means",
        output::count(all, "finding")
    ));
}

fn print_leftovers(leftovers: &Leftovers) {
    let mut table = Table::new(&["NOT NEEDED, GOES AWAY BY ITSELF", "#KEYS", "#SIZE"]);
    let Leftovers { unlinked, reserved, orphans, metadata, tests } = *leftovers;
    for (what, Sum { keys, bytes }) in [
        ("dropped, kept a while for readers", unlinked),
        ("not named yet", reserved),
        ("never to be named, for the sweep", orphans),
        ("old metadata", metadata),
        ("of a broken-off test of the bucket", tests),
    ] {
        if keys > 0 {
            table.row([what.into(), keys.into(), ByteCount(bytes).into()]);
        }
    }
    if !table.is_empty() {
        output::line("");
        table.print();
    }
}
