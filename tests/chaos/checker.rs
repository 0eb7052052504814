//! The history checker sees each anomaly, and none in what is right.

use proptest::prelude::*;

use crate::history::{
    Batch, History, Log, Op, Outcome, Value, What,
    check::{Kind, judge},
    made,
};

const ALL: [Kind; 15] = [
    Kind::InconsistentOffset,
    Kind::Duplicate,
    Kind::Lost,
    Kind::Phantom,
    Kind::Gap,
    Kind::PollSkip,
    Kind::PollRepeat,
    Kind::SendOrder,
    Kind::RealTime,
    Kind::StaleEnd,
    Kind::FutureEnd,
    Kind::CommitLost,
    Kind::CommitPhantom,
    Kind::GroupSkip,
    Kind::Unseen,
];

fn value(producer: u32, sequence: u64) -> Value {
    Value { producer, sequence }
}

fn op(process: u32, start: u64, end: u64, what: What) -> Op {
    Op { process, partition: 0, start, end, outcome: Outcome::Ok, what }
}

fn sent(process: u32, sequence: u64, times: (u64, u64), base: i64) -> Op {
    let what = What::Send { values: vec![value(process, sequence)], base: Some(base) };
    op(process, times.0, times.1, what)
}

fn batch(base: i64, values: &[Value]) -> Batch {
    let records: Vec<_> = (base..).zip(values.iter().copied()).collect();
    Batch { base, end: base + i64::try_from(values.len()).unwrap(), records }
}

fn polled(times: (u64, u64), from: i64, batches: &[Batch]) -> Op {
    op(9, times.0, times.1, What::Poll { from, batches: batches.to_vec() })
}

fn log(batches: &[Batch]) -> Log {
    let end = batches.last().map_or(0, |batch| batch.end);
    Log { start: 0, end, batches: batches.to_vec() }
}

/// Two producers, a reader that saw all, a group, and what is there at the end.
fn clean() -> History {
    let (a, b) = (batch(0, &[value(1, 0)]), batch(1, &[value(2, 0)]));
    let c = batch(2, &[value(1, 1)]);
    let group = || "g".to_owned();
    let mut history = History {
        ops: vec![
            sent(1, 0, (10, 20), 0),
            sent(2, 0, (15, 25), 1),
            sent(1, 1, (30, 40), 2),
            op(5, 41, 42, What::End { offset: 3 }),
            polled((20, 26), 0, &[a.clone(), b.clone()]),
            polled((27, 45), 2, std::slice::from_ref(&c)),
            op(9, 50, 55, What::Commit { group: group(), offset: 3 }),
            op(8, 60, 61, What::Committed { group: group(), offset: Some(3) }),
        ],
        in_order: vec![1, 2],
        ..History::default()
    };
    history.finals.insert(0, log(&[a, b, c]));
    history.followers.insert(group(), vec![9]);
    history
}

/// The one kind of anomaly a change brings about.
fn only(kind: Kind, change: impl FnOnce(&mut History)) {
    let mut history = clean();
    change(&mut history);
    let judgement = judge(&history);
    let kinds: Vec<Kind> = judgement.kinds().into_iter().collect();
    assert_eq!(kinds, [kind], "{:#?}", judgement.anomalies);
}

#[test]
fn a_clean_history_has_no_anomaly() {
    let judgement = judge(&clean());
    assert_eq!(judgement.anomalies, []);
    assert_eq!((judgement.sent, judgement.acknowledged), (3, 3));
    assert_eq!(judgement.longest_gap[&0], 15);
}

#[test]
fn two_values_at_one_offset_are_seen() {
    only(Kind::InconsistentOffset, |history| {
        // Nobody knows whether it landed, and a reader saw it where another is.
        let what = What::Send { values: vec![value(3, 0)], base: None };
        history.ops.push(Op { outcome: Outcome::Info, ..op(3, 1, 2, what) });
        let what = What::Poll { from: 1, batches: vec![batch(1, &[value(3, 0)])] };
        history.ops.push(op(10, 50, 51, what));
    });
}

#[test]
fn a_value_that_is_there_twice_is_seen() {
    only(Kind::Duplicate, |history| {
        let log = history.finals.get_mut(&0).unwrap();
        log.batches.push(batch(3, &[value(1, 1)]));
        log.end = 4;
    });
}

#[test]
fn a_value_sent_again_by_a_producer_that_may_is_no_anomaly() {
    let mut history = clean();
    history.may_repeat.push(1);
    let log = history.finals.get_mut(&0).unwrap();
    log.batches.push(batch(3, &[value(1, 1)]));
    log.end = 4;
    assert_eq!(judge(&history).anomalies, []);
}

#[test]
fn an_acknowledged_record_that_is_not_there_is_seen() {
    only(Kind::Lost, |history| {
        let log = history.finals.get_mut(&0).unwrap();
        log.batches.pop();
        log.end = 2;
    });
}

#[test]
fn what_is_below_the_start_at_the_end_is_not_lost() {
    let mut history = clean();
    let log = history.finals.get_mut(&0).unwrap();
    log.batches.remove(0);
    log.start = 1;
    assert_eq!(judge(&history).anomalies, []);
}

#[test]
fn what_was_never_sent_or_was_refused_is_seen() {
    only(Kind::Phantom, |history| {
        let log = history.finals.get_mut(&0).unwrap();
        log.batches.push(batch(3, &[value(7, 0)]));
        log.end = 4;
    });
    only(Kind::Phantom, |history| {
        let what = What::Send { values: vec![value(7, 0)], base: None };
        history.ops.push(Op { outcome: Outcome::Fail, ..op(7, 1, 2, what) });
        let log = history.finals.get_mut(&0).unwrap();
        log.batches.push(batch(3, &[value(7, 0)]));
        log.end = 4;
    });
}

#[test]
fn offsets_in_no_batch_are_seen() {
    only(Kind::Gap, |history| {
        let log = history.finals.get_mut(&0).unwrap();
        let what = What::Send { values: vec![value(3, 0)], base: None };
        history.ops.push(Op { outcome: Outcome::Info, ..op(3, 1, 2, what) });
        log.batches.push(batch(4, &[value(3, 0)]));
        log.end = 5;
    });
    only(Kind::Gap, |history| history.finals.get_mut(&0).unwrap().end = 9);
}

#[test]
fn a_reader_that_is_not_given_the_next_record_is_seen() {
    only(Kind::PollSkip, |history| {
        let what = What::Poll { from: 0, batches: vec![batch(2, &[value(1, 1)])] };
        history.ops.push(op(10, 50, 51, what));
    });
}

#[test]
fn a_reader_that_is_given_a_record_again_is_seen() {
    only(Kind::PollRepeat, |history| {
        history.ops.push(polled((56, 57), 2, &[batch(2, &[value(1, 1)])]));
    });
}

#[test]
fn a_reader_that_was_told_to_begin_elsewhere_is_no_anomaly() {
    let mut history = clean();
    history.ops.push(op(9, 56, 56, What::Assign { from: 2 }));
    history.ops.push(polled((57, 58), 2, &[batch(2, &[value(1, 1)])]));
    assert_eq!(judge(&history).anomalies, []);
}

#[test]
fn a_producers_records_out_of_order_are_seen() {
    only(Kind::SendOrder, |history| {
        // Neither was answered, so that real time alone does not tell.
        for sequence in [2, 3] {
            let what = What::Send { values: vec![value(2, sequence)], base: None };
            history.ops.push(Op { outcome: Outcome::Info, ..op(2, 43, 44, what) });
        }
        let log = history.finals.get_mut(&0).unwrap();
        log.batches.push(batch(3, &[value(2, 3)]));
        log.batches.push(batch(4, &[value(2, 2)]));
        log.end = 5;
    });
}

#[test]
fn what_was_sent_after_an_answer_and_is_before_it_is_seen() {
    only(Kind::RealTime, |history| {
        // The first and the second change places, and the second began after the first's answer.
        history.ops[1] = sent(2, 0, (21, 22), 0);
        history.ops[0] = sent(1, 0, (10, 20), 1);
        let (a, b) = (batch(0, &[value(2, 0)]), batch(1, &[value(1, 0)]));
        history.ops[4] = polled((20, 26), 0, &[a.clone(), b.clone()]);
        let log = history.finals.get_mut(&0).unwrap();
        (log.batches[0], log.batches[1]) = (a, b);
    });
}

#[test]
fn an_end_before_what_was_acknowledged_or_read_or_told_is_seen() {
    only(Kind::StaleEnd, |history| history.ops[3] = op(5, 41, 42, What::End { offset: 2 }));
    only(Kind::StaleEnd, |history| {
        history.ops.push(op(6, 27, 29, What::End { offset: 1 }));
    });
    only(Kind::StaleEnd, |history| {
        history.ops.push(op(6, 50, 51, What::End { offset: 2 }));
    });
}

#[test]
fn an_end_behind_all_that_was_sent_is_seen() {
    only(Kind::FutureEnd, |history| {
        history.ops.push(op(6, 70, 71, What::End { offset: 4 }));
    });
}

#[test]
fn a_group_that_is_set_back_is_seen() {
    let told = |offset| What::Committed { group: "g".to_owned(), offset };
    only(Kind::CommitLost, |history| history.ops[7] = op(8, 60, 61, told(Some(2))));
    only(Kind::CommitLost, |history| history.ops[7] = op(8, 60, 61, told(None)));
    only(Kind::CommitLost, |history| history.ops.push(op(8, 70, 71, told(Some(0)))));
}

#[test]
fn a_place_that_no_group_wrote_is_seen() {
    let told = |offset| What::Committed { group: "g".to_owned(), offset };
    only(Kind::CommitPhantom, |history| history.ops[7] = op(8, 60, 61, told(Some(4))));
    only(Kind::CommitPhantom, |history| history.ops.push(op(8, 30, 31, told(Some(3)))));
}

#[test]
fn a_group_that_passes_what_it_has_not_read_is_seen() {
    only(Kind::GroupSkip, |history| {
        history.ops.swap(5, 6);
        history.ops[5].start = 43;
    });
}

#[test]
fn a_follower_that_never_sees_an_acknowledged_record_is_seen() {
    only(Kind::Unseen, |history| {
        history.ops.truncate(5);
    });
}

#[test]
fn a_value_survives_its_bytes_and_damaged_bytes_are_none() {
    let bytes = value(3, 17).encode(40);
    assert_eq!(Value::decode(&bytes), Some(value(3, 17)));
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1;
        assert_eq!(Value::decode(&other), None, "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn what_a_right_log_answers_is_clean_and_each_wrong_done_to_it_is_seen(
        seed in any::<u64>(),
        length in 20..150_usize,
        chance in any::<u64>(),
    ) {
        let right = made::right(seed, length);
        let judgement = judge(&right);
        prop_assert_eq!(judgement.anomalies, []);
        for kind in ALL {
            let mut wrong = right.clone();
            if made::spoil(&mut wrong, kind, chance) {
                let found = judge(&wrong).kinds();
                prop_assert!(found.contains(&kind), "{:?} in {:?}", kind, found);
            }
        }
    }
}

/// Without this the test above could pass by never finding a place for a wrong.
#[test]
fn each_kind_of_wrong_finds_its_place_in_some_history() {
    for kind in ALL {
        let places = (0..50).filter(|seed| made::spoil(&mut made::right(*seed, 120), kind, *seed));
        assert!(places.count() > 5, "{kind:?}");
    }
}
