use std::time::Duration;

use super::*;
use crate::{
    log::{
        sweep::{self, Sweep},
        world::{World, batch},
    },
    store::path,
    types::{Incarnation, ObjectId, Offset},
};

fn state_of(world: &World, partition: PartitionId) -> crate::cluster::Partition {
    world.cluster.with(|state| state.partition(partition).unwrap().clone())
}

#[tokio::test]
async fn records_are_read_back_from_fresh_runs_and_from_the_manifest() {
    let mut world = World::new().await;
    let topic = world.topic("t", &[]).await;
    let now = world.env.clock.wall();
    let batches = [batch(0, 2, now), batch(2, 3, now), batch(5, 1, now)];
    let [a, b, c] = batches.clone().map(|batch| (topic, batch));
    world.publish(vec![a, b]).await;
    world.publish(vec![c]).await;
    let wanted: Vec<_> = batches.iter().map(|batch| batch.bytes().clone()).collect();
    assert_eq!(world.read(topic, Offset(0)).await, wanted);
    assert_eq!(world.read(topic, Offset(4)).await, wanted[1..]);
    let producers = world.producers(topic).await;

    let retention = world.retention();
    retention.check_once().await;
    assert_eq!(state_of(&world, topic).runs.len(), 2, "too young for the manifest");
    world.pass(1);
    retention.check_once().await;
    let partition = state_of(&world, topic);
    let manifest = partition.manifest.unwrap();
    assert_eq!((partition.runs.len(), manifest.runs, manifest.end), (0, 2, Offset(6)));
    assert_eq!(world.read(topic, Offset(0)).await, wanted);
    assert_eq!(world.producers(topic).await, producers);
    assert_eq!(producers.to_snapshots()[0].batches.len(), 3);

    let index = world.cluster.with(|state| state.index);
    retention.check_once().await;
    retention.purge_once().await;
    assert_eq!(world.cluster.with(|state| state.index), index, "nothing to do, nothing written");
    world.stop().await;
}

#[tokio::test]
async fn what_has_had_its_time_is_unlinked_then_deleted_after_the_grace() {
    let mut world = World::new().await;
    let topic = world.topic("t", &[("retention.ms", "7200000")]).await;
    let retention = world.retention();
    let start = world.env.clock.wall();
    world.publish(vec![(topic, batch(0, 4, start))]).await;
    world.pass(1);
    retention.check_once().await;
    world.publish(vec![(topic, batch(4, 2, world.env.clock.wall()))]).await;
    world.pass(1);
    world.clock.pass(Duration::from_secs(1));
    let producers = world.producers(topic).await;

    // The first run is over two hours old and in the manifest, the second is one hour old.
    retention.check_once().await;
    assert_eq!(state_of(&world, topic).log_start, Offset(4));
    assert_eq!(world.cluster.with(|state| state.unlinked.len()), 1);
    assert_eq!(world.data_keys().await.len(), 2);
    world.pass(2);
    retention.check_once().await;
    let partition = state_of(&world, topic);
    assert_eq!((partition.log_start, partition.runs.len()), (Offset(6), 0));
    assert_eq!(partition.manifest.unwrap().runs, 0);
    assert_eq!(world.producers(topic).await, producers, "producer state outlives the last run");

    world.cluster.with(|state| assert!(state.objects.is_empty()));
    let unlinked = world.cluster.with(|state| state.unlinked.len());
    assert_eq!(unlinked, 2);
    world.clock.pass(Duration::from_secs(600));
    retention.purge_once().await;
    assert!(world.data_keys().await.is_empty());
    world.cluster.with(|state| assert!(state.unlinked.is_empty()));
    let manifests = world.keys(&path::manifest_prefix()).await;
    assert_eq!(manifests.len(), 1, "old versions are gone: {manifests:?}");

    // The log goes on where it ended.
    world.publish(vec![(topic, batch(6, 1, world.env.clock.wall()))]).await;
    assert_eq!(world.read(topic, Offset(6)).await.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn nothing_is_deleted_before_the_grace_is_over() {
    let mut world = World::new().await;
    let topic = world.topic("t", &[]).await;
    world.publish(vec![(topic, batch(0, 1, world.env.clock.wall()))]).await;
    world.cluster.commit(vec![Record::TopicDeleted { topic: topic.topic }]).await.unwrap();
    let retention = world.retention();
    world.clock.pass(Duration::from_secs(590));
    retention.purge_once().await;
    assert_eq!(world.data_keys().await.len(), 1);
    world.clock.pass(Duration::from_secs(20));
    retention.purge_once().await;
    assert!(world.data_keys().await.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn an_object_lives_as_long_as_its_last_run_and_classes_do_not_share_one() {
    let mut world = World::new().await;
    let (one, two) = (world.topic("one", &[]).await, world.topic("two", &[]).await);
    let kept = world.topic("kept", &[("cleanup.policy", "compact")]).await;
    let now = world.env.clock.wall();
    let run = |partition| (partition, batch(0, 1, now));
    world.publish(vec![run(one), run(kept), run(two)]).await;
    assert_eq!(world.data_keys().await.len(), 2, "by age, and by key");
    let retention = world.retention();
    world.pass(1);
    retention.check_once().await;
    assert_eq!(state_of(&world, one).manifest.unwrap().runs, 1);

    world.cluster.commit(vec![Record::TopicDeleted { topic: one.topic }]).await.unwrap();
    retention.check_once().await;
    world.cluster.with(|state| assert!(state.deleted_partitions.is_empty()));
    world.pass(24 * 8);
    retention.purge_once().await;
    assert_eq!(world.data_keys().await.len(), 2, "topic two still needs the first object");
    assert_eq!(world.read(two, Offset(0)).await.len(), 1);

    // After eight days retention takes topic two, and never the compacted one.
    retention.check_once().await;
    world.pass(1);
    retention.purge_once().await;
    assert_eq!(world.data_keys().await.len(), 1);
    assert_eq!(world.read(kept, Offset(0)).await.len(), 1);
    assert!(world.read(two, Offset(0)).await.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn size_takes_the_oldest_runs() {
    let mut world = World::new().await;
    let now = world.env.clock.wall();
    let bytes = batch(0, 1, now).bytes().len();
    let limit = (bytes * 2).to_string();
    let topic = world.topic("t", &[("retention.bytes", &limit)]).await;
    for base in 0..4 {
        world.publish(vec![(topic, batch(base, 1, now))]).await;
    }
    world.retention().check_once().await;
    let partition = state_of(&world, topic);
    assert_eq!((partition.log_start, partition.runs.len()), (Offset(2), 2));
    assert!(partition.manifest.is_none(), "no manifest is needed for that");
    world.stop().await;
}

#[tokio::test]
async fn records_deleted_by_a_client_leave_the_manifest_and_keep_the_producers() {
    let mut world = World::new().await;
    let topic = world.topic("t", &[]).await;
    let now = world.env.clock.wall();
    world.publish(vec![(topic, batch(0, 3, now))]).await;
    world.pass(1);
    let retention = world.retention();
    retention.check_once().await;
    world.publish(vec![(topic, batch(3, 3, now))]).await;
    let producers = world.producers(topic).await;
    let raise = |to| {
        let (cluster, objects, store) = (&world.cluster, &world.objects, &world.store);
        raise_log_start(cluster, objects, store, topic, Offset(to))
    };
    raise(4).await.unwrap();
    assert_eq!(state_of(&world, topic).runs.len(), 1);
    assert_eq!(world.read(topic, Offset(4)).await.len(), 1);
    raise(6).await.unwrap();
    assert_eq!(state_of(&world, topic).manifest.unwrap().runs, 0);
    world.cluster.with(|state| assert!(state.objects.is_empty()));
    assert_eq!(world.producers(topic).await, producers);
    assert!(raise(6).await.is_err(), "it is there already");
    world.stop().await;
}

#[tokio::test]
async fn a_manifest_whose_runs_are_all_deleted_keeps_the_producers() {
    let mut world = World::new().await;
    let topic = world.topic("t", &[]).await;
    world.publish(vec![(topic, batch(0, 3, world.env.clock.wall()))]).await;
    world.pass(1);
    let retention = world.retention();
    retention.check_once().await;
    let producers = world.producers(topic).await;
    let (cluster, objects, store) = (&world.cluster, &world.objects, &world.store);
    raise_log_start(cluster, objects, store, topic, Offset(3)).await.unwrap();
    assert_eq!(world.producers(topic).await, producers);
    retention.check_once().await;
    world.cluster.with(|state| assert!(state.objects.is_empty()));
    assert_eq!(world.producers(topic).await, producers);
    world.stop().await;
}

#[tokio::test]
async fn the_sweep_deletes_orphans_and_only_those() {
    let mut world = World::new().await;
    let topic = world.topic("t", &[]).await;
    world.publish(vec![(topic, batch(0, 1, world.env.clock.wall()))]).await;
    let live = world.data_keys().await;
    let published = path::data_name(&live[0]).unwrap();
    let put = async |object: ObjectId, incarnation: Incarnation, nonce| {
        let key = path::data(object, incarnation, nonce);
        world.store.create(&key, vec![bytes::Bytes::from_static(b"x")]).await.done().unwrap();
        key
    };
    // A lost attempt at a published object, one of a dead incarnation, and one under way.
    put(published.object, published.incarnation, published.nonce ^ 1).await;
    put(ObjectId(500), Incarnation(999), 1).await;
    let id = world.ids.take().unwrap();
    let under_way = put(id, world.incarnation, 1).await;
    let lost = put(ObjectId(id.0 + 1), world.incarnation, 1).await;
    let orphan_manifest = path::manifest(crate::types::TopicId(uuid::Uuid::from_u128(9)), 0, 1);
    world.store.create(&orphan_manifest, Vec::new()).await.done().unwrap();

    let settings = sweep::Settings::default();
    let (cluster, store, env) = (world.cluster.clone(), world.store.clone(), world.env.clone());
    let sweep = Sweep::over(cluster, store, env, world.ids.clone(), settings);
    assert_eq!(sweep.once().await.unwrap(), 2);
    let mut keys = world.data_keys().await;
    keys.sort();
    let mut wanted = vec![live[0].clone(), under_way.clone(), lost.clone()];
    wanted.sort();
    assert_eq!(keys, wanted);

    // A day later what nobody took is given up, but not what this process may still publish.
    world.pass(25);
    assert_eq!(sweep.once().await.unwrap(), 1, "the manifest of no topic");
    world.ids.published(id);
    assert_eq!(sweep.once().await.unwrap(), 1, "its upload is over, without a record");
    assert_eq!(world.cluster.with(|state| state.voided_below), ObjectId(id.0 + 1));
    while world.ids.take().is_some() {}
    assert_eq!(sweep.once().await.unwrap(), 0, "all ids are taken and may be published");
    let mut keys = world.data_keys().await;
    keys.sort();
    let mut wanted = vec![live[0].clone(), lost];
    wanted.sort();
    assert_eq!(keys, wanted);
    world.stop().await;
}
