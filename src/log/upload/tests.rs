use super::*;
use crate::{
    log::{
        producer::{Moment, Producers},
        sweep::{self, Sweep},
        world::{World, batch},
    },
    store::{FailureKind, Fault},
    types::Offset,
};

#[tokio::test]
async fn an_upload_goes_through_whatever_the_bucket_answers() {
    let mut world = World::new().await;
    let topic = world.topic("t", &[]).await;
    let now = world.env.clock.wall();
    for fault in [
        Fault::FailBefore(FailureKind::Timeout),
        Fault::FailAfter(FailureKind::Timeout),
        Fault::Late(1),
        Fault::Twice(1),
    ] {
        world.faults.next_put("data/", fault);
    }
    world.publish(vec![(topic, batch(0, 3, now))]).await;
    world.faults.next_request("data/", Fault::Slow(std::time::Duration::ZERO));
    world.faults.next_request("data/", Fault::FailBefore(FailureKind::Connection));
    world.publish(vec![(topic, batch(3, 2, now))]).await;
    world.faults.calm();
    let read = world.read(topic, Offset(0)).await;
    let wanted = [batch(0, 3, now), batch(3, 2, now)];
    assert_eq!(read, wanted.map(|batch| batch.bytes().clone()));

    // What the tries left behind is swept, what counts stays.
    assert!(world.data_keys().await.len() > 2);
    let (cluster, store, env) = (world.cluster.clone(), world.store.clone(), world.env.clone());
    let settings = sweep::Settings::default();
    Sweep::over(cluster, store, env, world.ids.clone(), settings).once().await.unwrap();
    assert_eq!(world.data_keys().await.len(), 2);
    assert_eq!(world.read(topic, Offset(0)).await, read);
    world.stop().await;
}

#[tokio::test]
async fn producer_state_is_the_fold_of_the_whole_log_whoever_folds() {
    let mut world = World::new().await;
    let topic = world.topic("t", &[]).await;
    let now = world.env.clock.wall();
    let mut fold = Producers::default();
    for base in 0..8 {
        let batch = batch(base, 1, now);
        fold.record_batch(&batch, Moment { time: now, expiration_ms: 86_400_000 });
        world.publish(vec![(topic, batch)]).await;
        if base % 3 == 0 {
            // Another process goes on from what is published.
            world.packer.folded.clear();
        }
        assert_eq!(world.producers(topic).await, fold);
    }
    world.stop().await;
}

#[tokio::test]
async fn batches_of_a_deleted_topic_are_left_out() {
    let mut world = World::new().await;
    let (gone, stays) = (world.topic("gone", &[]).await, world.topic("stays", &[]).await);
    let now = world.env.clock.wall();
    world.cluster.commit(vec![Record::TopicDeleted { topic: gone.topic }]).await.unwrap();
    world.publish(vec![(gone, batch(0, 1, now)), (stays, batch(0, 1, now))]).await;
    assert_eq!(world.read(stays, Offset(0)).await.len(), 1);
    world.publish(vec![(gone, batch(1, 1, now))]).await;
    assert_eq!(world.data_keys().await.len(), 1);
    world.stop().await;
}

#[test]
fn a_segment_goes_out_in_half_the_time_it_took_to_fill_but_never_slower_than_8_mib_a_second() {
    assert_eq!(pace_of(100 << 20, 10_000), Pace::per_second((100 << 20) / 5));
    assert_eq!(pace_of(1 << 20, 10_000), Pace::per_second(8 << 20));
    assert_eq!(pace_of(64 << 20, 0), Pace::per_second((64 << 20) * 2_000));
    assert_eq!(pace_of(64 << 20, -5), Pace::per_second((64 << 20) * 2_000));
}
