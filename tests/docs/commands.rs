//! The commands of the documents, run as they stand.
//!
//! A document is one session in one empty folder. Its fenced blocks are run in order:
//! `sh` to its end, which must be good; `sh background` as in a second terminal, until the document
//! ends; `sh no-run WHY` is shown only. With `needs=PROGRAM` a block runs only where that is
//! installed: in `scripts/test`. A block marked `text` that follows is what the command prints, line
//! by line in this order, `…` for what differs.
//!
//! The ports in the documents are the defaults; what runs here has free ones in their place.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{files, root};
use crate::support::{installed, process::free_port};

/// What stands in the documents, to be replaced where they run.
const PORTS: [&str; 2] = ["9092", "8080"];
/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A fenced block.
struct Block {
    document: String,
    line: usize,
    info: String,
    text: String,
    /// What it shall print.
    expected: Option<String>,
}

impl Block {
    fn is_command(&self) -> bool {
        self.info == "sh" || self.info.starts_with("sh ")
    }

    fn is_shown_only(&self) -> bool {
        self.info.starts_with("sh no-run")
    }

    fn needs(&self) -> Option<&str> {
        self.info.split(' ').find_map(|word| word.strip_prefix("needs="))
    }

    fn name(&self) -> String {
        format!("{}:{}", self.document, self.line)
    }
}

/// The documents whose commands are a user's.
fn documents() -> Vec<PathBuf> {
    let mut found = files(&root().join("docs"), "md");
    found.retain(|path| !path.components().any(|part| part.as_os_str() == "adr"));
    found.push(root().join("README.md"));
    found
}

fn blocks(path: &Path) -> Vec<Block> {
    let text = fs::read_to_string(path).unwrap();
    let document = path.strip_prefix(root()).unwrap().display().to_string();
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                let (info, document) = (info.trim().to_owned(), document.clone());
                let text = String::new();
                open = Some(Block { document, line: at + 1, info, text, expected: None });
            }
            (Some(_), Some(_)) => {
                let block = open.take().unwrap();
                match found.last_mut() {
                    Some(last) if block.info == "text" && last.is_command() => {
                        last.expected = Some(block.text);
                    }
                    _ => found.push(block),
                }
            }
            (Some(block), None) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{document}: a fence is not closed");
    found
}

/// One document's folder, ports and running programs.
struct Session {
    folder: tempfile::TempDir,
    ports: [u16; 2],
    background: Vec<Child>,
}

impl Session {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join(".bin");
        fs::create_dir(&bin).unwrap();
        let link = std::os::unix::fs::symlink::<PathBuf, PathBuf>;
        link(env!("CARGO_BIN_EXE_strandline").into(), bin.join("strandline")).unwrap();
        for name in ["localstack", "scripts"] {
            link(root().join(name), folder.path().join(name)).unwrap();
        }
        Self { folder, ports: [free_port(), free_port()], background: Vec::new() }
    }

    fn in_ports(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (shown, port) in PORTS.iter().zip(self.ports) {
            text = text.replace(shown, &port.to_string());
        }
        text
    }

    fn command(&self, script: &str, log: &Path) -> Command {
        let path = std::env::var("PATH").unwrap();
        let bin = self.folder.path().join(".bin");
        let output = File::create(log).unwrap();
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", &self.in_ports(script)])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("STRANDLINE_KAFKA_LISTEN", format!("127.0.0.1:{}", self.ports[0]))
            .env("STRANDLINE_HTTP_LISTEN", format!("127.0.0.1:{}", self.ports[1]))
            .env("STRANDLINE_BOOTSTRAP", format!("127.0.0.1:{}", self.ports[0]))
            .env("STRANDLINE_CACHE", installed::cache())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            // A group of its own, so that all of it can be ended.
            .process_group(0);
        command
    }

    fn run(&mut self, block: &Block) {
        let log = self.folder.path().join(".output");
        let mut child = self.command(&block.text, &log).spawn().unwrap();
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > LIMIT {
                end(&mut child);
                panic!("{} runs on after {LIMIT:?}\n{}", block.name(), self.printed(&log));
            }
            sleep(Duration::from_millis(10));
        };
        let printed = self.printed(&log);
        assert!(status.success(), "{} ended with {status}\n{printed}", block.name());
        if let Some(expected) = &block.expected {
            self.compare(block, expected, &printed);
        }
    }

    /// Starts what runs on, and waits until it answers.
    fn start(&mut self, block: &Block) {
        let log = self.folder.path().join(format!(".background-{}", self.background.len()));
        let mut child = self.command(&block.text, &log).spawn().unwrap();
        let began = Instant::now();
        let ready = format!("http://127.0.0.1:{}/readyz", self.ports[1]);
        while !answers(&ready) {
            let ended = child.try_wait().unwrap();
            let late = began.elapsed() > LIMIT;
            assert!(ended.is_none() && !late, "{}\n{}", block.name(), self.printed(&log));
            sleep(Duration::from_millis(20));
        }
        self.background.push(child);
        if let Some(expected) = &block.expected {
            self.compare(block, expected, &self.printed(&log));
        }
    }

    fn printed(&self, log: &Path) -> String {
        fs::read_to_string(log).unwrap_or_default()
    }

    /// Every line that is expected, in this order.
    fn compare(&self, block: &Block, expected: &str, printed: &str) {
        let mut lines = printed.lines();
        for wanted in expected.lines().map(|line| self.in_ports(line)) {
            let met = lines.any(|line| fits(line.trim_end(), wanted.trim_end()));
            assert!(met, "{}: no line like {wanted:?} in\n{printed}", block.name());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.background.iter_mut().for_each(end);
    }
}

/// Kills the command and what it started.
fn end(child: &mut Child) {
    drop(Command::new("kill").args(["-9", "--", &format!("-{}", child.id())]).status());
    drop(child.wait());
}

fn answers(url: &str) -> bool {
    let asked = Command::new("curl").args(["-sf", "-o", "/dev/null", url]).status();
    asked.is_ok_and(|status| status.success())
}

/// Whether `line` is `wanted`, with anything where that has `…`.
fn fits(line: &str, wanted: &str) -> bool {
    let mut parts = wanted.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut open = false;
    for part in parts {
        open = part.is_empty();
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    open || rest.is_empty()
}

/// Runs a document's blocks; those that need a program only when all is installed.
fn run(document: &Path, all: bool) -> usize {
    let mut session = Session::new();
    let mut ran = 0;
    for block in blocks(document).iter().filter(|block| block.is_command()) {
        if block.is_shown_only() || (block.needs().is_some() && !all) {
            continue;
        }
        ran += 1;
        if block.info.split(' ').any(|word| word == "background") {
            session.start(block);
        } else {
            session.run(block);
        }
    }
    ran
}

#[test]
fn the_commands_of_the_documents_run() {
    let ran: usize = documents().iter().map(|document| run(document, false)).sum();
    assert!(ran >= 10, "only {ran} blocks were run");
}

/// Wants what `scripts/setup` installs.
#[test]
#[ignore = "needs kcat and MinIO: scripts/test"]
fn the_commands_that_need_other_programs_run() {
    let needs = |path: &PathBuf| blocks(path).iter().any(|block| block.needs().is_some());
    let ran: usize =
        documents().iter().filter(|path| needs(path)).map(|path| run(path, true)).sum();
    assert!(ran >= 5, "only {ran} blocks were run");
}

#[test]
fn every_block_says_what_it_is_and_few_are_shown_only() {
    let known = ["sh", "text", "toml", "json", "yaml", "rust"];
    let (mut faults, mut shown_only) = (Vec::new(), Vec::new());
    for document in documents() {
        for block in blocks(&document) {
            let kind = block.info.split(' ').next().unwrap_or_default();
            let is_command = |line: &str| line.starts_with("$ ") || line.starts_with("strandline ");
            // What is no command may go without a kind.
            let is_plain = kind.is_empty() && !block.text.lines().any(is_command);
            if !is_plain && !known.contains(&kind) {
                faults.push(format!("{}: a block of kind {kind:?}", block.name()));
            }
            if block.is_shown_only() {
                let why = block.info.trim_start_matches("sh no-run").trim().to_owned();
                if why.is_empty() {
                    faults.push(format!("{}: no-run without a reason", block.name()));
                }
                shown_only.push(block.name());
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(shown_only.len() <= 12, "{} blocks are never run: {shown_only:?}", shown_only.len());
}

#[test]
fn what_is_expected_is_met_by_parts() {
    assert!(fits("serving after 12 ms", "serving after … ms"));
    assert!(fits("ok  12 ms  an object", "ok …"));
    assert!(fits("", ""));
    assert!(!fits("serving after 12 s", "serving after … ms"));
    assert!(!fits("serving", "serv"));
}
