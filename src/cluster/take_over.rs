//! Becoming controller: the cluster's birth, courtesy towards the lease's holder, replay, and an
//! epoch of one's own.
//!
//! Owns: the order of correctness.md 4.2's take-over. Invariants: nothing is written before the
//! bucket and the WAL folder are known to belong together; the epoch counts from its record on,
//! not from the lease; a bucket that does not answer is waited for, with the reason told.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use super::{
    controller::{Controller, HeldLease, NotCommitted, lease_document, pause},
    documents::{self, AtRisk, ClusterDocument, LeaseDocument},
    driver::Driver,
    error::{Abdication, ReadError, TakeOverError},
    handle::{Cluster, Parts, Phase, Shared},
    lease::{Verdict, Watch},
    meta::{Held, Meta},
    record::Record,
    replay::{self, Replay},
    state::State,
    trim::{Feed, Keeper},
};
use crate::{
    env::{bugs::Bug, clock},
    store::{CheckError, path},
    types::{ClusterId, MetadataIndex},
};

/// Proposals that wait for an entry.
const QUEUE: usize = 1024;
/// Reads of something damaged before it is believed.
const DAMAGED_READS: u32 = 3;

pub(super) async fn run(parts: Parts) -> Result<Cluster, TakeOverError> {
    let meta = Meta { store: parts.store.clone(), env: parts.env.clone() };
    let starter = Starter { meta, parts };
    let cluster = starter.cluster().await?;
    loop {
        if let Some((controller, last_lease)) = starter.attempt(cluster).await? {
            return Ok(starter.start(controller, last_lease));
        }
    }
}

struct Starter {
    meta: Meta,
    parts: Parts,
}

/// Reads that failed in a row.
#[derive(Default)]
struct Patience {
    pauses: u32,
    damaged: u32,
}

impl Starter {
    /// The bucket's cluster, made when there is none.
    async fn cluster(&self) -> Result<ClusterId, TakeOverError> {
        let expected = self.parts.holder.cluster;
        let mut patience = Patience::default();
        loop {
            match self.meta.cluster().await {
                Ok(Some(ClusterDocument { cluster_id: found, .. })) => {
                    return match expected {
                        Some(expected) if expected != found => {
                            Err(TakeOverError::OtherCluster { expected, found })
                        }
                        _ => Ok(found),
                    };
                }
                Ok(None) => match expected {
                    Some(expected) => return Err(TakeOverError::NoCluster { expected }),
                    None => self.found_cluster().await?,
                },
                Err(error) => self.bear(error, &mut patience).await?,
            }
        }
    }

    /// Creates a cluster on a store that keeps the contract. Another's may be there afterwards.
    async fn found_cluster(&self) -> Result<(), TakeOverError> {
        let mut patience = Patience::default();
        loop {
            match self.meta.store.check_contract().await {
                Ok(_) => break,
                Err(CheckError::Broken { finding }) => {
                    return Err(TakeOverError::BrokenStore { finding });
                }
                Err(CheckError::Failed(failure)) => {
                    self.bear(failure.into(), &mut patience).await?;
                }
            }
        }
        let document = ClusterDocument::new(ClusterId(self.meta.env.entropy.uuid()));
        // Whoever's it is, it is read next.
        self.meta.write(&path::cluster(), None, documents::encode(&document)).await;
        Ok(())
    }

    /// One try at the role; `None` when somebody was quicker somewhere and all is to be seen anew.
    async fn attempt(
        &self,
        cluster: ClusterId,
    ) -> Result<Option<(Controller, Option<AtRisk>)>, TakeOverError> {
        let previous = self.free_lease(cluster).await?;
        (self.parts.phase)(Phase::Replaying);
        let Replay { state, floor, began: known_since, .. } = self.replay(cluster).await?;
        let before = previous.as_ref().map_or(0, |lease| lease.document.epoch);
        let epoch = before.max(state.epoch).saturating_add(1);
        let Some(lease) = self.take_lease(cluster, previous.as_ref(), epoch).await? else {
            return Ok(None);
        };
        let mut controller = Controller {
            meta: self.meta.clone(),
            state: Arc::new(state),
            known_since,
            epoch,
            lease,
            config: self.parts.config,
            holder: self.parts.holder.clone(),
            at_risk: Arc::clone(&self.parts.at_risk),
            floor,
        };
        if !self.start_epoch(&mut controller).await? {
            return Ok(None);
        }
        Ok(Some((controller, previous.map(|lease| lease.document.at_risk))))
    }

    /// Waits until the lease may be taken; tells what it is then.
    async fn free_lease(
        &self,
        cluster: ClusterId,
    ) -> Result<Option<Held<LeaseDocument>>, TakeOverError> {
        let mut watch = Watch::new(self.parts.holder.storage);
        let mut patience = Patience::default();
        loop {
            let lease = match self.meta.lease(cluster).await {
                Ok(lease) => lease,
                Err(error) => {
                    watch.failed();
                    self.bear(error, &mut patience).await?;
                    continue;
                }
            };
            patience = Patience::default();
            let document = lease.as_ref().map(|lease| &lease.document);
            let address = document.map(|lease| lease.address.clone()).unwrap_or_default();
            let storage = document.map(|lease| lease.storage).unwrap_or_default();
            match watch.read(document, self.meta.env.clock.boot()) {
                Verdict::Take => return Ok(lease),
                Verdict::Moved => {
                    return Err(TakeOverError::Held { address, how: "it renews its lease" });
                }
                Verdict::Wait { left } => {
                    if (self.parts.is_alive)(address.clone(), storage).await {
                        return Err(TakeOverError::Held { address, how: "it answers there" });
                    }
                    (self.parts.phase)(Phase::WaitingForLease { holder: address, left });
                    let ttl = Duration::from_millis(document.map_or(0, |lease| lease.ttl_ms));
                    let look = ttl / 36;
                    let look = look.clamp(Duration::from_millis(20), Duration::from_secs(5));
                    clock::sleep(left.min(look)).await;
                }
            }
        }
    }

    /// The newest metadata.
    async fn replay(&self, cluster: ClusterId) -> Result<Replay, TakeOverError> {
        let mut patience = Patience::default();
        loop {
            let mut replay = match Replay::begin(&self.meta, cluster).await {
                Ok(begun) => begun,
                Err(error) => {
                    self.bear(error, &mut patience).await?;
                    continue;
                }
            };
            while let Err(error) = replay.go_on(&self.meta).await {
                self.bear(error, &mut patience).await?;
            }
            match replay.holds(&self.meta).await {
                Ok(true) => return Ok(replay),
                Ok(false) => tracing::info!("the log's floor passed while it was read"),
                Err(error) => self.bear(error, &mut patience).await?,
            }
        }
    }

    /// Writes the lease over `previous`; `None` when somebody else did.
    async fn take_lease(
        &self,
        cluster: ClusterId,
        previous: Option<&Held<LeaseDocument>>,
        epoch: u64,
    ) -> Result<Option<HeldLease>, TakeOverError> {
        let Parts { config, holder, .. } = &self.parts;
        let at_risk = previous.map(|lease| lease.document.at_risk.clone()).unwrap_or_default();
        let document =
            LeaseDocument { at_risk, ..lease_document(&self.meta, config, holder, cluster, epoch) };
        let over = previous.map(|lease| &lease.version);
        let seen = previous.map(|lease| lease.document.nonce);
        let mut patience = Patience::default();
        loop {
            let since = self.meta.env.clock.boot();
            let bytes = documents::encode(&document);
            if let Some(version) = self.meta.write(&path::lease(), over, bytes).await {
                let held = Held { document, version };
                return Ok(Some(HeldLease { held, since, pending: None }));
            }
            match self.meta.lease(cluster).await {
                Ok(Some(held)) if held.document.nonce == document.nonce => {
                    return Ok(Some(HeldLease { held, since, pending: None }));
                }
                // As it was: the same bytes again.
                Ok(found) if found.as_ref().map(|found| found.document.nonce) == seen => {
                    pause(&self.meta, &mut patience.pauses).await;
                }
                Ok(_) => return Ok(None),
                Err(error) => self.bear(error, &mut patience).await?,
            }
        }
    }

    /// Commits the epoch's first record; `false` when all is to be seen anew.
    async fn start_epoch(&self, controller: &mut Controller) -> Result<bool, TakeOverError> {
        let mut patience = Patience::default();
        loop {
            let (epoch, holder) = (controller.epoch, self.parts.holder.storage);
            if controller.state.epoch >= epoch && !self.meta.env.bugs.has(Bug::EpochIgnored) {
                return Err(TakeOverError::Overtaken { epoch: controller.state.epoch });
            }
            let mut draft = controller.draft();
            // It holds: the epoch is above the state's.
            drop(draft.add(vec![Record::EpochStart { epoch, holder }]));
            match controller.append(draft).await {
                Ok(_) => return Ok(true),
                // The holder before was still at it; its entries count up to ours.
                Err(NotCommitted::Lost { .. }) => {
                    let mut state = State::clone(&controller.state);
                    while let Err(error) = replay::catch_up(&self.meta, &mut state).await {
                        self.bear(error, &mut patience).await?;
                    }
                    controller.state = Arc::new(state);
                }
                Err(NotCommitted::Unknown(Abdication::Impossible { index, damage })) => {
                    let object = path::log_entry(index).as_str().to_owned();
                    return Err(TakeOverError::Damaged { object, damage });
                }
                Err(NotCommitted::Unknown(_)) => return Ok(false),
            }
        }
    }

    /// Starts the tasks of a controller.
    fn start(self, controller: Controller, last_lease: Option<AtRisk>) -> Cluster {
        let Parts { tasks, config, metrics, .. } = self.parts;
        let (commands, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            state: ArcSwap::new(Arc::clone(&controller.state)),
            index: watch::Sender::new(controller.state.index),
            commands,
            abdication: watch::Sender::new(None),
            last_lease,
        });
        let floor = controller.floor.as_ref().map(|floor| &floor.document);
        let newest = floor.and_then(|floor| floor.snapshots.first());
        let snapshot = newest.map_or(MetadataIndex(0), |name| name.index);
        let behind = controller.state.index.0.saturating_sub(snapshot.0);
        let (feed, states) = Feed::new(config, behind);
        let ages = VecDeque::new();
        let keeper = Keeper { meta: self.meta, config, metrics: metrics.clone(), states, ages };
        let renew_at = controller.lease.since + config.lease / 3;
        metrics.index.set(i64::try_from(controller.state.index.0).unwrap_or(i64::MAX));
        let (epoch, index) = (controller.epoch, controller.state.index);
        tracing::info!(cluster = %controller.state.cluster_id, epoch, %index, "controller");
        let shared_by_driver = Arc::clone(&shared);
        let driver = Driver {
            controller,
            shared: shared_by_driver,
            commands: queue,
            feed,
            metrics,
            renew_at,
        };
        tasks.spawn("controller", driver.run(tasks.stopping()));
        tasks.spawn("metadata keeper", keeper.run(tasks.stopping()));
        Cluster::new(shared)
    }

    /// Waits after a read that failed; damage that stays is an end.
    async fn bear(&self, error: ReadError, patience: &mut Patience) -> Result<(), TakeOverError> {
        match error {
            ReadError::Failed(failure) => {
                let reason = failure.to_string();
                (self.parts.phase)(Phase::WaitingForBucket { reason });
            }
            ReadError::Damaged { object, damage } => {
                patience.damaged = patience.damaged.saturating_add(1);
                if patience.damaged >= DAMAGED_READS {
                    return Err(TakeOverError::Damaged { object, damage });
                }
            }
        }
        pause(&self.meta, &mut patience.pauses).await;
        Ok(())
    }
}
