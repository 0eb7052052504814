//! The worlds that are explored, and the rules that have to be needed.

use super::{
    Life, Mutant, Shape,
    check::{COUNTS, NAMED_IS_THERE, READERS_FIND, TILE, TRIMMED},
};
use crate::run::{self, Extent};

const NAME: &str = "object life";

const SMALL: Shape = Shape {
    segments: 2,
    tries: 2,
    versions: 2,
    looks: 1,
    deletes: true,
    raises: true,
    reads: true,
    fences: true,
};

fn explore(name: &str, shape: Shape, extent: Extent) {
    run::holds(name, Life { shape, mutant: Mutant::None }, extent);
}

/// One segment, two tries at its object.
pub fn one_object_lives_and_dies_whole() {
    explore("object life, 1 segment", Shape { segments: 1, ..SMALL }, Extent::Whole);
}

/// Two look at a partition at the same time.
pub fn two_looks_at_a_partition_harm_nothing() {
    let shape = Shape { segments: 1, tries: 1, looks: 2, versions: 3, fences: false, ..SMALL };
    explore("object life, 1 segment, 2 looks", shape, Extent::Whole);
}

/// Two segments, every schedule of up to so many steps.
pub fn no_schedule_harms_two_objects_in(steps: usize) {
    explore("object life, 2 segments", SMALL, Extent::Steps(steps));
}

/// Two segments, one try at each object.
pub fn two_objects_live_and_die_whole() {
    let shape = Shape { tries: 1, ..SMALL };
    explore("object life, 2 segments, 1 try", shape, Extent::Whole);
}

/// Without any one of their rules something is lost or stays for ever.
pub fn each_rule_of_objects_is_needed() {
    let one = Shape { segments: 1, ..SMALL };
    let unread = Shape { reads: false, ..one };
    let two = Shape { fences: false, tries: 1, ..SMALL };
    let mutants: [(&str, Mutant, Shape, &[&str]); 12] = [
        ("delete-on-error", Mutant::DeleteOnError, one, &[NAMED_IS_THERE]),
        ("put-unverified", Mutant::PutUnverified, one, &[NAMED_IS_THERE]),
        ("trim-before-publish", Mutant::TrimBeforePublish, one, &[TRIMMED]),
        ("publish-twice", Mutant::PublishTwice, two, &[TILE, COUNTS, NAMED_IS_THERE]),
        ("no-void", Mutant::NoVoid, one, &[NAMED_IS_THERE]),
        ("void-keeps-reserved", Mutant::VoidKeepsReserved, one, &[NAMED_IS_THERE]),
        ("judged-before-void", Mutant::JudgedBeforeVoid, one, &[NAMED_IS_THERE]),
        ("sweep-reserved", Mutant::SweepReserved, one, &[NAMED_IS_THERE]),
        ("sweep-manifest-above", Mutant::SweepManifestAbove, one, &[NAMED_IS_THERE]),
        ("no-grace", Mutant::NoGrace, one, &[READERS_FIND]),
        ("count-not-kept", Mutant::CountNotKept, one, &[COUNTS]),
        ("unlink-while-referenced", Mutant::UnlinkWhileReferenced, unread, &[COUNTS]),
    ];
    for (name, mutant, shape, expected) in mutants {
        run::catches(NAME, name, Life { shape, mutant }, expected);
    }
}
