//! Bytes nobody sane would write, for every decoder: the kept corpus, good bytes cut at every
//! length, and seeded mutants. Nothing panics, nothing hangs, nothing costs more memory than its
//! row of `hostile::TARGETS` allows. How many is bounded by count, so a run is the same each time;
//! `scripts/fuzz` goes on from here with libFuzzer and keeps what it finds in `tests/corpus/`.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "tests")]

use std::{
    fmt::Write,
    fs,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use peak_alloc::PeakAlloc;
use strandline::{
    env::{entropy::Entropy, sim::SimEntropy},
    hostile::{TARGETS, Target},
};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Inputs tried since the last test ended.
static EXECUTIONS: AtomicU64 = AtomicU64::new(0);

/// Memory is weighed, so one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const SEED: u64 = 20_261_124;
/// Mutants of each decoder.
const MUTANTS: u32 = 5000;
/// Longer seeds are cut at fewer places.
const CUTS: usize = 400;

/// Beginnings and lengths that decoders look for.
const WORDS: &[&[u8]] = &[
    b"SLE1",
    b"STRLWAL",
    b"STRANDOB",
    b"STRANDMF",
    b"\x82SNAPPY\0",
    b"\x1f\x8b\x08",
    b"\x04\x22\x4d\x18",
    b"\x28\xb5\x2f\xfd",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\0\0\0",
    b"\0\x01\x86\xa0",
    b"\xff\xff\xff\xff\x07",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\0\0\0\0\0\0\0",
    b"\x7f\xff",
    b"\xff\xff",
    b"\x1a\0",
    b"\xa1\x8d\x06",
    b"null",
    b"[[[[[[[[",
    b"18446744073709551615",
    b"-9223372036854775808",
    b"1e999",
    b"\"\\ud800\"",
    b"NaN",
    b",",
];

struct Chance(SimEntropy);

impl Chance {
    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.0.below(u64::try_from(bound.max(1)).unwrap())).unwrap()
    }

    fn mutant(&self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(8) {
                0 => bytes.truncate(at),
                1 => drop(bytes.splice(at..at, self.word())),
                2 => {
                    let word = self.word();
                    let end = (at + word.len()).min(bytes.len());
                    bytes.splice(at..end, word);
                }
                3 => {
                    let end = at + self.below((bytes.len() - at).min(64));
                    bytes.drain(at..end);
                }
                4 => {
                    let end = at + self.below((bytes.len() - at).min(256) + 1);
                    let again = bytes[at..end].repeat(1 + self.below(6));
                    bytes.splice(at..at, again);
                }
                5 => {
                    let other = &seeds[self.below(seeds.len())];
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[self.below(other.len() + 1)..]);
                }
                _ if at < bytes.len() => {
                    let flip = 1_u8 << self.below(8);
                    bytes[at] = [bytes[at] ^ flip, 0, 1, 0x7f, 0x80, 0xff][self.below(6)];
                }
                _ => bytes.push(0),
            }
        }
        bytes
    }

    fn word(&self) -> Vec<u8> {
        WORDS[self.below(WORDS.len())].to_vec()
    }
}

/// Runs a check and holds it to its row; tells how it failed.
fn hold(target: &Target, bytes: &[u8], from: &str) -> Result<(), String> {
    EXECUTIONS.fetch_add(1, Ordering::Relaxed);
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let ended = panic::catch_unwind(AssertUnwindSafe(|| (target.check)(bytes)));
    let rose = ALLOCATED.peak_usage().saturating_sub(before);
    let most = target.cost * bytes.len() + target.besides;
    if ended.is_ok() && rose <= most {
        return Ok(());
    }
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let how = if ended.is_err() { "broke" } else { "costs too much" };
    Err(format!(
        "{} {how} ({rose} bytes of memory, {most} allowed), {from}; keep these bytes in \
         tests/corpus/{}/ for ever: {hex}",
        target.name, target.name
    ))
}

/// Holds every decoder to `deed`, and tells the first failure of each.
fn every(deed: impl Fn(&Target) -> Result<(), String>) {
    let _turn = alone();
    let faults: Vec<_> = TARGETS.iter().filter_map(|target| deed(target).err()).collect();
    let executions = EXECUTIONS.swap(0, Ordering::Relaxed);
    println!("layer hostile-bytes: {executions} executions of {} decoders", TARGETS.len());
    assert!(faults.is_empty(), "{} of {}\n{}", faults.len(), TARGETS.len(), faults.join("\n"));
}

fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target.name);
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (named(path), fs::read(path).unwrap())).collect()
}

#[test]
fn the_kept_corpus_does_no_harm() {
    every(|target| {
        corpus(target)
            .into_iter()
            .try_for_each(|(name, bytes)| hold(target, &bytes, &format!("file {name}")))
    });
}

#[test]
fn every_folder_of_the_corpus_belongs_to_a_decoder() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(strandline::hostile::find(&name).is_some(), "{name}");
    }
}

#[test]
fn good_bytes_cut_anywhere_do_no_harm() {
    every(|target| {
        for seed in (target.seeds)() {
            let step = seed.len().div_ceil(CUTS).max(1);
            for length in (0..=seed.len()).step_by(step) {
                hold(target, &seed[..length], &format!("a seed cut at {length}"))?;
            }
            hold(target, &seed, "a seed")?;
        }
        Ok(())
    });
}

#[test]
fn mutants_of_good_bytes_do_no_harm() {
    every(|target| {
        println!("{} from seed {SEED}", target.name);
        let chance = Chance(SimEntropy::seeded(SEED));
        let mut seeds = (target.seeds)();
        seeds.extend(corpus(target).into_iter().map(|(_, bytes)| bytes));
        (0..MUTANTS).try_for_each(|round| {
            hold(target, &chance.mutant(&seeds), &format!("mutant {round} of seed {SEED}"))
        })
    });
}

#[test]
fn repeated_beginnings_cost_a_small_multiple_of_their_bytes() {
    // The smallest elements there are, as many as go in: what a decoder would reserve most for.
    every(|target| {
        let seeds = (target.seeds)();
        for word in WORDS.iter().chain([&b"\0"[..], b"\x02", b"\x01", b"[],", b"{},"].iter()) {
            let bytes = word.repeat((64 << 10) / word.len());
            hold(target, &bytes, "a repeated word")?;
            for seed in seeds.iter().take(3) {
                let half = &seed[..seed.len() / 2];
                hold(target, &[half, &bytes].concat(), "half a seed, then a repeated word")?;
            }
        }
        Ok(())
    });
}
