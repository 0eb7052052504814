//! An entry's fate as a value that many wait for.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::CommitError;

/// Resolves Ok once every member has synced the batch; an error means its fate is unknown.
#[derive(Debug)]
pub struct Commit {
    _private: (),
}

impl Future for Commit {
    type Output = Result<(), CommitError>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Self::Output> {
        unimplemented!()
    }
}
