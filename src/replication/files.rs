//! The files thread: WAL files are made, filled and given back off the write path.
//!
//! Invariant: without room on the disk it keeps trying; any other error ends the log (H12).

use std::{
    sync::{Arc, MutexGuard},
    time::Duration,
};

use crate::{
    env::task,
    types::SegmentId,
    wal::{Error, OpenSegment},
};

use super::shared::{Shared, State};

/// With more than this waiting for the disk, files are not filled ahead of use.
const CROWDED_BYTES: u64 = 1024 * 1024;
const RETRY: Duration = Duration::from_millis(500);

enum Job {
    Trim(SegmentId),
    Spare(OpenSegment),
    Part(SegmentId, u64),
    Prepare,
}

/// Without this thread the log would hang for want of a file: a panic ends it.
struct Guard<'a>(&'a Shared);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = "the wal files thread is gone".to_owned();
            self.0.ask(|asked| asked.failed = Some(why));
        }
    }
}

/// What a look finds.
enum Look {
    Job(Job),
    Wait,
    Over,
}

/// What became of a job.
enum Done {
    Yes,
    NoRoom,
    Failed,
}

/// The thread's own.
#[derive(Default)]
pub(super) struct Making {
    /// A prepared file is a luxury: one failed try is enough until a file was given back.
    prepared: bool,
}

/// Works until the log ends or nobody holds it.
pub(super) fn run(shared: &Arc<Shared>) {
    let _guard = Guard(shared);
    let mut making = Making::default();
    while let Some(job) = next(shared, &making) {
        match making.done(shared, &job) {
            Done::Yes => {}
            Done::NoRoom => drop(shared.files.wait(no_room(shared), Some(RETRY))),
            Done::Failed => return,
        }
    }
}

/// The same without ever blocking.
pub(super) async fn take_turns(shared: Arc<Shared>) {
    let _guard = Guard(&shared);
    let mut making = Making::default();
    loop {
        let look = making.look(&mut shared.state());
        match look {
            Look::Job(job) => {
                task::lag().await;
                match making.done(&shared, &job) {
                    Done::Yes => {}
                    Done::NoRoom => {
                        drop(no_room(&shared));
                        shared.files.rung(Some(RETRY)).await;
                    }
                    Done::Failed => return,
                }
            }
            Look::Wait => shared.files.rung(None).await,
            Look::Over => return,
        }
    }
}

fn next(shared: &Shared, making: &Making) -> Option<Job> {
    let mut state = shared.state();
    loop {
        match making.look(&mut state) {
            Look::Job(job) => return Some(job),
            Look::Wait => state = shared.files.wait(state, None),
            Look::Over => return None,
        }
    }
}

impl Making {
    fn look(&self, state: &mut State) -> Look {
        if state.asked.gone || (state.end.is_some() && state.files.trims.is_empty()) {
            return Look::Over;
        }
        if let Some(segment) = state.files.trims.pop_front() {
            return Look::Job(Job::Trim(segment));
        }
        if state.end.is_none() {
            if let Some((segment, nonce)) = state.files.wanted_part {
                return Look::Job(Job::Part(segment, nonce));
            }
            if let Some(open) = state.files.raw.front() {
                return Look::Job(Job::Spare(open.clone()));
            }
            // An idle broker writes nothing.
            if !self.prepared && state.oldest().is_some() {
                return Look::Job(Job::Prepare);
            }
        }
        Look::Wait
    }

    fn done(&mut self, shared: &Arc<Shared>, job: &Job) -> Done {
        match done(shared, job) {
            Ok(()) => self.prepared = matches!(job, Job::Prepare),
            Err(Error::NoRoom) if matches!(job, Job::Prepare) => self.prepared = true,
            Err(Error::NoRoom) => return Done::NoRoom,
            Err(error) => {
                let why = error.to_string();
                shared.ask(|asked| asked.failed = Some(why));
                return Done::Failed;
            }
        }
        Done::Yes
    }
}

fn done(shared: &Arc<Shared>, job: &Job) -> Result<(), Error> {
    let bytes = shared.config.roll_bytes;
    match job {
        Job::Trim(segment) => shared.folder.trim(*segment)?,
        Job::Prepare => {
            let enough = || busy(&shared.state());
            shared.folder.prepare(bytes, enough)?;
        }
        Job::Spare(open) => {
            let writer = shared.folder.create(open, bytes)?;
            let mut state = shared.state();
            state.files.full = false;
            // Given up meanwhile by a drain.
            if state.files.raw.front() != Some(open) {
                state.files.trims.push_back(open.id);
                return Ok(());
            }
            state.files.raw.pop_front();
            state.files.ready.push_back((open.clone(), writer));
        }
        Job::Part(segment, nonce) => {
            let file = shared.folder.add_part(*segment, *nonce, bytes)?;
            let mut state = shared.state();
            state.files.wanted_part = None;
            state.files.ready_part = Some((*segment, file));
            state.files.full = false;
        }
    }
    shared.work.ring();
    Ok(())
}

fn busy(state: &State) -> bool {
    let files = &state.files;
    let wanted = files.wanted_part.is_some() || !files.raw.is_empty() || !files.trims.is_empty();
    // Zeros would take the disk from those who wait for it.
    let crowded = state.waiting.bytes() > CROWDED_BYTES;
    wanted || crowded || state.asked.gone || state.end.is_some()
}

/// Tells that the disk is full, once.
fn no_room(shared: &Shared) -> MutexGuard<'_, State> {
    let mut state = shared.state();
    if !state.files.full {
        state.files.full = true;
        tracing::warn!(
            folder = %shared.folder.path().display(),
            advice = "free some room: producers get retriable errors once the open files are full",
            "no room for another wal file"
        );
    }
    state
}
