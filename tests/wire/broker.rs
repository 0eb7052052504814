//! A broker in this process, and a client that knows frames and nothing else.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use proto_kafka::{
    messages::{RequestHeader, ResponseHeader},
    protocol::{Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer},
};
use strandline::{broker, config::Settings, env::Env, http::Trouble, types::ByteCount};

static TURN: RwLock<()> = RwLock::new(());

/// Held by a test that may run beside others.
pub fn together() -> RwLockReadGuard<'static, ()> {
    TURN.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Held by a test that weighs memory.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The broker most tests share, started by who asks first.
fn address() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(|| {
        // The tests of groups hold for Apache Kafka as well, set as below and new: given its
        // address, they are asked of it, to see that they ask for the right thing.
        if let Ok(other) = std::env::var("STRANDLINE_WIRE_ADDRESS") {
            return other;
        }
        start(&[
            ("group.initial.rebalance.delay.ms", "500"),
            ("group.min.session.timeout.ms", "300"),
        ])
    })
}

/// Starts a broker with these Kafka settings, which lives as long as the process; its address.
pub fn start(kafka: &[(&str, &str)]) -> String {
    start_as(None, kafka)
}

/// The same, known to clients under another address.
pub fn start_as(advertised: Option<&str>, kafka: &[(&str, &str)]) -> String {
    let wal = tempfile::tempdir().unwrap().keep();
    let address = format!("127.0.0.1:{}", free_port());
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let settings = Settings {
        bucket: Some("memory://".to_owned()),
        wal_dir: Some(wal),
        kafka_listen: Some(address.clone()),
        kafka_advertise: advertised.map(str::to_owned),
        http_listen: Some(format!("127.0.0.1:{}", free_port())),
        // Room for the largest answers, all tests at once.
        memory_budget: Some(ByteCount::mib(8192)),
        kafka_pairs: kafka.iter().map(pair).collect(),
        ..Settings::default()
    };
    let config = settings.resolve(std::iter::empty(), |_| Ok(Vec::new())).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (_ask, asked) = tokio::sync::watch::channel(broker::StopAsked::No);
        let env = Env::real();
        let trouble = Trouble::new(Arc::clone(&env.clock));
        let ended = runtime.block_on(broker::run(config, env, asked, trouble, &|_| {}));
        panic!("the broker ended: {ended:?}");
    });
    for _ in 0..1500 {
        if TcpStream::connect(&address).is_ok() {
            return address;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("the broker does not listen");
}

/// One connection.
pub struct Wire {
    pub stream: TcpStream,
    correlation: i32,
}

impl Wire {
    pub fn open() -> Self {
        Self::open_at(address())
    }

    pub fn open_at(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream, correlation: 0 }
    }

    /// A whole frame of `request` under the next correlation id.
    pub fn frame<R: Request>(&mut self, version: i16, request: &R) -> Vec<u8> {
        let mut body = BytesMut::new();
        request.encode(&mut body, version).unwrap();
        self.framed(R::KEY, version, &body)
    }

    /// A whole frame of `body`, whatever it is.
    pub fn framed(&mut self, key: i16, version: i16, body: &[u8]) -> Vec<u8> {
        self.correlation += 1;
        let header = RequestHeader::default()
            .with_request_api_key(key)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str("wire")));
        let mut frame = BytesMut::from(&[0_u8; 4][..]);
        encode_request_header_into_buffer(&mut frame, &header).unwrap();
        frame.extend_from_slice(body);
        let length = i32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame.to_vec()
    }

    /// Sends bytes; a broker that has closed already is no error.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).ok();
    }

    /// The next reply, its length taken off; `None` when the broker closes instead.
    pub fn receive(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut frame).ok()?;
        Some(frame.into())
    }

    /// The next reply, which is to a `R` in `version`, and its correlation id.
    pub fn reply<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        let mut frame = self.receive().expect("a reply, not the end of the connection");
        let header = <R::Response as HeaderVersion>::header_version(version);
        let header = ResponseHeader::decode(&mut frame, header).unwrap();
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(frame.is_empty(), "{} bytes after the reply", frame.len());
        (header.correlation_id, response)
    }

    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let frame = self.frame(version, request);
        self.send(&frame);
        let (correlation, response) = self.reply::<R>(version);
        assert_eq!(correlation, self.correlation);
        response
    }

    pub fn correlation(&self) -> i32 {
        self.correlation
    }

    /// Whether the broker ends the connection without another byte.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// Whether the broker stays silent for a moment, without closing.
    pub fn is_silent(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let silent = self.stream.peek(&mut [0]).is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        });
        self.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        silent
    }
}
