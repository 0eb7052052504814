//! A bucket made by the real code, whole, and then damaged in every way.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::*;
use crate::{
    cluster::{Config, Record},
    env::sim::SimClock,
    log::world::{World, batch},
    store::{Bucket, Condition, Key, Memory},
    types::{Incarnation, MetadataIndex, Millis, Offset},
};

/// A log with snapshots and a floor after a few entries.
fn habits() -> Config {
    Config { snapshot_entries: 4, keep_entries: 6, keep_for: Duration::ZERO, ..Config::default() }
}

/// Two topics with manifests, fresh runs, and something deleted.
async fn world(config: Config) -> (World, PartitionId) {
    let mut world = World::with(config).await;
    let (one, two) = (world.topic("one", &[]).await, world.topic("two", &[]).await);
    let gone = world.topic("gone", &[]).await;
    for round in 0..3 {
        let now = world.env.clock.wall();
        let runs = [(one, batch(round * 5, 2, now)), (one, batch(round * 5 + 2, 3, now))];
        let others = [(two, batch(round, 1, now)), (gone, batch(round, 1, now))];
        world.publish(runs.into_iter().chain(others).collect()).await;
        if round == 1 {
            world.pass(1);
            world.retention().check_once().await;
        }
    }
    world.publish(vec![(gone, batch(3, 1, Millis(1)))]).await;
    world.cluster.commit(vec![Record::TopicDeleted { topic: gone.topic }]).await.unwrap();
    (world, one)
}

/// A copy of a bucket, to be damaged.
async fn copy(store: &Store) -> Store {
    copy_at(store, &Env::real(), Arc::new(Memory::new(Arc::clone(&Env::real().clock)))).await
}

async fn copy_at(store: &Store, env: &Env, bucket: Arc<Memory>) -> Store {
    let copy = Store::over(bucket, env);
    for key in keys(store).await {
        let bytes = store.get(&key).await.unwrap().bytes;
        copy.create(&key, vec![bytes]).await.done().unwrap();
    }
    copy
}

async fn keys(store: &Store) -> Vec<Key> {
    let page = store.list(&path::everything(), None).await.unwrap();
    assert!(!page.more);
    page.listed.into_iter().map(|listed| listed.key).collect()
}

async fn run(store: &Store, deep: bool) -> Report {
    let found = audit(store, &Env::real(), Options { deep }, &|_| {}).await.unwrap();
    found.unwrap()
}

/// The kinds of what is found, each once.
async fn kinds(store: &Store, deep: bool) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = run(store, deep).await.findings.iter().map(|it| it.kind).collect();
    kinds.dedup();
    kinds
}

async fn change(store: &Store, key: &Key, change: impl FnOnce(&mut Vec<u8>)) {
    let found = store.get(key).await.unwrap();
    let mut bytes = found.bytes.to_vec();
    change(&mut bytes);
    store.replace(key, &found.version, vec![bytes.into()]).await.done().unwrap();
}

async fn first(store: &Store, prefix: &Key) -> Key {
    store.list(prefix, None).await.unwrap().listed[0].key.clone()
}

#[tokio::test]
async fn of_a_whole_bucket_there_is_nothing_to_tell() {
    for config in [Config::default(), habits()] {
        let (world, _) = world(config).await;
        for deep in [false, true] {
            let report = run(&world.store, deep).await;
            assert_eq!(report.findings, []);
            assert!(report.complete && report.checked.entries > 5, "{report:?}");
            let Checked { topics, partitions, manifests, objects, runs, .. } = report.checked;
            assert_eq!((topics, partitions, objects), (2, 2, 3));
            assert!(manifests == 3 && runs == 8, "{report:?}");
            let Checked { records, producer_states, .. } = report.checked;
            assert_eq!((records, producer_states), if deep { (18, 6) } else { (0, 0) });
            assert!(report.leftovers.unlinked.keys > 0, "{report:?}");
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn an_empty_bucket_is_no_cluster() {
    let env = Env::real();
    let found = audit(&Store::in_memory(&env), &env, Options::default(), &|_| {}).await;
    assert!(found.unwrap().is_none());
}

#[tokio::test]
async fn what_is_named_and_missing_is_told() {
    let (world, _) = world(habits()).await;
    for (prefix, kind) in [
        (path::data_prefix(), Kind::MissingObject),
        (path::cluster(), Kind::MissingMetadata),
        (path::lease(), Kind::MissingMetadata),
        (path::floor(), Kind::MissingMetadata),
        (path::snapshot_prefix(), Kind::MissingMetadata),
        (path::log_prefix(), Kind::MissingMetadata),
    ] {
        let store = copy(&world.store).await;
        let key = match store.head(&prefix).await {
            Ok(_) => prefix,
            Err(_) => first(&store, &prefix).await,
        };
        // Behind the floor an entry is not missed.
        let floor = world.cluster.state().index.0 - 6;
        let key = if key.as_str().starts_with("meta/log") {
            path::log_entry(MetadataIndex(floor + 2))
        } else {
            key
        };
        store.delete(&key).await.unwrap();
        let found = kinds(&store, false).await;
        assert!(found.contains(&kind), "{key}: {found:?}");
    }
    let store = copy(&world.store).await;
    let named = world.cluster.state();
    let (id, partition) = named
        .topics
        .values()
        .map(|topic| (PartitionId { topic: topic.id, index: 0 }, &topic.partitions[0]))
        .next()
        .unwrap();
    let version = partition.manifest.unwrap().version;
    store.delete(&path::manifest(id.topic, id.index, version)).await.unwrap();
    assert_eq!(kinds(&store, false).await, [Kind::MissingManifest]);
    world.stop().await;
}

#[tokio::test]
async fn an_object_cut_short_or_made_longer_is_told() {
    let (world, _) = world(Config::default()).await;
    for cut in [1, 20, 100] {
        let store = copy(&world.store).await;
        let key = first(&store, &path::data_prefix()).await;
        change(&store, &key, |bytes| bytes.truncate(bytes.len() - cut)).await;
        let found = kinds(&store, true).await;
        assert!(found.contains(&Kind::WrongLength), "{found:?}");
        assert!(found.contains(&Kind::DamagedFooter), "{found:?}");
    }
    let store = copy(&world.store).await;
    let key = first(&store, &path::data_prefix()).await;
    change(&store, &key, |bytes| bytes.push(0)).await;
    assert!(kinds(&store, true).await.contains(&Kind::WrongLength));
    world.stop().await;
}

/// Flips bits all over every object of the bucket: each is found by a deep audit, as `kinds` of
/// its folder; what is not a record by any.
#[tokio::test]
async fn no_flipped_bit_goes_unseen() {
    let (world, _) = world(habits()).await;
    let whole = copy(&world.store).await;
    let named = run(&whole, true).await;
    assert_eq!(named.findings, []);
    let mut flipped = 0;
    for key in keys(&whole).await {
        let text = key.as_str();
        let metadata = text.starts_with("meta/") || text == "cluster.json";
        let bytes = whole.get(&key).await.unwrap().bytes;
        let bits = bytes.len() * 8;
        let runs = if text.starts_with("data/") { runs_of(&bytes) } else { Vec::new() };
        for bit in (0..bits).step_by(bits / 40 + 1) {
            let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
            change(&whole, &key, flip).await;
            let found = kinds(&whole, true).await;
            let shallow = kinds(&whole, false).await;
            change(&whole, &key, flip).await;
            flipped += 1;
            let at = format!("bit {bit} of {key}: {found:?}");
            let byte = u64::try_from(bit / 8).unwrap();
            if let Some((topic, _)) = runs.iter().find(|(_, range)| range.contains(&byte)) {
                let records = [Kind::DamagedRecords, Kind::WrongRecords];
                let told = found.iter().any(|kind| records.contains(kind));
                let live = world.cluster.state().topics.contains_key(topic);
                assert_eq!(told, live, "{at}");
                continue;
            }
            if !is_needed(&world, &key) {
                continue;
            }
            // A nonce in a document may be any, and of the lease no time is kept.
            if metadata && found.is_empty() {
                let documents = [path::lease(), path::floor(), path::cluster()];
                assert!(documents.contains(&key), "{at}");
                continue;
            }
            assert!(!found.is_empty() && !shallow.is_empty(), "{at}");
        }
    }
    assert!(flipped > 500, "{flipped}");
    world.stop().await;
}

/// Where the runs of an object are, and whose.
fn runs_of(object: &Bytes) -> Vec<(crate::types::TopicId, std::ops::Range<u64>)> {
    let bytes = u64::try_from(object.len()).unwrap();
    let footer = crate::object::Footer::decode(bytes, object).unwrap();
    footer.runs().iter().map(|run| (run.partition.topic, run.range())).collect()
}

/// Whether metadata still needs the key: replaced manifests and entries behind the floor may be
/// anything.
fn is_needed(world: &World, key: &Key) -> bool {
    let state = world.cluster.state();
    match path::name(key) {
        Some(path::Name::Manifest { topic, partition, version }) => {
            let id = PartitionId { topic, index: partition };
            !state.unlinked_manifests.contains_key(&(id, version))
        }
        Some(path::Name::Data(name)) => state.objects.contains_key(&name.object),
        Some(path::Name::LogEntry(index)) => index.0 + 4 > state.index.0,
        _ => true,
    }
}

#[tokio::test]
async fn an_entry_that_is_another_breaks_the_chain() {
    let (world, _) = world(Config::default()).await;
    let store = copy(&world.store).await;
    let three = store.get(&path::log_entry(MetadataIndex(3))).await.unwrap();
    change(&store, &path::log_entry(MetadataIndex(5)), |bytes| {
        *bytes = three.bytes.to_vec();
    })
    .await;
    let report = run(&store, false).await;
    assert_eq!(report.findings[0].kind, Kind::DamagedMetadata);
    assert!(!report.complete);

    // A whole entry that nobody wrote there: the last one again, with other records.
    let store = copy(&world.store).await;
    let index = world.cluster.state().index;
    let key = path::log_entry(index);
    let sealed = store.get(&key).await.unwrap();
    let mut entry = cluster::SealedEntry::decode(&sealed.bytes).unwrap().entry;
    entry.prev_hash = cluster::Hash::ZERO;
    change(&store, &key, |bytes| *bytes = entry.seal().0.to_vec()).await;
    assert_eq!(run(&store, false).await.findings[0].kind, Kind::BrokenChain);
    let mut entry = cluster::SealedEntry::decode(&sealed.bytes).unwrap().entry;
    entry.epoch = 0;
    change(&store, &key, |bytes| *bytes = entry.seal().0.to_vec()).await;
    assert_eq!(run(&store, false).await.findings[0].kind, Kind::BrokenChain);
    world.stop().await;
}

#[tokio::test]
async fn an_older_floor_or_lease_put_back_is_told() {
    let mut world = World::with(habits()).await;
    let topic = world.topic("t", &[]).await;
    let mut old = None;
    for round in 0..20 {
        world.publish(vec![(topic, batch(round, 1, Millis(1)))]).await;
        if round == 6 {
            old = Some(world.store.get(&path::floor()).await.unwrap().bytes);
        }
    }
    world.store.head(&path::floor()).await.unwrap();
    let store = copy(&world.store).await;
    assert_eq!(run(&store, false).await.findings, []);
    change(&store, &path::floor(), |bytes| *bytes = old.unwrap().to_vec()).await;
    let report = run(&store, false).await;
    assert!(report.findings.iter().any(|it| it.kind == Kind::MissingMetadata), "{report:?}");

    let store = copy(&world.store).await;
    change(&store, &path::lease(), |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace("\"epoch\":1,", "\"epoch\":0,").into_bytes();
    })
    .await;
    assert_eq!(kinds(&store, false).await, [Kind::StaleMetadata]);
    world.stop().await;
}

#[tokio::test]
async fn what_is_not_ours_or_was_never_handed_out_is_told() {
    let (world, _) = world(Config::default()).await;
    let store = copy(&world.store).await;
    let never = path::data(ObjectId(1 << 40), Incarnation(2), 7);
    store.create(&never, vec![Bytes::from_static(b"x")]).await.done().unwrap();
    let of_nobody = path::data(ObjectId(1), Incarnation(1 << 40), 7);
    store.create(&of_nobody, vec![Bytes::from_static(b"x")]).await.done().unwrap();
    let report = run(&store, false).await;
    let found: Vec<_> = report.findings.iter().map(|it| (it.kind, it.place.clone())).collect();
    let unreserved = |key: &Key| (Kind::Unreserved, key.to_string());
    assert!(found.contains(&unreserved(&never)) && found.contains(&unreserved(&of_nobody)));
    assert_eq!(found.len(), 2, "{found:?}");
    world.stop().await;
}

#[tokio::test]
async fn an_orphan_is_told_when_the_sweep_should_have_had_it() {
    let (world, _) = world(Config::default()).await;
    let clock = Arc::new(SimClock::at(Millis(1_000_000_000)));
    let env = Env { clock: clock.clone(), ..Env::real() };
    let bucket = Arc::new(Memory::new(clock.clone()));
    // The second try at an object that is published, as a lost answer leaves it.
    let published = first(&world.store, &path::data_prefix()).await;
    let name = path::data_name(&published).unwrap();
    let orphan = path::data(name.object, name.incarnation, name.nonce ^ 1);
    bucket.put(&orphan, &Condition::Absent, vec![Bytes::from_static(b"x")]).await.done().unwrap();
    for hours in [24, 80] {
        clock.pass(Duration::from_secs(hours * 3600));
        let fresh = Arc::new(Memory::new(Arc::new(SimClock::at(Millis(1_000_000_000)))));
        let old = Store::over(fresh.clone(), &env);
        old.create(&orphan, vec![Bytes::from_static(b"x")]).await.done().unwrap();
        let listed = old.list(&path::everything(), None).await.unwrap().listed.remove(0);
        let chain = cluster::inspect(&world.store, &env).await.unwrap().unwrap();
        // As if all entries, the broker's registration among them, were from long ago.
        let chain = Chain { registered: None, ..chain };
        let state = chain.state.clone().unwrap();
        let mut keys = Keys::new(&chain, &state);
        let mut findings = Findings::default();
        keys.see(&listed, &mut findings);
        let lease = crate::store::Listed {
            key: path::lease(),
            bytes: 1,
            modified: Millis(1_000_000_000 + i64::try_from(hours).unwrap() * 3_600_000),
        };
        keys.see(&lease, &mut findings);
        keys.finish(&mut findings);
        assert_eq!(keys.leftovers.orphans.keys, 1);
        let kinds: Vec<_> = findings.kept.iter().map(|it| it.kind).collect();
        assert_eq!(kinds, if hours > 50 { vec![Kind::Orphan] } else { Vec::new() });
    }
    world.stop().await;
}

/// Findings about a state that the log cannot have brought about.
async fn of_state(world: &World, change: impl FnOnce(&mut State)) -> Vec<Kind> {
    let mut state = (*world.cluster.state()).clone();
    change(&mut state);
    let options = Options { deep: true };
    let audit = Audit { store: &world.store, state: &state, options, tell: &|_| {} };
    let (mut checked, mut findings) = (Checked::default(), Findings::default());
    audit.runs(&mut checked, &mut findings).await.unwrap();
    let mut kinds: Vec<Kind> = findings.kept.iter().map(|finding| finding.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn partition(state: &mut State, id: PartitionId) -> &mut cluster::Partition {
    &mut Arc::make_mut(state.topics.get_mut(&id.topic).unwrap()).partitions[0]
}

#[tokio::test]
async fn a_state_that_contradicts_itself_or_its_objects_is_told() {
    let (world, id) = world(Config::default()).await;
    let of = |change: fn(&mut cluster::Partition)| {
        of_state(&world, move |state| change(partition(state, id)))
    };
    assert_eq!(of(|_| {}).await, []);
    assert_eq!(of(|it| it.end = it.end.advance(2)).await, [Kind::Gap]);
    assert_eq!(of(|it| it.end = it.end.advance(-2)).await, [Kind::Overlap]);
    assert_eq!(of(|it| it.runs.truncate(0)).await, [Kind::Gap, Kind::WrongCount]);
    let found = of(|it| it.runs[0].base = it.runs[0].base.advance(1)).await;
    assert_eq!(found, [Kind::Gap, Kind::RunDiffers]);
    let found = of(|it| it.runs[0].base = it.runs[0].base.advance(-1)).await;
    assert_eq!(found, [Kind::Overlap, Kind::RunDiffers]);
    assert_eq!(of(|it| it.runs[0].bytes += 1).await, [Kind::RunDiffers]);
    assert_eq!(of(|it| it.runs[0].last_append = Millis(1)).await, [Kind::RunDiffers]);
    let found = of(|it| it.runs.push(it.runs[0])).await;
    assert_eq!(found, [Kind::Overlap, Kind::WrongCount]);
    let found = of(|it| it.runs[0].object = ObjectId(99)).await;
    assert_eq!(found, [Kind::WrongCount, Kind::UnknownObject]);
    let found = of(|it| it.manifest = None).await;
    assert_eq!(found, [Kind::Gap, Kind::WrongCount]);
    let found = of(|it| {
        let manifest = it.manifest.as_mut().unwrap();
        manifest.bytes += 1;
    });
    assert_eq!(found.await, [Kind::ManifestDiffers]);
    let found = of(|it| it.manifest.as_mut().unwrap().start = Offset(1)).await;
    assert_eq!(found, [Kind::Gap, Kind::ManifestDiffers]);
    let found = of(|it| it.manifest.as_mut().unwrap().version += 1).await;
    assert_eq!(found, [Kind::MissingManifest]);
    assert_eq!(of(|it| it.log_start = Offset(5)).await, []);
    assert_eq!(of(|it| it.epochs.push(it.epochs[0])).await, [Kind::Inconsistent]);
    let found = of_state(&world, |state| {
        let object = state.objects.values_mut().next().unwrap();
        object.fresh_runs += 1;
    });
    assert_eq!(found.await, [Kind::WrongCount]);
    let found = of_state(&world, |state| {
        let object = state.objects.values_mut().next().unwrap();
        object.manifest_runs -= 1;
    });
    assert_eq!(found.await, [Kind::WrongCount]);
    assert_eq!(of_state(&world, |state| state.names.clear()).await, [Kind::Inconsistent]);
    world.stop().await;
}

#[tokio::test]
async fn beside_a_running_broker_nothing_is_told_that_it_changes_meanwhile() {
    let mut world = World::with(habits()).await;
    let topic = world.topic("t", &[("retention.ms", "7200000")]).await;
    let store = world.store.clone();
    let done = std::sync::atomic::AtomicBool::new(false);
    let audits = async {
        let mut count = 0;
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let report = run(&store, true).await;
            assert_eq!(report.findings, []);
            count += 1;
            tokio::task::yield_now().await;
        }
        count
    };
    let work = async {
        for round in 0..60_usize {
            let now = world.env.clock.wall();
            let other = world.topic(&"x".repeat(round + 2), &[]).await;
            let base = i64::try_from(round).unwrap();
            world.publish(vec![(topic, batch(base, 1, now)), (other, batch(0, 1, now))]).await;
            world.pass(1);
            world.retention().check_once().await;
            world.retention().purge_once().await;
            let deleted = Record::TopicDeleted { topic: other.topic };
            world.cluster.commit(vec![deleted]).await.unwrap();
            tokio::task::yield_now().await;
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (count, ()) = tokio::join!(audits, work);
    assert!(count > 3, "{count}");
    world.stop().await;
}
