//! The worlds that are explored, and the rules that have to be needed.

use super::{Mutant, Segments, Shape};
use crate::run::{self, Extent};

const NAME: &str = "segments";
const OUTLIVE: &str = "acknowledged records outlive recovery";
const ONCE: &str = "the log has every record once";

/// Two copies on three disks, one record, no disk fails.
const SMALL: Shape = Shape {
    copies: 2,
    entries: 1,
    segments: 3,
    leaves: 1,
    rolls: true,
    drains: false,
    recoverers: 1,
    wipes: 0,
    losses: 0,
    slow_disks: false,
    restarts: 0,
};

fn whole(name: &str, shape: Shape) {
    run::holds(name, Segments { shape, mutant: Mutant::None }, Extent::Whole);
}

/// Two records, a writer that may close all it has.
pub fn two_records_outlive_recovery() {
    let shape = Shape { entries: 2, segments: 2, drains: true, ..SMALL };
    whole("segments, 2 records", shape);
}

/// One disk is lost, and one loses its end.
pub fn a_record_outlives_a_lost_disk_and_a_damaged_one() {
    let shape = Shape { segments: 2, wipes: 1, losses: 1, ..SMALL };
    whole("segments, 1 wiped, 1 damaged", shape);
}

/// Disks take their time, and one restarts without what it had not synced.
pub fn a_record_outlives_slow_disks_that_restart() {
    let shape = Shape { segments: 2, slow_disks: true, restarts: 1, ..SMALL };
    whole("segments, slow disks, 1 restart", shape);
}

/// Two processes recover the same incarnation.
pub fn two_recoverers_agree() {
    let shape = Shape { segments: 2, recoverers: 2, ..SMALL };
    whole("segments, 2 recoverers", shape);
}

/// Three copies on four disks, a chain of three segments.
pub fn a_record_outlives_a_chain_of_three() {
    let shape = Shape { copies: 3, ..SMALL };
    whole("segments, 3 copies on 4 disks, chain of 3", shape);
}

/// Two records, one lost disk and one damaged.
pub fn two_records_outlive_a_lost_disk_and_a_damaged_one() {
    let shape = Shape { entries: 2, segments: 2, wipes: 1, losses: 1, ..SMALL };
    whole("segments, 2 records, 1 wiped, 1 damaged", shape);
}

/// Without any one of its rules something acknowledged is lost, or the log torn.
pub fn each_rule_of_segments_is_needed() {
    let two = Shape { segments: 2, ..SMALL };
    let records = Shape { entries: 2, ..two };
    let drained = Shape { drains: true, ..records };
    let wiped = Shape { wipes: 1, ..two };
    let damaged = Shape { losses: 1, ..two };
    let slow = Shape { slow_disks: true, restarts: 1, leaves: 0, rolls: false, ..two };
    let mutants: [(&str, Mutant, Shape, &[&str]); 17] = [
        ("swap-local", Mutant::SwapLocal, two, &[OUTLIVE]),
        ("no-freeze", Mutant::NoFreeze, two, &[OUTLIVE]),
        ("header-of-sent", Mutant::HeaderOfSent, records, &[ONCE, OUTLIVE]),
        ("one-member-acks", Mutant::OneMemberAcks, two, &[OUTLIVE]),
        ("no-recovering-cas", Mutant::NoRecoveringCas, SMALL, &[OUTLIVE, ONCE]),
        ("skip-spare", Mutant::SkipSpare, two, &[OUTLIVE]),
        ("read-unfenced", Mutant::ReadUnfenced, two, &[OUTLIVE]),
        ("fence-not-synced", Mutant::FenceNotSynced, slow, &[OUTLIVE]),
        ("ack-before-sync", Mutant::AckBeforeSync, slow, &[OUTLIVE]),
        ("seal-before-upload", Mutant::SealBeforeUpload, wiped, &["what is sealed can be read"]),
        (
            "seal-no-cas",
            Mutant::SealNoCas,
            Shape { recoverers: 2, ..two },
            &["an incarnation ends once"],
        ),
        ("wiped-same-id", Mutant::WipedSameId, wiped, &[OUTLIVE]),
        ("suspect-authoritative", Mutant::SuspectAuthoritative, damaged, &[OUTLIVE]),
        ("independent-seal", Mutant::IndependentSeal, records, &[ONCE]),
        ("publish-fenced", Mutant::PublishFenced, records, &[ONCE]),
        ("publish-out-of-order", Mutant::PublishOutOfOrder, drained, &[ONCE]),
        ("trim-before-publish", Mutant::TrimBeforePublish, two, &[OUTLIVE]),
    ];
    for (name, mutant, shape, expected) in mutants {
        run::catches(NAME, name, Segments { shape, mutant }, expected);
    }
}
