//! Neither a bucket that is down nor a hostile client can flood the log.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::support::{
    process::Setup,
    s3_double::S3Double,
    topics::{self, batch},
};

/// Enough for a start, and for a period of the log's counts.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_hostile_client_causes_ten_lines_and_a_count() {
    const TRIES: usize = 500;
    let root = tempfile::tempdir().unwrap();
    let mut broker = Setup::folders(root.path()).start();
    for _ in 0..TRIES {
        let mut stream = TcpStream::connect(broker.kafka()).unwrap();
        // A frame that is longer than any may be; the broker closes.
        stream.write_all(b"\x7f\xff\xff\xffGET / HTTP/1.1").unwrap();
        drop(stream.read(&mut [0; 16]));
    }
    broker.wait_for("a count", SOON, |it| it.log().contains(" more in 10 s"));
    let log = broker.log();
    let said = log.lines().filter(|line| line.contains("\"bad request, connection closed\""));
    // The count repeats the message, in a line of its own.
    let (counts, lines): (Vec<_>, Vec<_>) = said.partition(|line| line.contains("more in 10 s"));
    assert!(!counts.is_empty(), "{log}");
    assert!((10..=12).contains(&lines.len()), "{} lines of {TRIES}\n{log}", lines.len());
    assert!(counts.len() <= 3, "{} counts\n{log}", counts.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_down_is_told_in_a_few_lines_however_often_it_is_asked() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let more = ["--roll-after", "100ms", "--roll-bytes", "64KiB", "--lease", "3s"];
    let broker = Setup::on_double(root.path(), &double).with(&more).start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 4, &[]).await;
    let asked = || double.requests("PUT").len() + double.requests("GET").len();
    let (before, lines) = (asked(), broker.log().lines().count());
    double.always(Some((503, "SlowDown")));
    let began = std::time::Instant::now();
    while asked() < before + 100 {
        assert!(began.elapsed() < SOON, "only {} requests", asked() - before);
        client.produce("t", 0, batch(&["kept"])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let log = broker.log();
    let new = log.lines().skip(lines).collect::<Vec<_>>();
    assert!(new.iter().any(|line| line.contains("the bucket is away")), "{log}");
    assert!(new.len() <= 25, "{} lines of 100 failed requests\n{}", new.len(), new.join("\n"));
    double.always(None);
    let answered = "the bucket answers again";
    let mut broker = broker;
    broker.wait_for(answered, SOON, |it| it.log().contains(answered));
}
