//! Bytes in the bucket: golden, round trip, hostile.

use proptest::prelude::*;
use uuid::Uuid;

use crate::{
    cluster::{Corrupt, DecodeError, Entry, FORMAT, Hash, Record, SealedEntry, State, snapshot},
    env::sim::proof::{each_turned_bit, grouped},
    types::{ClusterId, Incarnation, MetadataIndex, Millis, ObjectId, StorageId},
};

pub(super) const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));

fn entry() -> Entry {
    let storage = StorageId(Uuid::from_u128(2));
    Entry {
        format: FORMAT,
        cluster_id: CLUSTER,
        index: MetadataIndex(1),
        epoch: 1,
        commit_id: Uuid::from_u128(3),
        prev_hash: Hash::ZERO,
        time_ms: Millis(1000),
        proposals: vec![
            vec![Record::EpochStart { epoch: 1, holder: storage }],
            vec![Record::Fence { incarnation: Incarnation(9) }],
        ],
    }
}

const GOLDEN: &str = concat!(
    "984b3ae4ea5b6386829143de0f1e9e005555b06000aaa8df1c6ad1c20495e589\n",
    r#"{"format":1,"cluster_id":"00000000-0000-0000-0000-000000000001","index":1,"epoch":1,"#,
    r#""commit_id":"00000000-0000-0000-0000-000000000003","#,
    r#""prev_hash":"0000000000000000000000000000000000000000000000000000000000000000","#,
    r#""time_ms":1000,"proposals":[[{"epoch_start":{"epoch":1,"#,
    r#""holder":"00000000-0000-0000-0000-000000000002"}}],"#,
    r#"[{"fence":{"incarnation":9}}]]}"#
);

#[test]
fn an_entry_has_this_form() {
    let (bytes, hash) = entry().seal();
    assert_eq!(String::from_utf8(bytes.to_vec()).unwrap(), GOLDEN);
    assert_eq!(SealedEntry::decode(&bytes).unwrap(), SealedEntry { entry: entry(), hash });
}

#[test]
fn a_newer_format_is_named() {
    let (bytes, _) = Entry { format: 2, ..entry() }.seal();
    assert_eq!(SealedEntry::decode(&bytes), Err(DecodeError::Format(2)));
}

#[test]
fn an_entry_follows_only_the_state_it_was_made_for() {
    let sealed = |entry: Entry| {
        let hash = entry.seal().1;
        SealedEntry { entry, hash }
    };
    let mut state = State::new(CLUSTER);
    let before = state.clone();
    for (wrong, why) in [
        (Entry { cluster_id: ClusterId(Uuid::from_u128(8)), ..entry() }, "cluster"),
        (Entry { index: MetadataIndex(2), ..entry() }, "index"),
        (Entry { prev_hash: Hash::of(b"x"), ..entry() }, "chain"),
        (Entry { epoch: 2, ..entry() }, "epoch"),
    ] {
        let error = state.apply(&sealed(wrong)).unwrap_err();
        let found = match error {
            Corrupt::Cluster(_) => "cluster",
            Corrupt::Format { .. } => "format",
            Corrupt::Index { .. } => "index",
            Corrupt::Chain(_) => "chain",
            Corrupt::Epoch { .. } => "epoch",
        };
        assert_eq!(found, why);
        assert_eq!(state, before);
    }
    let results = state.apply(&sealed(entry())).unwrap();
    assert!(results[0].is_ok() && results[1].is_err());
    assert_eq!((state.index, state.epoch), (MetadataIndex(1), 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn hostile_json_under_a_right_hash_does_no_harm(
        at in any::<prop::sample::Index>(),
        insert in "[\\[\\]{}\",:0-9a-z-]{0,40}",
    ) {
        let json = GOLDEN.split_once('\n').unwrap().1;
        let at = at.index(json.len());
        let json = format!("{}{insert}{}", &json[..at], &json[at..]);
        let text = format!("{}\n{json}", Hash::of(json.as_bytes()));
        if let Ok(sealed) = SealedEntry::decode(text.as_bytes()) {
            drop(State::new(CLUSTER).apply(&sealed));
        }
    }

    #[test]
    fn noise_is_no_entry_and_no_snapshot(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(SealedEntry::decode(&noise).is_err());
        let name = snapshot::encode(&State::new(CLUSTER)).1;
        prop_assert!(snapshot::decode(&noise, &name).is_err());
    }
}

#[test]
fn every_turned_bit_of_an_entry_or_a_snapshot_is_seen() {
    let mut turned = each_turned_bit(&entry().seal().0, |bit, turned| {
        assert!(SealedEntry::decode(turned).is_err(), "bit {bit} of an entry");
    });
    let mut state = State::new(CLUSTER);
    state.next_object_id = ObjectId(77);
    let (bytes, name) = snapshot::encode(&state);
    turned += each_turned_bit(&bytes, |bit, turned| {
        assert!(snapshot::decode(turned, &name).is_err(), "bit {bit} of a snapshot");
    });
    println!("layer bit-flips: {} images of metadata entries and snapshots", grouped(turned));
}
