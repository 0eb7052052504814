//! What the rest of the broker holds of the groups: requests, routed to their coordinators.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Caller, Config, Description, Error, GroupId, Join, JoinRefused, Joined, Leaving, Listed,
    Metrics, Position, Surveyed, Sync, Synced, TOPIC, TopicPartition,
    coordinator::Command,
    follow,
    route::partition_of,
    state::{Answer, Request},
};
use crate::{
    cluster::Cluster,
    env::{Env, clock, task::Tasks},
    log::Log,
    types::{BrokerId, LeaderEpoch},
};

/// Texts are stored with a 16-bit length; what is put together of them must fit too.
const TEXT_BYTES_MAX: usize = 32_000;
/// What a member may say of itself: its subscriptions in all protocols.
const MEMBER_BYTES_MAX: usize = 1024 * 1024;
/// Partitions loaded at once.
const LOADS_AT_ONCE: usize = 4;
/// How long a question for the coordinator waits for its state to be loaded...
const SETTLE: Duration = Duration::from_secs(2);
/// ...and how often it looks.
const SETTLE_STEP: Duration = Duration::from_millis(10);

/// What groups are made of.
pub struct Parts {
    /// This broker.
    pub broker: BrokerId,
    /// Topics and their leaders.
    pub cluster: Cluster,
    /// The partitions led here.
    pub log: Log,
    /// Clock and randomness.
    pub env: Env,
    /// Owner of the tasks.
    pub tasks: Tasks,
    /// The numbers.
    pub config: Config,
    /// Counters.
    pub metrics: Metrics,
}

/// The groups of this broker; cheap to clone.
#[derive(Clone)]
pub struct Groups {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) broker: BrokerId,
    pub(super) cluster: Cluster,
    pub(super) log: Log,
    pub(super) env: Env,
    pub(super) tasks: Tasks,
    pub(super) config: Arc<Config>,
    pub(super) metrics: Metrics,
    pub(super) coordinators: Mutex<BTreeMap<i32, Slot>>,
    pub(super) loads: Semaphore,
    /// A coordinator has ended.
    pub(super) ended: Notify,
    pub(super) is_creating: AtomicBool,
}

/// A coordinator as others see it.
pub(super) struct Slot {
    pub(super) epoch: LeaderEpoch,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) is_ready: Arc<AtomicBool>,
    pub(super) stop: CancellationToken,
}

impl Slot {
    fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }
}

impl Shared {
    /// The partitions of the offsets topic this broker leads.
    pub(super) fn led(&self) -> Vec<i32> {
        self.cluster.with(|state| {
            let topic = state.topic(TOPIC);
            let partitions = topic.map(|topic| &topic.partitions[..]).unwrap_or_default();
            let led = (0..).zip(partitions).filter(|(_, p)| p.leader == self.broker);
            led.map(|(index, _)| index).collect()
        })
    }

    pub(super) fn with_coordinators<R>(&self, f: impl FnOnce(&mut BTreeMap<i32, Slot>) -> R) -> R {
        f(&mut self.coordinators.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Groups {
    /// Begins to coordinate whatever this broker leads of the offsets topic.
    #[must_use]
    pub fn start(parts: Parts) -> Self {
        let shared = Arc::new(Shared {
            broker: parts.broker,
            cluster: parts.cluster,
            log: parts.log,
            env: parts.env,
            tasks: parts.tasks,
            config: Arc::new(parts.config),
            metrics: parts.metrics,
            coordinators: Mutex::default(),
            loads: Semaphore::new(LOADS_AT_ONCE),
            ended: Notify::new(),
            is_creating: AtomicBool::new(false),
        });
        shared.tasks.clone().spawn("groups", follow::run(shared.clone()));
        Self { shared }
    }

    /// The broker that coordinates `group`; creates the topic on first use.
    ///
    /// # Errors
    /// `NotAvailable` while there is none.
    pub async fn find_coordinator(&self, group: &GroupId) -> Result<BrokerId, Error> {
        let leader = || {
            self.shared.cluster.with(|state| {
                let topic = state.topic(TOPIC)?;
                let partitions = i32::try_from(topic.partitions.len()).ok()?;
                topic.partition(partition_of(group, partitions)).map(|partition| partition.leader)
            })
        };
        if leader().is_none() {
            follow::create_topic(&self.shared).await;
        }
        let leader = leader().ok_or(Error::NotAvailable)?;
        if leader == self.shared.broker {
            self.settle(group).await;
        }
        Ok(leader)
    }

    /// Waits a little until the group's state is loaded: some clients (kafkajs) crash and begin
    /// anew on "load in progress" where others just ask again.
    async fn settle(&self, group: &GroupId) {
        let is_ready = || {
            self.shared.with_coordinators(|coordinators| {
                let partitions = self.shared.cluster.with(|state| {
                    let topic = state.topic(TOPIC)?;
                    i32::try_from(topic.partitions.len()).ok()
                });
                let slot = partitions.and_then(|n| coordinators.get(&partition_of(group, n)));
                slot.is_some_and(Slot::is_ready)
            })
        };
        let loaded = async {
            while !is_ready() {
                clock::sleep(SETTLE_STEP).await;
            }
        };
        // Not ready by then, the client is told so when it asks.
        drop(clock::timeout(SETTLE, loaded).await);
    }

    /// Takes a member into the next generation; waits until that has begun.
    ///
    /// # Errors
    /// The error and the member id to go on with.
    pub async fn join(&self, group: &GroupId, join: Join) -> Result<Joined, JoinRefused> {
        let member = join.member.clone();
        let session = Duration::from_millis(u64::try_from(join.session_timeout_ms).unwrap_or(0));
        let config = &self.shared.config;
        let bounds = config.min_session_timeout..=config.max_session_timeout;
        if group.as_str().is_empty() {
            return Err(JoinRefused { member, error: Error::InvalidGroupId });
        }
        if !bounds.contains(&session) {
            return Err(JoinRefused { member, error: Error::InvalidSessionTimeout });
        }
        if !is_storable(&join) {
            return Err(JoinRefused { member, error: Error::InvalidRequest });
        }
        match self.ask(group, Request::Join(join)).await {
            Answer::Joined(joined) => joined,
            other => Err(JoinRefused { member, error: other.error() }),
        }
    }

    /// Hands out a member's assignment; waits until the leader has brought it.
    ///
    /// # Errors
    /// As `Error` says.
    pub async fn sync(&self, group: &GroupId, sync: Sync) -> Result<Synced, Error> {
        check_name(group)?;
        match self.ask(group, Request::Sync(sync)).await {
            Answer::Synced(synced) => Ok(synced),
            other => Err(other.error()),
        }
    }

    /// Keeps a member's session alive.
    ///
    /// # Errors
    /// As `Error` says.
    pub async fn heartbeat(&self, group: &GroupId, caller: Caller) -> Result<(), Error> {
        check_name(group)?;
        match self.ask(group, Request::Heartbeat(caller)).await {
            Answer::Done => Ok(()),
            other => Err(other.error()),
        }
    }

    /// Takes members out of the group: one result each.
    ///
    /// # Errors
    /// When the coordinator cannot say.
    pub async fn leave(
        &self,
        group: &GroupId,
        members: Vec<Leaving>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        check_name(group)?;
        self.ask(group, Request::Leave(members)).await.each()
    }

    /// Begins to commit positions. What is asked after it is asked of a state that has them.
    pub async fn begin_commit(
        &self,
        group: &GroupId,
        caller: Caller,
        positions: Vec<(TopicPartition, Position)>,
    ) -> Committing {
        Committing(self.send(group, Request::Commit(caller, positions)).await)
    }

    /// Committed positions of the given partitions, in order, or of all (`None`).
    /// An unknown group has none.
    ///
    /// # Errors
    /// When the coordinator cannot say: never a wrong "none" (H60).
    pub async fn committed(
        &self,
        group: &GroupId,
        partitions: Option<Vec<TopicPartition>>,
    ) -> Result<Vec<(TopicPartition, Option<Position>)>, Error> {
        match self.ask(group, Request::Committed(partitions)).await {
            Answer::Committed(positions) => Ok(positions),
            other => Err(other.error()),
        }
    }

    /// The group in full.
    ///
    /// # Errors
    /// `GroupNotFound`, or the coordinator cannot say.
    pub async fn describe(&self, group: &GroupId) -> Result<Description, Error> {
        match self.ask(group, Request::Describe).await {
            Answer::Described(description) => Ok(description),
            other => Err(other.error()),
        }
    }

    /// Every group this broker coordinates.
    ///
    /// # Errors
    /// While a coordinator loads.
    pub async fn list(&self) -> Result<Vec<Listed>, Error> {
        let led = self.shared.led();
        let coordinators: Vec<_> = self.shared.with_coordinators(|all| {
            let ready = |index: &i32| all.get(index).filter(|slot| slot.is_ready());
            let sender = |index| ready(index).map(|slot| slot.commands.clone());
            led.iter().map(sender).collect::<Option<_>>().ok_or(Error::LoadInProgress)
        })?;
        let mut groups = Vec::new();
        for commands in coordinators {
            let (reply, answer) = oneshot::channel();
            // One that is no longer coordinator here has none.
            if commands.send(Command::List { reply }).await.is_ok()
                && let Ok(Answer::Listed(listed)) = answer.await
            {
                groups.extend(listed);
            }
        }
        Ok(groups)
    }

    /// What `look` sees of every group coordinated here, one coordinator after the other, and
    /// whether some of them are not loaded yet. Shows what is not confirmed by a barrier: for
    /// metrics and people, not for clients.
    pub async fn survey(&self, mut look: impl FnMut(Surveyed) + Send) -> bool {
        let slots: Vec<_> = self.shared.with_coordinators(|all| {
            let sender = |slot: &Slot| slot.is_ready().then(|| slot.commands.clone());
            all.values().map(sender).collect()
        });
        let whole = slots.iter().all(Option::is_some);
        for commands in slots.into_iter().flatten() {
            let (reply, answer) = oneshot::channel();
            if commands.send(Command::Survey { reply }).await.is_ok()
                && let Ok(Answer::Surveyed(groups)) = answer.await
            {
                groups.into_iter().for_each(&mut look);
            }
        }
        whole
    }

    /// Deletes an empty group and its offsets.
    ///
    /// # Errors
    /// `NonEmptyGroup`, `GroupNotFound`, or the coordinator cannot say.
    pub async fn delete(&self, group: &GroupId) -> Result<(), Error> {
        match self.ask(group, Request::Delete).await {
            Answer::Done => Ok(()),
            other => Err(other.error()),
        }
    }

    /// Deletes committed positions: one result each.
    ///
    /// # Errors
    /// As `Error` says.
    pub async fn delete_offsets(
        &self,
        group: &GroupId,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        check_name(group)?;
        self.ask(group, Request::DeleteOffsets(partitions)).await.each()
    }

    async fn ask(&self, group: &GroupId, request: Request) -> Answer {
        answer(self.send(group, request).await).await
    }

    async fn send(
        &self,
        group: &GroupId,
        request: Request,
    ) -> Result<oneshot::Receiver<Answer>, Error> {
        let commands = self.route(group)?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Ask { group: group.clone(), request, reply };
        commands.send(command).await.map_err(|_| Error::NotCoordinator)?;
        Ok(answer)
    }

    fn route(&self, group: &GroupId) -> Result<mpsc::Sender<Command>, Error> {
        if group.as_str().len() > TEXT_BYTES_MAX {
            return Err(Error::InvalidGroupId);
        }
        let (index, leader) = self
            .shared
            .cluster
            .with(|state| {
                let topic = state.topic(TOPIC)?;
                let index = partition_of(group, i32::try_from(topic.partitions.len()).ok()?);
                topic.partition(index).map(|partition| (index, partition.leader))
            })
            .ok_or(Error::NotCoordinator)?;
        if leader != self.shared.broker {
            return Err(Error::NotCoordinator);
        }
        self.shared.with_coordinators(|all| match all.get(&index) {
            Some(slot) if slot.is_ready() => Ok(slot.commands.clone()),
            Some(_) | None => Err(Error::LoadInProgress),
        })
    }
}

/// A commit under way.
#[derive(Debug)]
pub struct Committing(Result<oneshot::Receiver<Answer>, Error>);

impl Committing {
    /// Waits until all is durable: one result for each position.
    ///
    /// # Errors
    /// When the caller may not commit, or the coordinator cannot say.
    pub async fn done(self) -> Result<Vec<Result<(), Error>>, Error> {
        answer(self.0).await.each()
    }
}

/// A coordinator that lost its partition answers nobody.
async fn answer(sent: Result<oneshot::Receiver<Answer>, Error>) -> Answer {
    match sent {
        Ok(answer) => answer.await.unwrap_or(Answer::Failed(Error::NotCoordinator)),
        Err(error) => Answer::Failed(error),
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("broker", &self.shared.broker).finish_non_exhaustive()
    }
}

impl Answer {
    fn error(self) -> Error {
        match self {
            Self::Failed(error) => error,
            Self::Joined(_)
            | Self::Synced(_)
            | Self::Done
            | Self::Each(_)
            | Self::Committed(_)
            | Self::Described(_)
            | Self::Listed(_)
            | Self::Surveyed(_) => unreachable!("a request gets the answer of its kind"),
        }
    }

    fn each(self) -> Result<Vec<Result<(), Error>>, Error> {
        match self {
            Self::Each(results) => Ok(results),
            other => Err(other.error()),
        }
    }
}

/// Whether what a member says of itself fits a record.
fn is_storable(join: &Join) -> bool {
    let metadata: usize = join.protocols.iter().map(|protocol| protocol.metadata.len()).sum();
    let texts = [&*join.client_id, &*join.client_host, &*join.protocol_type];
    let names = join.protocols.iter().map(|protocol| &*protocol.name);
    let instance = join.instance.iter().map(|instance| instance.as_str());
    let mut texts = texts.into_iter().chain(names).chain(instance);
    metadata <= MEMBER_BYTES_MAX && texts.all(|text| text.len() <= TEXT_BYTES_MAX)
}

fn check_name(group: &GroupId) -> Result<(), Error> {
    if group.as_str().is_empty() { Err(Error::InvalidGroupId) } else { Ok(()) }
}
