//! `group`.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use proto_kafka::{
    messages::{
        GroupId, HeartbeatRequest, JoinGroupRequest, join_group_request::JoinGroupRequestProtocol,
    },
    protocol::StrBytes,
};
use serde_json::json;
use strandline::client::Connection;

use crate::run::World;

/// A topic of two partitions with four records, and a group that has read some.
fn world() -> World {
    let world = World::start();
    world.run(&["topic", "create", "tide", "-p", "2"]).good();
    world.feed(&["produce", "tide", "--partition", "0"], b"a\nb\nc\n").good();
    world.feed(&["produce", "tide", "--partition", "1"], b"d\n").good();
    let reset = ["group", "reset", "readers", "--topic", "tide", "--to-offset", "1", "--yes"];
    world.run(&reset).good();
    world
}

#[test]
fn a_group_tells_how_far_it_is_and_moves_when_told() {
    let world = world();
    let listed = world.run(&["group", "list", "--json"]).json();
    assert_eq!((&listed[0]["name"], &listed[0]["state"]), (&json!("readers"), &json!("Empty")));
    let described = world.run(&["group", "describe", "readers", "--json"]).json();
    let partition = |partition, committed, end, lag: i64| {
        json!({"topic": "tide", "partition": partition, "committed": committed, "log_end": end,
            "lag": lag, "member": null, "client_id": null, "host": null})
    };
    assert_eq!(described[0]["partitions"], json!([partition(0, 1, 3, 2), partition(1, 1, 1, 0)]));
    assert_eq!(described[0]["total_lag"], 2);
    let table = world.run(&["group", "describe", "--all"]).good();
    assert!(
        table.contains("readers: Empty, 0 members") && table.contains("total lag 2"),
        "{table}"
    );

    // Without --yes it only shows; with it, it is so.
    let shown = world.run(&["group", "reset", "readers", "--all-topics", "--to-latest"]);
    assert!(shown.good().contains("LAG-THEN") && shown.err().contains("nothing was changed"));
    let reset = |to: &[&str]| {
        let fixed = ["group", "reset", "readers", "--topic", "tide", "--json", "--yes"];
        let done = world.run(&[&fixed[..], to].concat()).json();
        let parts = done["partitions"].as_array().unwrap().clone();
        parts.iter().map(|it| it["new"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(reset(&["--by", "-1"]), [0, 0]);
    assert_eq!(reset(&["--by", "2"]), [2, 1]);
    assert_eq!(reset(&["--to-earliest"]), [0, 0]);
    assert_eq!(reset(&["--to-latest"]), [3, 1]);
    assert_eq!(reset(&["--to-time", "1h"]), [0, 0]);
    assert_eq!(reset(&["--to-offset", "100"]), [3, 1]);
    let some = ["group", "reset", "readers", "-t", "tide:0", "--to-earliest", "--yes", "--json"];
    assert_eq!(world.run(&some).json()["partitions"].as_array().unwrap().len(), 1);
    let described = world.run(&["group", "describe", "readers", "--json"]).json();
    assert_eq!(described[0]["total_lag"], 3);
}

#[test]
fn a_group_is_deleted_or_forgets_one_topic() {
    let world = world();
    world.run(&["group", "delete", "readers"]).bad(2, &["delete 1 group: readers", "--yes"]);
    let forgot = world.run(&["group", "delete", "readers", "--topic", "tide", "--yes"]).good();
    assert_eq!(forgot, "deleted the offsets of the group readers in 2 partitions\n");
    world.run(&["group", "reset", "readers", "-t", "tide", "--to-latest", "--yes"]).good();
    assert_eq!(world.run(&["group", "delete", "readers", "-y"]).good(), "deleted group readers\n");
    for verb in ["describe", "delete"] {
        world.run(&["group", verb, "readers"]).bad(3, &["there is no group readers", "group list"]);
    }
    let unknown = world.run(&["group", "reset", "r", "-t", "tied", "--to-latest"]);
    unknown.bad(3, &["there is no topic tied"]);
    assert_eq!(world.run(&["group", "reset", "readers", "-t", "tide"]).code(), 2);
}

#[tokio::test]
async fn a_group_with_members_is_left_alone() {
    let world = world();
    let mut member = Connection::open(&world.broker.kafka(), "sailor").await.unwrap();
    let group = GroupId(StrBytes::from_static_str("readers"));
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(StrBytes::from_static_str("range"))
        .with_metadata(bytes::Bytes::from_static(b"\0\0\0\0\0\x01\0\x04tide\xff\xff\xff\xff"));
    let join = JoinGroupRequest::default()
        .with_group_id(group.clone())
        .with_session_timeout_ms(30_000)
        .with_protocol_type(StrBytes::from_static_str("consumer"))
        .with_protocols(vec![protocol]);
    let joined = member.call(0, &join).await.unwrap();
    assert_eq!(joined.error_code, 0);
    let described = world.run(&["group", "describe", "readers", "--json"]).json();
    assert_eq!(described[0]["members"][0]["client_id"], "sailor");
    let reset = ["group", "reset", "readers", "-t", "tide", "--to-latest", "--yes"];
    world.run(&reset).bad(1, &["has 1 member", "sailor", "stop them first"]);
    world.run(&["group", "delete", "readers", "-y"]).bad(1, &["has 1 member", "stop them first"]);
    let beat = HeartbeatRequest::default().with_group_id(group).with_member_id(joined.member_id);
    member.call(0, &beat.with_generation_id(joined.generation_id)).await.unwrap();
    let described = world.run(&["group", "describe", "readers", "--json"]).json();
    assert_eq!(described[0]["total_lag"], 2);
}

#[test]
fn a_reader_in_a_group_goes_on_where_the_group_is() {
    let world = world();
    let read = |more: &[&str]| {
        world.run(&[&["consume", "tide", "-g", "sailors", "-e"][..], more].concat()).good()
    };
    let mut first: Vec<String> = read(&[]).lines().map(str::to_owned).collect();
    first.sort_unstable();
    assert_eq!(first, ["a", "b", "c", "d"]);
    assert_eq!(read(&[]), "");
    world.feed(&["produce", "tide", "--partition", "0"], b"e\nf\n").good();
    assert_eq!(read(&["-n", "1"]), "e\n");
    let described = world.run(&["group", "describe", "sailors", "--json"]).json();
    assert_eq!((&described[0]["total_lag"], &described[0]["state"]), (&json!(1), &json!("Empty")));
    assert_eq!(read(&[]), "f\n");
    // Where the group has not been, the order says where to begin.
    let late = ["consume", "tide", "-g", "late", "-e", "-o", "-1"];
    assert_eq!(world.run(&late).good().lines().count(), 2);
}

#[test]
fn readers_in_a_group_share_partitions_and_give_them_back() {
    let world = world();
    let start = || {
        let reader = Command::new(env!("CARGO_BIN_EXE_strandline"))
            .args(["consume", "tide", "-g", "crew", "-o", "end", "-b", &world.broker.kafka()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Reader(reader)
    };
    let shares = || {
        let described = world.run(&["group", "describe", "crew", "--json"]);
        let described: serde_json::Value =
            serde_json::from_str(&described.out()).unwrap_or_default();
        let members = described[0]["members"].as_array().cloned().unwrap_or_default();
        let mut shares: Vec<u64> =
            members.iter().map(|it| it["partitions"].as_u64().unwrap()).collect();
        shares.sort_unstable();
        shares
    };
    let wait_for = |wanted: &[u64]| {
        let began = Instant::now();
        while shares() != wanted {
            assert!(began.elapsed() < Duration::from_secs(60), "{:?}", shares());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let mut one = start();
    wait_for(&[2]);
    let two = start();
    wait_for(&[1, 1]);
    drop(two);
    // The one that was killed is missed when its session ends; the other is asked to leave.
    let id = one.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert!(one.0.wait().unwrap().success());
}

/// A reader; dropped, it is killed.
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
