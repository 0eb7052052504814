//! Holds the source tree to its plan: floors, sizes and the seam to the operating system; and the
//! list of what clients depend on to its tests.

// A test that cannot go on says so by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout
)]
#![allow(clippy::needless_pass_by_value, clippy::let_underscore_must_use)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use strandline::env::bugs::Bug;

/// Bottom first. A module may use modules of lower floors, and nothing on its own floor or above.
const FLOORS: &[&[&str]] = &[
    &["types"],
    &["crc", "env", "metrics", "protobuf"],
    &["record", "wal", "store"],
    &["object", "manifest", "cache", "replication", "cluster"],
    &["log"],
    &["group", "audit"],
    &["kafka"],
    &["http", "client"],
    &["config"],
    &["broker", "cli", "hostile"],
];
const CODE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// Only the seam may touch the outside world; everything else asks it.
const SEAM: &str = "env";
const SEAM_CALLS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "rand::",
    "tokio::time",
    "tokio::net",
    "tokio::fs",
    "std::fs",
    "std::net::Tcp",
    "tokio::spawn",
    "thread::spawn",
];

/// The protocol's cores: told what happened, they say what to do. They may not wait, ask the time,
/// draw lots or touch anything outside.
const CORES: &[&str] = &[
    "cache/disk/ring.rs",
    "cluster/apply",
    "cluster/commit.rs",
    "cluster/entry.rs",
    "cluster/lease.rs",
    "cluster/record.rs",
    "cluster/state.rs",
    "group/classic",
    "group/offsets.rs",
    "group/state.rs",
    "log/producer.rs",
    "log/retention/plan.rs",
    "log/tail.rs",
    "replication/member.rs",
    "replication/recovery.rs",
    "replication/writer.rs",
];
const IMPURE: &[&str] = &[
    "tokio",
    "async fn",
    "async move",
    "std::fs",
    "std::io",
    "std::net",
    "std::thread",
    "Instant",
    "SystemTime",
    "Mutex",
    "clock",
    "entropy",
    "disk::",
    "store::",
    "background",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The production lines of a file: what stands before its tests.
fn code_of(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]").collect()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn size_faults(shown: &str, code: &[&str], faults: &mut BTreeSet<String>) {
    let lines = code.iter().filter(|line| !line.trim().is_empty() && !is_comment(line)).count();
    if lines > CODE_LINES_MAX {
        faults.insert(format!("{shown}: {lines} code lines, at most {CODE_LINES_MAX}"));
    }
    let mut open: Option<(usize, String)> = None;
    for (number, line) in code.iter().enumerate() {
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        if open.is_none() && !is_comment(line) && bare.contains("fn ") && bare.ends_with(['{', '('])
        {
            open = Some((number, " ".repeat(indent) + "}"));
        }
        if let Some((from, close)) = &open
            && line == close
        {
            let length = number - from + 1;
            if length > FUNCTION_LINES_MAX {
                faults.insert(format!("{shown}:{}: function of {length} lines", from + 1));
            }
            open = None;
        }
    }
}

fn import_faults(shown: &str, module: &str, code: &[&str], faults: &mut BTreeSet<String>) {
    for (number, line) in code.iter().enumerate().filter(|(_, line)| !is_comment(line)) {
        if module != SEAM {
            for call in SEAM_CALLS.iter().filter(|call| line.contains(*call)) {
                faults.insert(format!("{shown}:{}: {call} outside {SEAM}", number + 1));
            }
        }
        for used in line.split("crate::").skip(1) {
            let used: String =
                used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if used != module
                && let (Some(here), Some(there)) = (floor_of(module), floor_of(&used))
                && there >= here
            {
                let number = number + 1;
                faults.insert(format!("{shown}:{number}: {module} ({here}) uses {used} ({there})"));
            }
        }
    }
}

#[test]
fn the_tree_follows_the_plan() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut faults) = (Vec::new(), BTreeSet::new());
    sources(&root, &mut files);
    for file in files {
        let shown = file.strip_prefix(&root).unwrap();
        let module = shown.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let is_tests = shown.file_stem().is_some_and(|stem| stem == "tests")
            || shown.iter().any(|part| part == "tests");
        if is_tests {
            continue;
        }
        let shown = shown.display().to_string();
        if !matches!(module, "main" | "lib") && floor_of(module).is_none() {
            faults.insert(format!("{shown}: {module} has no floor"));
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = code_of(&text);
        size_faults(&shown, &code, &mut faults);
        import_faults(&shown, module, &code, &mut faults);
        if !text.starts_with("//!") {
            faults.insert(format!("{shown}: no module head"));
        }
    }
    let shown = faults.iter().cloned().collect::<Vec<_>>().join("\n");
    assert!(faults.is_empty(), "{} faults\n{shown}", faults.len());
}

#[test]
fn cores_do_not_wait_or_touch_anything_outside() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    sources(&root, &mut files);
    for core in CORES {
        let is_it = |file: &&PathBuf| {
            let shown = file.strip_prefix(&root).unwrap().display().to_string();
            let inside = shown.strip_prefix(core.trim_end_matches(".rs"));
            inside.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        let found: Vec<_> = files.iter().filter(is_it).collect();
        assert!(!found.is_empty(), "no core {core}");
        for file in found.iter().filter(|file| !file.ends_with("tests.rs")) {
            let text = fs::read_to_string(file).unwrap();
            for line in code_of(&text).iter().filter(|line| !is_comment(line)) {
                let outside = IMPURE.iter().filter(|word| line.contains(**word));
                faults.extend(outside.map(|word| format!("{}: {word}: {line}", file.display())));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_mistake_made_on_purpose_is_explained_and_caught() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/testing.md")).unwrap();
    let mut faults = Vec::new();
    for bug in Bug::ALL {
        let begin = format!("| `{bug:?}` |");
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with(&begin)).collect();
        let [row] = rows[..] else {
            faults.push(format!("{bug:?}: {} rows in docs/testing.md", rows.len()));
            continue;
        };
        let named: Vec<_> = row.split('`').filter_map(|it| it.split_once("::")).collect();
        let catching = named.iter().filter(|(file, name)| {
            let text = fs::read_to_string(root.join(file)).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            text.contains(&format!("Bug::{bug:?}")) && has_test(&lines, "rs", name)
        });
        if named.is_empty() || catching.count() != named.len() {
            faults.push(format!("{bug:?}: {named:?} do not catch it"));
        }
    }
    let rows = page.lines().filter(|line| line.starts_with("| `") && line.contains("::each_"));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(rows.count() <= Bug::ALL.len(), "a row of a mistake that nobody makes");
}

/// Whether the lines of a source hold a test of this name, in the way of its language.
fn has_test(lines: &[&str], extension: &str, name: &str) -> bool {
    let quoted = format!("\"{name}\"");
    let is_rust = |at: usize| {
        let bare = lines[at].trim().trim_start_matches("async ");
        let before = &lines[at.saturating_sub(3)..at];
        bare.starts_with(&format!("fn {name}("))
            && before.iter().any(|line| line.contains("#[") && line.contains("test"))
    };
    (0..lines.len()).any(|at| match extension {
        "rs" => is_rust(at),
        // A method that is a fact, or a scenario told by its name.
        "java" => {
            lines[at].contains(&format!("public static void {name}("))
                || (lines[at].contains("suite.") && lines[at].contains(&quoted))
        }
        "py" => lines[at].contains(&format!("def {name}(")),
        "go" => lines[at].contains(&quoted),
        _ => false,
    })
}

#[test]
fn every_fact_that_clients_depend_on_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = fs::read_to_string(root.join("docs/kafka-checklist.md")).unwrap();
    let (mut faults, mut facts) = (Vec::new(), 0);
    let rows = list.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fact"));
    for row in rows {
        facts += 1;
        let (fact, tests) = row.trim_matches(['|', ' ']).rsplit_once(" | ").unwrap();
        let named: Vec<_> = tests.split('`').filter_map(|it| it.split_once("::")).collect();
        let is_excused = tests.strip_prefix("not here: ").is_some_and(|why| !why.is_empty());
        if named.is_empty() != is_excused {
            faults.push(format!("{fact}: either tests or why it is not here"));
        }
        for (file, name) in named {
            let folder = if file.starts_with("src/") { root.into() } else { root.join("tests") };
            let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
            let extension = Path::new(file).extension().and_then(|it| it.to_str()).unwrap_or("");
            if !has_test(&text.lines().collect::<Vec<_>>(), extension, name) {
                faults.push(format!("{fact}: no {file}::{name}"));
            }
        }
    }
    assert!(facts > 200, "only {facts} facts were read");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
