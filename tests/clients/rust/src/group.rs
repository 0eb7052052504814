//! A group shares out partitions, and goes on where it was when a member leaves.

use std::{collections::BTreeSet, time::Duration};

use futures_executor::block_on;
use rdkafka::{
    Message, Offset,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::RDKafkaErrorCode,
};

use crate::suite::{LIMIT, admin, config, eventually, fresh, numbers, options, produce, topic};

/// A member of a group, with the partitions and offsets that came to it.
struct Member {
    consumer: BaseConsumer,
    seen: Vec<(i32, i64)>,
}

impl Member {
    fn join(bootstrap: &str, group: &str, topic: &str, strategy: &str) -> Self {
        let settings = [
            ("group.id", group),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
            ("heartbeat.interval.ms", "500"),
            ("partition.assignment.strategy", strategy),
        ];
        let consumer: BaseConsumer = config(bootstrap, &settings).create().expect("a consumer");
        consumer.subscribe(&[topic]).expect("subscribed");
        Self { consumer, seen: Vec::new() }
    }

    /// Polls once; gives how many partitions it has.
    fn poll(&mut self) -> usize {
        if let Some(message) = self.consumer.poll(Duration::from_millis(20)) {
            let message = message.expect("a record");
            self.seen.push((message.partition(), message.offset()));
        }
        self.consumer.assignment().expect("an assignment").count()
    }

    fn commit(&self) {
        self.consumer.commit_consumer_state(CommitMode::Sync).expect("committed");
    }

    /// What the group has committed of this member's partitions. Given as plain offsets: dropping
    /// a consumer waits for ever while one of its partition lists lives, whatever the broker does.
    fn committed(&self) -> Vec<Offset> {
        let list = self.consumer.committed(LIMIT).expect("offsets");
        list.elements().iter().map(|entry| entry.offset()).collect()
    }

    /// Leaves the group; gives what came.
    fn leave(self) -> Vec<(i32, i64)> {
        self.seen
    }
}

fn check(bootstrap: &str, strategy: &str) {
    let (topic, group) = (topic(bootstrap, 4), fresh("group"));
    let fill = |count: usize| {
        (0..4).for_each(|partition| produce(bootstrap, &topic, partition, &numbers(count), &[]));
    };
    fill(10);
    let mut first = Member::join(bootstrap, &group, &topic, strategy);
    eventually("one has all", || first.poll() == 4 && first.seen.len() == 40);
    first.commit();
    let mut second = Member::join(bootstrap, &group, &topic, strategy);
    eventually("each has half", || (first.poll(), second.poll()) == (2, 2));
    fill(1);
    eventually("half came to each", || {
        (first.poll(), second.poll()) == (2, 2) && (first.seen.len(), second.seen.len()) == (42, 2)
    });
    first.commit();
    second.commit();
    let mut seen = first.leave();
    eventually("the other has all", || second.poll() == 4);
    fill(1);
    eventually("all came to the other", || second.poll() == 4 && second.seen.len() == 6);
    second.commit();
    assert_eq!(second.committed(), [Offset::Offset(12); 4]);
    let listed = second.consumer.fetch_group_list(Some(&group), LIMIT).expect("groups");
    let told = &listed.groups()[0];
    assert_eq!((told.state(), told.members().len()), ("Stable", 1));
    seen.extend(second.leave());
    let places: BTreeSet<_> = seen.iter().collect();
    assert_eq!((places.len(), seen.len()), (48, 48), "nothing twice, nothing lost");
    delete(bootstrap, &group);
}

/// Deletes a group once its last member has left.
fn delete(bootstrap: &str, group: &str) {
    let admin = admin(bootstrap);
    eventually("an empty group is deleted", || {
        let deleted = block_on(admin.delete_groups(&[group], &options())).expect("an answer");
        match &deleted[0] {
            Ok(_) => true,
            Err((_, RDKafkaErrorCode::NonEmptyGroup)) => false,
            Err((_, error)) => panic!("{error}"),
        }
    });
}

pub fn goes_on(bootstrap: &str) {
    for strategy in ["range,roundrobin", "cooperative-sticky"] {
        check(bootstrap, strategy);
    }
}
