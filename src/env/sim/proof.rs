//! What the seeded layers of the proof share: dice, a trace, the runs over seeds, and the catching
//! of mistakes made on purpose.
//!
//! Owns: how seeds are run, told and repeated. Does not own: what a seed does, its invariants.
//! Invariants: a run is a function of its seed and the mistakes alone; a seed that ever failed is
//! in `failed-seeds.txt` and always runs; a mistake counts as caught only when the same seeds are
//! green without it; seeds that never bring a situation about that they are for are red.

use std::{
    any::Any,
    cell::RefCell,
    collections::BTreeMap,
    fmt::Write,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::SimEntropy;
use crate::env::{
    bugs::{Bug, Bugs},
    entropy::Entropy,
};

/// Seeds that once failed: a layer's name and a number a line.
const FAILED: &str = include_str!("failed-seeds.txt");

/// Chance out of a seed.
pub(crate) struct Dice(SimEntropy);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SimEntropy::seeded(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1)))
    }

    pub(crate) fn below(&self, limit: u64) -> u64 {
        self.0.below(limit.max(1))
    }

    pub(crate) fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap())).unwrap()
    }

    pub(crate) fn one_in(&self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub(crate) fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.index(of.len()))
    }
}

/// What happened, in one number.
#[derive(Default)]
pub(crate) struct Trace(DefaultHasher);

impl Trace {
    pub(crate) fn note(&mut self, what: impl Hash) {
        what.hash(&mut self.0);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.finish()
    }
}

/// A seeded layer: its name, and one run, which panics with the invariant that broke.
#[derive(Clone, Copy)]
pub(crate) struct Seeded {
    /// As `STRANDLINE_SEED=name:number` says it.
    pub(crate) name: &'static str,
    /// The test that runs it, for the command that repeats a seed.
    pub(crate) test: &'static str,
    pub(crate) run: fn(u64, Bugs) -> u64,
    /// Situations (correctness by its hazards' numbers) that the seeds must bring about.
    pub(crate) reaches: &'static [&'static str],
}

thread_local! {
    static REACHED: RefCell<BTreeMap<&'static str, u64>> = RefCell::default();
}

/// A situation that a layer must have seen to prove anything about it.
pub(crate) fn reached(situation: &'static str) {
    REACHED.with_borrow_mut(|all| *all.entry(situation).or_default() += 1);
}

impl Seeded {
    /// Runs `seeds`, after those that once failed; or the one that the environment asks for.
    pub(crate) fn holds(&self, seeds: Range<u64>) {
        if let Some(seed) = asked(self.name) {
            println!("{} seed {seed}: trace {:016x}", self.name, (self.run)(seed, Bugs::NONE));
            return;
        }
        let began = Instant::now();
        REACHED.take();
        let mut trace = Trace::default();
        let count = seeds.end - seeds.start;
        for seed in failed(self.name).chain(seeds) {
            match attempt(|| (self.run)(seed, Bugs::NONE)) {
                Ok(one) => trace.note(one),
                Err(why) => panic!("{} seed {seed}: {why}\n{}", self.name, self.again(seed)),
            }
        }
        let seconds = began.elapsed().as_secs_f32();
        let all = trace.value();
        println!("layer core-seeds: {} {count} seeds, {seconds:.1} s, trace {all:016x}", self.name);
        let found = REACHED.take();
        for (situation, times) in &found {
            println!("layer core-seeds: {} reached: {situation}: {}", self.name, grouped(*times));
        }
        let missed: Vec<_> = self.reaches.iter().filter(|it| !found.contains_key(*it)).collect();
        assert!(missed.is_empty(), "{} never reached {missed:?}", self.name);
    }

    /// A run of the same seed is the same run.
    pub(crate) fn repeats(&self, seeds: Range<u64>) {
        for seed in seeds {
            let (first, second) = ((self.run)(seed, Bugs::NONE), (self.run)(seed, Bugs::NONE));
            assert_eq!(first, second, "{} seed {seed} is not the same twice", self.name);
        }
    }

    /// For each of `bugs` some seed of `seeds` turns red with it, and up to it all are green without.
    pub(crate) fn catches(&self, bugs: &[Bug], seeds: &Range<u64>) {
        let missed = |bug: &&Bug| !self.notices(**bug, seeds.clone());
        let missed: Vec<_> = bugs.iter().filter(missed).collect();
        assert!(missed.is_empty(), "{} does not notice {missed:?}", self.name);
    }

    fn notices(&self, bug: Bug, seeds: Range<u64>) -> bool {
        let first = seeds.start;
        for seed in seeds {
            if let Err(why) = attempt(|| (self.run)(seed, Bugs::NONE)) {
                panic!("{} seed {seed} fails without {bug:?}: {why}", self.name);
            }
            if let Err(why) = attempt(|| (self.run)(seed, Bugs::only(bug))) {
                let tries = seed - first + 1;
                let why = why.lines().next().unwrap_or_default();
                println!(
                    "layer seeded-bugs: {bug:?} caught by {} in {tries} seeds: {why}",
                    self.name
                );
                return true;
            }
        }
        false
    }

    fn again(&self, seed: u64) -> String {
        let Self { name, test, .. } = self;
        format!("again: STRANDLINE_SEED={name}:{seed} cargo test --lib {test} -- --nocapture")
    }
}

/// A check that is no matter of seeds: red with `bug`, green without.
pub(crate) fn catches(layer: &str, bug: Bug, check: impl Fn(Bugs)) {
    if let Err(why) = attempt(|| check(Bugs::NONE)) {
        panic!("{layer} fails without {bug:?}: {why}");
    }
    let why = attempt(|| check(Bugs::only(bug))).expect_err("the mistake goes unnoticed");
    println!("layer seeded-bugs: {bug:?} caught by {layer}: {}", why.lines().next().unwrap_or(""));
}

/// The same of a check that waits for things.
pub(crate) fn catches_waiting<F: Future<Output = ()>>(
    layer: &str,
    bug: Bug,
    check: impl Fn(Bugs) -> F,
) {
    catches(layer, bug, |bugs| on_one_thread(check(bugs)));
}

/// Runs `work` on a runtime of one thread.
pub(crate) fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(work)
}

/// The outcome of `run`, or what it panicked with.
pub(crate) fn attempt<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| told(&*panic))
}

fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without a text".to_owned())
}

/// Says what happens, when one seed is repeated.
pub(crate) fn tell(what: &impl std::fmt::Debug) {
    if std::env::var_os("STRANDLINE_SEED").is_some() {
        println!("{what:?}");
    }
}

fn asked(name: &str) -> Option<u64> {
    let wanted = std::env::var("STRANDLINE_SEED").ok()?;
    let (layer, seed) = wanted.split_once(':')?;
    (layer == name).then(|| seed.parse().expect("a seed is a number"))
}

fn failed(name: &str) -> impl Iterator<Item = u64> {
    let lines = FAILED.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines.filter_map(move |line| {
        let (layer, seed) = line.split_once(' ').expect("a layer and a seed");
        (layer == name).then(|| seed.trim().parse().expect("a seed is a number"))
    })
}

/// What `strategy` makes of a seed: seeds over what property tests draw.
pub(crate) fn drawn<S: Strategy>(strategy: &S, seed: u64) -> S::Value {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    strategy.new_tree(&mut runner).unwrap().current()
}

/// Shows `check` every bit of `bytes` turned over, one after the other; how many there were.
pub(crate) fn each_turned_bit(bytes: &[u8], mut check: impl FnMut(usize, &[u8])) -> u64 {
    let mut turned = bytes.to_vec();
    for bit in 0..bytes.len() * 8 {
        turned[bit / 8] ^= 1 << (bit % 8);
        check(bit, &turned);
        turned[bit / 8] ^= 1 << (bit % 8);
    }
    u64::try_from(bytes.len() * 8).unwrap()
}

/// 1,234,567 as people read it.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.write_char(digit).expect("a string takes any character");
    }
    text
}
