//! The tier over a disk that tears, flips, fills up and fails.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    DiskTier, Parts, Queue,
    format::{self, file_name},
    tier::{Error, Offered, Opening, Shared, Tier},
};
use crate::{
    cache::{BlockKey, Metrics, Wanted},
    crc::crc32c,
    env::{
        Env,
        entropy::Entropy,
        sim::{
            SimEntropy,
            disk::{Fault, SimDisk},
        },
    },
    types::{ByteCount, ClusterId, ObjectId},
};

const FOLDER: &str = "/cache";
const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));

/// A tier and the face its readers see.
struct Open {
    tier: Tier,
    shared: Arc<Shared>,
    metrics: Metrics,
}

fn try_open(disk: &SimDisk, cluster: ClusterId, budget: u64) -> Result<Open, Error> {
    let metrics = Metrics::default();
    let shared = Arc::new(Shared::new(metrics.clone()));
    let opening = Opening {
        disk: Arc::new(disk.clone()),
        folder: PathBuf::from(FOLDER),
        cluster,
        budget: ByteCount(budget),
        metrics: metrics.clone(),
    };
    let tier = Tier::open(opening, Arc::clone(&shared), || true)?;
    Ok(Open { tier, shared, metrics })
}

fn open(disk: &SimDisk, budget: u64) -> Open {
    try_open(disk, CLUSTER, budget).unwrap()
}

/// The one content that block `number` of `bytes` has.
fn block(number: u64, bytes: usize) -> Offered {
    let entropy = SimEntropy::seeded(number);
    let content: Vec<u8> = (0..bytes).map(|_| entropy.next_u64().to_le_bytes()[0]).collect();
    let end = 100 + u64::try_from(bytes).unwrap();
    let key = BlockKey { object: ObjectId(number), start: 100, end };
    Offered { key, crc: crc32c(&content), bytes: content.into() }
}

fn blocks(count: u64, bytes: usize) -> Vec<Offered> {
    (0..count).map(|number| block(number, bytes)).collect()
}

/// How many of the blocks are there. Panics at a wrong byte.
fn found(shared: &Shared, blocks: &[Offered]) -> usize {
    let right = |block: &&Offered| {
        let read = shared.read(&block.key, block.crc);
        assert!(read.as_ref().is_none_or(|bytes| *bytes == block.bytes), "wrong bytes");
        read.is_some()
    };
    blocks.iter().filter(right).count()
}

fn files(disk: &SimDisk) -> Vec<String> {
    let mut names = crate::env::disk::Disk::list(disk, Path::new(FOLDER)).unwrap();
    names.retain(|name| name != "lock");
    names
}

fn held(disk: &SimDisk) -> u64 {
    let bytes = |name: &String| disk.bytes(&Path::new(FOLDER).join(name)).len();
    u64::try_from(files(disk).iter().map(bytes).sum::<usize>()).unwrap()
}

#[test]
fn a_restart_finds_everything_and_goes_on() {
    let (disk, all) = (SimDisk::new(), blocks(30, 700));
    for part in all.chunks(10) {
        let mut open = open(&disk, 1 << 20);
        open.tier.write(part);
    }
    let open = open(&disk, 1 << 20);
    assert_eq!(found(&open.shared, &all), 30);
}

#[test]
fn an_end_does_not_wait_for_the_whole_folder_to_be_looked_through() {
    let disk = SimDisk::new();
    open(&disk, 1 << 20).tier.write(&blocks(3, 700));
    let opening = Opening {
        disk: Arc::new(disk.clone()),
        folder: PathBuf::from(FOLDER),
        cluster: CLUSTER,
        budget: ByteCount(1 << 20),
        metrics: Metrics::default(),
    };
    let shared = Arc::new(Shared::new(Metrics::default()));
    assert!(matches!(Tier::open(opening, shared, || false), Err(Error::Stopped)));
    assert_eq!(found(&open(&disk, 1 << 20).shared, &blocks(3, 700)), 3, "and loses nothing");
}

#[test]
fn the_budget_holds_and_what_was_hit_stays() {
    let (disk, budget) = (SimDisk::new(), 100_000);
    let mut open = open(&disk, budget);
    let loved = block(1_000_000, 900);
    open.tier.write(std::slice::from_ref(&loved));
    for number in 0..2000 {
        open.tier.write(&[block(number, 900)]);
        assert!(held(&disk) <= budget, "{} bytes", held(&disk));
        assert!(open.shared.read(&loved.key, loved.crc).is_some(), "after {number}");
    }
    let all = blocks(2000, 900);
    let kept = found(&open.shared, &all);
    assert!((80..=105).contains(&kept), "{kept} of 900 bytes in 100000");
    assert_eq!(found(&open.shared, &all[..1800]), 0, "the oldest went first");
}

#[test]
fn a_smaller_budget_at_a_restart_holds_at_once() {
    let (disk, all) = (SimDisk::new(), blocks(100, 900));
    open(&disk, 200_000).tier.write(&all);
    let open = open(&disk, 40_000);
    assert!(held(&disk) <= 40_000);
    assert!(found(&open.shared, &all) > 10);
}

#[test]
fn another_cluster_s_blocks_are_deleted_and_strange_files_are_not() {
    let (disk, all) = (SimDisk::new(), blocks(10, 900));
    open(&disk, 1 << 20).tier.write(&all);
    let strange = Path::new(FOLDER).join("blocks-of-wood");
    crate::env::disk::Disk::replace(&disk, &strange, b"x").unwrap();
    let other = try_open(&disk, ClusterId(Uuid::from_u128(2)), 1 << 20).unwrap();
    assert_eq!(found(&other.shared, &all), 0);
    assert_eq!(files(&disk), ["blocks-of-wood"]);
}

#[test]
fn a_folder_has_one_user() {
    let disk = SimDisk::new();
    let first = open(&disk, 1 << 20);
    assert!(matches!(try_open(&disk, CLUSTER, 1 << 20), Err(Error::InUse)));
    drop(first);
    open(&disk, 1 << 20);
}

#[test]
fn whatever_length_a_file_is_torn_to_only_whole_blocks_come_back() {
    let (disk, all) = (SimDisk::new(), blocks(5, 60));
    open(&disk, 1 << 20).tier.write(&all);
    let path = Path::new(FOLDER).join(file_name(1));
    let whole = disk.bytes(&path).len();
    let mut before = 5;
    for length in (0..=whole).rev() {
        let torn = disk.copy();
        torn.damage(&path, |bytes| bytes.truncate(length));
        let mut open = open(&torn, 1 << 20);
        let now = found(&open.shared, &all);
        assert!(now == before || now + 1 == before, "{now} after {before} at {length}");
        assert_eq!(now, (length.saturating_sub(40)) / 108, "at {length}");
        before = now;
        // It goes on from there.
        open.tier.write(&all);
        assert_eq!(found(&open.shared, &all), 5);
    }
}

#[test]
fn whichever_bit_flips_no_wrong_byte_comes_back() {
    let (disk, all) = (SimDisk::new(), blocks(4, 40));
    open(&disk, 1 << 20).tier.write(&all);
    let path = Path::new(FOLDER).join(file_name(1));
    for bit in 0..disk.bytes(&path).len() * 8 {
        let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
        let running = disk.copy();
        let here = open(&running, 1 << 20);
        running.damage(&path, flip);
        let now = found(&here.shared, &all);
        assert!(now >= 3, "bit {bit}: only the block it is in is lost");
        assert_eq!(here.metrics.disk_damaged.get(), u64::try_from(4 - now).unwrap());
        let rebooted = disk.copy();
        rebooted.damage(&path, flip);
        found(&open(&rebooted, 1 << 20).shared, &all);
    }
}

#[test]
fn after_a_power_cut_anywhere_only_right_bytes_come_back_and_it_goes_on() {
    let all = blocks(60, 700);
    for operation in 0..80 {
        let disk = SimDisk::new();
        let chance = SimEntropy::seeded(operation);
        disk.fault_at(operation, Fault::PowerCut);
        if let Ok(mut open) = try_open(&disk, CLUSTER, 20_000) {
            all.chunks(7).for_each(|part| open.tier.write(part));
        }
        disk.cut_power();
        let after = disk.reboot(|| chance.below(3) > 0);
        let mut open = open(&after, 20_000);
        found(&open.shared, &all);
        open.tier.write(&all);
        assert!(found(&open.shared, &all) > 10, "operation {operation}");
    }
}

#[test]
fn a_full_disk_makes_it_smaller_and_room_makes_it_larger_again() {
    let disk = SimDisk::new();
    let mut open = open(&disk, 100_000);
    disk.set_capacity(Some(30_000));
    let all = blocks(200, 900);
    all.iter().for_each(|block| open.tier.write(std::slice::from_ref(block)));
    assert!(open.shared.is_open());
    assert!(held(&disk) <= 30_000);
    assert!(found(&open.shared, &all) > 0);
    // Others want the disk: half the budget is to stay free.
    disk.set_capacity(Some(60_000));
    open.tier.look_at_room().unwrap();
    open.tier.write(&all);
    assert!(held(&disk) <= 10_000, "{} bytes", held(&disk));
    disk.set_capacity(None);
    open.tier.look_at_room().unwrap();
    open.tier.write(&all);
    assert!(held(&disk) > 80_000);
}

#[test]
fn a_disk_full_at_the_head_of_a_file_is_no_end() {
    let disk = SimDisk::new();
    let mut open = open(&disk, 100_000);
    disk.set_capacity(Some(10));
    open.tier.write(&[block(1, 900)]);
    disk.set_capacity(None);
    open.tier.look_at_room().unwrap();
    open.tier.write(&[block(1, 900)]);
    assert!(open.shared.is_open());
    assert_eq!(found(&open.shared, &[block(1, 900)]), 1);
}

#[test]
fn a_disk_that_stays_full_ends_the_tier() {
    let disk = SimDisk::new();
    let mut open = open(&disk, 100_000);
    disk.set_capacity(Some(10));
    for number in 0..20 {
        open.tier.write(&[block(number, 900)]);
        disk.set_capacity(None);
        open.tier.look_at_room().unwrap();
        disk.set_capacity(Some(10));
    }
    assert!(!open.shared.is_open());
    assert!(files(&disk).is_empty(), "it leaves nothing behind");
}

#[test]
fn a_failing_disk_is_a_miss_and_the_end_of_the_tier() {
    let (disk, all) = (SimDisk::new(), blocks(5, 900));
    let mut writing = open(&disk, 1 << 20);
    writing.tier.write(&all[..3]);
    assert_eq!(found(&writing.shared, &all), 3);
    disk.fault_at(disk.operations(), Fault::Error(ErrorKind::Other));
    writing.tier.write(&all);
    assert_eq!(found(&writing.shared, &all), 0);
    assert!(files(&disk).is_empty());

    let disk = SimDisk::new();
    let mut reading = open(&disk, 1 << 20);
    reading.tier.write(&all);
    disk.set_unreadable(true);
    assert_eq!(found(&reading.shared, &all), 0);
    assert!(!reading.shared.is_open());
    reading.tier.leave();
    assert!(files(&disk).is_empty());
}

#[test]
fn a_block_too_large_for_the_budget_is_not_kept() {
    let disk = SimDisk::new();
    let mut open = open(&disk, 80_000);
    let large = block(1, 20_000);
    open.tier.write(std::slice::from_ref(&large));
    assert_eq!(found(&open.shared, &[large]), 0);
    assert_eq!(held(&disk), 0);
}

#[test]
fn a_block_is_only_found_by_the_crc_its_footer_has() {
    let disk = SimDisk::new();
    let mut open = open(&disk, 80_000);
    let kept = block(1, 900);
    open.tier.write(std::slice::from_ref(&kept));
    assert!(open.shared.has(&kept.key, kept.crc));
    assert!(!open.shared.has(&kept.key, kept.crc ^ 1));
    assert_eq!(open.shared.read(&kept.key, kept.crc ^ 1), None);
}

#[test]
fn a_header_is_of_its_file_alone() {
    let entry = format::EntryHeader { key: block(1, 9).key, crc: 7 };
    assert_eq!(format::decode_entry(3, &format::encode_entry(2, &entry)), None);
}

fn offer(of: &Offered) -> (Wanted, Bytes) {
    (Wanted { range: of.key.start..of.key.end, crc: of.crc }, of.bytes.clone())
}

#[tokio::test]
async fn what_is_offered_is_found_by_the_next_process() {
    let root = tempfile::tempdir().unwrap();
    let parts = || Parts {
        env: Env::real(),
        folder: root.path().join("cache"),
        cluster: CLUSTER,
        budget: ByteCount::mib(64),
        queue: ByteCount::mib(16),
        metrics: Metrics::default(),
    };
    let kept = block(7, 100_000);
    let wanted = offer(&kept).0;
    let tier = DiskTier::start(parts()).unwrap();
    while !tier.has(ObjectId(7), &wanted) {
        // Refused until the folder is looked through.
        tier.offer(ObjectId(7), &[offer(&kept)]);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tier.stop().await;
    let tier = DiskTier::start(parts()).unwrap();
    while !tier.has(ObjectId(7), &wanted) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let read = tier.read(ObjectId(7), vec![wanted]).await;
    assert_eq!(read, [Some(kept.bytes)]);
    drop(tier);
}

#[test]
fn the_queue_ends_when_it_is_closed() {
    let queue = Queue::default();
    assert!(matches!(queue.next(Duration::ZERO), Ok(None)));
    assert!(queue.rest(Duration::ZERO));
    queue.close();
    assert!(queue.next(Duration::from_secs(60)).is_err());
    assert!(!queue.rest(Duration::from_secs(60)));
}
