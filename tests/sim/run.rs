//! Runs seeds: one by one, or many on two threads.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    panic,
    sync::{
        Mutex, Once,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use strandline::env::bugs::Bugs;

use crate::{
    watch::{self, Seen},
    world::World,
};

/// What a seed came to.
#[derive(Debug, Default)]
pub struct Ran {
    pub hash: u64,
    pub events: u64,
    pub lives: u64,
    pub crashes: u64,
    pub faults: u64,
    pub requests: u64,
    pub acknowledged: u64,
    pub read: u64,
    pub seconds: u64,
    pub reached: BTreeMap<String, u64>,
    /// What broke, and how to see it again.
    pub failed: Option<String>,
}

thread_local! {
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What panicked on this thread since it was last asked.
pub fn panicked() -> Option<String> {
    PANICKED.with(|panicked| panicked.borrow_mut().take())
}

fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let text = info.to_string();
            PANICKED.with(|panicked| panicked.borrow_mut().get_or_insert(text).len());
            before(info);
        }));
    });
}

pub fn run(seed: u64) -> Ran {
    run_with(seed, Bugs::NONE)
}

/// Runs a seed with a broker that makes mistakes on purpose.
pub fn run_with(seed: u64, bugs: Bugs) -> Ran {
    watch_panics();
    panicked();
    let seen = Seen::default();
    let world = World::new(seed, bugs, seen.clone());
    let mut ran = watch::with(&seen, || world.run());
    if let Some(broken) = ran.failed.take().or_else(panicked) {
        ran.failed = Some(format!(
            "seed {seed}: {broken}\n  again: STRANDLINE_TEST_SIM={seed} STRANDLINE_TEST_SIM_SHOW=1 \
             cargo test --test sim seeds_keep -- --nocapture"
        ));
    }
    ran
}

/// Runs them on as many threads as the machine has cores, two at most.
pub fn run_all(seeds: &[u64]) -> Vec<Ran> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from).min(2);
    thread::scope(|scope| {
        for _ in 0..threads.min(seeds.len()) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ran = run(*seed);
                    if let Some(failed) = &ran.failed {
                        println!("{failed}");
                    }
                    done.lock().unwrap().push(ran);
                }
            });
        }
    });
    done.into_inner().unwrap()
}
