//! `docs/troubleshooting.md` has an entry for every warning, every error line and every error with
//! which `serve` ends.

use std::{collections::BTreeSet, fs, path::Path};

use super::{files, root};

/// Where the errors are that a person sees when `serve` does not start, or ends.
const ENDS: &[&str] = &[
    "src/broker/error.rs",
    "src/cache/disk/tier.rs",
    "src/cluster/configs/error.rs",
    "src/cluster/error.rs",
    "src/config.rs",
    "src/http/mod.rs",
    "src/log/recover.rs",
    "src/log/upload/error.rs",
    "src/replication/error.rs",
    "src/replication/recover.rs",
    "src/store/contract.rs",
    "src/wal/error.rs",
];

/// The string literal that `text` begins with, its escapes resolved as far as messages have them.
fn literal(text: &str) -> Option<(String, usize)> {
    let mut said = String::new();
    let mut characters = text.char_indices();
    (characters.next()?.1 == '"').then_some(())?;
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((said, at + 1)),
            '\\' => match characters.next()?.1 {
                // A line that goes on: the next one's indentation is not part of it.
                '\n' => {
                    let rest = &text[at + 2..];
                    let skipped = rest.len() - rest.trim_start().len();
                    for _ in 0..rest[..skipped].chars().count() {
                        characters.next();
                    }
                }
                'n' => said.push(' '),
                other => said.push(other),
            },
            other => said.push(other),
        }
    }
    None
}

/// What is fixed in a message: `…` stands for each value.
fn fixed(message: &str) -> String {
    let mut said = String::new();
    let mut depth = 0_u32;
    for character in message.chars() {
        match character {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                said.push('…');
            }
            other if depth == 0 => said.push(other),
            _ => {}
        }
    }
    said
}

/// The production part of a source, without comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let code = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    code.fold(String::new(), |all, line| all + line + "\n")
}

/// The arguments of each call of `name`, as they stand.
fn calls<'a>(code: &'a str, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(name) {
        let word = code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        if word {
            continue;
        }
        let start = at + name.len();
        let (mut depth, mut end, mut skip) = (1_i32, start, start);
        for (offset, character) in code[start..].char_indices() {
            let here = start + offset;
            if here < skip {
                continue;
            }
            match character {
                '"' => skip = here + literal(&code[here..]).map_or(1, |(_, length)| length),
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                end = here;
                break;
            }
        }
        found.push(&code[start..end]);
    }
    found
}

/// The message of a log line: the first literal that is no field's value, at the macro's own level.
fn message(arguments: &str) -> Option<String> {
    let (mut depth, mut skip, mut before) = (0_i32, 0, String::new());
    for (at, character) in arguments.char_indices() {
        if at < skip {
            continue;
        }
        match character {
            '"' => {
                let (said, length) = literal(&arguments[at..])?;
                if depth == 0 && before.trim().is_empty() {
                    return Some(said);
                }
                skip = at + length;
                before.push('"');
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => before.clear(),
            other => before.push(other),
        }
    }
    None
}

/// Every message that must be on the page, and where it comes from.
fn wanted() -> BTreeSet<(String, String)> {
    let mut wanted = BTreeSet::new();
    for path in files(&root().join("src"), "rs") {
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        let is_test = path.components().any(|part| part.as_os_str() == "tests");
        if is_test || shown.ends_with("tests.rs") {
            continue;
        }
        let code = code(&path);
        for name in ["warn!(", "error!("] {
            for arguments in calls(&code, name) {
                let said = message(arguments);
                let said = said.unwrap_or_else(|| panic!("{shown}: no message in {arguments}"));
                wanted.insert((fixed(&said), shown.clone()));
            }
        }
        if ENDS.contains(&shown.as_str()) {
            for arguments in calls(&code, "#[error(") {
                if let Some((said, _)) = literal(arguments.trim()) {
                    wanted.insert((fixed(&said), shown.clone()));
                }
            }
        }
    }
    // What only passes another message on says nothing of its own.
    wanted.retain(|(said, _)| said.chars().any(char::is_alphabetic));
    wanted
}

#[test]
fn every_warning_and_every_error_has_its_entry_among_the_troubles() {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let wanted = wanted();
    assert!(wanted.len() > 80, "only {} messages were found", wanted.len());
    let has = |said: &str| page.contains(&format!("`{said}`"));
    let missing: Vec<_> = wanted.iter().filter(|(said, _)| !has(said)).collect();
    for (said, place) in &missing {
        println!("`{said}` ({place})");
    }
    assert!(missing.is_empty(), "docs/troubleshooting.md has no entry for the messages above");
    // And it explains nothing that no longer exists.
    let entries = page.lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next());
    let known: BTreeSet<&str> = wanted.iter().map(|(said, _)| said.as_str()).collect();
    // A message may have backticks of its own; an entry is read up to the first.
    let is_said = |entry: &&str| known.iter().any(|said| said.starts_with(*entry));
    let gone: Vec<_> = entries.filter(|entry| !is_said(entry)).collect();
    assert!(gone.is_empty(), "docs/troubleshooting.md explains what is never said: {gone:#?}");
}

#[test]
fn messages_are_found_as_they_are_written() {
    let code = "warn!(%error, advice = \"do\", \"it {x}\nis (bad)\");\nerror!(\n a = f(\"no\"),\n \"b \\\n   c\"\n);";
    assert_eq!(calls(code, "warn!(").len(), 1);
    assert_eq!(message(calls(code, "warn!(")[0]).unwrap(), "it {x}\nis (bad)");
    assert_eq!(message(calls(code, "error!(")[0]).unwrap(), "b c");
    assert_eq!(fixed("a {b:?} c{}"), "a … c…");
}
