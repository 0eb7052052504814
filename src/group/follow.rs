//! Follows the metadata: starts and stops coordinators, tells them of deleted topics, creates the
//! offsets topic.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use super::{
    TOPIC,
    coordinator::{self, Command},
    handle::{Shared, Slot},
};
use crate::{
    cluster::{CommitError, Record, Rejection},
    env::clock,
    log::Partition,
    types::TopicId,
};

/// Requests that wait for one coordinator; more wait in their connections.
const QUEUE: usize = 1024;
/// The metadata is looked at no more often.
const PACE: Duration = Duration::from_millis(100);
/// How long a client waits for the topic to be created before it is told to come again.
const CREATION: Duration = Duration::from_secs(5);
/// Kafka's `offsets.topic.replication.factor`; the ensembles decide the copies.
const REPLICATION_FACTOR: i16 = 3;

/// Runs until the tasks are to stop.
pub(super) async fn run(shared: Arc<Shared>) {
    let stopping = shared.tasks.stopping();
    let mut index = shared.cluster.subscribe();
    let mut topics = BTreeMap::new();
    loop {
        index.mark_unchanged();
        forget_deleted(&shared, &mut topics).await;
        let is_complete = reconcile(&shared);
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            changed = index.changed() => if changed.is_err() { return },
            () = shared.ended.notified() => {}
            () = clock::sleep(PACE), if !is_complete => {}
        }
        clock::sleep(PACE).await;
    }
}

/// Starts what is led here and has no coordinator, stops what is led no more; whether all that is
/// led here is open.
fn reconcile(shared: &Arc<Shared>) -> bool {
    let led = shared.led();
    let open: BTreeMap<i32, Arc<Partition>> = led
        .iter()
        .filter_map(|index| Some((*index, shared.log.find(TOPIC, *index).ok()?)))
        .collect();
    shared.with_coordinators(|slots| {
        slots.retain(|index, slot| {
            let is_current =
                open.get(index).is_some_and(|partition| partition.leader_epoch() == slot.epoch);
            let stays = is_current && !slot.commands.is_closed();
            if !stays {
                slot.stop.cancel();
            }
            stays
        });
        for (index, partition) in &open {
            slots.entry(*index).or_insert_with(|| start(shared, *index, partition.clone()));
        }
    });
    open.len() == led.len()
}

fn start(shared: &Arc<Shared>, index: i32, partition: Arc<Partition>) -> Slot {
    let (commands, queue) = mpsc::channel(QUEUE);
    let is_ready = Arc::new(AtomicBool::new(false));
    let stop = shared.tasks.stopping().child_token();
    let epoch = partition.leader_epoch();
    let cluster = shared.cluster.clone();
    let parts = coordinator::Parts {
        index,
        log: Arc::new(partition),
        env: shared.env.clone(),
        config: shared.config.clone(),
        metrics: shared.metrics.clone(),
        commands: queue,
        is_ready: is_ready.clone(),
        stopping: stop.clone(),
        topic_of: Box::new(move |name| cluster.with(|state| Some(state.topic(name)?.id))),
    };
    let owner = shared.clone();
    shared.tasks.spawn("group coordinator", async move {
        coordinator::run(parts, &owner.loads).await;
        owner.ended.notify_one();
    });
    Slot { epoch, commands, is_ready, stop }
}

/// Tells every coordinator of the topics that were there and are no more.
async fn forget_deleted(shared: &Shared, known: &mut BTreeMap<TopicId, Arc<str>>) {
    let state = shared.cluster.state();
    let deleted: Vec<_> = known
        .iter()
        .filter(|(id, _)| !state.topics.contains_key(id))
        .map(|(id, name)| (*id, name.clone()))
        .collect();
    for (id, topic) in &state.topics {
        known.entry(*id).or_insert_with(|| topic.name.as_str().into());
    }
    for (id, name) in deleted {
        known.remove(&id);
        let coordinators: Vec<_> = shared
            .with_coordinators(|slots| slots.values().map(|slot| slot.commands.clone()).collect());
        for commands in coordinators {
            // One that is gone has nothing to forget.
            drop(commands.send(Command::TopicDeleted(name.clone(), id)).await);
        }
    }
}

/// Creates the offsets topic, or waits for whoever does, for as long as a client may.
pub(super) async fn create_topic(shared: &Arc<Shared>) {
    let mut index = shared.cluster.subscribe();
    if !shared.is_creating.swap(true, Ordering::AcqRel) {
        let shared = shared.clone();
        shared.tasks.clone().spawn("create offsets topic", async move {
            let record = Record::TopicCreated {
                topic: TopicId(shared.env.entropy.uuid()),
                name: TOPIC.to_owned(),
                partitions: shared.config.partitions,
                replication_factor: REPLICATION_FACTOR,
                leader: shared.broker,
                configs: [("cleanup.policy", "compact"), ("compression.type", "producer")]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            };
            match shared.cluster.commit(vec![record]).await {
                Ok(_) | Err(CommitError::Refused(Rejection::TopicExists(_))) => {}
                Err(error) => {
                    tracing::warn!(%error, "the offsets topic was not created, clients try again")
                }
            }
            shared.is_creating.store(false, Ordering::Release);
        });
    }
    let is_there = index.wait_for(|_| shared.cluster.with(|state| state.topic(TOPIC).is_some()));
    // Too long, or no more metadata: the caller looks itself.
    drop(clock::timeout(CREATION, is_there).await);
}
