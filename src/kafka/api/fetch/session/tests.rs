use bytes::Bytes;

use super::*;
use crate::{kafka::api::produce::TopicKey, types::Offset};

const NOW: Duration = Duration::from_secs(1000);

fn key(index: i32) -> Key {
    Key { topic: TopicKey::Name("t".into()), index }
}

fn asked(offset: i64) -> Asked {
    Asked { offset: Offset(offset), max_bytes: 100, current_epoch: None, last_epoch: None }
}

fn request(id: i32, epoch: i32, partitions: &[i32], forgotten: &[i32]) -> Request {
    Request {
        session_id: id,
        session_epoch: epoch,
        partitions: partitions.iter().map(|&index| (key(index), asked(0))).collect(),
        forgotten: forgotten.iter().map(|&index| key(index)).collect(),
        ..Request::default()
    }
}

fn quiet(high_watermark: i64) -> Answered {
    Answered { high_watermark, log_start: 0, ..Answered::error(0, None) }
}

fn records(high_watermark: i64) -> Answered {
    Answered { batches: vec![Bytes::from_static(b"batch")], ..quiet(high_watermark) }
}

impl Sessions {
    fn opened(&mut self, partitions: &[i32], id: i32, now: Duration) -> i32 {
        let plan = self.begin(12, &mut request(0, 0, partitions, &[]), now).unwrap();
        let mut answered = partitions.iter().map(|&index| (key(index), quiet(5))).collect();
        self.finish(&plan, &mut answered, now, || id).unwrap()
    }

    fn next(&mut self, id: i32, epoch: i32, answer: &[(i32, Answered)]) -> Vec<i32> {
        let plan = self.begin(12, &mut request(id, epoch, &[], &[]), NOW).unwrap();
        let mut answered: Vec<_> =
            answer.iter().map(|(index, answer)| (key(*index), answer.clone())).collect();
        assert_eq!(self.finish(&plan, &mut answered, NOW, || 0), Ok(id));
        answered.into_iter().map(|(key, _)| key.index).collect()
    }

    fn order(&mut self, id: i32, epoch: i32) -> Vec<i32> {
        let plan = self.begin(12, &mut request(id, epoch, &[], &[]), NOW).unwrap();
        plan.partitions.into_iter().map(|(key, _)| key.index).collect()
    }
}

#[test]
fn an_incremental_reply_lists_only_what_changed() {
    let mut sessions = Sessions::default();
    assert_eq!(sessions.opened(&[0, 1, 2], 9, NOW), 9);
    assert_eq!(sessions.next(9, 1, &[(0, quiet(5)), (1, quiet(6)), (2, quiet(5))]), [1]);
    let raised = Answered { log_start: 3, ..quiet(5) };
    assert_eq!(sessions.next(9, 2, &[(0, raised), (1, quiet(6)), (2, records(5))]), [0, 2]);
    let error = Answered::error(6, None);
    assert_eq!(sessions.next(9, 3, &[(1, error.clone())]), [1]);
    assert_eq!(sessions.next(9, 4, &[(1, error)]), [1], "an error is always told");
    assert_eq!(sessions.next(9, 5, &[(1, quiet(6))]), [1], "and so is its end");
    assert_eq!(sessions.next(9, 6, &[(1, quiet(6))]), [0; 0]);
}

#[test]
fn a_partition_that_gave_records_moves_to_the_end() {
    let mut sessions = Sessions::default();
    sessions.opened(&[0, 1, 2], 9, NOW);
    sessions.next(9, 1, &[(0, records(9)), (1, quiet(5)), (2, quiet(5))]);
    assert_eq!(sessions.order(9, 2), [1, 2, 0]);
}

#[test]
fn partitions_are_added_changed_and_forgotten() {
    let mut sessions = Sessions::default();
    sessions.opened(&[0, 1], 9, NOW);
    let mut change = request(9, 1, &[2], &[0]);
    change.partitions.push((key(1), asked(44)));
    let plan = sessions.begin(12, &mut change, NOW).unwrap();
    assert_eq!(plan.partitions, [(key(1), asked(44)), (key(2), asked(0))]);
    assert_eq!(sessions.partitions, 2);
}

#[test]
fn a_session_that_forgets_everything_is_closed() {
    let mut sessions = Sessions::default();
    sessions.opened(&[0], 9, NOW);
    let plan = sessions.begin(12, &mut request(9, 1, &[], &[0]), NOW).unwrap();
    assert_eq!((plan.part, sessions.len(), sessions.partitions), (Part::Sessionless, 0, 0));
}

#[test]
fn unknown_sessions_wrong_epochs_and_mixed_names_are_refused() {
    let mut sessions = Sessions::default();
    sessions.opened(&[0], 9, NOW);
    let mut begin = |version, id, epoch| {
        sessions.begin(version, &mut request(id, epoch, &[], &[]), NOW).err().map(|e| e.code())
    };
    assert_eq!(begin(12, 8, 1), Some(70));
    assert_eq!(begin(12, 9, 2), Some(71));
    assert_eq!(begin(13, 9, 1), Some(106));
    assert_eq!(begin(12, 9, 1), None);
    assert_eq!(begin(12, 9, 1), Some(71), "each epoch is used once");
}

#[test]
fn a_full_request_closes_the_session_it_names() {
    let mut sessions = Sessions::default();
    sessions.opened(&[0], 9, NOW);
    let plan = sessions.begin(12, &mut request(9, -1, &[0], &[]), NOW).unwrap();
    assert_eq!((plan.part, sessions.len()), (Part::Sessionless, 0));
}

#[test]
fn of_a_partition_asked_for_twice_the_last_word_counts() {
    for epoch in [0, -1] {
        let mut twice = request(0, epoch, &[3, 1], &[]);
        twice.partitions.push((key(3), asked(7)));
        let plan = Sessions::default().begin(12, &mut twice, NOW).unwrap();
        assert_eq!(plan.partitions, [(key(3), asked(7)), (key(1), asked(0))]);
    }
}

#[test]
fn the_epoch_wraps_to_1() {
    assert_eq!((next_epoch(1), next_epoch(i32::MAX)), (2, 1));
}

#[test]
fn a_reply_that_was_overtaken_is_an_error() {
    let mut sessions = Sessions::default();
    sessions.opened(&[0], 9, NOW);
    let plan = sessions.begin(12, &mut request(9, 1, &[], &[]), NOW).unwrap();
    sessions.begin(12, &mut request(9, 2, &[], &[]), NOW).unwrap();
    let refused = sessions.finish(&plan, &mut Vec::new(), NOW, || 0);
    assert_eq!(refused, Err((Code::InvalidFetchSessionEpoch, 9)), "the session goes on");
}

#[test]
fn a_full_cache_gives_no_session_until_one_is_stale_or_smaller() {
    let mut sessions = Sessions::default();
    for id in 1..=1000 {
        assert_eq!(sessions.opened(&[0, 1], id, NOW), id);
    }
    assert_eq!(sessions.opened(&[0], 2000, NOW), 0);
    assert_eq!(sessions.opened(&[0, 1, 2], 2000, NOW), 0, "larger, but the others are young");
    let later = NOW + STALE + Duration::from_secs(1);
    for session in sessions.sessions.values_mut() {
        session.used = later;
    }
    assert_eq!(sessions.opened(&[0], 2000, later), 0, "smaller");
    assert_eq!(sessions.opened(&[0, 1, 2], 2000, later), 2000, "larger than an old one");
    assert_eq!(sessions.opened(&[0], 2001, later + STALE + STALE), 2001, "all are silent");
    assert_eq!(sessions.len(), 1000);
}

#[test]
fn a_name_too_long_for_a_topic_is_never_kept_in_a_session() {
    let mut sessions = Sessions::default();
    let long = |epoch, id| {
        let topic = TopicKey::Name("n".repeat(250).into());
        let partitions = vec![(Key { topic, index: 0 }, asked(0))];
        Request { partitions, ..request(id, epoch, &[], &[]) }
    };
    let plan = sessions.begin(12, &mut long(0, 0), NOW).unwrap();
    assert_eq!((plan.part, plan.partitions.len()), (Part::Sessionless, 1));
    assert_eq!(sessions.opened(&[0], 9, NOW), 9);
    let plan = sessions.begin(12, &mut long(1, 9), NOW).unwrap();
    assert_eq!((plan.part, plan.partitions.len()), (Part::Sessionless, 2), "all are answered");
    assert_eq!((sessions.len(), sessions.partitions), (0, 0));
}
