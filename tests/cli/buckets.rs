//! `bucket`.

use std::time::Duration;

use serde_json::json;

use crate::{
    run::{World, strandline},
    support::process::files,
};

#[test]
fn a_bucket_tells_what_is_in_it_and_is_not_touched() {
    let world = World::with(&["--roll-after", "1s"]);
    world.run(&["topic", "create", "tide", "-p", "2"]).good();
    world.run(&["topic", "create", "dry"]).good();
    let lines: String = (0..1000).map(|number| format!("line {number}\n")).collect();
    for partition in ["0", "1"] {
        world.feed(&["produce", "tide", "--partition", partition], lines.as_bytes()).good();
    }
    let World { broker, root } = world;
    let url = broker.setup.bucket.clone();
    let run = |more: &[&str]| strandline("127.0.0.1:1", &[&["bucket"], more].concat(), b"");
    assert!(broker.drain(Duration::from_secs(60)).success());

    let folder = root.path().join("bucket");
    let before = files(&folder);
    let told = run(&["ls", &url, "--json"]).json();
    let tide = &told["topics"][1];
    assert_eq!((&tide["name"], &tide["partitions"]), (&json!("tide"), &json!(2)));
    assert_eq!(tide["offsets"], 2000);
    assert!(tide["objects"].as_u64().unwrap() >= 1 && tide["bytes"].as_u64().unwrap() > 10_000);
    assert!(tide["oldest_ms"].as_i64().unwrap() <= tide["newest_ms"].as_i64().unwrap());
    let dry = &told["topics"][0];
    assert_eq!((&dry["bytes"], &dry["oldest_ms"]), (&json!(0), &json!(null)));
    assert_eq!((&told["drained"], &told["missing"]), (&json!(true), &json!([])));
    let data = before.iter().filter(|name| name.starts_with("data/")).count();
    let objects = told["objects"]["objects"].as_u64().unwrap();
    assert_eq!(
        objects + told["not_named"]["objects"].as_u64().unwrap(),
        u64::try_from(data).unwrap()
    );
    let table = run(&["ls", &url, "--topic", "tide"]).good();
    assert!(table.contains("TOPIC") && table.contains("tide") && !table.contains("dry"), "{table}");
    assert_eq!(files(&folder), before);

    // Somebody deletes what metadata names.
    let named = before.iter().find(|name| name.starts_with("data/")).unwrap();
    std::fs::remove_file(folder.join(named)).unwrap();
    run(&["ls", &url]).bad(1, &[]);
    assert!(run(&["ls", &url]).err().contains(&format!("missing: {named}")));
}

#[test]
fn a_bucket_that_is_not_one_is_not_made() {
    let root = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("file://{}", root.path().join(name).display());
    let run = |url: &str| strandline("127.0.0.1:1", &["bucket", "ls", url], b"");
    run(&url("absent")).bad(1, &["absent", "is not there"]);
    assert!(!root.path().join("absent").exists());
    std::fs::create_dir(root.path().join("empty")).unwrap();
    run(&url("empty")).bad(3, &["holds no cluster", "right bucket and prefix"]);
    assert_eq!(files(root.path()), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(root.path().join("empty")).unwrap().count(), 0);
}

#[test]
fn a_check_tells_the_contract_and_how_fast_the_bucket_is() {
    let root = tempfile::tempdir().unwrap();
    let url = format!("file://{}", root.path().join("bucket").display());
    let run = |more: &[&str]| {
        strandline(
            "127.0.0.1:1",
            &[&["bucket", "check", &url, "--rounds", "3"], more].concat(),
            b"",
        )
    };
    let told = run(&["--json"]).json();
    assert_eq!(told["keeps_the_contract"], true);
    let measured = told["latency_ms"].as_array().unwrap();
    let requests: Vec<_> = measured.iter().map(|it| it["request"].as_str().unwrap()).collect();
    assert_eq!(requests, ["put 4 KiB", "get 4 KiB", "put 1 MiB", "get 1 MiB", "list", "delete"]);
    assert!(measured.iter().all(|it| it["p50"].as_f64() <= it["p99"].as_f64()), "{told}");
    let table = run(&[]).good();
    assert!(table.contains("this bucket keeps the contract") && table.contains("P99"), "{table}");
    let left = files(root.path());
    assert!(left.iter().all(|name| name.contains("/.strandline/")), "{left:?}");
}
