//! `fsck`.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::{
    run::{Done, World, strandline},
    support::process::files,
};

fn fsck(url: &str, more: &[&str]) -> Done {
    strandline("127.0.0.1:1", &[&["fsck", url], more].concat(), b"")
}

/// A bucket of a broker that has drained, with some records in it.
fn bucket() -> (tempfile::TempDir, String, PathBuf) {
    let world = World::with(&["--roll-after", "300ms"]);
    world.run(&["topic", "create", "tide", "-p", "2"]).good();
    let lines: String = (0..500).map(|number| format!("line {number}\n")).collect();
    for partition in ["0", "1", "0"] {
        world.feed(&["produce", "tide", "--partition", partition], lines.as_bytes()).good();
    }
    let World { broker, root } = world;
    let url = broker.setup.bucket.clone();
    assert!(broker.drain(Duration::from_secs(60)).success());
    let folder = root.path().join("bucket");
    (root, url, folder)
}

fn kinds(told: &Value) -> Vec<&str> {
    let findings = told["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
}

#[test]
fn a_bucket_is_found_whole_and_each_damage_is_named() {
    let (_root, url, folder) = bucket();
    let before = files(&folder);
    assert!(fsck(&url, &[]).good().contains("everything is whole; --deep"));
    assert!(fsck(&url, &["--deep"]).good().ends_with("everything is whole\n"));
    let told = fsck(&url, &["--deep", "--json"]).json();
    assert_eq!((&told["whole"], &told["findings"]), (&json!(true), &json!([])));
    assert_eq!(told["checked"]["records"], 1500);
    assert_eq!(files(&folder), before, "nothing is written");

    let data: Vec<_> = before.iter().filter(|name| name.starts_with("data/")).collect();
    let entry = before.iter().rfind(|name| name.starts_with("meta/log/")).unwrap();
    let flip = |at: usize| {
        move |bytes: &mut Vec<u8>| {
            let at = if at == usize::MAX { bytes.len() - 25 } else { at };
            bytes[at] ^= 4;
        }
    };
    type Damage = Box<dyn Fn(&mut Vec<u8>)>;
    let damages: [(&str, &str, Damage); 4] = [
        (data[0], "damaged-records", Box::new(flip(80))),
        (data[0], "damaged-footer", Box::new(flip(usize::MAX))),
        (data[0], "wrong-length", Box::new(|bytes| bytes.truncate(bytes.len() / 2))),
        (entry, "damaged-metadata", Box::new(flip(200))),
    ];
    for (name, kind, damage) in damages {
        let whole = fs::read(folder.join(name)).unwrap();
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(folder.join(name), &bytes).unwrap();
        let done = fsck(&url, &["--deep"]);
        done.bad(1, &["not whole", "docs/troubleshooting.md"]);
        assert!(done.out().contains(kind) && done.out().contains(name), "{}", done.out());
        let told = fsck(&url, &["--deep", "--json"]);
        assert_eq!(told.code(), 1);
        assert!(kinds(&serde_json::from_str(&told.out()).unwrap()).contains(&kind));
        fs::write(folder.join(name), &whole).unwrap();
    }
    fs::remove_file(folder.join(data[0])).unwrap();
    fs::write(folder.join("README"), "mine").unwrap();
    let told = fsck(&url, &["--json"]);
    let told: Value = serde_json::from_str(&told.out()).unwrap();
    assert_eq!(kinds(&told), ["missing-object", "foreign"]);
}

#[test]
fn it_runs_beside_a_broker_and_finds_no_fault_with_what_that_changes() {
    let world = World::with(&["--roll-after", "100ms"]);
    let url = world.broker.setup.bucket.clone();
    for round in 0..5 {
        let name = format!("t{round}");
        world.run(&["topic", "create", &name]).good();
        world.feed(&["produce", &name], b"one\ntwo\n").good();
        let told = fsck(&url, &["--deep", "--json"]).json();
        assert_eq!(told["findings"], json!([]));
        world.run(&["topic", "delete", &name, "--yes"]).good();
    }
}

#[test]
fn a_bucket_without_a_cluster_is_told_by_its_code() {
    let root = tempfile::tempdir().unwrap();
    let url = format!("file://{}", root.path().display());
    fsck(&url, &[]).bad(3, &["holds no cluster"]);
}
