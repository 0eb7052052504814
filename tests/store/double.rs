//! A server that misbehaves: no doubtful answer is ever taken for `Done` or `Refused`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use strandline::{
    store::{
        CheckError, Failure, FailureKind, GetError, Key, Options, Outcome, Store, Version, path,
    },
    types::MetadataIndex,
};

use crate::{
    keys, open,
    s3_double::{Fault, S3Double},
};

const SECRET: &str = "S3CRET-CANARY-key";

async fn server() -> (S3Double, Store) {
    let server = S3Double::start().await;
    let store = open("s3://double/p", &options(&server)).await;
    (server, store)
}

fn options(server: &S3Double) -> Options {
    // Short, for the faults that hang.
    let timeout = Duration::from_millis(700);
    Options { timeout, ..keys(&server.endpoint(), "key-id", SECRET) }
}

fn entry(index: u64) -> Key {
    path::log_entry(MetadataIndex(index))
}

fn body(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

fn unknown(outcome: Outcome<Version>) -> Failure {
    match outcome {
        Outcome::Unknown(failure) => {
            assert!(!format!("{failure:?}").contains("CANARY"), "{failure:?}");
            failure
        }
        other => panic!("a doubtful answer was taken for {other:?}"),
    }
}

fn failed<T: std::fmt::Debug>(result: Result<T, GetError>) -> Failure {
    match result {
        Err(GetError::Failed(failure)) => {
            assert!(!format!("{failure:?}").contains("CANARY"), "{failure:?}");
            failure
        }
        other => panic!("a failure was taken for {other:?}"),
    }
}

/// Faults of a write, whether it is carried out, and the kind that comes of it.
fn doubtful() -> Vec<(Fault, bool, FailureKind)> {
    use FailureKind::{Conflict, Connection, Denied, Other, Throttled, Timeout};
    vec![
        (Fault::FinAfter, true, Connection),
        (Fault::RstAfter, true, Connection),
        (Fault::HalfStatusAfter, true, Connection),
        (Fault::HangAfter, true, Timeout),
        (Fault::AnswerAfter(500, "InternalError"), true, Other),
        (Fault::AnswerAfter(503, "SlowDown"), true, Throttled),
        (Fault::AnswerAfter(504, ""), true, Timeout),
        (Fault::AnswerAfter(412, "PreconditionFailed"), true, Conflict),
        (Fault::Repeated, true, Conflict),
        (Fault::Answer(409, "ConditionalRequestConflict"), false, Conflict),
        (Fault::Answer(412, "PreconditionFailed"), false, Conflict),
        (Fault::Answer(500, "InternalError"), false, Other),
        (Fault::Answer(503, "SlowDown"), false, Throttled),
        (Fault::Answer(403, "RequestTimeTooSkewed"), false, Denied),
        (Fault::Answer(400, "ExpiredToken"), false, Denied),
        (Fault::Answer(301, "PermanentRedirect"), false, Other),
        (Fault::Fin, false, Connection),
        (Fault::Hang, false, Timeout),
        (Fault::Garbage, false, Connection),
    ]
}

#[tokio::test]
async fn a_doubtful_create_is_unknown_and_tried_once() {
    let (server, store) = server().await;
    for (index, (fault, applied, kind)) in (1..).zip(doubtful()) {
        let key = entry(index);
        server.next("PUT", "log", fault.clone());
        let failure = unknown(store.create(&key, body("ours")).await);
        assert_eq!(failure.kind(), kind, "{fault:?}: {failure}");
        let tries = server.requests(&format!("PUT p/{key}")).len();
        assert_eq!(tries, 1, "{fault:?} was tried {tries} times");
        assert_eq!(store.away(), kind != FailureKind::Conflict, "{fault:?}");
        let there = store.get(&key).await.map(|found| found.bytes);
        let wanted = if applied { Ok(Bytes::from("ours")) } else { Err(GetError::Absent) };
        assert_eq!(there, wanted, "{fault:?}");
        assert!(!store.away());
    }
}

#[tokio::test]
async fn a_doubtful_replace_is_unknown_and_tried_once() {
    let (server, store) = server().await;
    for (index, (fault, applied, kind)) in (1..).zip(doubtful()) {
        let key = entry(index);
        let version = store.create(&key, body("old")).await.done().unwrap();
        server.next("PUT", "log", fault.clone());
        let failure = unknown(store.replace(&key, &version, body("new")).await);
        assert_eq!(failure.kind(), kind, "{fault:?}: {failure}");
        assert_eq!(server.requests(&format!("PUT p/{key}")).len(), 2, "{fault:?}");
        let wanted = if applied { "new" } else { "old" };
        assert_eq!(store.get(&key).await.unwrap().bytes, wanted, "{fault:?}");
    }
}

#[tokio::test]
async fn a_write_given_up_lands_later() {
    let (server, store) = server().await;
    server.next("PUT", "log", Fault::Late(Duration::from_millis(1500)));
    assert_eq!(unknown(store.create(&entry(1), body("late")).await).kind(), FailureKind::Timeout);
    assert_eq!(store.get(&entry(1)).await, Err(GetError::Absent));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(store.get(&entry(1)).await.unwrap().bytes, "late");
}

#[tokio::test]
async fn no_server_means_connection_and_soon() {
    let (server, store) = server().await;
    drop(server);
    tokio::task::yield_now().await;
    let since = Instant::now();
    let failure = unknown(store.create(&entry(1), body("x")).await);
    assert_eq!(failure.kind(), FailureKind::Connection, "{failure}");
    assert_eq!(failed(store.get(&entry(1)).await).kind(), FailureKind::Connection);
    assert!(since.elapsed() < Duration::from_secs(3));
    assert!(store.away());
}

#[tokio::test]
async fn tls_is_spoken_to_an_https_endpoint() {
    let (server, _) = server().await;
    let endpoint = server.endpoint().replace("http://", "https://");
    let options = Options { s3_endpoint: Some(endpoint), ..options(&server) };
    let store = open("s3://double", &options).await;
    // The double takes a TLS greeting for the beginning of a long request.
    let kind = failed(store.get(&entry(1)).await).kind();
    assert!(matches!(kind, FailureKind::Timeout | FailureKind::Connection), "{kind}");
    assert!(server.requests("GET").is_empty(), "nothing was sent in the clear");
}

#[tokio::test]
async fn a_read_survives_a_moment_and_not_an_outage() {
    let (server, store) = server().await;
    store.create(&entry(1), body("0123456789")).await.done().unwrap();
    for fault in [Fault::Fin, Fault::Garbage, Fault::HalfBody, Fault::Answer(503, "SlowDown")] {
        server.next("GET", "log", fault.clone());
        assert_eq!(store.get(&entry(1)).await.unwrap().bytes, "0123456789", "{fault:?}");
        for _ in 0..3 {
            server.next("GET", "log", fault.clone());
        }
        failed(store.get_range(&entry(1), 2..8).await);
        server.calm();
    }
    server.next("GET", "log", Fault::WholeBody);
    failed(store.get_range(&entry(1), 2..8).await);
    server.next("GET", "log", Fault::Hang);
    assert_eq!(failed(store.get(&entry(1)).await).kind(), FailureKind::Timeout);
    assert_eq!(store.get_range(&entry(1), 2..8).await.unwrap(), "234567");
}

#[tokio::test]
async fn a_404_is_absence_only_of_an_object_that_is_named() {
    let (server, store) = server().await;
    for code in ["", "NoSuchUpload", "NotFound"] {
        server.next("GET", "log", Fault::Answer(404, code));
        failed(store.get(&entry(1)).await);
    }
    let none = open("s3://none/p", &options(&server)).await;
    let key = entry(1);
    for failure in [
        failed(none.get(&key).await),
        failed(none.head(&key).await),
        failed(none.get_range(&key, 0..9).await),
        unknown(none.create(&key, body("x")).await),
        none.list(&path::everything(), None).await.unwrap_err(),
    ] {
        assert_eq!(failure.kind(), FailureKind::NoBucket, "{failure}");
        assert!(failure.to_string().contains("none does not exist: create it"), "{failure}");
    }
    assert!(none.away());
}

#[tokio::test]
async fn a_slow_answer_is_an_answer() {
    let (server, store) = server().await;
    server.next("PUT", "log", Fault::Slow(Duration::from_millis(300)));
    assert!(matches!(store.create(&entry(1), body("x")).await, Outcome::Done(_)));
}

#[tokio::test]
async fn the_contract_test_sees_a_wrong_clock_and_an_absent_bucket() {
    let (server, store) = server().await;
    server.set_clock_behind(Duration::from_secs(1200));
    let error = store.check_contract().await.unwrap_err();
    assert!(error.to_string().contains("differ by 20 minutes"), "{error}");
    let none = open("s3://none", &options(&server)).await;
    let error = none.check_contract().await.unwrap_err();
    assert!(matches!(error, CheckError::Failed(_)), "{error}");
}
