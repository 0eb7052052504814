//! The uploader: puts, publishes, lets go of the segment.

use super::{Action, Item, Life, Mutant, PutEnd, UPLOADER, World, partition_id, segment_id};
use crate::{
    cluster::{
        apply::Rejection,
        record::{NewObject, NewRun, Record},
    },
    types::{LeaderEpoch, Millis, ObjectId, Offset},
};

/// How far a segment's object is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Upload {
    tries: u8,
    /// The try that is known to be there.
    ready: Option<u8>,
    pub(super) trimmed: bool,
}

/// The id that segment's object takes; the mutant gives all of them the same.
fn object_of(life: &Life, segment: usize) -> u64 {
    if life.is(Mutant::PublishTwice) { 1 } else { u64::try_from(segment).unwrap() + 1 }
}

impl Life {
    pub(super) fn upload_actions(&self, world: &World, actions: &mut Vec<Action>) {
        let living = world.state.living(UPLOADER).is_some();
        if self.shape.fences && living {
            actions.push(Action::Fence);
        }
        if world.unheard.is_some() {
            actions.push(Action::Land);
        }
        if world.uploader_over {
            return;
        }
        // Segments are published in order, two under way at a time.
        let unpublished = (0..self.shape.segments).filter(|segment| !world.is_sealed(*segment));
        for (place, segment) in unpublished.take(2).enumerate() {
            let upload = world.uploads[segment];
            if upload.ready.is_none() && upload.tries < self.shape.tries {
                let ends = [PutEnd::Done, PutEnd::UnknownThere, PutEnd::UnknownNot];
                actions.extend(ends.map(|end| Action::Put(segment, end)));
            }
            if place == 0 && upload.ready.is_some() {
                actions.extend([Action::Publish(segment), Action::PublishUnheard(segment)]);
            }
        }
    }

    pub(super) fn put(&self, world: &mut World, segment: usize, end: PutEnd) {
        let upload = &mut world.uploads[segment];
        upload.tries += 1;
        // Every try has a key of its own (H41).
        let attempt = upload.tries + 10 * u8::try_from(segment).unwrap();
        if end == PutEnd::Done || self.is(Mutant::PutUnverified) {
            upload.ready = Some(attempt);
            upload.trimmed = self.is(Mutant::TrimBeforePublish);
        }
        if end != PutEnd::UnknownNot {
            world.objects.insert((object_of(self, segment), attempt));
        }
    }

    pub(super) fn publish(&self, world: &mut World, segment: usize) {
        match self.propose(world, segment) {
            Ok(()) => world.uploads[segment].trimmed = true,
            Err(_) => world.uploader_over = true,
        }
    }

    /// The incarnation ends; the next one finds out what is true.
    pub(super) fn publish_unheard(&self, world: &mut World, segment: usize) {
        world.unheard = Some(segment);
        world.uploader_over = true;
        if self.is(Mutant::DeleteOnError)
            && let Some(attempt) = world.uploads[segment].ready
        {
            world.delete(Item::Object(object_of(self, segment), attempt));
        }
    }

    pub(super) fn land(&self, world: &mut World) {
        if let Some(segment) = world.unheard.take() {
            drop(self.propose(world, segment));
        }
    }

    fn propose(&self, world: &mut World, segment: usize) -> Result<(), Rejection> {
        let Some(attempt) = world.uploads[segment].ready else { return Ok(()) };
        let base = Offset(i64::try_from(segment).unwrap());
        let run = |topic| NewRun {
            partition: partition_id(topic),
            leader_epoch: LeaderEpoch(0),
            base,
            end: Offset(base.0 + 1),
            bytes: 0,
            max_timestamp: Millis(0),
            last_append: Millis(0),
        };
        let object = ObjectId(object_of(self, segment));
        let new = NewObject {
            object,
            incarnation: UPLOADER,
            nonce: u64::from(attempt),
            bytes: 0,
            runs: (0..super::TOPICS).map(run).collect(),
        };
        let segment = segment_id(segment);
        let record = Record::SegmentUploaded { segment, entries: 2, objects: vec![new] };
        let committed = self.commit(world, &[record]).map(drop);
        world.void_refused |= committed == Err(Rejection::NotReserved(object));
        if self.is(Mutant::PublishTwice)
            && let Some(own) = world.state.incarnations.get_mut(&UPLOADER)
        {
            own.reserved = vec![ObjectId(1)..ObjectId(2)];
        }
        committed
    }

    pub(super) fn fence(&self, world: &mut World) {
        let fence = Record::Fence { incarnation: UPLOADER };
        drop(self.commit(world, &[fence]));
    }
}

impl World {
    pub(super) fn is_sealed(&self, segment: usize) -> bool {
        !self.state.segments.contains_key(&segment_id(segment))
    }
}
