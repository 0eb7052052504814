//! Models: every schedule of small worlds, explored by stateright.
//!
//! Owns: the worlds around the product's pure cores, their invariants, and the mutants that show
//! that each rule is needed. Does not own: the cores. They are the product's own files, compiled
//! in here under the names they have there, so a module path of the product means the same file.
//! Invariants: a model fails when a `sometimes` is never reached, so a rule that forbids
//! everything does not pass; every mutant is caught by an invariant named beside it.
//!
//! Each public function below explores one world, or shows one model's mutants; `tests/models.rs`
//! says when which of them runs.

pub mod cluster;
mod env;
pub mod replication;
mod run;
mod wal;

#[allow(dead_code, unused_imports)]
#[path = "../../src/types/mod.rs"]
mod types;
