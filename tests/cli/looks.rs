//! What a person sees: tables in 80 columns, colours, completion, man pages.

use std::process::Command;

use crate::run::{World, strandline};

/// What a command shows on a terminal of 80 columns, escape sequences and all.
fn on_a_terminal(world: &World, variables: &[(&str, &str)], arguments: &str) -> String {
    let program = env!("CARGO_BIN_EXE_strandline");
    let line = format!("stty cols 80 rows 24; {program} {arguments}");
    let done = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("STRANDLINE_BOOTSTRAP", world.broker.kafka())
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn a_table_fits_a_terminal_and_is_whole_elsewhere() {
    let world = World::start();
    let long = "a-topic-with-a-name-as-long-as-people-have-them-in-companies-with-many-departments";
    world.run(&["topic", "create", long, "-p", "2"]).good();
    let group = "a-group-of-consumers-with-a-long-name";
    world.run(&["group", "reset", group, "-t", long, "--to-latest", "--yes"]).good();
    for command in ["topic list", &format!("group describe {group}"), "config list --broker 1"] {
        let shown = on_a_terminal(&world, &[], command);
        let table = shown.lines().skip_while(|line| !line.contains('\u{1b}'));
        for line in table {
            let width = console::measure_text_width(line.trim_end());
            assert!(width <= 80 || line.contains("coordinator"), "{width}: {line}");
        }
        assert!(shown.contains('…'), "{shown}");
    }
    assert!(world.run(&["topic", "list"]).good().contains(long));
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let world = World::start();
    world.run(&["topic", "create", "tide"]).good();
    assert!(on_a_terminal(&world, &[], "topic list").contains('\u{1b}'));
    assert!(!on_a_terminal(&world, &[("NO_COLOR", "1")], "topic list").contains('\u{1b}'));
    assert!(!world.run(&["topic", "list"]).good().contains('\u{1b}'));
    assert!(!world.run(&["topic", "describe", "tied"]).err().contains('\u{1b}'));
}

#[test]
fn shells_and_man_know_every_command() {
    let run = |arguments: &[&str]| strandline("127.0.0.1:1", arguments, b"").good();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completion", shell]);
        assert!(script.contains("consume") && script.contains("if-not-exists"), "{shell}");
    }
    assert!(run(&["man"]).contains("Exit codes"));
    let folder = tempfile::tempdir().unwrap();
    run(&["man", folder.path().to_str().unwrap()]);
    for page in ["strandline.1", "strandline-topic-create.1", "strandline-consume.1"] {
        assert!(folder.path().join(page).exists(), "{page}");
    }
    let absent = folder.path().join("not/there");
    let done = strandline("127.0.0.1:1", &["man", absent.to_str().unwrap()], b"");
    done.bad(1, &["cannot write man pages", "give a folder that is there"]);
}
