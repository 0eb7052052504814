//! Runs a model and says what was seen.
//!
//! Owns: how a model is explored, and the lines that `scripts/test` collects.

use std::{
    hash::Hash,
    time::{Duration, Instant},
};

use stateright::{Checker, HasDiscoveries, Model};

/// Threads of one model; the tests of one run share the machine.
const THREADS: usize = 2;
/// Longer than any model takes: a model that grew is seen by what it did not finish.
const LIMIT: Duration = Duration::from_secs(1200);

/// How far a model is explored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// Schedules of up to so many steps.
    Steps(usize),
}

/// Explores a model in which every invariant has to hold and every `sometimes` has to be reached.
pub(crate) fn holds<M>(name: &str, model: M, extent: Extent)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + Hash + Send + Sync + 'static + PartialEq,
    M::Action: Clone + std::fmt::Debug + PartialEq,
{
    let began = Instant::now();
    let builder = model.checker().threads(THREADS).timeout(LIMIT);
    let builder = builder.finish_when(HasDiscoveries::AnyFailures);
    let builder = match extent {
        Extent::Whole => builder,
        Extent::Steps(steps) => builder.target_max_depth(steps),
    };
    let checker = builder.spawn_bfs().join();
    let (seconds, states) = (began.elapsed().as_secs_f32(), checker.unique_state_count());
    let how = match extent {
        Extent::Whole => "exhaustive",
        Extent::Steps(_) => "bounded",
    };
    let depth = checker.max_depth();
    println!("layer models: {name} {states} distinct states, depth {depth}, {seconds:.1} s, {how}");
    for property in checker.model().properties() {
        if let Some(path) = checker.discovery(property.name)
            && property.expectation == stateright::Expectation::Always
        {
            panic!("{name}: not always: {}:\n{:#?}", property.name, path.into_actions());
        }
    }
    assert!(began.elapsed() < LIMIT, "{name} was not finished");
    checker.assert_properties();
}

/// Explores a model with one rule less: one of the invariants `expected` has to break.
pub(crate) fn catches<M>(name: &str, mutant: &str, model: M, expected: &[&str])
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + Hash + Send + Sync + 'static + PartialEq,
    M::Action: Clone + std::fmt::Debug + PartialEq,
{
    let began = Instant::now();
    let checker = model.checker().threads(THREADS).timeout(LIMIT);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let broken = checker.model().properties().into_iter().find_map(|property| {
        let always = property.expectation == stateright::Expectation::Always;
        let path = checker.discovery(property.name).filter(|_| always)?;
        Some((property.name, path.into_actions()))
    });
    let (seconds, states) = (began.elapsed().as_secs_f32(), checker.unique_state_count());
    let Some((property, steps)) = broken else {
        panic!("{name}: {mutant} goes unnoticed in {states} states");
    };
    println!(
        "layer models: {name} mutant {mutant} caught in {} steps, {states} states, {seconds:.1} s: \
         not always {property}",
        steps.len()
    );
    assert!(expected.contains(&property), "{name}: {mutant} breaks {property}: {steps:#?}");
}
