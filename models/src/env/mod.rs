//! Of the product's seam: the mistakes that its cores can be told to make.

#[allow(dead_code, unused_imports, unfulfilled_lint_expectations)]
#[path = "../../../src/env/bugs.rs"]
pub mod bugs;
