//! What users of rdkafka, the Rust client, depend on: facts run by name against one broker, each
//! with topics of its own. Usage: rust-suite HOST:PORT [NAME...]

mod admin;
mod group;
mod offsets;
mod records;
mod suite;

use std::{panic::catch_unwind, process::ExitCode, time::Instant};

/// A statement about the broker at an address; the check panics when it does not hold.
type Fact = (&'static str, fn(&str));

const FACTS: &[Fact] = &[
    ("keys_values_headers_and_nulls_come_back", records::come_back),
    ("every_codec_comes_back", records::codecs),
    ("an_idempotent_producer_keeps_order", records::idempotent),
    ("every_kind_of_acknowledgement_is_served", records::acknowledgements),
    ("a_transactional_producer_is_told_at_once", records::transaction),
    ("a_group_shares_out_partitions_and_goes_on_where_it_was", group::goes_on),
    ("a_consumer_seeks_where_it_wants", offsets::seek),
    ("a_time_is_looked_up_to_the_record", offsets::times),
    ("topics_partitions_and_configs_are_administered", admin::topics),
    ("deleted_records_are_gone", admin::deleted_records),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (bootstrap, names) = arguments.split_first().expect("HOST:PORT");
    let mut all = true;
    for (name, check) in FACTS {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        let began = Instant::now();
        let holds = catch_unwind(|| check(bootstrap)).is_ok();
        let outcome = if holds { "ok" } else { "FAILED" };
        println!("{name} ... {outcome} ({:.1} s)", began.elapsed().as_secs_f32());
        all &= holds;
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
