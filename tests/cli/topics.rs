//! `topic`, `config` and `cluster`.

use serde_json::json;

use crate::run::{World, strandline};

#[test]
fn a_topic_is_created_described_altered_and_deleted() {
    let world = World::start();
    let created = world.run(&["topic", "create", "tide", "-p", "3", "-c", "retention.ms=3600000"]);
    assert_eq!(created.good(), "created topic tide with 3 partitions\n");
    world.feed(&["produce", "tide", "--partition", "1"], b"one\ntwo\n").good();

    let described = world.run(&["topic", "describe", "tide", "--json"]).json();
    let partition = &described[0]["partitions"][1];
    assert_eq!((&partition["log_start"], &partition["high_watermark"]), (&json!(0), &json!(2)));
    assert_eq!((&partition["leader"], &partition["replicas"]), (&json!(1), &json!([1])));
    assert!(partition["bytes"].as_u64().unwrap() > 0, "{partition}");
    let configs = json!([{"name": "retention.ms", "value": "3600000", "source": "topic"}]);
    assert_eq!(described[0]["configs"], configs);
    let table = world.run(&["topic", "describe", "tide"]).good();
    assert!(table.contains("tide: 3 partitions, replication factor 1, 2 offsets"), "{table}");
    assert!(table.contains("HIGH-WATERMARK") && table.contains("retention.ms  3600000"), "{table}");

    let altered = ["-p", "5", "-c", "max.message.bytes=2000", "--unset", "retention.ms"];
    world.run(&[&["topic", "alter", "tide"][..], &altered].concat()).good();
    let described = world.run(&["topic", "describe", "tide", "--json"]).json();
    assert_eq!(described[0]["partitions"].as_array().unwrap().len(), 5);
    assert_eq!(described[0]["configs"][0]["name"], "max.message.bytes");

    world.run(&["topic", "create", "boats", "--dry-run"]).good();
    let listed = world.run(&["topic", "list", "--json"]).json();
    let tide = json!({"name": "tide", "partitions": 5, "replication_factor": 1,
        "internal": false, "without_leader": 0});
    assert_eq!(listed, json!([tide]));

    let asked = world.run(&["topic", "delete", "tide"]);
    asked.bad(2, &["delete 1 topic with all records: tide", "--yes"]);
    assert_eq!(world.run(&["topic", "delete", "tide", "--yes"]).good(), "deleted topic tide\n");
    assert_eq!(world.run(&["topic", "list"]).good(), "");
    world.run(&["topic", "delete", "tide", "--yes", "--if-exists"]).good();
}

#[test]
fn what_cannot_be_done_to_a_topic_is_said_with_a_way_out() {
    let world = World::start();
    world.run(&["topic", "create", "tide", "-p", "2"]).good();
    let bad = |arguments: &[&str], code, says: &[&str]| world.run(arguments).bad(code, says);
    bad(&["topic", "create", "tide"], 1, &["TOPIC_ALREADY_EXISTS", "--if-not-exists"]);
    world.run(&["topic", "create", "tide", "--if-not-exists"]).good();
    bad(&["topic", "create", "a b"], 1, &["cannot create the topic a b", "INVALID_TOPIC"]);
    bad(&["topic", "create", "x", "-c", "retention.ms=soon"], 1, &["retention.ms"]);
    bad(
        &["topic", "alter", "tide", "-p", "1"],
        1,
        &["it has 2 partitions", "cannot be taken away"],
    );
    bad(&["topic", "alter", "tide"], 2, &["nothing to alter", "--partitions"]);
    for verb in ["describe", "delete"] {
        bad(&["topic", verb, "tied"], 3, &["there is no topic tied", "topic list"]);
    }
    bad(&["topic", "describe", "tied", "tide"], 3, &["there is no topic tied"]);
    // One name that is not there, and none is deleted.
    bad(&["topic", "delete", "tide", "tied", "--yes"], 3, &["there is no topic tied"]);
    world.run(&["topic", "describe", "tide"]).good();
}

#[test]
fn trimming_deletes_the_oldest_records_and_asks_before() {
    let world = World::start();
    world.run(&["topic", "create", "tide", "-p", "2"]).good();
    world.feed(&["produce", "tide", "--partition", "0"], b"a\nb\nc\nd\n").good();
    world.run(&["topic", "trim", "tide", "-o", "3"]).bad(2, &["up to 3 records", "--yes"]);
    let trimmed = world.run(&["topic", "trim", "tide", "-o", "-1", "--yes", "--json"]).json();
    assert_eq!(trimmed, json!([{"partition": 0, "deleted": 3, "log_start": 3}]));
    assert_eq!(world.run(&["consume", "tide", "-e"]).good(), "d\n");
    let table = world.run(&["topic", "trim", "tide", "-o", "end", "--yes"]).good();
    assert_eq!(table, "PARTITION  DELETED  LOG-START\n        0        1          4\n");
    let absent = world.run(&["topic", "trim", "tide", "-o", "end", "--partition", "7", "--yes"]);
    absent.bad(3, &["no partition 7", "0 to 1"]);
}

#[test]
fn configs_are_read_set_and_given_back() {
    let world = World::start();
    world.run(&["topic", "create", "tide"]).good();
    let config = |more: &[&str]| world.run(&[&["config"], more].concat());
    config(&["set", "--topic", "tide", "retention.ms=1000", "max.message.bytes=2000"]).good();
    assert_eq!(config(&["get", "--topic", "tide", "retention.ms"]).good(), "1000\n");
    let changed = config(&["list", "--topic", "tide", "--changed", "--json"]).json();
    assert_eq!(changed.as_array().unwrap().len(), 2);
    assert_eq!(
        (&changed[1]["name"], &changed[1]["source"]),
        (&json!("retention.ms"), &json!("topic"))
    );
    config(&["unset", "--topic", "tide", "retention.ms", "max.message.bytes"]).good();
    assert_eq!(config(&["get", "--topic", "tide", "retention.ms"]).good(), "604800000\n");
    config(&["set", "--brokers", "log.retention.ms=7200000"]).good();
    let table = config(&["list", "--broker", "1", "--changed"]).good();
    assert!(table.contains("log.retention.ms") && table.contains("all brokers"), "{table}");
    config(&["get", "--topic", "tide", "nope"]).bad(3, &["has no config nope", "config list"]);
    config(&["list", "--topic", "tied"]).bad(3, &["there is no topic tied"]);
    config(&["list", "--broker", "9"]).bad(3, &["there is no broker 9", "cluster describe"]);
    config(&["set", "--topic", "tide", "nope=1"]).bad(1, &["nope", "INVALID_CONFIG"]);
    assert_eq!(config(&["list"]).code(), 2);
}

#[test]
fn a_cluster_says_who_is_in_it_and_what_it_speaks() {
    let world = World::start();
    world.run(&["topic", "create", "tide", "-p", "4"]).good();
    let cluster = world.run(&["cluster", "describe", "--json"]).json();
    let broker = json!({"id": 1, "address": world.broker.kafka(), "rack": null,
        "controller": true, "leads": 4});
    assert_eq!(cluster["brokers"], json!([broker]));
    assert_eq!((&cluster["topics"], &cluster["partitions"]), (&json!(1), &json!(4)));
    assert_eq!(cluster["without_leader"], json!([]));
    let table = world.run(&["cluster", "info"]).good();
    assert!(table.contains("1 broker, 1 topic, 4 partitions"), "{table}");
    let versions = world.run(&["cluster", "versions", "--json"]).json();
    let fetch = versions.as_array().unwrap().iter().find(|api| api["name"] == "Fetch").unwrap();
    assert!(fetch["max_version"].as_i64().unwrap() >= 12, "{fetch}");
    let http = format!("127.0.0.1:{}", world.broker.setup.http);
    let status = world.run(&["cluster", "status", "--http", &http, "--json"]).json();
    assert_eq!(status["ready"], true);
}

#[test]
fn nobody_at_the_address_is_told_from_a_command_that_makes_no_sense() {
    let run = |bootstrap, arguments: &[&str]| strandline(bootstrap, arguments, b"");
    for command in
        [&["topic", "list"][..], &["group", "list"], &["consume", "x"], &["produce", "x"]]
    {
        run("127.0.0.1:1", command).bad(4, &["no broker answers at 127.0.0.1:1", "--bootstrap"]);
    }
    run("here", &["topic", "list"]).bad(2, &["HOST:PORT"]);
    assert_eq!(run("127.0.0.1:1", &["topic", "lost"]).code(), 2);
    // What listens but does not speak Kafka is told from what is not there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let closing = std::thread::spawn(move || drop(listener.accept().unwrap()));
    run(&address, &["topic", "list"]).bad(4, &[&address]);
    closing.join().unwrap();
}
