//! Seeds over the life of objects: upload, manifests, retention, deleted topics, purge, sweep and
//! readers with an old view, over a bucket in memory.
//!
//! Invariants: what any view of the last grace names exists (I17, H44); every published record at
//! or above its log start reads back (I1, I2); producer state is the fold of the whole log (I11);
//! retention by size keeps what its limit covers; at the end nothing is left that nobody names
//! (I18). The model is the list of all batches ever published.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    cluster::{NewObject, Record, State},
    env::{
        bugs::{Bug, Bugs},
        sim::proof::{Dice, Seeded, Trace, catches_waiting, on_one_thread, reached},
    },
    log::{
        objects::{Place, locate},
        producer::{Moment, Producers},
        retention::raise_log_start,
        sweep::{self, Sweep},
        upload::Folded,
        world::{World, batch},
    },
    record::BatchView,
    store::{FailureKind, Fault, path},
    types::{Millis, Offset, PartitionId, SegmentId},
};

const LIFE: Seeded = Seeded {
    name: "life",
    test: "log::tests::life::every_seed",
    run,
    reaches: &[
        "H44: an old view names what is unlinked",
        "H46: a sweep meets an upload that is not published",
        "H48: an object lives by its runs in manifests alone",
        "an upload comes to nothing",
        "a manifest's put fails or lands late",
        "a topic is deleted",
        "another process goes on packing",
    ],
};

const GRACE_MS: i64 = 600_000;
const SIZE_LIMIT: u64 = 500;

/// All that was ever published of a partition.
#[derive(Default)]
struct Model {
    batches: Vec<BatchView>,
    end: i64,
    producers: Producers,
}

/// A segment in the bucket that no record names yet.
struct Waiting {
    segment: SegmentId,
    objects: Vec<NewObject>,
    batches: Vec<(PartitionId, BatchView)>,
    at: Millis,
}

struct Life {
    world: World,
    dice: Dice,
    topics: BTreeMap<PartitionId, Model>,
    made: u64,
    waiting: Option<Waiting>,
    /// Views that a reader may still have.
    views: Vec<(Millis, Arc<State>)>,
    /// Partitions of which a client deleted records: size is not why they shrink.
    cut: BTreeSet<PartitionId>,
    /// What another process folded last.
    other: BTreeMap<PartitionId, Folded>,
}

impl Life {
    async fn new(seed: u64, bugs: Bugs) -> Self {
        let world = World::seeded(seed, bugs).await;
        let mut life = Self {
            world,
            dice: Dice::new(seed),
            topics: BTreeMap::new(),
            made: 0,
            waiting: None,
            views: Vec::new(),
            cut: BTreeSet::new(),
            other: BTreeMap::new(),
        };
        for _ in 0..3 {
            life.create().await;
        }
        life
    }

    fn now(&self) -> Millis {
        self.world.env.clock.wall()
    }

    async fn create(&mut self) {
        let name =
            format!("{}", char::from_digit(u32::try_from(self.made % 36).unwrap(), 36).unwrap());
        let name = name.repeat(1 + usize::try_from(self.made / 36).unwrap());
        let size = SIZE_LIMIT.to_string();
        let configs: &[(&str, &str)] = match self.made % 3 {
            0 => &[("retention.ms", "10800000")],
            1 => &[("retention.ms", "-1"), ("retention.bytes", &size)],
            _ => &[("cleanup.policy", "compact")],
        };
        let topic = self.world.topic(&name, configs).await;
        self.made += 1;
        self.topics.insert(topic, Model::default());
    }

    fn some(&self) -> Option<PartitionId> {
        let topics: Vec<_> = self.topics.keys().copied().collect();
        self.dice.pick(&topics).copied()
    }

    /// The next batches of some partitions, into the bucket.
    async fn upload(&mut self) {
        if self.waiting.is_some() {
            return;
        }
        let at = self.now();
        let mut batches = Vec::new();
        let topics: Vec<_> = self.topics.iter().map(|(id, model)| (*id, model.end)).collect();
        for (topic, mut end) in topics {
            for _ in 0..self.dice.below(3) {
                let records = 1 + i64::try_from(self.dice.below(4)).unwrap();
                batches.push((topic, batch(end, records, at)));
                end += records;
            }
        }
        if batches.is_empty() {
            return;
        }
        let (segment, objects) = self.world.upload(batches.clone()).await;
        self.waiting = Some(Waiting { segment, objects, batches, at });
    }

    async fn publish(&mut self) {
        let Some(Waiting { segment, objects, batches, at }) = self.waiting.take() else { return };
        self.world.publish_uploaded(segment, objects).await;
        for (topic, batch) in batches {
            let Some(model) = self.topics.get_mut(&topic) else { continue };
            model.end = batch.end_offset().0;
            model.producers.record_batch(&batch, Moment { time: at, expiration_ms: 86_400_000 });
            model.batches.push(batch);
        }
    }

    /// The upload came to nothing: its segment is sealed empty, its objects are orphans.
    async fn abandon(&mut self) {
        let Some(Waiting { segment, objects, .. }) = self.waiting.take() else { return };
        reached("an upload comes to nothing");
        objects.iter().for_each(|object| self.world.ids.published(object.object));
        // What was packed was never published: the next packer goes on from what was.
        self.world.packer.folded.clear();
        self.world.publish_uploaded(segment, Vec::new()).await;
    }

    async fn sweep(&self) {
        let world = &self.world;
        let (cluster, store, env) = (world.cluster.clone(), world.store.clone(), world.env.clone());
        let settings = sweep::Settings::default();
        let sweep = Sweep::over(cluster, store, env, world.ids.clone(), settings);
        sweep.once().await.unwrap();
    }

    async fn retention(&self) {
        let sizes = |life: &Self| -> Vec<(PartitionId, u64)> {
            let bytes = |id: &PartitionId| {
                life.world.cluster.with(|state| Some((*id, state.partition(*id)?.bytes())))
            };
            life.topics.keys().filter_map(bytes).collect()
        };
        let before = sizes(self);
        self.world.retention().check_once().await;
        for ((id, before), (_, after)) in before.into_iter().zip(sizes(self)) {
            let by_size = self
                .world
                .cluster
                .with(|state| state.topics[&id.topic].configs.contains_key("retention.bytes"));
            let least = before.min(SIZE_LIMIT);
            let kept = !by_size || self.cut.contains(&id) || after >= least;
            assert!(kept, "retention left {after} of {before} bytes");
        }
    }

    async fn step(&mut self) {
        match self.dice.below(30) {
            0..=5 => self.upload().await,
            6..=11 => self.publish().await,
            12 => self.abandon().await,
            13..=15 => self.retention().await,
            16..=17 => self.world.retention().purge_once().await,
            18 => {
                if self.waiting.is_some() {
                    reached("H46: a sweep meets an upload that is not published");
                }
                self.sweep().await;
            }
            19..=20 => self.world.clock.pass(Duration::from_secs(self.dice.below(900))),
            21..=22 => self.world.pass(1 + self.dice.below(4)),
            23 => self.world.pass(30),
            24 => {
                reached("another process goes on packing");
                std::mem::swap(&mut self.world.packer.folded, &mut self.other);
            }
            25 => self.world.packer.folded.clear(),
            26 => {
                if let Some(topic) = self.some() {
                    let to = self.dice.below(u64::try_from(self.topics[&topic].end + 1).unwrap());
                    self.cut.insert(topic);
                    let World { cluster, objects, store, .. } = &self.world;
                    let to = Offset(i64::try_from(to).unwrap());
                    drop(raise_log_start(cluster, objects, store, topic, to).await);
                }
            }
            27 if self.waiting.is_none() => {
                if let Some(topic) = self.some().filter(|_| self.dice.one_in(2)) {
                    reached("a topic is deleted");
                    let deleted = vec![Record::TopicDeleted { topic: topic.topic }];
                    self.world.cluster.commit(deleted).await.unwrap();
                    self.topics.remove(&topic);
                    self.create().await;
                }
            }
            28 => {
                let fault = match self.dice.below(3) {
                    0 => Fault::FailBefore(FailureKind::Timeout),
                    1 => Fault::FailAfter(FailureKind::Timeout),
                    _ => Fault::Late(3),
                };
                reached("a manifest's put fails or lands late");
                self.world.faults.next_put("manifest/", fault);
            }
            _ => {}
        }
        let (now, state) = (self.now(), self.world.cluster.state());
        self.views.push((now, state));
        self.views.retain(|(at, _)| now.since(*at) < GRACE_MS);
    }

    /// What every view names is there.
    async fn check_views(&self) {
        let data: Vec<_> = self.world.data_keys().await;
        let manifests = self.world.keys(&path::manifest_prefix()).await;
        for (at, state) in &self.views {
            for (id, object) in &state.objects {
                if self.world.cluster.with(|now| !now.objects.contains_key(id)) {
                    reached("H44: an old view names what is unlinked");
                }
                if object.fresh_runs == 0 && object.manifest_runs > 0 {
                    reached("H48: an object lives by its runs in manifests alone");
                }
                let key = path::data(*id, object.incarnation, object.nonce);
                assert!(data.contains(&key), "a view of {at:?} names {key}, which is gone");
            }
            for topic in state.topics.values() {
                for (index, partition) in (0..).zip(&topic.partitions) {
                    let Some(manifest) = partition.manifest else { continue };
                    let key = path::manifest(topic.id, index, manifest.version);
                    assert!(
                        manifests.contains(&key),
                        "a view of {at:?} names {key}, which is gone"
                    );
                }
            }
        }
    }

    async fn check_records(&self) {
        for (id, model) in &self.topics {
            let start = self.world.cluster.with(|state| state.partition(*id).unwrap().log_start);
            let wanted = model.batches.iter().filter(|batch| batch.end_offset() > start);
            let wanted: Vec<_> = wanted.map(|batch| batch.bytes().clone()).collect();
            assert_eq!(self.world.read(*id, start).await, wanted, "published records");
            assert_eq!(self.world.producers(*id).await, model.producers, "producer state");
        }
    }

    /// After long enough nothing is left that nobody names.
    async fn check_orphans(&mut self) {
        self.abandon().await;
        self.world.faults.calm();
        for _ in 0..3 {
            self.world.pass(30);
            self.world.retention().check_once().await;
            self.world.retention().purge_once().await;
            self.sweep().await;
        }
        let named: Vec<_> = self.world.cluster.with(|state| {
            let key = |(id, object): (&_, &crate::cluster::Object)| {
                path::data(*id, object.incarnation, object.nonce)
            };
            state.objects.iter().map(key).collect()
        });
        let mut left = self.world.data_keys().await;
        left.retain(|key| !named.contains(key));
        assert!(left.is_empty(), "nobody names {left:?}");
    }
}

fn run(seed: u64, bugs: Bugs) -> u64 {
    on_one_thread(async {
        let mut life = Life::new(seed, bugs).await;
        let mut trace = Trace::default();
        for _ in 0..25 + life.dice.below(25) {
            life.step().await;
            life.check_views().await;
            let world = &life.world;
            trace.note((
                world.cluster.with(|state| state.objects.len()),
                world.data_keys().await.len(),
            ));
        }
        life.check_records().await;
        life.check_orphans().await;
        life.check_records().await;
        trace.note(life.topics.values().map(|model| model.end).collect::<Vec<_>>());
        life.world.stop().await;
        trace.value()
    })
}

#[test]
fn every_seed_keeps_what_is_named_and_nothing_else() {
    LIFE.holds(0..60);
}

#[test]
#[ignore = "CI: many seeds"]
fn many_seeds_keep_what_is_named_and_nothing_else() {
    LIFE.holds(0..1500);
}

#[test]
fn a_seed_is_the_same_twice() {
    LIFE.repeats(0..2);
}

#[test]
fn each_mistake_in_the_life_of_objects_is_caught() {
    let bugs = [
        Bug::DedupNotInFooter,
        Bug::ProducersOfWrongOffset,
        Bug::RetentionOneTooMany,
        Bug::SweepOfReserved,
        Bug::PurgeWithoutGrace,
        Bug::CacheKeyByOffset,
    ];
    LIFE.catches(&bugs, &(0..300));
}

/// A bit of a block is not as it was written: its reader is told, and gets nothing.
async fn serve_no_turned_bit(bugs: Bugs) {
    let mut world = World::seeded(1, bugs).await;
    let topic = world.topic("t", &[]).await;
    world.publish(vec![(topic, batch(0, 3, Millis(5)))]).await;
    let place = world.cluster.with(|state| locate(state, topic, Offset(0)));
    let Place::Object(at) = place else { panic!("{place:?}") };
    let mut bytes = world.store.get(&at.key()).await.unwrap().bytes.to_vec();
    let block = batch(0, 3, Millis(5)).bytes().len();
    bytes[block - 1] ^= 1;
    world.store.delete(&at.key()).await.unwrap();
    assert!(world.store.create(&at.key(), vec![bytes.into()]).await.done().is_some());
    let read = world.objects.read(crate::cache::ReaderId(1), &at, topic, Offset(0), 1 << 20).await;
    assert!(read.is_err(), "a turned bit is served");
    world.stop().await;
}

#[tokio::test]
async fn a_turned_bit_of_a_block_is_never_served() {
    serve_no_turned_bit(Bugs::NONE).await;
}

#[test]
fn a_fill_that_is_not_checked_is_caught() {
    catches_waiting("a turned bit in a block", Bug::FillCrcUnchecked, serve_no_turned_bit);
}
