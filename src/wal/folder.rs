//! The folder itself.

use std::{path::Path, sync::Arc};

use crate::{
    env::Env,
    types::{BrokerId, ClusterId, Incarnation, SegmentId, StorageId},
};

use super::{Error, Previous};

/// Handle of an open, locked WAL folder; clones share it.
#[derive(Clone, Debug)]
pub struct Folder {
    _inner: Arc<()>,
}

/// Who this folder is (`identity.json`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The disk, random, made with the folder.
    pub storage: StorageId,
    /// The cluster whose data it holds, once bound.
    pub cluster: Option<ClusterId>,
    /// The broker it last registered as.
    pub broker: Option<BrokerId>,
    /// Its newest registration.
    pub incarnation: Option<Incarnation>,
}

/// A segment found when the folder was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSegment {
    /// Its name.
    pub id: SegmentId,
    /// Its nonce.
    pub nonce: u64,
    /// The chain link of its header; `None` without header or predecessor.
    pub previous: Option<Previous>,
    /// Whole valid entries from its start, the header among them.
    pub entries: u64,
    /// Bytes of those entries.
    pub bytes: u64,
    /// A fence was answered for it before.
    pub fenced: bool,
    /// Its end is not evidence of absence (H11): damage, or a torn end in an ensemble of several.
    pub suspect: bool,
    /// Acknowledged bytes that do not read back; the files are kept as they are.
    pub damage: Option<String>,
}

impl Folder {
    /// Locks the folder, making it when it is new, and scans every segment in it. Blocking.
    ///
    /// # Errors
    /// `Locked`, `Format` or `Disk`.
    pub fn open(_path: &Path, _env: &Env) -> Result<Self, Error> {
        unimplemented!()
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        unimplemented!()
    }

    /// Makes it a folder of `cluster`, for good.
    ///
    /// # Errors
    /// `OtherCluster` when it is another's; `Disk`.
    pub fn bind(&self, _cluster: ClusterId) -> Result<(), Error> {
        unimplemented!()
    }

    /// Notes that a registration is about to be tried, after checking against a put-back copy:
    /// `newest` is the newest incarnation the metadata has for this storage (H10).
    ///
    /// # Errors
    /// `RolledBack`; `Disk`.
    pub fn begin_registration(&self, _newest: Option<Incarnation>) -> Result<(), Error> {
        unimplemented!()
    }

    /// Notes the registration; to be called before any segment of it is written.
    ///
    /// # Errors
    /// `Disk`.
    pub fn registered(&self, _broker: BrokerId, _incarnation: Incarnation) -> Result<(), Error> {
        unimplemented!()
    }

    /// The segments that were in it when it was opened, oldest first, trimmed ones left out.
    #[must_use]
    pub fn found(&self) -> Vec<FoundSegment> {
        unimplemented!()
    }

    /// Gives a segment's files back to the pool. Blocking. One that is not there is fine.
    ///
    /// # Errors
    /// `Disk`.
    pub fn trim(&self, _segment: SegmentId) -> Result<(), Error> {
        unimplemented!()
    }
}
