//! The metadata log and the state it describes: the product's cores and the models around them.

pub mod life;
pub mod log;

#[allow(dead_code, unused_imports, unfulfilled_lint_expectations)]
#[path = "../../../src/cluster/apply/mod.rs"]
mod apply;
#[allow(dead_code, unused_imports, unfulfilled_lint_expectations)]
#[path = "../../../src/cluster/commit.rs"]
mod commit;
#[allow(dead_code, unused_imports, unfulfilled_lint_expectations)]
#[path = "../../../src/cluster/entry.rs"]
mod entry;
#[allow(dead_code, unused_imports, unfulfilled_lint_expectations)]
#[path = "../../../src/cluster/record.rs"]
mod record;
#[allow(dead_code, unused_imports, unfulfilled_lint_expectations)]
#[path = "../../../src/cluster/state.rs"]
mod state;
