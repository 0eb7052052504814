//! `produce` and `consume`.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::json;

use crate::run::World;

#[test]
fn lines_go_in_and_come_out_in_order() {
    let world = World::start();
    world.run(&["topic", "create", "tide"]).good();
    let lines: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let done = world.feed(&["produce", "tide", "-z", codec, "--json"], lines.as_bytes()).json();
        let bytes = lines.len() - 20_000;
        let wanted = json!({"topic": "tide", "records": 20_000, "bytes": bytes, "failed": 0});
        assert_eq!(done, wanted);
    }
    assert_eq!(world.run(&["consume", "tide", "-e"]).good(), lines.repeat(5));
    assert_eq!(world.run(&["consume", "tide", "-n", "1"]).good(), "line 0\n");
    assert_eq!(world.run(&["consume", "tide", "-o", "-1", "-e"]).good(), "line 19999\n");
    assert_eq!(
        world.run(&["consume", "tide", "-o", "5", "--until", "7"]).good(),
        "line 5\nline 6\n"
    );
    assert_eq!(world.run(&["consume", "tide", "-o", "end", "-e"]).good(), "");
}

#[test]
fn keys_go_to_the_partitions_that_javas_clients_choose() {
    let world = World::start();
    world.run(&["topic", "create", "tide", "-p", "12"]).good();
    world.feed(&["produce", "tide", "-K", ":"], b"21:a\nfoobar:b\nabc:c\n").good();
    let told = world.run(&["consume", "tide", "-e", "-f", "%k %p\\n"]).good();
    // murmur2 of the keys, as Kafka's own tests have it, without the sign, of 12.
    for (key, hash) in [("21", -973_932_308), ("foobar", -790_332_482), ("abc", 479_470_107)] {
        let partition = (hash & 0x7fff_ffff) % 12;
        assert!(told.lines().any(|line| line == format!("{key} {partition}")), "{told}");
    }
}

#[test]
fn json_goes_around_and_brings_back_the_same_record() {
    let world = World::start();
    world.run(&["topic", "create", "tide", "copy", "-p", "2"]).good();
    let line = concat!(
        r#"{"key":"k","value":"v","headers":[{"key":"h","value":"1"},{"key":"n","value":null}],"#,
        r#""partition":1,"timestamp":1764000000000}"#,
        "\n",
        r#"{"key":null,"value_base64":"/3Y=","partition":1,"timestamp":1764000000001}"#,
        "\n",
        r#"{"key":"gone","value":null,"partition":1,"timestamp":1764000000002}"#,
    );
    world.feed(&["produce", "tide", "-f", "json"], line.as_bytes()).good();
    let told = world.run(&["consume", "tide", "-e", "--json"]).good();
    world.feed(&["produce", "copy", "-f", "json"], told.as_bytes()).good();
    let again = world.run(&["consume", "copy", "-e", "--json"]).good();
    assert_eq!(again, told.replace(r#""topic":"tide""#, r#""topic":"copy""#));
    let first: serde_json::Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    let headers = json!([{"key": "h", "value": "1"}, {"key": "n", "value": null}]);
    let wanted = json!({"topic": "tide", "partition": 1, "offset": 0,
        "timestamp": 1_764_000_000_000_i64, "key": "k", "value": "v", "headers": headers});
    assert_eq!(first, wanted);
    let at = ["consume", "tide", "-e", "-f", "%o %d\\n", "-o", "@1764000000001"];
    let wanted = "1 2025-11-24T16:00:00.001Z\n2 2025-11-24T16:00:00.002Z\n";
    assert_eq!(world.run(&at).good(), wanted);
    let until = ["consume", "tide", "-f", "%o\\n", "--until", "@2025-11-24T16:00:00.001Z"];
    assert_eq!(world.run(&until).good(), "0\n");
}

#[test]
fn other_forms_of_input_become_the_bytes_they_stand_for() {
    let world = World::start();
    world.run(&["topic", "create", "tide"]).good();
    world.feed(&["produce", "tide", "-f", "hex", "-H", "a=1"], b"00ff\n").good();
    world.feed(&["produce", "tide", "-f", "base64", "-k", "key"], b"aGk=\n").good();
    world.feed(&["produce", "tide", "-f", "whole"], b"two\nlines\n").good();
    world.feed(&["produce", "tide", "-K", "=", "-Z"], b"dead=\n").good();
    let told = world.run(&["consume", "tide", "-e", "-f", "%k|%v{hex}|%S|%h\\n"]).good();
    assert_eq!(told, "|00ff|2|a=1\nkey|6869|2|\n|74776f0a6c696e65730a|10|\ndead||-1|\n");
    assert_eq!(
        world.run(&["consume", "tide", "-n", "2", "-f", "hex", "-K", ":"]).good(),
        ":00ff\n6b6579:6869\n"
    );
}

#[test]
fn a_record_that_is_refused_is_named_and_the_others_are_written() {
    let world = World::start();
    world.run(&["topic", "create", "tide", "-c", "max.message.bytes=2000"]).good();
    let large = "x".repeat(5000);
    let input = format!("one\n{large}\nthree\n");
    let done = world.feed(&["produce", "tide"], input.as_bytes());
    done.bad(1, &["record 2, for partition 0", "MESSAGE_TOO_LARGE", "1 record of the input"]);
    assert_eq!(world.run(&["consume", "tide", "-e"]).good(), "one\nthree\n");
    let done = world.feed(&["produce", "tide", "-f", "json"], b"{\"value\":\"four\"}\nfive\n");
    done.bad(1, &["line 2 of the input", "no record in JSON"]);
    assert_eq!(world.run(&["consume", "tide", "-e", "-o", "2"]).good(), "four\n");
    let wrong = world.feed(&["produce", "tide", "--partition", "1"], b"x\n");
    wrong.bad(3, &["no partition 1", "0 to 0"]);
}

#[test]
fn a_topic_on_demand_is_as_the_brokers_are_set() {
    let world = World::start();
    let done = world.feed(&["produce", "tied"], b"x\n");
    done.good();
    assert!(done.err().contains("the topic tied was not there; made it"), "{}", done.err());
    world.run(&["consume", "tide", "-e"]).bad(3, &["there is no topic tide"]);
    let world = World::with(&["--kafka", "auto.create.topics.enable=false"]);
    let done = world.feed(&["produce", "tied"], b"x\n");
    done.bad(3, &["there is no topic tied", "make none on demand", "topic create tied"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_a_good_end() {
    let world = World::start();
    world.run(&["topic", "create", "tide"]).good();
    let lines = "a line of some length\n".repeat(200_000);
    world.feed(&["produce", "tide"], lines.as_bytes()).good();
    let mut child = Command::new(env!("CARGO_BIN_EXE_strandline"))
        .args(["consume", "tide", "-b", &world.broker.kafka()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    // Dropped after a line, as `head -n 1` does.
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "a line of some length\n");
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
}

#[test]
fn a_reader_that_follows_sees_what_is_written_later() {
    let world = World::start();
    world.run(&["topic", "create", "tide", "-p", "3"]).good();
    let mut child = Command::new(env!("CARGO_BIN_EXE_strandline"))
        .args(["consume", "tide", "-n", "3", "-b", &world.broker.kafka()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for word in ["ebb", "flow", "slack"] {
        world.feed(&["produce", "tide"], format!("{word}\n").as_bytes()).good();
        assert_eq!(lines.next().unwrap().unwrap(), word);
    }
    assert!(child.wait().unwrap().success());
}
