//! Signals that ask the process to end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT as they come.
#[derive(Debug)]
pub struct Terminations {
    term: Signal,
    interrupt: Signal,
}

impl Terminations {
    /// Takes both over from their default, which is to die at once.
    ///
    /// # Errors
    /// As the operating system reports.
    pub fn listen() -> io::Result<Self> {
        let term = signal(SignalKind::terminate())?;
        Ok(Self { term, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one; cancel-safe.
    pub async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
