//! One life of the broker between a registration and its end.
//!
//! Owns: the order in which an incarnation's parts start and stop. Invariants: it serves only
//! after every former incarnation is recovered; its tasks never outlive it.

use std::{sync::Arc, time::Duration};

use super::{Broker, Error, door::Open};
use crate::{
    cluster::{Applied, Cluster, CommitError, Member, Record, State},
    config::Config,
    env::{clock, task::Tasks},
    group::{self, Groups},
    kafka::{self, FetchSessions, ProducerIds, Service, Serving},
    log::{
        self, Log,
        objects::Objects,
        recover,
        retention::{self, Retention},
        sweep::{self, Sweep},
        upload::{self, TopicConfigs, Uploader},
    },
    replication::{self, EndReason, Replication},
    store::Store,
    types::{self, BrokerId, ByteCount, SegmentId, StorageId},
    wal::{self, Folder, OpenSegment},
};

/// Segments opened at a start: one to write and one spare.
const FIRST_SEGMENTS: u64 = 2;
/// Object ids reserved at a start; more are taken with uploads.
const FIRST_IDS: u64 = 1000;
/// How long nothing is appended before buffers are given back.
const REST_AFTER: Duration = Duration::from_secs(5);
/// The WAL's budget when none is given.
const BUDGET: ByteCount = ByteCount::mib(4096);

/// A registered broker process and its parts.
pub(super) struct Incarnation {
    /// Its name.
    pub(super) id: types::Incarnation,
    cluster: Cluster,
    replication: Replication,
    uploader: Uploader,
    tasks: Tasks,
}

/// Why an incarnation is over.
pub(super) enum End {
    /// The operator wants it.
    Asked,
    /// The WAL's disk failed, and why: another incarnation may follow on it.
    Disk(String),
    /// This process cannot go on, and why.
    Over(String),
}

impl Broker {
    /// Registers, recovers what was before, starts all parts and opens for clients.
    pub(super) async fn incarnate(
        &self,
        folder: &Folder,
        store: &Store,
        cluster: &Cluster,
        objects: &Objects,
    ) -> Result<Incarnation, Error> {
        self.status.at("registering");
        let (broker, id) = self.register(folder, cluster).await?;
        let configs = self.topic_configs(broker);
        let settings = upload::Settings::within(self.config.memory.upload);
        let recovery = recover::Parts {
            cluster: cluster.clone(),
            folder: folder.clone(),
            store: store.clone(),
            objects: objects.clone(),
            env: self.env.clone(),
            broker,
            incarnation: id,
            configs: configs.clone(),
            settings,
        };
        self.recover(&recovery).await?;
        let replication = self.start_log(folder, store, cluster, broker, id).await?;
        self.at_risk.follow(replication.clone());
        let tasks = Tasks::new();
        let uploader = Uploader::start(
            upload::Parts {
                cluster: cluster.clone(),
                replication: replication.clone(),
                store: store.clone(),
                objects: objects.clone(),
                env: self.env.clone(),
                incarnation: id,
                configs: configs.clone(),
                settings,
                metrics: self.metrics.upload.clone(),
            },
            &tasks,
        );
        let incarnation =
            Incarnation { id, cluster: cluster.clone(), replication, uploader, tasks };
        self.start_housekeeping(&incarnation, store, objects, &configs);
        self.open(&incarnation, broker, store, objects.clone(), configs)?;
        Ok(incarnation)
    }

    async fn register(
        &self,
        folder: &Folder,
        cluster: &Cluster,
    ) -> Result<(BrokerId, types::Incarnation), Error> {
        let identity = folder.identity();
        let newest = cluster.with(|state| newest_of(state, identity.storage));
        self.in_folder(folder, move |folder| folder.begin_registration(newest)).await?;
        let (host, port) = self.config.kafka_advertise.clone();
        let register = Record::Register {
            broker: self.config.broker_id.or(identity.broker),
            storage: identity.storage,
            host,
            port,
            rack: self.config.rack.clone(),
        };
        let committed = cluster.commit(vec![register]).await.map_err(refused("register"))?;
        let Some(Applied::Registered { broker, incarnation }) = committed.applied.first().cloned()
        else {
            return Err(refused("register")(CommitError::Unknown));
        };
        self.in_folder(folder, move |folder| folder.registered(broker, incarnation)).await?;
        tracing::info!(%broker, %incarnation, "registered");
        Ok((broker, incarnation))
    }

    async fn in_folder(
        &self,
        folder: &Folder,
        work: impl FnOnce(&Folder) -> Result<(), wal::Error> + Send + 'static,
    ) -> Result<(), Error> {
        let folder = folder.clone();
        let done = Tasks::blocking(move || work(&folder)).await?;
        done.map_err(|source| Error::Folder { path: self.config.wal_dir.clone(), source })
    }

    /// Opens the first segments in the metadata and the log on them.
    async fn start_log(
        &self,
        folder: &Folder,
        store: &Store,
        cluster: &Cluster,
        broker: BrokerId,
        id: types::Incarnation,
    ) -> Result<Replication, Error> {
        let own = Member { broker, storage: folder.identity().storage, incarnation: id };
        let first = (0..FIRST_SEGMENTS).map(|sequence| {
            let ensemble = vec![wal::Member { broker, storage: own.storage, incarnation: id }];
            OpenSegment::new(SegmentId { incarnation: id, sequence }, ensemble, &self.env)
        });
        let first: Vec<_> = first.collect();
        let mut records = vec![Record::ObjectIdsReserved { incarnation: id, count: FIRST_IDS }];
        records.extend(first.iter().map(|segment| Record::SegmentOpen {
            segment: segment.id,
            nonce: segment.nonce,
            ensemble: vec![own],
        }));
        cluster.commit(records).await.map_err(refused("open segments"))?;
        let away = store.clone();
        let parts = replication::Parts {
            folder: folder.clone(),
            env: self.env.clone(),
            config: replication::Config {
                budget: wal_budget(&self.config, self.free_bytes()),
                roll_bytes: self.config.roll_bytes,
                roll_after: self.config.roll_after,
                memory: self.config.memory.tail,
                waiting: self.config.memory.wal,
            },
            incarnation: id,
            first,
            store_away: Arc::new(move || away.away()),
            metrics: self.metrics.replication.clone(),
        };
        Ok(Tasks::blocking(move || Replication::start(parts)).await??)
    }

    /// What the WAL's disk has free; plenty when it does not tell.
    fn free_bytes(&self) -> ByteCount {
        let free = self.env.disk.free_bytes(&self.config.wal_dir);
        ByteCount(free.unwrap_or(u64::MAX))
    }

    fn start_housekeeping(
        &self,
        incarnation: &Incarnation,
        store: &Store,
        objects: &Objects,
        configs: &TopicConfigs,
    ) {
        let config = &self.config;
        let retention = Retention {
            cluster: incarnation.cluster.clone(),
            store: store.clone(),
            objects: objects.clone(),
            env: self.env.clone(),
            configs: configs.clone(),
            metrics: self.metrics.retention.clone(),
            settings: retention::Settings {
                check_every: config.retention_check,
                manifest_after: config.manifest_after,
                grace: config.delete_grace,
                purge_every: retention::Settings::default().purge_every.min(config.delete_grace),
            },
        };
        retention.start(&incarnation.tasks);
        let defaults = sweep::Settings::default();
        let settings = sweep::Settings {
            first_after: defaults.first_after.min(config.sweep),
            every: config.sweep,
            orphan_age: defaults.orphan_age.min(config.sweep),
        };
        Sweep::new(
            incarnation.cluster.clone(),
            store.clone(),
            self.env.clone(),
            &incarnation.uploader,
            settings,
        )
        .start(&incarnation.tasks);
        let replication = incarnation.replication.clone();
        incarnation.tasks.spawn("rest", async move {
            loop {
                clock::sleep(REST_AFTER).await;
                replication.rest();
            }
        });
    }

    /// Starts what clients reach and lets them in.
    fn open(
        &self,
        incarnation: &Incarnation,
        broker: BrokerId,
        store: &Store,
        objects: Objects,
        configs: TopicConfigs,
    ) -> Result<(), Error> {
        let cluster = &incarnation.cluster;
        let log = Log::start(log::Parts {
            cluster: cluster.clone(),
            replication: incarnation.replication.clone(),
            objects,
            store: store.clone(),
            env: self.env.clone(),
            tasks: incarnation.tasks.clone(),
            broker,
            incarnation: incarnation.id,
            configs,
            metrics: self.metrics.log.clone(),
        });
        let groups = Groups::start(group::Parts {
            broker,
            cluster: cluster.clone(),
            log: log.clone(),
            env: self.env.clone(),
            tasks: incarnation.tasks.clone(),
            config: cluster.with(|state| self.group_config(state, broker)),
            metrics: self.metrics.group.clone(),
        });
        self.service.send_replace(Service::Open(Arc::new(Serving {
            env: self.env.clone(),
            broker,
            incarnation: incarnation.id,
            cluster: cluster.clone(),
            log,
            groups,
            given: self.given.clone(),
            copies: 1,
            fetch_sessions: FetchSessions::new(&self.metrics.kafka),
            producer_ids: ProducerIds::default(),
        })));
        let Some(open) = self.door.open()? else { return Ok(()) };
        let config = self.kafka_config();
        let services = kafka::Services {
            service: self.service.subscribe(),
            clock: Arc::clone(&self.env.clock),
        };
        let (tasks, metrics) = (&self.tasks, self.metrics.kafka.clone());
        match open {
            Open::Port(port) => kafka::Server::start(port, services, tasks, config, metrics),
            Open::Simulated(it) => kafka::Server::start(it, services, tasks, config, metrics),
        }
        Ok(())
    }
}

/// The newest incarnation the metadata has for a disk.
pub(super) fn newest_of(state: &State, storage: StorageId) -> Option<types::Incarnation> {
    let own = state.brokers.values().filter(|broker| broker.storage == storage);
    own.map(|broker| broker.incarnation).max()
}

/// The budget given, else 4 GiB or half of what the disk has free.
pub(super) fn wal_budget(config: &Config, free: ByteCount) -> ByteCount {
    let least = ByteCount(config.roll_bytes.0.saturating_mul(2));
    let half = ByteCount(free.0 / 2);
    config.wal_budget.unwrap_or_else(|| BUDGET.min(half).max(least))
}

fn refused(what: &'static str) -> impl Fn(CommitError) -> Error {
    move |source| Error::Commit { what, source }
}

impl Incarnation {
    /// Waits for the reason to end it.
    pub(super) async fn end(&self, broker: &Broker) -> End {
        let mut asked = broker.asked.clone();
        tokio::select! {
            biased;
            _ = asked.wait_for(|asked| *asked != super::StopAsked::No) => End::Asked,
            lost = self.cluster.abdicated() => End::Over(lost.to_string()),
            reason = self.replication.ended() => match reason {
                EndReason::Disk(reason) => End::Disk(reason),
                EndReason::Fenced => End::Over("this incarnation was fenced".to_owned()),
                EndReason::Stopped => End::Over("the write-ahead log was stopped".to_owned()),
            },
            error = self.uploader.ended() => End::Over(error.to_string()),
        }
    }

    /// Takes no more work: what clients sent is answered, the log closes its last segment.
    pub(super) fn close(&self, broker: &Broker) {
        broker.closed();
        self.replication.drain();
    }

    /// Bytes the bucket lacks.
    pub(super) fn at_risk(&self) -> ByteCount {
        ByteCount(self.replication.at_risk().bytes)
    }

    /// Ends every part where it stands.
    pub(super) async fn abort(self, broker: &Broker) {
        broker.closed();
        self.tasks.abort().await;
        self.replication.stop().await;
    }
}
