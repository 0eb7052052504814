//! What the HTTP side of a running broker tells: lists, metrics, and the page in a real browser.
//! The browser needs what `scripts/setup` installs, so plain `cargo test` leaves it out.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use support::{
    installed::run,
    process::{Broker, Setup},
    topics::{self, batch},
};

fn json(broker: &Broker, path: &str) -> serde_json::Value {
    let (code, body) = broker.get(path).unwrap();
    assert_eq!(code, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// Waits until `fact` is true of what `path` gives.
fn until(broker: &mut Broker, path: &str, fact: impl Fn(&serde_json::Value) -> bool) {
    let limit = std::time::Duration::from_secs(60);
    broker.wait_for(path, limit, |broker| fact(&json(broker, path)));
}

#[tokio::test]
async fn lists_tell_what_is_there_page_by_page() {
    let root = tempfile::tempdir().unwrap();
    let mut broker = Setup::folders(root.path()).with(&["--roll-after", "500ms"]).start();
    let mut client = topics::connect(&broker.kafka()).await;
    for topic in ["a", "b", "c"] {
        topics::create(&mut client, topic, 2, &[("retention.ms", "-1")]).await;
    }
    for _ in 0..3 {
        client.produce("b", 1, batch(&["x", "y"])).await.unwrap();
    }
    let list = json(&broker, "/v1/topics?limit=2");
    assert_eq!((&list["total"], &list["next"]), (&3.into(), &"b".into()));
    let b = &list["topics"][1];
    assert_eq!((&b["topic"], &b["partitions"], &b["records"]), (&"b".into(), &2.into(), &6.into()));
    let rest = json(&broker, "/v1/topics?limit=2&after=b");
    assert_eq!((&rest["topics"][0]["topic"], &rest["next"]), (&"c".into(), &().into()));
    until(&mut broker, "/v1/topics/b", |topic| topic["partitions"][1]["published"] == 6);
    let topic = json(&broker, "/v1/topics/b");
    assert_eq!(topic["configs"]["retention.ms"], "-1");
    let partition = &topic["partitions"][1];
    assert_eq!((&partition["high_watermark"], &partition["wal_bytes"]), (&6.into(), &0.into()));
    assert!(partition["bytes"].as_u64().unwrap() > 0);
    assert_eq!(json(&broker, "/v1/topics?largest=true&limit=1")["topics"][0]["topic"], "b");
    assert_eq!(json(&broker, "/v1/topics/b?limit=1")["next"], "0");
    assert_eq!(json(&broker, "/v1/topics/b?limit=1&after=0")["partitions"][0]["partition"], 1);
    assert_eq!(broker.get("/v1/topics/none").unwrap().0, 404);
    let cluster = json(&broker, "/v1/cluster");
    assert_eq!((&cluster["ready"], &cluster["brokers"][0]["leads"]), (&true.into(), &6.into()));
    until(&mut broker, "/v1/storage", |it| it["bucket"]["bytes"].as_u64().unwrap() > 0);
    until(&mut broker, "/v1/storage", |it| it["wal"]["bytes"] == 0);
}

#[tokio::test]
async fn lag_is_told_group_by_group_and_errors_by_api_and_code() {
    let root = tempfile::tempdir().unwrap();
    let mut broker = Setup::folders(root.path()).start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    client.produce("t", 0, batch(&["x"; 10])).await.unwrap();
    for (group, offset) in [("behind", 3), ("more/behind", 1), ("up to date", 10)] {
        topics::coordinator(&mut client, group).await;
        while !topics::commit(&mut client, group, "t", offset).await {}
    }
    until(&mut broker, "/v1/groups", |list| list["total"] == 3 && list["complete"] == true);
    let list = json(&broker, "/v1/groups?largest=true");
    let rows: Vec<_> = list["groups"].as_array().unwrap().iter().collect();
    let lags: Vec<_> = rows.iter().map(|it| (it["group"].as_str().unwrap(), &it["lag"])).collect();
    assert_eq!(
        lags,
        [("more/behind", &9.into()), ("behind", &7.into()), ("up to date", &0.into())]
    );
    assert_eq!((&list["lag"], &rows[0]["state"]), (&16.into(), &"Empty".into()));
    assert_eq!(
        json(&broker, "/v1/groups?limit=1&after=behind")["groups"][0]["group"],
        "more/behind"
    );
    let group = json(&broker, "/v1/groups/more%2Fbehind");
    assert_eq!((&group["lag"], &group["partitions"][0]["offset"]), (&9.into(), &1.into()));
    assert_eq!(broker.get("/v1/groups/nobody").unwrap().0, 404);
    assert!(client.list_offset("none", 0, -1).await.is_err());
    let (_, metrics) = broker.get("/metrics").unwrap();
    for line in [
        "strandline_group_lag_records{group=\"more/behind\"} 9\n",
        "strandline_group_lag_sum_records 16\n",
        "strandline_group_lag_hidden_groups 0\n",
        "strandline_group_states{state=\"Empty\"} 3\n",
        "strandline_kafka_requests_total{api=\"Produce\"} 1\n",
        "strandline_kafka_request_seconds_count{api=\"Produce\"} 1\n",
        "strandline_kafka_produce_append_seconds_count 1\n",
        "strandline_kafka_errors_total{api=\"ListOffsets\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"} 1\n",
        "strandline_ready 1\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    for stage in ["wal_queue", "wal_sync", "log_wake", "kafka_reply"] {
        assert!(!metrics.contains(&format!("strandline_{stage}_seconds_count 0\n")), "{stage}");
    }
}

/// Label names of each metric in `docs/metrics.md`.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md"));
    let page = page.unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `strandline_"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty()).map(str::to_owned);
        (cells[1].trim_matches('`').to_owned(), labels.collect())
    })
    .collect()
}

#[tokio::test]
async fn samples_have_the_labels_that_the_documentation_names() {
    let root = tempfile::tempdir().unwrap();
    let broker = Setup::folders(root.path()).start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    topics::coordinator(&mut client, "g").await;
    let (_, metrics) = broker.get("/metrics").unwrap();
    let documented = documented();
    let mut seen = 0;
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once(['{', ' ']).unwrap();
        let part = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let labels = documented.get(name).or_else(|| documented.get(part?));
        let labels = labels.unwrap_or_else(|| panic!("no line for {line}"));
        let told = rest.split("\",").filter_map(|pair| pair.split_once("=\"")).map(|pair| pair.0);
        let told: BTreeSet<_> = told.filter(|it| *it != "le").map(str::to_owned).collect();
        assert_eq!(&told, labels, "{line}");
        seen += 1;
    }
    assert!(seen > 500, "only {seen} samples");
}

#[test]
fn without_the_page_the_rest_is_served() {
    let root = tempfile::tempdir().unwrap();
    let broker = Setup::folders(root.path()).with(&["--web", "off"]).start();
    assert_eq!(broker.get("/").unwrap().0, 404);
    assert_eq!(broker.get("/page/app.js").unwrap().0, 404);
    assert_eq!(broker.get("/v1/cluster").unwrap().0, 200);
}

/// A broker's page, put to the suite in `tests/web/page.mjs`. With the variable
/// `STRANDLINE_TEST_SCREENSHOTS` naming a folder, pictures of a busy broker are taken instead.
#[test]
#[ignore = "needs scripts/setup"]
fn the_page_shows_a_running_broker_to_everybody() {
    let root = tempfile::tempdir().unwrap();
    let pictures = std::env::var_os("STRANDLINE_TEST_SCREENSHOTS");
    let mut setup = Setup::folders(root.path());
    if pictures.is_some() {
        // A folder of this machine is nothing for a picture.
        setup.bucket = "memory://".to_owned();
    }
    let broker = setup.start();
    let mut suite = Command::new("node");
    suite.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/page.mjs"));
    suite.arg(broker.kafka()).env("WEB", format!("http://127.0.0.1:{}", broker.setup.http));
    if let Some(folder) = pictures {
        suite.env("SCREENSHOTS", folder);
    }
    print!("{}", run(&mut suite));
}
