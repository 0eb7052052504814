//! The HTTP side over a real listener.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicU64, Ordering},
};

use super::*;
use crate::{env::clock::SystemClock, metrics::Histogram};

struct Running {
    server: Server,
    readiness: watch::Sender<Readiness>,
    appended: Arc<AtomicU64>,
    trouble: Trouble,
    _kept: (watch::Sender<Identity>, watch::Sender<Service>),
    orders: mpsc::Receiver<oneshot::Sender<Result<String, String>>>,
}

fn start() -> Running {
    start_with(Limits::default(), true)
}

fn start_with(limits: Limits, page: bool) -> Running {
    let (readiness, seen) = watch::channel(Readiness {
        reason: "waiting for the bucket: connection refused".to_owned(),
        ..Readiness::default()
    });
    let (known, identity) = watch::channel(Identity::default());
    let (serves, service) = watch::channel(Service::Starting);
    let (accept_loss, orders) = mpsc::channel(1);
    let mut registry = Registry::with_prefix("strandline");
    let metrics = Metrics::new(&mut registry);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let trouble = Trouble::new(Arc::clone(&clock));
    let appended = Arc::new(AtomicU64::new(0));
    let (counted, produce) = (Arc::clone(&appended), Histogram::seconds());
    let meters = move || Meters {
        appended_bytes: counted.load(Ordering::Relaxed),
        read_bytes: 0,
        uploaded_bytes: 0,
        requests: 0,
        produce: produce.clone(),
        connections: 3,
        wal_bytes: 4096,
        wal_budget_bytes: 8192,
        wal_age_seconds: 1.5,
        uploading_bytes: 0,
    };
    let faces = Faces {
        readiness: seen,
        identity,
        registry: Arc::new(registry),
        metrics,
        accept_loss,
        service,
        store: Arc::default(),
        bucket: "memory://".to_owned(),
        meters: Arc::new(meters),
        trouble: trouble.clone(),
        clock,
        names: vec!["broker.example".to_owned()],
        page,
    };
    let server = Server::start_within("127.0.0.1:0".parse().unwrap(), faces, limits).unwrap();
    Running { server, readiness, appended, trouble, _kept: (known, serves), orders }
}

fn url(running: &Running, path: &str) -> String {
    format!("http://{}{path}", running.server.address())
}

async fn get_json(running: &Running, path: &str) -> (u16, serde_json::Value) {
    let answer = reqwest::get(url(running, path)).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The status of what is sent as it is, on a connection of its own.
fn raw(running: &Running, request: &str) -> u16 {
    let mut stream = TcpStream::connect(running.server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // It may answer, and close, before all of it is sent.
    drop(stream.write_all(request.as_bytes()));
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_unready_broker_is_healthy_and_says_why_it_is_not_ready() {
    let running = start();
    let health = reqwest::get(url(&running, "/healthz")).await.unwrap();
    assert_eq!(health.status(), 200);
    let ready = reqwest::get(url(&running, "/readyz")).await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("connection refused"));
    running.readiness.send_replace(Readiness { ready: true, ..Readiness::default() });
    assert_eq!(reqwest::get(url(&running, "/readyz")).await.unwrap().status(), 200);
    let metrics = reqwest::get(url(&running, "/metrics")).await.unwrap();
    let kind = metrics.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("strandline_ready 1\n"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn accept_loss_is_refused_when_nothing_is_at_risk_and_from_other_sites() {
    let mut running = start();
    let client = reqwest::Client::new();
    let order = url(&running, "/v1/cluster/accept-loss");
    assert_eq!(client.post(&order).send().await.unwrap().status(), 409);
    let foreign = client.post(&order).header("origin", "http://elsewhere.example");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    running
        .readiness
        .send_replace(Readiness { at_risk: Some(LossAtRisk::default()), ..Readiness::default() });
    let own = client.post(&order).header("origin", url(&running, ""));
    let sent = tokio::task::spawn(own.send());
    running.orders.recv().await.unwrap().send(Ok("sealed".to_owned())).unwrap();
    assert_eq!(sent.await.unwrap().unwrap().text().await.unwrap(), "sealed\n");
}

#[tokio::test]
async fn a_name_that_somebody_points_here_is_no_way_in() {
    let running = start();
    let client = reqwest::Client::new();
    for path in ["/", "/metrics", "/v1/cluster", "/healthz", "/page/app.js"] {
        let get = |host: &str| client.get(url(&running, path)).header("host", host).send();
        assert_eq!(get("rebound.example:8080").await.unwrap().status(), 421, "{path}");
        assert_eq!(get("broker.example:8080").await.unwrap().status(), 200, "{path}");
    }
    let two = "GET /v1/cluster HTTP/1.1\r\nhost: localhost\r\nhost: rebound.example\r\n\r\n";
    assert_eq!(raw(&running, two), 400);
    let absolute = "GET http://rebound.example/v1/cluster HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(raw(&running, absolute), 421);
    let metrics = reqwest::get(url(&running, "/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("strandline_http_refused_total{reason=\"host\"} 7\n"), "{metrics}");
}

#[tokio::test]
async fn what_another_sites_page_asks_for_is_refused_and_a_link_is_followed() {
    let running = start();
    let client = reqwest::Client::new();
    let from = |site: &'static str, mode: &'static str, dest: &'static str| {
        let get = client.get(url(&running, "/")).header("sec-fetch-site", site);
        get.header("sec-fetch-mode", mode).header("sec-fetch-dest", dest).send()
    };
    assert_eq!(from("cross-site", "no-cors", "image").await.unwrap().status(), 403);
    assert_eq!(from("same-site", "cors", "empty").await.unwrap().status(), 403);
    assert_eq!(from("cross-site", "navigate", "iframe").await.unwrap().status(), 403);
    assert_eq!(from("cross-site", "navigate", "document").await.unwrap().status(), 200);
    assert_eq!(from("same-origin", "cors", "empty").await.unwrap().status(), 200);
}

#[test]
fn oversized_requests_are_refused() {
    let running = start();
    let order = "POST /v1/cluster/accept-loss HTTP/1.1\r\nhost: localhost\r\n";
    assert_eq!(raw(&running, &format!("{order}content-length: 65537\r\n\r\n")), 413);
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
    let chunked = format!("{order}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    assert_eq!(raw(&running, &chunked), 413);
    let fits = format!("{order}content-length: 65536\r\n\r\n{}", "x".repeat(65_536));
    assert_eq!(raw(&running, &fits), 409, "read, and nothing is at risk");
    let header = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(raw(&running, &header), 431);
    let many = "y: 1\r\n".repeat(100);
    assert_eq!(raw(&running, &format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n")), 431);
    let long = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(20_000));
    assert!([414, 431].contains(&raw(&running, &long)));
}

/// Reads until the other side has closed.
fn closes(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn one_connection_too_many_is_closed_and_a_place_is_free_again_after_it() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let running = start_with(limits, true);
    let get = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut open = [0, 1].map(|_| TcpStream::connect(running.server.address()).unwrap());
    let mut answer = [0; 12];
    for stream in &mut open {
        stream.write_all(get).unwrap();
        stream.read_exact(&mut answer).unwrap();
    }
    let mut third = TcpStream::connect(running.server.address()).unwrap();
    assert!(closes(&mut third));
    drop(open);
    // How soon the other side sees that they are gone is not known.
    let again = || {
        let mut stream = TcpStream::connect(running.server.address()).ok()?;
        stream.write_all(get).ok()?;
        stream.read_exact(&mut answer.clone()).ok()
    };
    while again().is_none() {
        std::thread::yield_now();
    }
}

#[test]
fn who_sends_slowly_or_stays_too_long_is_ended() {
    let short = Duration::from_millis(200);
    let head = Limits { head: short, ..Limits::default() };
    let running = start_with(head, true);
    for begun in ["", "GET /healthz HTTP/1.1\r\nhost: loc"] {
        let mut slow = TcpStream::connect(running.server.address()).unwrap();
        slow.write_all(begun.as_bytes()).unwrap();
        assert!(closes(&mut slow), "{begun:?}");
    }
    let life = Limits { life: short, last: short, ..Limits::default() };
    let running = start_with(life, true);
    let mut body = TcpStream::connect(running.server.address()).unwrap();
    let order = "POST /v1/cluster/accept-loss HTTP/1.1\r\nhost: localhost\r\n";
    body.write_all(format!("{order}content-length: 100\r\n\r\nonly").as_bytes()).unwrap();
    assert!(closes(&mut body), "a body that does not come");
}

#[tokio::test]
async fn before_it_serves_the_cluster_is_empty_and_lists_say_why_there_are_none() {
    let running = start();
    let (code, cluster) = get_json(&running, "/v1/cluster").await;
    assert_eq!((code, &cluster["ready"], &cluster["connections"]), (200, &false.into(), &3.into()));
    assert_eq!(cluster["brokers"], serde_json::json!([]));
    for path in ["/v1/topics", "/v1/topics/t", "/v1/groups", "/v1/groups/g"] {
        let (code, answer) = get_json(&running, path).await;
        let error = answer["error"].as_str().unwrap();
        assert!(code == 503 && error.contains("connection refused"), "{path}: {answer}");
    }
    let (_, storage) = get_json(&running, "/v1/storage").await;
    assert_eq!(
        (&storage["wal"]["bytes"], &storage["bucket_url"]),
        (&4096.into(), &"memory://".into())
    );
    let bad = reqwest::get(url(&running, "/v1/topics?limits=3")).await.unwrap();
    assert_eq!(bad.status(), 400, "a misspelt question is no other question");
}

#[tokio::test]
async fn what_flows_is_sampled_and_trouble_is_told() {
    let running = start();
    // Nobody knows when the first look was, so more comes until a sample has seen it come.
    let first = loop {
        running.appended.fetch_add(1_000_000, Ordering::Relaxed);
        let (_, flow) = get_json(&running, "/v1/flow").await;
        let samples = flow["samples"].as_array().unwrap();
        let moves = |sample: &&serde_json::Value| {
            sample["appended_bytes_per_second"].as_f64().unwrap() > 0.0
        };
        match samples.iter().find(moves) {
            Some(sample) => break sample.clone(),
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!((&first["produce_p99_seconds"], &first["connections"]), (&().into(), &3.into()));
    let since = format!("/v1/flow?since={}", first["at_ms"]);
    let (_, later) = get_json(&running, &since).await;
    let at = |sample: &serde_json::Value| sample["at_ms"].as_i64().unwrap();
    assert!(later["samples"].as_array().unwrap().iter().all(|sample| at(sample) > at(&first)));
    let log = tracing_subscriber::layer::SubscriberExt::with(
        tracing_subscriber::registry(),
        running.trouble.clone(),
    );
    tracing::subscriber::with_default(log, || tracing::error!("<script>alert(1)</script>"));
    let (_, trouble) = get_json(&running, "/v1/trouble").await;
    assert_eq!(trouble["lines"][0]["message"], "<script>alert(1)</script>");
}

#[tokio::test]
async fn the_page_has_a_strict_policy_and_is_gone_when_it_is_off() {
    let running = start();
    for path in ["/", "/page/style.css", "/page/app.js", "/page/plot.js", "/page/icon.svg"] {
        let file = reqwest::get(url(&running, path)).await.unwrap();
        let policy = file.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(file.headers()["x-content-type-options"], "nosniff");
    }
    let page = reqwest::get(url(&running, "/")).await.unwrap().text().await.unwrap();
    for inline in [" style=", " onclick=", "<style", "javascript:", "http://", "https://"] {
        assert!(!page.contains(inline), "{inline}");
    }
    let off = start_with(Limits::default(), false);
    for path in ["/", "/page/app.js"] {
        assert_eq!(reqwest::get(url(&off, path)).await.unwrap().status(), 404);
    }
    assert_eq!(reqwest::get(url(&off, "/v1/cluster")).await.unwrap().status(), 200);
}
