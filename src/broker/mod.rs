//! One broker process: builds every part, starts them in order, ends them in order.
//!
//! Owns: which parts there are and how they are wired, the lives of incarnations, drain.
//! Does not own: protocol bytes, any algorithm. Invariants: nothing is served before the former
//! incarnation's log is sealed; an incarnation that failed is over before the next registers; the
//! WAL folder is never given up while it holds what the bucket lacks.

mod at_risk;
mod check;
mod cold;
mod door;
mod drain;
mod error;
mod incarnation;
mod join;
mod lines;
mod metrics;
mod recovery;
mod settings;
mod simulated;
mod status;

use std::{
    net::SocketAddr,
    str::FromStr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::FutureExt;
use tokio::sync::{mpsc, watch};

pub use check::{Finding, Verdict, check};
pub use error::Error;
pub use simulated::{Outside, run_over};

use self::incarnation::{End, Incarnation};
use crate::{
    cluster::{
        self, Cluster, Probe,
        configs::{Layers, Values},
    },
    config::Config,
    env::{Env, background::Background, clock, task::Tasks},
    http,
    kafka::Service,
    log::objects::Objects,
    metrics::Registry,
    store::{BucketUrl, Store},
    wal::Folder,
};

/// How a disk that failed is asked whether it takes writes again.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// What the operator wants of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopAsked {
    /// To go on.
    No,
    /// To bring everything to the bucket, then end.
    Drain,
    /// To end now; what is in the WAL folder stays there.
    AtOnce,
}

/// How the process ended when nothing failed.
#[derive(Debug)]
pub enum Ended {
    /// The WAL folder holds nothing the bucket lacks.
    Drained,
    /// The WAL folder must be kept, or another broker took over.
    Left {
        /// Why, and what to do.
        reason: String,
    },
}

/// What lives as long as the process.
struct Broker {
    config: Config,
    url: BucketUrl,
    /// Kafka settings given at start, checked.
    given: Values,
    env: Env,
    tasks: Tasks,
    service: watch::Sender<Service>,
    asked: watch::Receiver<StopAsked>,
    metrics: metrics::Metrics,
    /// For all that reading old records takes; uploads have others.
    cold_threads: Background,
    status: status::Status,
    orders: tokio::sync::Mutex<mpsc::Receiver<recovery::Order>>,
    at_risk: at_risk::Source,
    metadata: cluster::Config,
    door: door::Door,
    /// Whether the holder of the lease is at its address.
    is_alive: Probe,
    http_address: SocketAddr,
    // Dropped last: health is answered to the end.
    _http: Option<http::Server>,
}

/// What a broker has before it reaches for anything outside.
struct Opened {
    url: BucketUrl,
    given: Values,
    registry: Registry,
    metrics: metrics::Metrics,
    folder: Folder,
    status: status::Status,
}

impl Opened {
    async fn open(config: &Config, env: &Env) -> Result<Self, Error> {
        let url: BucketUrl = parse_bucket(&config.bucket)?;
        let given = Layers::check_given(&config.kafka)?;
        let mut registry = Registry::with_prefix("strandline");
        let metrics = metrics::Metrics::new(&mut registry);
        metrics.show(&config.memory);
        let folder = join::open_folder(config, env, &url).await?;
        let status = status::Status::new(http::Identity {
            storage: folder.identity().storage.to_string(),
            cluster: folder.identity().cluster.map(|cluster| cluster.to_string()),
        });
        Ok(Self { url, given, registry, metrics, folder, status })
    }
}

/// Runs a broker until it is asked to stop or cannot go on. `say` is for lines to a person; what
/// `trouble` keeps of the log is shown.
///
/// # Errors
/// What starting again as it is would not mend; the text says what would.
pub async fn run(
    config: Config,
    env: Env,
    asked: watch::Receiver<StopAsked>,
    trouble: http::Trouble,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Ended, Error> {
    let began = env.clock.boot();
    let Opened { url, given, registry, metrics, folder, status } =
        Opened::open(&config, &env).await?;
    let door = door::Door::reserve(&config)?;
    let (accept_loss, orders) = mpsc::channel(1);
    let service = watch::Sender::new(Service::Starting);
    let opened = Arc::new(OnceLock::new());
    let counted = metrics.clone();
    let faces = http::Faces {
        readiness: status.readiness(),
        identity: status.identity(),
        registry: Arc::new(registry),
        metrics: metrics.http.clone(),
        accept_loss,
        service: service.subscribe(),
        store: Arc::clone(&opened),
        bucket: url.to_string(),
        meters: Arc::new(move || counted.meters()),
        trouble,
        clock: Arc::clone(&env.clock),
        names: names(&config),
        page: config.web,
    };
    let http = http::Server::start(config.http_listen, faces)?;
    lines::start(&config, &url, http.address(), say);
    let store = join::open_store(&config, &url, &env, &metrics).await?;
    opened.get_or_init(|| store.clone());
    let tasks = Tasks::new();
    let at_risk = at_risk::Source::default();
    let orders = tokio::sync::Mutex::new(orders);
    let broker = Broker {
        config,
        url,
        given,
        env,
        tasks,
        service,
        asked,
        metrics,
        cold_threads: Background::new(),
        status,
        orders,
        at_risk,
        metadata: cluster::Config::default(),
        door,
        is_alive: Arc::new(|address, storage| join::answers(address, storage.to_string()).boxed()),
        http_address: http.address(),
        _http: Some(http),
    };
    Box::pin(broker.run(folder, &store, began, say)).await
}

/// Host names browsers may know this broker by.
fn names(config: &Config) -> Vec<String> {
    let advertised = config.kafka_advertise.0.clone();
    config.http_names.iter().cloned().chain([advertised]).collect()
}

fn parse_bucket(text: &str) -> Result<BucketUrl, Error> {
    text.parse().map_err(|error: <BucketUrl as FromStr>::Err| Error::Bucket(error.to_string()))
}

impl Broker {
    async fn run(
        self,
        folder: Folder,
        store: &Store,
        began: Duration,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Ended, Error> {
        let ended = self.live(folder, store, began, say).await;
        self.tasks.abort().await;
        ended
    }

    async fn live(
        &self,
        folder: Folder,
        store: &Store,
        began: Duration,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Ended, Error> {
        let joined = self.unless_asked(self.join(&folder, store)).await;
        let Some(cluster) = joined.transpose()? else { return Ok(drain::unserved(&folder, None)) };
        self.probe_while_away(store.clone());
        let (objects, disk) = self.cold(store, cluster.with(|state| state.cluster_id));
        let ended = self.serve(&folder, store, &cluster, &objects, began, say).await;
        if let Some(disk) = disk {
            disk.stop().await;
        }
        ended
    }

    /// One incarnation after the other, until there shall be no more.
    async fn serve(
        &self,
        folder: &Folder,
        store: &Store,
        cluster: &Cluster,
        objects: &Objects,
        began: Duration,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Ended, Error> {
        let mut greeted = false;
        loop {
            let started =
                self.unless_asked(Box::pin(self.incarnate(folder, store, cluster, objects))).await;
            let incarnation = match started {
                None => return Ok(drain::unserved(folder, Some(cluster))),
                Some(Ok(incarnation)) => incarnation,
                // A disk that served before may fail again before it serves once more.
                Some(Err(error)) if greeted && error.is_disk() => {
                    if !self.disk_is_back(&error.to_string()).await {
                        return Ok(self.left());
                    }
                    continue;
                }
                Some(Err(error)) => return Err(error),
            };
            self.status.serving();
            let took = self.env.clock.boot().saturating_sub(began);
            if !std::mem::replace(&mut greeted, true) {
                self.log_start(&incarnation, took);
                lines::ready(&self.config, took, say);
            }
            match incarnation.end(self).await {
                End::Asked => return Ok(self.drain(incarnation, folder, cluster).await),
                End::Disk(reason) => {
                    tracing::error!(
                        %reason,
                        folder = %self.config.wal_dir.display(),
                        advice = "mend the disk or free some room: it goes on by itself as soon as \
                                  the folder takes writes",
                        "the write-ahead log's disk failed, nothing more is acknowledged"
                    );
                    incarnation.abort(self).await;
                    if !self.disk_is_back(&reason).await {
                        return Ok(self.left());
                    }
                }
                End::Over(reason) => {
                    incarnation.abort(self).await;
                    let reason = format!("{reason}; {}", drain::keep(&self.config.wal_dir));
                    return Ok(Ended::Left { reason });
                }
            }
        }
    }

    /// The one line of a start: whoever reads only this knows who serves what, where.
    fn log_start(&self, incarnation: &Incarnation, took: Duration) {
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            kafka = %self.config.kafka_listen,
            http = %self.http_address,
            bucket = %self.url,
            incarnation = %incarnation.id,
            access = lines::access(&self.config, self.http_address),
            "started"
        );
    }

    /// Waits until the disk takes writes again, for recovery to read the folder anew (H12);
    /// `false` when the operator wants an end first.
    async fn disk_is_back(&self, reason: &str) -> bool {
        self.status.waiting(format!("the disk of the WAL folder failed: {reason}; waiting for it"));
        let back = self.unless_asked(async {
            while !join::takes_writes(&self.config.wal_dir, &self.env).await {
                clock::sleep(DISK_RETRY).await;
            }
        });
        back.await.is_some()
    }

    /// The end of a broker whose WAL folder is still needed.
    fn left(&self) -> Ended {
        Ended::Left { reason: drain::keep(&self.config.wal_dir) }
    }

    /// Serves no more for the time being: clients get errors that they retry.
    fn closed(&self) {
        self.service.send_modify(|service| *service = service.closed());
    }

    /// The outcome of `work`, or `None` when the operator wants an end first.
    async fn unless_asked<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut asked = self.asked.clone();
        tokio::select! {
            biased;
            _ = asked.wait_for(|asked| *asked != StopAsked::No) => None,
            done = work => Some(done),
        }
    }

    /// While the bucket is away nothing rolls, so nobody else would notice its return.
    fn probe_while_away(&self, store: Store) {
        const EVERY: Duration = Duration::from_secs(1);
        self.tasks.spawn("probe", async move {
            let mut away = store.subscribe_away();
            while away.wait_for(Option::is_some).await.is_ok() {
                clock::sleep(EVERY).await;
                drop(store.get(&crate::store::path::cluster()).await);
            }
        });
    }
}
