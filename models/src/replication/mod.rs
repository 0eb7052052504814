//! The segment protocol: the product's cores and the model around them.

pub mod segments;

#[allow(dead_code, unused_imports, unfulfilled_lint_expectations)]
#[path = "../../../src/replication/member.rs"]
mod member;
#[allow(dead_code, unused_imports, unfulfilled_lint_expectations)]
#[path = "../../../src/replication/recovery.rs"]
mod recovery;
#[allow(dead_code, unused_imports, unfulfilled_lint_expectations)]
#[path = "../../../src/replication/writer.rs"]
mod writer;
