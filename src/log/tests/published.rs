//! The published side over a bucket in memory: fresh runs and manifests read alike.

use super::*;
use crate::{
    env::task::Tasks,
    log::{
        history::{History, HistoryError},
        published::Published,
        world::{World, batch},
    },
    types::PartitionId,
};

fn history(world: &World) -> Published {
    let (cluster, objects) = (world.cluster.clone(), world.objects.clone());
    let clock = Arc::clone(&world.env.clock);
    Published::new(cluster, objects, world.store.clone(), clock, Tasks::new())
}

fn time(after: i64) -> Millis {
    Millis(NOW.0 + after)
}

/// Three runs: offsets 0..4 at 10 and 20, 4..6 at 15, 6..7 at 40.
async fn three_runs(world: &mut World) -> PartitionId {
    let tide = world.topic("tide", &[("retention.ms", "-1")]).await;
    let first = vec![(tide, batch(0, 2, time(10))), (tide, batch(2, 2, time(20)))];
    world.publish(first).await;
    world.publish(vec![(tide, batch(4, 2, time(15)))]).await;
    world.publish(vec![(tide, batch(6, 1, time(40)))]).await;
    tide
}

async fn check(history: &Published, tide: PartitionId) {
    let read = async |from: i64, max_bytes: usize| {
        shapes(&history.read(tide, Offset(from), max_bytes).await.unwrap())
    };
    assert_eq!(read(0, 1 << 20).await, [(0, 2, 0), (2, 4, 0)]);
    assert_eq!(read(3, 1).await, [(2, 4, 0)]);
    assert_eq!(read(5, 1).await, [(4, 6, 0)]);
    assert_eq!(read(6, 1).await, [(6, 7, 0)]);
    assert_eq!(read(7, 1).await, []);
    for (after, from, expected) in [
        (0, 0, Some(0)),
        (10, 1, Some(1)),
        (21, 0, Some(6)),
        (15, 4, Some(4)),
        (16, 4, Some(6)),
        (41, 0, None),
        (0, 7, None),
    ] {
        let found = history.seek(tide, time(after), Offset(from)).await.unwrap();
        // Blocks are larger than these batches: a run's first offset is as near as it gets.
        assert_eq!(found, expected.map(Offset), "{after} {from}");
    }
    for (from, greatest) in [(0, Some(40)), (5, Some(40)), (6, Some(40)), (7, None)] {
        let found = history.max_timestamp(tide, Offset(from)).await.unwrap();
        assert_eq!(found, greatest.map(time), "{from}");
    }
    let producers = history.producers(tide).await.unwrap();
    let batches = &producers[0].batches;
    assert_eq!((batches.len(), batches[3].base_offset), (4, Offset(6)));
}

#[tokio::test]
async fn fresh_runs_and_a_manifest_tell_the_same() {
    let mut world = World::new().await;
    let tide = three_runs(&mut world).await;
    let history = history(&world);
    check(&history, tide).await;
    world.pass(2);
    world.retention().check_once().await;
    let moved = world.cluster.with(|state| state.partition(tide).unwrap().manifest.is_some());
    assert!(moved);
    check(&history, tide).await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_not_published_or_deleted_is_nowhere() {
    let mut world = World::new().await;
    let tide = three_runs(&mut world).await;
    let history = history(&world);
    history.raise_start(tide, Offset(5)).await.unwrap();
    history.raise_start(tide, Offset(5)).await.unwrap();
    history.raise_start(tide, Offset(2)).await.unwrap();
    assert_eq!(history.read(tide, Offset(3), 1).await.unwrap(), Vec::<Bytes>::new());
    assert_eq!(shapes(&history.read(tide, Offset(5), 1).await.unwrap()), [(4, 6, 0)]);
    let ebb = PartitionId { index: 7, ..tide };
    assert_eq!(history.read(ebb, Offset(0), 1).await.unwrap(), Vec::<Bytes>::new());
    assert_eq!(history.max_timestamp(ebb, Offset(0)).await.unwrap(), None);
    assert_eq!(history.producers(ebb).await.unwrap(), []);
    assert!(matches!(history.raise_start(ebb, Offset(1)).await, Err(HistoryError::Away(_))));
    world.stop().await;
}

#[tokio::test]
async fn producers_outlive_the_last_record() {
    let mut world = World::new().await;
    let tide = three_runs(&mut world).await;
    let history = history(&world);
    history.raise_start(tide, Offset(7)).await.unwrap();
    assert_eq!(history.read(tide, Offset(6), 1).await.unwrap(), Vec::<Bytes>::new());
    assert_eq!(history.producers(tide).await.unwrap()[0].batches.len(), 4);
    world.stop().await;
}
