//! A broker as a real process: started, killed, drained, with its log kept.

use std::{
    fs::File,
    hash::{BuildHasher, RandomState},
    io::Read,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How a broker is to be started, again and again.
#[derive(Clone, Debug)]
pub struct Setup {
    pub bucket: String,
    pub wal: PathBuf,
    pub kafka: u16,
    pub http: u16,
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    pub log: PathBuf,
}

/// A port that was free a moment ago, below those the system gives to outgoing connections: one of
/// them could have it when the broker comes back to it.
pub fn free_port() -> u16 {
    loop {
        let chance = RandomState::new().hash_one(0) % 20_000;
        let port = 12_000 + u16::try_from(chance).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Setup {
    /// A broker on folders under `root`.
    pub fn folders(root: &Path) -> Self {
        Self {
            bucket: format!("file://{}", root.join("bucket").display()),
            wal: root.join("wal"),
            kafka: free_port(),
            http: free_port(),
            arguments: Vec::new(),
            variables: Vec::new(),
            log: root.join("broker.log"),
        }
    }

    /// A broker on the S3 double, its WAL under `root`.
    pub fn on_double(root: &Path, double: &super::s3_double::S3Double) -> Self {
        let mut setup = Self::folders(root).with(&["--s3-endpoint", &double.endpoint()]);
        setup.bucket = format!("s3://{}/cluster", super::s3_double::BUCKET);
        setup.variables = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"]
            .map(|name| (name.to_owned(), "double".to_owned()))
            .to_vec();
        setup
    }

    /// The same bucket, another disk and other ports.
    pub fn elsewhere(&self, root: &Path) -> Self {
        Self {
            wal: root.join("other-wal"),
            kafka: free_port(),
            http: free_port(),
            log: root.join("other.log"),
            ..self.clone()
        }
    }

    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Starts the process and returns at once.
    pub fn spawn(&self) -> Broker {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        // Another build of it, a release one say, may be put to the same tests.
        let binary = std::env::var_os("STRANDLINE_TEST_BINARY");
        let binary = binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_strandline").into());
        let child = Command::new(binary)
            .arg("serve")
            .args(["--bucket", &self.bucket])
            .arg("--wal-dir")
            .arg(&self.wal)
            .args(["--kafka-listen", &format!("127.0.0.1:{}", self.kafka)])
            .args(["--http-listen", &format!("127.0.0.1:{}", self.http)])
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Broker { child, setup: self.clone() }
    }

    /// Starts the process and waits until it serves.
    pub fn start(&self) -> Broker {
        let mut broker = self.spawn();
        broker.wait_ready(Duration::from_secs(60));
        broker
    }
}

/// A running broker; dropped, it is killed.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    pub setup: Setup,
}

impl Broker {
    pub fn kafka(&self) -> String {
        format!("127.0.0.1:{}", self.setup.kafka)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Code and body of a GET, or `None` while nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        use std::io::Write;
        let address = format!("127.0.0.1:{}", self.setup.http);
        let mut stream = std::net::TcpStream::connect(&address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let code = answer.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())?;
        Some((code, body))
    }

    pub fn wait_ready(&mut self, limit: Duration) {
        self.wait_for("ready", limit, |broker| {
            broker.get("/readyz").is_some_and(|(code, _)| code == 200)
        });
    }

    /// Waits until `/readyz` says why it is not ready in words that hold `text`.
    pub fn wait_reason(&mut self, text: &str, limit: Duration) {
        self.wait_for(text, limit, |broker| {
            broker.get("/readyz").is_some_and(|(_, body)| body.contains(text))
        });
    }

    pub fn wait_for(&mut self, what: &str, limit: Duration, mut fact: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !fact(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended with {status} while waiting for {what:?}\n{}", self.log());
            }
            assert!(began.elapsed() < limit, "no {what:?} in {limit:?}\n{}", self.log());
            sleep(Duration::from_millis(10));
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.setup.log).unwrap_or_default()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// kill -9, as a power cut for the process.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// SIGTERM and the exit status, within `limit`.
    pub fn drain(mut self, limit: Duration) -> ExitStatus {
        self.signal("-TERM");
        self.wait_exit(limit)
    }

    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < limit, "still running after {limit:?}\n{}", self.log());
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Every file below `folder`, relative, sorted.
pub fn files(folder: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}
