//! Recovers a former incarnation's segments out of this broker's own WAL folder.
//!
//! Owns: the steps R0 to R5 of correctness.md 4.4 for a broker that is its own only member.
//! Does not own: where a segment ends (`replication::recover`), objects, who opens partitions.
//! Invariants: one record seals all segments, publishes what they held and moves the partitions;
//! until it is applied nothing of the WAL is given up; acknowledged records are given up only by
//! an operator's word.

use std::collections::BTreeMap;

use tracing::{info, warn};

use crate::{
    cluster::{Cluster, NewObject, Record, State},
    env::{Env, task::Tasks},
    log::{
        objects::Objects,
        upload::{self, Ids, Packer, TopicConfigs, next_stretch},
    },
    replication::{self, Recovered, RecoveredSegment, Unrecoverable},
    store::Store,
    types::{BrokerId, Incarnation, PartitionId, SegmentId},
    wal::{self, Folder, OpenSegment},
};

/// What recovery works with.
#[derive(Clone)]
pub struct Parts {
    /// The metadata, of which this broker is the controller.
    pub cluster: Cluster,
    /// This broker's WAL folder.
    pub folder: Folder,
    /// The bucket.
    pub store: Store,
    /// Published records, for producer state.
    pub objects: Objects,
    /// Clock and chance.
    pub env: Env,
    /// The new leader.
    pub broker: BrokerId,
    /// Its own, new, incarnation.
    pub incarnation: Incarnation,
    /// How topics are configured.
    pub configs: TopicConfigs,
    /// Sizes of objects.
    pub settings: upload::Settings,
}

/// What was recovered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Former incarnations dealt with.
    pub incarnations: u64,
    /// Entries found good.
    pub entries: u64,
    /// Bytes of the objects made of them.
    pub bytes: u64,
}

/// Why recovery did not come to its end; nothing was given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Acknowledged records are in a WAL that is not here: wait for it, or let an operator accept
    /// the loss.
    #[error("the write-ahead log of incarnation {incarnation} is not whole here")]
    Missing {
        /// Whose.
        incarnation: Incarnation,
        /// Segments that are not in the folder.
        missing: Vec<SegmentId>,
        /// Segments that do not read back whole.
        suspect: Vec<(SegmentId, String)>,
        /// The partitions that stay offline.
        partitions: Vec<PartitionId>,
    },
    /// Any other obstacle.
    #[error(transparent)]
    Upload(#[from] upload::Error),
}

/// Deals with every former incarnation: all of them are fenced, their segments sealed and
/// published, their partitions led by `parts.broker`. With `accept_loss` what is missing is
/// sealed at what there is.
///
/// # Errors
/// As `Error` says; to be repeated.
pub async fn recover(parts: &Parts, accept_loss: bool) -> Result<Report, Error> {
    let started = parts.env.clock.boot();
    let ids = parts.cluster.with(|state| Ids::of(state, parts.incarnation));
    let mut report = Report::default();
    while let Some(former) = parts.cluster.with(|state| next(state, parts.incarnation)) {
        let (entries, bytes) = parts.recover_one(&former, &ids, accept_loss).await?;
        report.incarnations += 1;
        report.entries += entries;
        report.bytes += bytes;
    }
    parts.trim_sealed().await?;
    if report.incarnations > 0 {
        let took = parts.env.clock.boot().saturating_sub(started);
        let Report { incarnations, entries, bytes } = report;
        info!(incarnations, entries, bytes, took_ms = took.as_millis(), "recovered");
    }
    Ok(report)
}

/// A former incarnation.
struct Former {
    incarnation: Incarnation,
    fenced: bool,
    segments: Vec<OpenSegment>,
    partitions: Vec<PartitionId>,
}

/// What the folder holds of a former incarnation.
struct Ends {
    recovered: Option<Recovered>,
    segments: Vec<(SegmentId, u64)>,
    loss: bool,
}

fn next(state: &State, own: Incarnation) -> Option<Former> {
    let (incarnation, found) = state.incarnations.iter().find(|(id, _)| **id != own)?;
    let member = |member: &crate::cluster::Member| wal::Member {
        broker: member.broker,
        storage: member.storage,
        incarnation: member.incarnation,
    };
    let segments = state.segments_of(*incarnation).map(|(id, segment)| OpenSegment {
        id,
        nonce: segment.nonce,
        ensemble: segment.ensemble.iter().map(member).collect(),
    });
    Some(Former {
        incarnation: *incarnation,
        fenced: found.fenced,
        segments: segments.collect(),
        partitions: led_by(state, *incarnation),
    })
}

fn led_by(state: &State, incarnation: Incarnation) -> Vec<PartitionId> {
    let partitions = state.topics.values().flat_map(|topic| {
        (0..)
            .zip(&topic.partitions)
            .map(|(index, found)| (PartitionId { topic: topic.id, index }, found.incarnation))
    });
    partitions.filter(|(_, leader)| *leader == incarnation).map(|(id, _)| id).collect()
}

impl Parts {
    async fn recover_one(
        &self,
        former: &Former,
        ids: &Ids,
        accept_loss: bool,
    ) -> Result<(u64, u64), Error> {
        let incarnation = former.incarnation;
        if !former.fenced {
            let fence = vec![Record::Fence { incarnation }];
            self.cluster.commit(fence).await.map_err(upload::Error::from)?;
        }
        let ends = self.ends(former, accept_loss).await?;
        let objects = match &ends.recovered {
            Some(recovered) => self.upload(incarnation, recovered, ids).await?,
            None => Vec::new(),
        };
        let bytes = objects.iter().map(|object| object.bytes).sum();
        let entries = ends.segments.iter().map(|(_, entries)| entries).sum();
        let sealed = Record::SegmentsRecovered {
            incarnation,
            segments: ends.segments,
            objects,
            successor: self.broker,
            possible_loss: ends.loss,
        };
        self.cluster.commit(vec![sealed]).await.map_err(upload::Error::from)?;
        self.trim(former).await?;
        info!(
            %incarnation, entries, bytes, partitions = former.partitions.len(), loss = ends.loss,
            "former incarnation sealed"
        );
        Ok((entries, bytes))
    }

    /// Where each segment ends (R1 to R3).
    async fn ends(&self, former: &Former, accept_loss: bool) -> Result<Ends, Error> {
        if former.segments.is_empty() {
            return Ok(Ends { recovered: None, segments: Vec::new(), loss: false });
        }
        let (missing, suspect) = match self.decide(&former.segments).await? {
            Ok(recovered) => {
                let segments = recovered.segments.iter().map(|it| (it.id, it.entries)).collect();
                return Ok(Ends { recovered: Some(recovered), segments, loss: false });
            }
            Err(gaps) => gaps,
        };
        let incarnation = former.incarnation;
        let partitions = former.partitions.clone();
        if !accept_loss {
            return Err(Error::Missing { incarnation, missing, suspect, partitions });
        }
        warn!(
            %incarnation, ?missing, ?suspect, ?partitions,
            "acknowledged records are given up, by the operator's word"
        );
        // What comes after a gap cannot follow what is published: the whole part before it stays.
        let bad = |id: &SegmentId| {
            missing.contains(id) || suspect.iter().any(|(suspect, _)| suspect == id)
        };
        let whole: Vec<_> =
            former.segments.iter().take_while(|segment| !bad(&segment.id)).cloned().collect();
        let recovered = match whole.is_empty() {
            true => None,
            false => self.decide(&whole).await?.ok(),
        };
        let known: BTreeMap<_, _> = recovered
            .iter()
            .flat_map(|recovered| &recovered.segments)
            .map(|segment| (segment.id, segment.entries))
            .collect();
        let entries = |id| known.get(&id).copied().unwrap_or_default();
        let segments = former.segments.iter().map(|it| (it.id, entries(it.id))).collect();
        Ok(Ends { recovered, segments, loss: true })
    }

    async fn decide(
        &self,
        segments: &[OpenSegment],
    ) -> Result<Result<Recovered, (Vec<SegmentId>, Vec<(SegmentId, String)>)>, upload::Error> {
        let (folder, segments) = (self.folder.clone(), segments.to_vec());
        let decided = Tasks::blocking(move || replication::recover(&folder, &segments)).await?;
        match decided {
            Ok(recovered) => Ok(Ok(recovered)),
            Err(Unrecoverable::Missing { missing, suspect }) => Ok(Err((missing, suspect))),
            Err(other) => Err(other.into()),
        }
    }

    /// Puts the entries of the segments, cut at their ends, into the bucket (R4).
    async fn upload(
        &self,
        former: Incarnation,
        recovered: &Recovered,
        ids: &Ids,
    ) -> Result<Vec<NewObject>, upload::Error> {
        let mut packer = Packer {
            cluster: self.cluster.clone(),
            objects: self.objects.clone(),
            env: self.env.clone(),
            ids: ids.clone(),
            incarnation: self.incarnation,
            configs: self.configs.clone(),
            settings: self.settings,
            folded: BTreeMap::new(),
        };
        let bucket = upload::Bucket {
            store: self.store.clone(),
            env: self.env.clone(),
            incarnation: self.incarnation,
        };
        let mut objects = Vec::new();
        for RecoveredSegment { id, entries, .. } in &recovered.segments {
            if *entries == 0 {
                continue;
            }
            let mut reader = recovered.read(*id)?;
            loop {
                let stretch;
                (reader, stretch) =
                    next_stretch(&self.env.background, reader, self.settings.object_bytes).await?;
                let last = stretch.last;
                let built = packer.pack(former, stretch).await?;
                objects.extend(bucket.put_all(built).await);
                if last {
                    break;
                }
            }
        }
        Ok(objects)
    }

    /// Gives back files that a crash left between a publication and its trim.
    async fn trim_sealed(&self) -> Result<(), upload::Error> {
        let unsealed: Vec<_> = self.cluster.with(|state| state.segments.keys().copied().collect());
        let (folder, incarnation) = (self.folder.clone(), self.incarnation);
        let trim = move || folder.trim_sealed(incarnation, &unsealed);
        Ok(Tasks::blocking(trim).await??)
    }

    async fn trim(&self, former: &Former) -> Result<(), upload::Error> {
        let folder = self.folder.clone();
        let segments: Vec<_> = former.segments.iter().map(|segment| segment.id).collect();
        let trim = move || segments.into_iter().try_for_each(|segment| folder.trim(segment));
        Ok(Tasks::blocking(trim).await??)
    }
}
