//! `serve --check`: whether a broker could start with a configuration, found out without starting.
//!
//! Owns: what is looked at, in which order, and the advice on what is wrong. Does not own: how it
//! is shown. Invariants: no lease is taken, no identity is made, nothing of a cluster's is written:
//! what is written are throw-away keys and files of its own, which it deletes.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use super::{door, incarnation, join, lines};
use crate::{
    cluster::{self, ReadError, Seen, configs::Layers},
    config::Config,
    env::{Env, net},
    metrics::Registry,
    store::{self, BucketUrl, CheckError, FailureKind, Store},
    types::{ByteCount, StorageId},
    wal::{Folder, FoundSegment, Identity},
};

/// One line of the checklist.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub about: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// A start goes on, but it is better known.
    Note,
    /// A start would fail, or wait until somebody acts.
    Failed,
}

/// The findings, in the order in which they were made.
#[derive(Debug, Default)]
struct Checklist(Vec<Finding>);

impl Checklist {
    fn ok(&mut self, about: &'static str, found: impl Into<String>) {
        self.add(about, Verdict::Ok, found.into(), None);
    }

    fn note(&mut self, about: &'static str, found: impl Into<String>, advice: &str) {
        self.add(about, Verdict::Note, found.into(), Some(advice.to_owned()));
    }

    fn failed(&mut self, about: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.add(about, Verdict::Failed, found.into(), Some(advice.into()));
    }

    fn add(
        &mut self,
        about: &'static str,
        verdict: Verdict,
        found: String,
        advice: Option<String>,
    ) {
        self.0.push(Finding { about, verdict, found, advice });
    }
}

/// What the WAL folder says of itself.
#[derive(Default)]
struct Disk {
    /// Open, so that nobody else starts on it meanwhile.
    folder: Option<Folder>,
    identity: Option<Identity>,
    found: Vec<FoundSegment>,
}

/// Looks at everything a start needs.
pub async fn check(config: &Config, env: &Env) -> Vec<Finding> {
    let mut list = Checklist::default();
    settings(config, &mut list);
    ports(config, &mut list).await;
    let disk = wal(config, env, &mut list).await;
    room(config, env, &disk, &mut list);
    let seen = bucket(config, env, &disk, &mut list).await;
    unsaved(&disk, seen.as_ref(), &mut list);
    list.0
}

fn settings(config: &Config, list: &mut Checklist) {
    match Layers::check_given(&config.kafka) {
        Ok(_) => {
            let kafka = match config.kafka.len() {
                0 => String::new(),
                count => format!(", {count} of Kafka's among them"),
            };
            list.ok("settings", format!("every setting holds{kafka}"));
        }
        Err(error) => {
            let advice = "correct it; docs/configuration-topics.md lists the names and values";
            list.failed("settings", format!("--kafka: {error}"), advice);
        }
    }
}

async fn ports(config: &Config, list: &mut Checklist) {
    let mut port = |about, address: SocketAddr, tried: Result<(), String>, flag: &str| match tried {
        Ok(()) => list.ok(about, format!("{address} is free")),
        Err(error) => {
            let advice = format!("stop what listens there, or choose another with {flag}");
            list.failed(about, format!("{address}: {error}"), advice);
        }
    };
    let kafka = door::Door::reserve(config).map(drop).map_err(|error| match error {
        super::Error::Kafka { source, .. } => source.to_string(),
        other => other.to_string(),
    });
    port("kafka port", config.kafka_listen, kafka, "--kafka-listen");
    let http = net::listen(config.http_listen).map(drop).map_err(|error| error.to_string());
    port("http port", config.http_listen, http, "--http-listen");
    let (host, number) = &config.kafka_advertise;
    match net::lookup_host((host.as_str(), *number)).await.map(|mut found| found.next()) {
        Ok(Some(_)) => list.ok("advertised", format!("clients are told {host}:{number}")),
        Ok(None) | Err(_) => list.note(
            "advertised",
            format!("clients are told {host}:{number}, a name this machine does not know"),
            "clients must know it; if they do not, correct --kafka-advertise",
        ),
    }
    let access = lines::access(config, config.http_listen);
    if lines::is_private(config, config.http_listen) {
        list.ok("access", access);
    } else {
        list.note("access", access, "keep it to networks you trust: a firewall, a private subnet");
    }
}

/// The WAL folder: whether it can be used, and by whom it was.
async fn wal(config: &Config, env: &Env, list: &mut Checklist) -> Disk {
    const ABOUT: &str = "wal folder";
    let path = &config.wal_dir;
    let shown = path.display();
    match Folder::is_new(path, env) {
        Ok(true) => {
            match takes_files(env, &nearest(env, path)) {
                Ok(()) => list.ok(ABOUT, format!("{shown} is new: a start makes it")),
                Err(error) => list.failed(
                    ABOUT,
                    format!("{shown} cannot be made: {error}"),
                    "give this user the right to write there, or choose another --wal-dir",
                ),
            }
            return Disk::default();
        }
        Ok(false) => {}
        Err(error) => {
            list.failed(ABOUT, format!("{shown}: {error}"), advice_on_wal(&error, path));
            return Disk::default();
        }
    }
    let url = config.bucket.parse().unwrap_or(BucketUrl::Folder(PathBuf::new()));
    let folder = match join::open_folder(config, env, &url).await {
        Ok(folder) => folder,
        Err(error) => {
            let advice = match &error {
                super::Error::Folder { source, .. } => advice_on_wal(source, path),
                _ => "give the bucket it belongs to, or another --wal-dir".to_owned(),
            };
            list.failed(ABOUT, error.to_string(), advice);
            return Disk::default();
        }
    };
    let identity = folder.identity();
    if join::takes_writes(path, env).await {
        let whose = match identity.broker {
            Some(broker) => format!("of broker {broker}"),
            None => "of no broker yet".to_owned(),
        };
        let storage = identity.storage;
        list.ok(ABOUT, format!("{shown} ({whose}, disk {storage}) is free and takes writes"));
    } else {
        let advice = "free some room, or mend the disk; then check again";
        list.failed(ABOUT, format!("{shown} does not take writes"), advice);
    }
    Disk { identity: Some(identity), found: folder.found(), folder: Some(folder) }
}

fn advice_on_wal(error: &crate::wal::Error, path: &Path) -> String {
    use crate::wal::Error;
    match error {
        Error::Locked { .. } => {
            "a broker runs on it: stop that one first, or choose another --wal-dir".to_owned()
        }
        Error::Format { .. } => {
            "start with the release that wrote it, or put the missing file back; never delete WAL \
             files whose records are not in the bucket"
                .to_owned()
        }
        Error::Disk(_) => format!("can this user read and write {}?", path.display()),
        _ => "give the WAL folder that belongs to this bucket".to_owned(),
    }
}

/// The folder itself, or the nearest above it that is there.
fn nearest(env: &Env, path: &Path) -> PathBuf {
    let there = |folder: &&Path| folder.as_os_str().is_empty() || env.disk.list(folder).is_ok();
    let found = path.ancestors().find(there).unwrap_or(Path::new("."));
    if found.as_os_str().is_empty() { PathBuf::from(".") } else { found.to_owned() }
}

/// Makes a file of a name nobody has, and deletes it.
fn takes_files(env: &Env, folder: &Path) -> std::io::Result<()> {
    let name = format!(".strandline-check-{:016x}", env.entropy.next_u64());
    let path = folder.join(name);
    env.disk.open(&path, true).map(drop)?;
    env.disk.delete(&path)
}

fn room(config: &Config, env: &Env, disk: &Disk, list: &mut Checklist) {
    const ABOUT: &str = "wal room";
    let free = match env.disk.free_bytes(&nearest(env, &config.wal_dir)) {
        Ok(free) => ByteCount(free),
        Err(error) => {
            let advice = "can this user read the folder?";
            return list.failed(ABOUT, format!("cannot be asked: {error}"), advice);
        }
    };
    let least = ByteCount(config.roll_bytes.0.saturating_mul(2));
    let held = ByteCount(disk.found.iter().map(|found| found.bytes).sum());
    let budget = incarnation::wal_budget(config, free);
    if free.0.saturating_add(held.0) < least.0 {
        list.failed(
            ABOUT,
            format!("{free} free, two segments of {} are needed", config.roll_bytes),
            "free some room, choose another --wal-dir, or a smaller --roll-bytes",
        );
    } else if budget.0 > free.0.saturating_add(held.0) {
        list.note(
            ABOUT,
            format!("{free} free, less than the budget of {budget}"),
            "writes will be refused when the disk is full, before the budget is used up",
        );
    } else {
        list.ok(ABOUT, format!("{free} free, the budget is {budget}"));
    }
}

/// The bucket: whether it answers, keeps the contract, and is ours to take.
async fn bucket(config: &Config, env: &Env, disk: &Disk, list: &mut Checklist) -> Option<Seen> {
    const ABOUT: &str = "bucket";
    let url: BucketUrl = match config.bucket.parse() {
        Ok(url) => url,
        Err(error) => {
            let error: <BucketUrl as std::str::FromStr>::Err = error;
            list.failed(ABOUT, error.to_string(), "correct --bucket");
            return None;
        }
    };
    if let BucketUrl::Folder(path) = &url
        && env.disk.list(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
    {
        match takes_files(env, &nearest(env, path)) {
            Ok(()) => list.ok(ABOUT, format!("{url} is new: a start makes it")),
            Err(error) => {
                let advice = "give this user the right to write there, or choose another --bucket";
                list.failed(ABOUT, format!("{url} cannot be made: {error}"), advice);
            }
        }
        owner(None, disk, list);
        return None;
    }
    let options =
        store::Options { s3_endpoint: config.s3_endpoint.clone(), ..store::Options::default() };
    let metrics = store::Metrics::new(&mut Registry::default());
    let store = match Store::open(&url, &options, env, metrics).await {
        Ok(store) => store,
        Err(error) => {
            list.failed(ABOUT, format!("{url}: {error}"), "correct the settings it names");
            return None;
        }
    };
    let seen = match cluster::look(&store, env).await {
        Ok(seen) => {
            list.ok(ABOUT, format!("{url} answers"));
            seen
        }
        Err(error) => {
            let advice = match &error {
                ReadError::Failed(failure) => failure.kind().advice(),
                ReadError::Damaged { .. } => {
                    "the metadata cannot be used: is the prefix right, and the release new enough?"
                }
            };
            list.failed(ABOUT, format!("{url}: {error}"), advice);
            return None;
        }
    };
    contract(&store, list).await;
    owner(seen.as_ref(), disk, list);
    lease(seen.as_ref(), disk, list).await;
    seen
}

async fn contract(store: &Store, list: &mut Checklist) {
    const ABOUT: &str = "contract";
    match store.check_contract().await {
        Ok(report) => {
            let took: Duration = report.steps.iter().map(|step| step.took).sum();
            let (steps, ms) = (report.steps.len(), took.as_millis());
            list.ok(ABOUT, format!("{steps} promises tried and kept, in {ms} ms"));
        }
        Err(CheckError::Broken { finding }) => {
            let advice = "use another store: this one would lose or mix up data";
            list.failed(ABOUT, finding, advice);
        }
        Err(CheckError::Failed(failure)) => {
            list.failed(ABOUT, format!("not tried to the end: {failure}"), advice_on(&failure));
        }
    }
}

fn advice_on(failure: &store::Failure) -> &'static str {
    match failure.kind() {
        FailureKind::Denied => {
            "reading is allowed, something else is not: the credentials must read, write, list and \
             delete under this prefix"
        }
        other => other.advice(),
    }
}

/// Whether bucket and WAL folder belong together.
fn owner(seen: Option<&Seen>, disk: &Disk, list: &mut Checklist) {
    const ABOUT: &str = "cluster";
    let known = disk.identity.and_then(|identity| identity.cluster);
    let advice = "give the bucket and prefix this WAL folder belongs to, or another --wal-dir";
    match (seen, known) {
        (Some(seen), Some(known)) if seen.cluster != known => {
            let found = seen.cluster;
            let text = format!("the WAL folder belongs to cluster {known}, the bucket to {found}");
            list.failed(ABOUT, text, advice);
        }
        (None, Some(known)) => {
            let text = format!("the WAL folder belongs to cluster {known}, the bucket has none");
            list.failed(ABOUT, text, advice);
        }
        (None, None) => list.ok(ABOUT, "none is there: the first start makes one"),
        (Some(Seen { cluster, state, .. }), _) => {
            let partitions: usize = state.topics.values().map(|it| it.partitions.len()).sum();
            let (topics, index) = (state.topics.len(), state.index);
            let newest = |storage| incarnation::newest_of(state, storage);
            let copy =
                disk.folder.as_ref().map(|it| it.check_newest(newest(it.identity().storage)));
            if let Some(Err(error)) = copy {
                let advice = "keep both as they are; start on the folder and bucket as they were, \
                              or on an empty folder, which tells what may be missing";
                return list.failed(ABOUT, error.to_string(), advice);
            }
            list.ok(
                ABOUT,
                format!("{cluster}: {topics} topics, {partitions} partitions, log read to {index}"),
            );
        }
    }
}

/// Whether somebody else holds the cluster.
async fn lease(seen: Option<&Seen>, disk: &Disk, list: &mut Checklist) {
    const ABOUT: &str = "lease";
    let own: Option<StorageId> = disk.identity.map(|identity| identity.storage);
    let Some(lease) = seen.and_then(|seen| seen.lease.as_ref()) else {
        return list.ok(ABOUT, "nobody holds it");
    };
    let address = &lease.address;
    if lease.released {
        list.ok(ABOUT, "its last holder released it");
    } else if own == Some(lease.storage) {
        list.ok(ABOUT, "this WAL folder's broker held it last: a start takes it back at once");
    } else if join::answers(address.clone(), lease.storage.to_string()).await {
        let text = format!("the broker at {address} holds this cluster and answers");
        list.failed(ABOUT, text, "stop it first (SIGTERM: it brings everything to the bucket)");
    } else {
        let seconds = lease.ttl.as_secs();
        list.note(
            ABOUT,
            format!("the broker at {address} held it last and does not answer"),
            &format!("a start waits up to {seconds} s for it; start on its WAL folder if you can"),
        );
    }
}

/// What the WAL folder holds that the bucket lacks.
fn unsaved(disk: &Disk, seen: Option<&Seen>, list: &mut Checklist) {
    const ABOUT: &str = "not uploaded";
    if disk.identity.is_none() {
        return;
    }
    // What is sealed is in the bucket, though its files may not be trimmed yet.
    let open =
        |found: &&FoundSegment| seen.is_none_or(|seen| seen.state.segments.contains_key(&found.id));
    let found: Vec<_> = disk.found.iter().filter(open).collect();
    let bytes = ByteCount(found.iter().map(|found| found.bytes).sum());
    let damaged: Vec<_> = found
        .iter()
        .filter_map(|found| found.damage.as_ref().map(|why| format!("{} ({why})", found.id)))
        .collect();
    if let Some(first) = damaged.first() {
        list.failed(
            ABOUT,
            format!("{} of {} segments are damaged: {first}", damaged.len(), found.len()),
            "start on the folder as it was, if there is a better copy; else a start waits until \
             the loss is accepted with `strandline cluster accept-loss`",
        );
    } else if bytes.0 == 0 {
        list.ok(ABOUT, "nothing: the bucket has all that was acknowledged here");
    } else {
        let up_to = if seen.is_some() { "" } else { "up to " };
        let segments = found.len();
        let text = format!("{up_to}{bytes} in {segments} segments: a start uploads them");
        list.note(ABOUT, text, "keep this folder until a broker ran on it and drained");
    }
}
