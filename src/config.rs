//! The broker's whole configuration: flags, environment, TOML file, in that order.
//!
//! Owns: names, defaults, cross-checks, the one table that flags, `STRANDLINE_*` and the file
//! share. Does not own: how a value is used. Invariant: an unknown key is an error everywhere.

mod memory;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde::Deserialize;

pub use memory::Memory;

use memory::Fixed;

use crate::{
    cache::LEAST_BUDGET,
    types::{BrokerId, ByteCount},
};

/// Why a configuration is refused. Each names the key, what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration file {path} is not valid: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A value that cannot be used.
    #[error("{key}: {reason}")]
    Value {
        /// The key as a flag.
        key: &'static str,
        /// What is wrong and what to do.
        reason: String,
    },
    /// An environment variable nothing reads.
    #[error(
        "the environment variable {0} is not a setting of this version: unset it, or look for the \
         right name in `strandline serve --help`"
    )]
    UnknownVariable(String),
}

/// The variable of the commands that talk to a cluster; set in a shell, it must not hinder `serve`.
pub(crate) const BOOTSTRAP_VARIABLE: &str = "STRANDLINE_BOOTSTRAP";

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text);
    parsed.map_err(|error| format!("{error}; write a number and a unit: 500ms, 10s, 5m, 1h"))
}

pub(crate) fn bytes(text: &str) -> Result<ByteCount, String> {
    let parsed = text.parse::<bytesize::ByteSize>();
    let size = parsed.map_err(|error| format!("{error}; write a size: 512KiB, 64MiB, 4GiB"))?;
    Ok(ByteCount(size.as_u64()))
}

pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write on or off".to_owned()),
    }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

mod text {
    //! Durations and sizes in the file, written as on the command line.
    use serde::{Deserialize, Deserializer, de::Error};

    use super::{ByteCount, Duration};

    pub(super) fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        super::duration(&String::deserialize(d)?).map(Some).map_err(D::Error::custom)
    }

    pub(super) fn switch<'de, D: Deserializer<'de>>(d: D) -> Result<Option<bool>, D::Error> {
        super::switch(&String::deserialize(d)?).map(Some).map_err(D::Error::custom)
    }

    pub(super) fn bytes<'de, D: Deserializer<'de>>(d: D) -> Result<Option<ByteCount>, D::Error> {
        super::bytes(&String::deserialize(d)?).map(Some).map_err(D::Error::custom)
    }
}

// The headings of `serve --help` and of docs/configuration.md, in the order of the fields.
const BUCKET: &str = "Bucket";
const WAL: &str = "Write-ahead log";
const NETWORK: &str = "Network";
const BROKER: &str = "This broker";
const MEMORY: &str = "Memory and cache";
const RETENTION: &str = "Retention and housekeeping";
const KAFKA: &str = "Kafka settings";
const GENERAL: &str = "File and logs";

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a user may set. Each field is a flag, a variable `STRANDLINE_<NAME>` and a key of the
/// file (the flag's name without the dashes).
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
// A variable may hold what was meant for elsewhere; help shows its name only.
#[command(mut_args(|argument| argument.hide_env_values(true)))]
pub struct Settings {
    /// Where the data lives: s3://name/prefix, gs://name/prefix, az://container/prefix,
    /// file:///folder or memory:// [default: ./strandline-data/bucket]
    ///
    /// One cluster owns one prefix. A URL carries no credentials: they come from the environment, a
    /// profile or the machine's role. Set it for anything but trying out.
    #[arg(long, env = "STRANDLINE_BUCKET", value_name = "URL",
          help_heading = BUCKET)]
    pub bucket: Option<String>,
    /// Endpoint of an S3-compatible store (MinIO, SeaweedFS, LocalStack...), http://HOST:PORT
    ///
    /// AWS itself needs none. It carries no user, password or query. Plain HTTP is used only when
    /// written here.
    #[arg(long, env = "STRANDLINE_S3_ENDPOINT", value_name = "URL",
          help_heading = BUCKET)]
    pub s3_endpoint: Option<String>,
    /// How long the bucket's lease outlives its holder; renewed every third [default: 180s]
    ///
    /// A broker that starts on another disk after a crash waits so long before it takes over; one
    /// that drained, and one that starts on the same disk, wait for nothing. Shorter means a
    /// quicker take-over and more requests; at least 3s.
    #[arg(long, env = "STRANDLINE_LEASE", value_name = "TIME", value_parser = duration,
          help_heading = BUCKET)]
    #[serde(deserialize_with = "text::duration")]
    pub lease: Option<Duration>,
    /// Folder of the write-ahead log, on a disk that keeps what it synced [default:
    /// strandline-data/wal]
    ///
    /// What is acknowledged is here until it is in the bucket, in this copy alone. Give it a disk
    /// of its own where many write; never a memory file system.
    #[arg(long, env = "STRANDLINE_WAL_DIR", value_name = "DIR", help_heading = WAL)]
    pub wal_dir: Option<PathBuf>,
    /// Most bytes the write-ahead log may hold while the bucket is away [default: 4GiB or half the
    /// free space, whichever is less]
    ///
    /// When it is used up producers get a retriable error until the bucket answers again. Raise it
    /// to outlast longer outages: rate of writes times the outage. At least two segments
    /// (--roll-bytes).
    #[arg(long, env = "STRANDLINE_WAL_BUDGET", value_name = "SIZE", value_parser = bytes,
          help_heading = WAL)]
    #[serde(deserialize_with = "text::bytes")]
    pub wal_budget: Option<ByteCount>,
    /// A WAL segment is closed and uploaded at this size [default: 32MiB]
    ///
    /// Larger means fewer, larger objects; smaller means less to upload at a restart. Between 64KiB
    /// and 1GiB.
    #[arg(long, env = "STRANDLINE_ROLL_BYTES", value_name = "SIZE", value_parser = bytes,
          help_heading = WAL)]
    #[serde(deserialize_with = "text::bytes")]
    pub roll_bytes: Option<ByteCount>,
    /// A WAL segment is closed and uploaded this long after its first record, full or not
    /// [default: 10s]
    ///
    /// About how long an acknowledged record is on this disk only. Shorter narrows that window and
    /// costs more requests to the bucket; longer is cheaper.
    #[arg(long, env = "STRANDLINE_ROLL_AFTER", value_name = "TIME", value_parser = duration,
          help_heading = WAL)]
    #[serde(deserialize_with = "text::duration")]
    pub roll_after: Option<Duration>,
    /// How long SIGTERM may take to bring everything to the bucket [default: 60s]
    ///
    /// When it runs out the broker ends with code 1 and the WAL folder must be kept. Keep it below
    /// what kills the process (Kubernetes: terminationGracePeriodSeconds; systemd: TimeoutStopSec).
    #[arg(long, env = "STRANDLINE_DRAIN_TIMEOUT", value_name = "TIME", value_parser = duration,
          help_heading = WAL)]
    #[serde(deserialize_with = "text::duration")]
    pub drain_timeout: Option<Duration>,
    /// Where Kafka clients connect [default: 127.0.0.1:9092]
    ///
    /// An IP address of this machine, or 0.0.0.0 for all. There is no TLS and no password yet:
    /// whoever can connect can read and write everything.
    #[arg(long, env = "STRANDLINE_KAFKA_LISTEN", value_name = "HOST:PORT", help_heading = NETWORK)]
    pub kafka_listen: Option<String>,
    /// The address clients are told [default: the address of --kafka-listen]
    ///
    /// Required when listening on a wildcard; set it wherever clients reach the broker by another
    /// name: containers, port forwarding, NAT.
    #[arg(long, env = "STRANDLINE_KAFKA_ADVERTISE", value_name = "HOST:PORT",
          help_heading = NETWORK)]
    pub kafka_advertise: Option<String>,
    /// Where health, metrics and administration are served [default: 127.0.0.1:8080]
    ///
    /// Whoever can connect can see everything and order what `strandline cluster` orders. Other
    /// brokers ask here whether the holder of the lease lives.
    #[arg(long, env = "STRANDLINE_HTTP_LISTEN", value_name = "HOST:PORT", help_heading = NETWORK)]
    pub http_listen: Option<String>,
    /// Names under which browsers may reach the HTTP side [default: none beside its addresses,
    /// localhost and the name of --kafka-advertise]
    ///
    /// A request for any other name is refused: a name that somebody else's DNS points here would
    /// let their page read what this broker shows.
    #[arg(long, env = "STRANDLINE_HTTP_NAMES", value_name = "NAME,NAME", value_delimiter = ',',
          help_heading = NETWORK)]
    pub http_names: Option<Vec<String>>,
    /// Whether the HTTP side has a web page at /: on or off [default: on]
    ///
    /// The page only looks. Whoever can open it could read the same at /v1 and /metrics.
    #[arg(long, env = "STRANDLINE_WEB", value_name = "ON|OFF", value_parser = switch,
          help_heading = NETWORK)]
    #[serde(deserialize_with = "text::switch")]
    pub web: Option<bool>,
    /// Most client connections at once [default: 10000, or what a tenth of the memory budget holds
    /// at 20KiB each]
    ///
    /// Connections beyond it are closed at once. The process needs as many file descriptors, and
    /// some hundred more.
    #[arg(long, env = "STRANDLINE_MAX_CONNECTIONS", value_name = "N", help_heading = NETWORK)]
    pub max_connections: Option<u32>,
    /// This broker's id [default: given out by the cluster and kept in the WAL folder]
    ///
    /// Set it only where tools expect a certain number.
    #[arg(long, env = "STRANDLINE_BROKER_ID", value_name = "N", help_heading = BROKER)]
    pub broker_id: Option<i32>,
    /// The rack or zone this broker is in, as clients see it
    ///
    /// Clients that set client.rack compare it with theirs.
    #[arg(long, env = "STRANDLINE_RACK", value_name = "NAME", help_heading = BROKER)]
    pub rack: Option<String>,
    /// Bytes of memory for buffers, caches, requests and replies together [default: 512MiB]
    ///
    /// What follows here, and room for connections, is its share of that where it is not set; what
    /// is set is taken off it. At least 114MiB.
    #[arg(long, env = "STRANDLINE_MEMORY_BUDGET", value_name = "SIZE", value_parser = bytes,
          help_heading = MEMORY)]
    #[serde(deserialize_with = "text::bytes")]
    pub memory_budget: Option<ByteCount>,
    /// Bytes of newest records kept in memory for readers [default: a fifth of the
    /// memory budget]
    ///
    /// Readers within so much of the end never touch the disk. Raise it where readers lag by
    /// minutes under heavy load.
    #[arg(long, env = "STRANDLINE_TAIL_MEMORY", value_name = "SIZE", value_parser = bytes,
          help_heading = MEMORY)]
    #[serde(deserialize_with = "text::bytes")]
    pub tail_memory: Option<ByteCount>,
    /// Bytes of blocks read from the bucket kept in memory [default: a sixth of the memory
    /// budget]
    ///
    /// Raise it where the same old records are read again and again and --cache-disk does not serve
    /// them fast enough.
    #[arg(long, env = "STRANDLINE_CACHE_MEMORY", value_name = "SIZE", value_parser = bytes,
          help_heading = MEMORY)]
    #[serde(deserialize_with = "text::bytes")]
    pub cache_memory: Option<ByteCount>,
    /// Bytes on their way from bucket to readers at once [default: a tenth of the memory
    /// budget]
    ///
    /// More lets more readers of old records run at full speed at once. At least 8MiB.
    #[arg(long, env = "STRANDLINE_COLD_MEMORY", value_name = "SIZE", value_parser = bytes,
          help_heading = MEMORY)]
    #[serde(deserialize_with = "text::bytes")]
    pub cold_memory: Option<ByteCount>,
    /// Folder of blocks read from the bucket, which may be lost at any time [default: the WAL
    /// folder's name with -cache, beside it]
    ///
    /// Give it another disk than the WAL's where old records are read much.
    #[arg(long, env = "STRANDLINE_CACHE_DIR", value_name = "DIR", help_heading = MEMORY)]
    pub cache_dir: Option<PathBuf>,
    /// Bytes of blocks kept there; 0 for none [default: 8GiB or a quarter of the free space,
    /// whichever is less; 0 where the bucket is a folder or memory]
    ///
    /// Saves requests to the bucket when old records are read more than once. At least 64MiB.
    #[arg(long, env = "STRANDLINE_CACHE_DISK", value_name = "SIZE", value_parser = bytes,
          help_heading = MEMORY)]
    #[serde(deserialize_with = "text::bytes")]
    pub cache_disk: Option<ByteCount>,
    /// How often retention looks for what may go [default: 5m]
    ///
    /// As Kafka's log.retention.check.interval.ms.
    #[arg(long, env = "STRANDLINE_RETENTION_CHECK", value_name = "TIME", value_parser = duration,
          help_heading = RETENTION)]
    #[serde(deserialize_with = "text::duration")]
    pub retention_check: Option<Duration>,
    /// How long an unlinked object is kept for those still reading it [default: 10m]
    ///
    /// Deleted records cost storage for so long. Longer than the slowest single fetch.
    #[arg(long, env = "STRANDLINE_DELETE_GRACE", value_name = "TIME", value_parser = duration,
          help_heading = RETENTION)]
    #[serde(deserialize_with = "text::duration")]
    pub delete_grace: Option<Duration>,
    /// How often the bucket is swept for objects nobody refers to [default: 24h]
    ///
    /// Such objects are left by crashes between an upload and its record. A sweep lists the bucket,
    /// which costs requests.
    #[arg(long, env = "STRANDLINE_SWEEP", value_name = "TIME", value_parser = duration,
          help_heading = RETENTION)]
    #[serde(deserialize_with = "text::duration")]
    pub sweep: Option<Duration>,
    /// Age at which a partition's runs move from the metadata to its manifest [default: 1h]
    ///
    /// Newer runs are kept in memory. Lower it with very many partitions, to keep the metadata
    /// small.
    #[arg(long, env = "STRANDLINE_MANIFEST_AFTER", value_name = "TIME", value_parser = duration,
          help_heading = RETENTION)]
    #[serde(deserialize_with = "text::duration")]
    pub manifest_after: Option<Duration>,
    /// A Kafka broker setting, NAME=VALUE, such as auto.create.topics.enable=false; may repeat. In
    /// the file: the table [kafka]
    ///
    /// docs/configuration-topics.md lists the names and which of them act.
    #[arg(long = "kafka", env = "STRANDLINE_KAFKA", value_name = "NAME=VALUE",
          value_parser = name_and_value, value_delimiter = ',',
          help_heading = KAFKA)]
    #[serde(skip)]
    pub kafka_pairs: Vec<(String, String)>,
    /// A TOML file with any of these settings, keys named like the flags
    ///
    /// A flag wins over its variable, a variable over the file.
    #[arg(long, env = "STRANDLINE_CONFIG", value_name = "FILE", help_heading = GENERAL)]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// How log lines are written: auto, text or json [default: auto]
    ///
    /// auto is text on a terminal and JSON otherwise. RUST_LOG chooses how much [usually
    /// error,strandline=info]; strandline=debug tells of every segment.
    #[arg(long, env = "STRANDLINE_LOG_FORMAT", value_name = "FORMAT", help_heading = GENERAL)]
    pub log_format: Option<LogFormat>,
    /// The file's table of Kafka broker settings.
    #[arg(skip)]
    pub kafka: BTreeMap<String, toml::Value>,
}

/// A checked configuration: every value typed, every default filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// The bucket's URL as given.
    pub bucket: String,
    /// Endpoint of an S3-compatible store.
    pub s3_endpoint: Option<String>,
    /// The WAL's folder.
    pub wal_dir: PathBuf,
    /// The WAL's budget; `None`: chosen from the free space.
    pub wal_budget: Option<ByteCount>,
    /// Kafka's listener.
    pub kafka_listen: SocketAddr,
    /// What clients are told.
    pub kafka_advertise: (String, u16),
    /// HTTP's listener.
    pub http_listen: SocketAddr,
    /// Host names of the HTTP side.
    pub http_names: Vec<String>,
    /// Whether it has a page.
    pub web: bool,
    /// A fixed broker id.
    pub broker_id: Option<BrokerId>,
    /// The rack.
    pub rack: Option<String>,
    /// What each part of the broker may take.
    pub memory: Memory,
    /// The folder of blocks.
    pub cache_dir: PathBuf,
    /// Its budget; 0: none; `None`: chosen from the bucket and the free space.
    pub cache_disk: Option<ByteCount>,
    /// The drain's limit.
    pub drain_timeout: Duration,
    /// Roll by size.
    pub roll_bytes: ByteCount,
    /// Roll by age.
    pub roll_after: Duration,
    /// The lease's length.
    pub lease: Duration,
    /// Retention's interval.
    pub retention_check: Duration,
    /// Grace of unlinked objects.
    pub delete_grace: Duration,
    /// The sweep's interval.
    pub sweep: Duration,
    /// Age of runs that move to manifests.
    pub manifest_after: Duration,
    /// Connection limit.
    pub max_connections: u32,
    /// Kafka broker settings by name.
    pub kafka: BTreeMap<String, String>,
    /// How log lines are written.
    pub log_format: LogFormat,
}

/// A third of what the default budget keeps of newest records: a segment that was closed is still
/// in memory when it is uploaded (read back from the disk, uploads cost twice the CPU).
const ROLL_BYTES: ByteCount = ByteCount::mib(32);
const DEFAULT_FOLDER: &str = "strandline-data";
/// What cold reads can do with at least: one request to the bucket.
const LEAST_COLD: ByteCount = ByteCount::mib(8);
/// What requests can do with at least, whatever `queued.max.request.bytes` says: a batch of
/// Kafka's default size.
const LEAST_REQUESTS: ByteCount = ByteCount::mib(2);

impl Settings {
    /// Reads the file the flags or the environment name, and checks everything together.
    ///
    /// # Errors
    /// The first key that cannot be used, with what to do.
    pub fn resolve(
        self,
        variables: impl Iterator<Item = String>,
        read: impl Fn(&Path) -> std::io::Result<Vec<u8>>,
    ) -> Result<Config, Error> {
        let known = known_variables();
        for name in variables.filter(|name| name.starts_with("STRANDLINE_")) {
            // Scripts, tests and the commands that talk to a cluster have some of their own.
            let tooling = name.starts_with("STRANDLINE_TEST_")
                || ["STRANDLINE_CACHE", BOOTSTRAP_VARIABLE].contains(&name.as_str());
            if !tooling && !known.contains(&name) {
                return Err(Error::UnknownVariable(name));
            }
        }
        let file = match &self.config {
            None => Self::default(),
            Some(path) => {
                let content = read(path)
                    .map_err(|source| Error::Unreadable { path: path.clone(), source })?;
                let text = String::from_utf8_lossy(&content);
                toml::from_str(&text).map_err(|error| Error::File {
                    path: path.clone(),
                    reason: without_values(&text, &error),
                })?
            }
        };
        self.over(file).check()
    }

    /// These settings, with `below` where they are silent.
    fn over(self, below: Self) -> Self {
        Self {
            config: self.config,
            bucket: self.bucket.or(below.bucket),
            s3_endpoint: self.s3_endpoint.or(below.s3_endpoint),
            wal_dir: self.wal_dir.or(below.wal_dir),
            wal_budget: self.wal_budget.or(below.wal_budget),
            kafka_listen: self.kafka_listen.or(below.kafka_listen),
            kafka_advertise: self.kafka_advertise.or(below.kafka_advertise),
            http_listen: self.http_listen.or(below.http_listen),
            http_names: self.http_names.or(below.http_names),
            web: self.web.or(below.web),
            broker_id: self.broker_id.or(below.broker_id),
            rack: self.rack.or(below.rack),
            memory_budget: self.memory_budget.or(below.memory_budget),
            tail_memory: self.tail_memory.or(below.tail_memory),
            cache_memory: self.cache_memory.or(below.cache_memory),
            cold_memory: self.cold_memory.or(below.cold_memory),
            cache_dir: self.cache_dir.or(below.cache_dir),
            cache_disk: self.cache_disk.or(below.cache_disk),
            drain_timeout: self.drain_timeout.or(below.drain_timeout),
            roll_bytes: self.roll_bytes.or(below.roll_bytes),
            roll_after: self.roll_after.or(below.roll_after),
            lease: self.lease.or(below.lease),
            retention_check: self.retention_check.or(below.retention_check),
            delete_grace: self.delete_grace.or(below.delete_grace),
            sweep: self.sweep.or(below.sweep),
            manifest_after: self.manifest_after.or(below.manifest_after),
            max_connections: self.max_connections.or(below.max_connections),
            kafka_pairs: self.kafka_pairs,
            kafka: below.kafka,
            log_format: self.log_format.or(below.log_format),
        }
    }

    fn check(mut self) -> Result<Config, Error> {
        let kafka_listen =
            socket("--kafka-listen", self.kafka_listen.as_deref(), "127.0.0.1:9092")?;
        let kafka_advertise = match &self.kafka_advertise {
            Some(text) => host_and_port("--kafka-advertise", text)?,
            None if kafka_listen.ip().is_unspecified() => {
                return Err(value(
                    "--kafka-advertise",
                    format!(
                        "is required when --kafka-listen is the wildcard {kafka_listen}: \
                         give the HOST:PORT at which clients reach this broker"
                    ),
                ));
            }
            None => (kafka_listen.ip().to_string(), kafka_listen.port()),
        };
        if let Some(id) = self.broker_id.filter(|id| *id < 0) {
            return Err(value("--broker-id", format!("{id} is negative; ids are 0 or more")));
        }
        let roll_bytes = self.roll_bytes.unwrap_or(ROLL_BYTES);
        if roll_bytes < ByteCount::kib(64) || roll_bytes > ByteCount::mib(1024) {
            return Err(value("--roll-bytes", "must lie between 64KiB and 1GiB".to_owned()));
        }
        if let Some(budget) = self.wal_budget.filter(|budget| budget.0 < roll_bytes.0 * 2) {
            return Err(value(
                "--wal-budget",
                format!("{budget} is too small: it must hold two segments of {roll_bytes}"),
            ));
        }
        let lease = self.lease.unwrap_or(Duration::from_secs(180));
        if lease < Duration::from_secs(3) {
            return Err(value("--lease", "must be at least 3s".to_owned()));
        }
        let folder = Path::new(DEFAULT_FOLDER);
        let wal_dir = self.wal_dir.take().unwrap_or_else(|| folder.join("wal"));
        let cache_dir = self.cache_dir.take().unwrap_or_else(|| beside(&wal_dir, "-cache"));
        let mut kafka: BTreeMap<String, String> =
            self.kafka.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
        kafka.extend(std::mem::take(&mut self.kafka_pairs));
        let memory = self.memory(&kafka)?;
        Ok(Config {
            bucket: self.bucket.unwrap_or_else(|| format!("./{DEFAULT_FOLDER}/bucket")),
            s3_endpoint: self.s3_endpoint,
            wal_dir,
            wal_budget: self.wal_budget,
            kafka_listen,
            kafka_advertise,
            http_listen: socket("--http-listen", self.http_listen.as_deref(), "127.0.0.1:8080")?,
            http_names: self.http_names.unwrap_or_default(),
            web: self.web.unwrap_or(true),
            broker_id: self.broker_id.map(BrokerId),
            rack: self.rack,
            cache_dir,
            cache_disk: self.cache_disk,
            drain_timeout: self.drain_timeout.unwrap_or(Duration::from_secs(60)),
            roll_bytes,
            roll_after: self.roll_after.unwrap_or(Duration::from_secs(10)),
            lease,
            retention_check: self.retention_check.unwrap_or(Duration::from_secs(300)),
            delete_grace: self.delete_grace.unwrap_or(Duration::from_secs(600)),
            sweep: self.sweep.unwrap_or(Duration::from_secs(24 * 3600)),
            manifest_after: self.manifest_after.unwrap_or(Duration::from_secs(3600)),
            max_connections: self.max_connections.unwrap_or_else(|| memory.most_connections()),
            memory,
            kafka,
            log_format: self.log_format.unwrap_or_default(),
        })
    }

    /// What each part may take.
    fn memory(&self, kafka: &BTreeMap<String, String>) -> Result<Memory, Error> {
        self.check_cold()?;
        let kafka = |name: &'static str| {
            let bytes = kafka.get(name)?.parse::<u64>().ok()?;
            Some((name, ByteCount(bytes)))
        };
        let split = |fixed: &Fixed| {
            let memory = memory::split(self.memory_budget, fixed);
            memory.map_err(|reason| value("--memory-budget", reason))
        };
        let connections = self.max_connections.map(memory::of_connections);
        // The largest request fits whatever is said of all; its length's four bytes are read too.
        let largest = kafka("socket.request.max.bytes");
        let largest = largest.map(|(name, bytes)| (name, ByteCount(bytes.0.saturating_add(4))));
        let least = largest.map_or(LEAST_REQUESTS, |(_, bytes)| bytes);
        let queued = kafka("queued.max.request.bytes");
        let fixed = Fixed {
            connections: connections.map(|bytes| ("--max-connections", bytes)),
            tail: self.tail_memory.map(|bytes| ("--tail-memory", bytes)),
            cache: self.cache_memory.map(|bytes| ("--cache-memory", bytes)),
            cold: self.cold_memory.map(|bytes| ("--cold-memory", bytes)),
            requests: queued.map(|(name, bytes)| (name, bytes.max(least))),
        };
        let memory = split(&fixed)?;
        match largest.filter(|(_, bytes)| *bytes > memory.requests) {
            None => Ok(memory),
            Some(largest) => split(&Fixed { requests: Some(largest), ..fixed }),
        }
    }

    /// Checks what cold reads may take.
    fn check_cold(&self) -> Result<(), Error> {
        if self.cold_memory.is_some_and(|memory| memory < LEAST_COLD) {
            return Err(value("--cold-memory", format!("must be at least {LEAST_COLD}")));
        }
        let small = |disk: &ByteCount| disk.0 > 0 && *disk < LEAST_BUDGET;
        if let Some(disk) = self.cache_disk.filter(small) {
            let reason = format!("{disk} is too small: 0 for none, or at least {LEAST_BUDGET}");
            return Err(value("--cache-disk", reason));
        }
        Ok(())
    }
}

/// The folder in the same place that has `more` in its name.
fn beside(folder: &Path, more: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(more);
    folder.with_file_name(name)
}

fn value(key: &'static str, reason: String) -> Error {
    Error::Value { key, reason }
}

/// Where the file is wrong, and how. The line itself is not shown: it may hold a secret.
fn without_values(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count().saturating_add(1));
    format!("line {line}: {}", error.message())
}

fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn socket(key: &'static str, text: Option<&str>, default: &str) -> Result<SocketAddr, Error> {
    let text = text.unwrap_or(default);
    let (host, port) = host_and_port(key, text)?;
    let host = if host == "localhost" { "127.0.0.1" } else { host.as_str() };
    let ip = host.parse().map_err(|_| {
        value(key, format!("{text:?}: listen on an IP address, such as 127.0.0.1 or 0.0.0.0"))
    })?;
    Ok(SocketAddr::new(ip, port))
}

fn host_and_port(key: &'static str, text: &str) -> Result<(String, u16), Error> {
    let wrong = || value(key, format!("{text:?} is not HOST:PORT"));
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(wrong());
    }
    Ok((host.to_owned(), port.parse().map_err(|_| wrong())?))
}

fn known_variables() -> Vec<String> {
    let command = Settings::augment_args(clap::Command::new("settings"));
    let names = command.get_arguments().filter_map(clap::Arg::get_env);
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(settings: Settings, file: &str) -> Result<Config, Error> {
        settings.resolve(std::iter::empty(), |_| Ok(file.as_bytes().to_vec()))
    }

    fn with_file() -> Settings {
        Settings { config: Some("strandline.toml".into()), ..Settings::default() }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = "bucket = \"memory://\"\nroll-after = \"3s\"\n";
        let mut settings = with_file();
        settings.bucket = Some("s3://flag/x".to_owned());
        let config = resolve(settings, file).unwrap();
        assert_eq!(config.bucket, "s3://flag/x");
        assert_eq!(config.roll_after, Duration::from_secs(3));
        assert_eq!(config.roll_bytes, ByteCount::mib(32));
    }

    #[test]
    fn an_unknown_key_of_the_file_is_an_error() {
        let error = resolve(with_file(), "buckett = \"memory://\"").unwrap_err().to_string();
        assert!(error.contains("buckett"), "{error}");
    }

    #[test]
    fn an_error_of_the_file_tells_the_line_and_shows_no_value() {
        let file = "bucket = \"memory://\"\naws-secret-access-key = \"CANARY\"\n";
        let error = resolve(with_file(), file).unwrap_err().to_string();
        assert!(error.contains("line 2: unknown field `aws-secret-access-key`"), "{error}");
        assert!(!error.contains("CANARY"), "{error}");
    }

    #[test]
    fn an_unknown_variable_is_an_error_and_names_itself() {
        let tooling = ["STRANDLINE_TEST_X", "STRANDLINE_CACHE", "STRANDLINE_BOOTSTRAP"];
        let variables =
            [&["PATH", "STRANDLINE_BUCKET"], &tooling[..], &["STRANDLINE_BUKET"]].concat();
        let error = Settings::default()
            .resolve(variables.into_iter().map(str::to_owned), |_| Ok(Vec::new()))
            .unwrap_err();
        assert!(matches!(error, Error::UnknownVariable(name) if name == "STRANDLINE_BUKET"));
    }

    #[test]
    fn the_cache_lies_beside_the_wal_and_is_off_or_large_enough() {
        let mut settings = Settings { wal_dir: Some("/data/wal/".into()), ..Settings::default() };
        assert_eq!(resolve(settings.clone(), "").unwrap().cache_dir, Path::new("/data/wal-cache"));
        settings.cache_disk = Some(ByteCount(0));
        assert_eq!(resolve(settings.clone(), "").unwrap().cache_disk, Some(ByteCount(0)));
        settings.cache_disk = Some(ByteCount::mib(1));
        assert!(resolve(settings, "").unwrap_err().to_string().contains("at least 64"));
    }

    #[test]
    fn the_largest_request_and_what_is_set_by_itself_fit_in_the_memory_budget_or_are_named() {
        let largest = ("socket.request.max.bytes".to_owned(), "104857600".to_owned());
        let mut settings = Settings { kafka_pairs: vec![largest], ..Settings::default() };
        let memory = resolve(settings.clone(), "").unwrap().memory;
        assert_eq!(memory.requests, ByteCount(104_857_604));
        settings.memory_budget = Some(ByteCount::mib(128));
        let refused = resolve(settings.clone(), "").unwrap_err().to_string();
        assert!(refused.starts_with("--memory-budget: 128"), "{refused}");
        assert!(refused.contains("socket.request.max.bytes takes 100"), "{refused}");
        settings.kafka_pairs = vec![("queued.max.request.bytes".to_owned(), "1".to_owned())];
        let alone = resolve(settings.clone(), "").unwrap().memory.requests;
        assert_eq!(alone, LEAST_REQUESTS);
        settings.kafka_pairs.push(("socket.request.max.bytes".to_owned(), "1000".to_owned()));
        assert_eq!(resolve(settings, "").unwrap().memory.requests, ByteCount(1004));
    }

    #[test]
    fn a_wildcard_listener_needs_an_advertised_address() {
        let mut settings =
            Settings { kafka_listen: Some("0.0.0.0:9092".to_owned()), ..Settings::default() };
        assert!(resolve(settings.clone(), "").unwrap_err().to_string().contains("is required"));
        settings.kafka_advertise = Some("broker.example:9092".to_owned());
        let config = resolve(settings, "").unwrap();
        assert_eq!(config.kafka_advertise, ("broker.example".to_owned(), 9092));
    }

    #[test]
    fn kafka_settings_come_from_the_table_and_the_flag_wins() {
        let mut settings = with_file();
        settings.kafka_pairs = vec![("num.partitions".to_owned(), "8".to_owned())];
        let file = "[kafka]\n\"num.partitions\" = 2\n\"auto.create.topics.enable\" = false\n";
        let config = resolve(settings, file).unwrap();
        assert_eq!(config.kafka["num.partitions"], "8");
        assert_eq!(config.kafka["auto.create.topics.enable"], "false");
    }

    #[test]
    fn every_file_key_is_a_flag_and_every_flag_a_variable() {
        let command = Settings::augment_args(clap::Command::new("settings"));
        for argument in command.get_arguments() {
            let flag = argument.get_long().unwrap();
            let variable = argument.get_env().unwrap().to_string_lossy().into_owned();
            let expected = format!("STRANDLINE_{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(variable, expected);
        }
    }
}
