//! When which model runs. Plain tests take seconds; those in `long` a minute each, `scripts/test` runs
//! them; those in `full` many minutes and gigabytes, `scripts/full` runs them.

use strandline_models::{
    cluster::{life, log},
    replication::segments,
};

#[test]
fn no_short_schedule_breaks_the_log() {
    log::no_schedule_breaks_the_log_in(18);
}

#[test]
fn each_rule_of_the_log_is_needed() {
    log::each_rule_of_the_log_is_needed();
}

#[test]
fn two_records_outlive_recovery() {
    segments::two_records_outlive_recovery();
}

#[test]
fn each_rule_of_segments_is_needed() {
    segments::each_rule_of_segments_is_needed();
}

#[test]
fn one_object_lives_and_dies_whole() {
    life::one_object_lives_and_dies_whole();
}

#[test]
fn each_rule_of_objects_is_needed() {
    life::each_rule_of_objects_is_needed();
}

mod long {
    use super::*;

    #[test]
    #[ignore = "a minute: scripts/test"]
    fn no_long_schedule_breaks_the_log() {
        log::no_schedule_breaks_the_log_in(26);
    }

    #[test]
    #[ignore = "a minute: scripts/test"]
    fn a_record_outlives_a_lost_disk_and_a_damaged_one() {
        segments::a_record_outlives_a_lost_disk_and_a_damaged_one();
    }

    #[test]
    #[ignore = "a minute: scripts/test"]
    fn a_record_outlives_slow_disks_that_restart() {
        segments::a_record_outlives_slow_disks_that_restart();
    }

    #[test]
    #[ignore = "a minute: scripts/test"]
    fn two_recoverers_agree() {
        segments::two_recoverers_agree();
    }

    #[test]
    #[ignore = "a minute: scripts/test"]
    fn no_long_schedule_harms_two_objects() {
        life::no_schedule_harms_two_objects_in(10);
    }
}

mod full {
    use super::*;

    #[test]
    #[ignore = "many minutes: scripts/full"]
    fn no_schedule_breaks_the_log() {
        log::no_schedule_breaks_the_log();
    }

    #[test]
    #[ignore = "many minutes: scripts/full"]
    fn a_record_outlives_a_chain_of_three() {
        segments::a_record_outlives_a_chain_of_three();
    }

    #[test]
    #[ignore = "many minutes: scripts/full"]
    fn two_records_outlive_a_lost_disk_and_a_damaged_one() {
        segments::two_records_outlive_a_lost_disk_and_a_damaged_one();
    }

    #[test]
    #[ignore = "many minutes: scripts/full"]
    fn two_looks_at_a_partition_harm_nothing() {
        life::two_looks_at_a_partition_harm_nothing();
    }

    #[test]
    #[ignore = "many minutes: scripts/full"]
    fn two_objects_live_and_die_whole() {
        life::two_objects_live_and_die_whole();
    }
}
