//! Rules of brokers: registration, fencing, drain, and the numbers handed out to them.

use super::{Applied, At, Rejection};
use crate::{
    cluster::state::{Broker, BrokerStatus, IncarnationState, SegmentStatus, State},
    types::{BrokerId, Incarnation, ObjectId, ProducerId, StorageId},
};

/// Numbers handed out in one record at most: a bound on what a mistake can burn.
const MAX_RESERVED: u64 = 1_000_000;

impl State {
    pub(super) fn register(
        &mut self,
        at: At,
        wanted: Option<BrokerId>,
        storage: StorageId,
        (host, port, rack): (&str, u16, Option<&str>),
    ) -> Result<Applied, Rejection> {
        let incarnation = Incarnation(at.index.0);
        if self.incarnations.contains_key(&incarnation) {
            return Err(Rejection::Overtaken("one registration an entry"));
        }
        if wanted.is_some_and(|broker| broker.0 < 0) || host.is_empty() || host.len() > 255 {
            return Err(Rejection::Invalid("a broker id from 0, a host name of 1 to 255 bytes"));
        }
        let broker = wanted.or_else(|| self.broker_of(storage)).unwrap_or_else(|| self.free_id());
        let former: Vec<_> = self
            .incarnations
            .iter()
            .filter(|(_, state)| state.broker == broker || state.storage == storage)
            .map(|(id, _)| *id)
            .collect();
        for former in former {
            self.end(former);
        }
        let status = BrokerStatus::Registered;
        let (host, rack) = (host.to_owned(), rack.map(str::to_owned));
        self.brokers.insert(broker, Broker { storage, incarnation, host, port, rack, status });
        let state = IncarnationState {
            broker,
            storage,
            fenced: false,
            drained: false,
            next_segment: 0,
            reserved: Vec::new(),
        };
        self.incarnations.insert(incarnation, state);
        Ok(Applied::Registered { broker, incarnation })
    }

    pub(super) fn fence(&mut self, incarnation: Incarnation) -> Result<Applied, Rejection> {
        match self.incarnations.get(&incarnation) {
            Some(state) if !state.fenced => self.end(incarnation),
            _ => return Err(Rejection::Fenced(incarnation)),
        }
        Ok(Applied::Done)
    }

    pub(super) fn drained(&mut self, incarnation: Incarnation) -> Result<Applied, Rejection> {
        self.require_living(incarnation)?;
        if self.segments_of(incarnation).next().is_some() {
            return Err(Rejection::Invalid("a drained incarnation has no segment left"));
        }
        if let Some(state) = self.incarnations.get_mut(&incarnation) {
            state.drained = true;
            state.reserved.clear();
            let broker = state.broker;
            self.set_status(broker, incarnation, BrokerStatus::Drained);
        }
        Ok(Applied::Done)
    }

    pub(super) fn object_ids_reserved(
        &mut self,
        incarnation: Incarnation,
        count: u64,
    ) -> Result<Applied, Rejection> {
        self.require_living(incarnation)?;
        let start = self.next_object_id;
        let end = Some(count).filter(|count| (1..=MAX_RESERVED).contains(count));
        let end = end.and_then(|count| start.0.checked_add(count)).map(ObjectId);
        let end = end.ok_or(Rejection::Invalid("no such number of object ids"))?;
        self.next_object_id = end;
        if let Some(state) = self.incarnations.get_mut(&incarnation) {
            match state.reserved.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => state.reserved.push(start..end),
            }
        }
        Ok(Applied::ObjectIds(start..end))
    }

    pub(super) fn object_ids_voided(&mut self, below: ObjectId) -> Result<Applied, Rejection> {
        if below <= self.voided_below || below > self.next_object_id {
            return Err(Rejection::Invalid("ids are voided upwards, among those handed out"));
        }
        self.voided_below = below;
        for state in self.incarnations.values_mut() {
            state.reserved.retain_mut(|range| {
                range.start = range.start.max(below);
                range.start < range.end
            });
        }
        Ok(Applied::Done)
    }

    pub(super) fn producer_ids_reserved(
        &mut self,
        incarnation: Incarnation,
        count: i64,
    ) -> Result<Applied, Rejection> {
        self.require_living(incarnation)?;
        let start = self.next_producer_id;
        let count = u64::try_from(count).ok().filter(|count| (1..=MAX_RESERVED).contains(count));
        let end = count.and_then(|count| start.0.checked_add_unsigned(count)).map(ProducerId);
        let end = end.ok_or(Rejection::Invalid("no such number of producer ids"))?;
        self.next_producer_id = end;
        Ok(Applied::ProducerIds(start..end))
    }

    pub(super) fn require_living(
        &self,
        incarnation: Incarnation,
    ) -> Result<&IncarnationState, Rejection> {
        self.living(incarnation).ok_or(Rejection::Fenced(incarnation))
    }

    /// The incarnation may do nothing from here on; all its segments are to be recovered, used or
    /// not (H2, H3), and ids it reserved are void.
    fn end(&mut self, incarnation: Incarnation) {
        for (id, segment) in &mut self.segments {
            if id.incarnation == incarnation {
                segment.status = SegmentStatus::Recovering;
            }
        }
        if let Some(state) = self.incarnations.get_mut(&incarnation) {
            state.fenced = true;
            state.reserved.clear();
            let broker = state.broker;
            self.set_status(broker, incarnation, BrokerStatus::Fenced);
        }
    }

    fn set_status(&mut self, broker: BrokerId, incarnation: Incarnation, status: BrokerStatus) {
        let newest = self.brokers.get_mut(&broker);
        if let Some(broker) = newest.filter(|broker| broker.incarnation == incarnation) {
            broker.status = status;
        }
    }

    fn broker_of(&self, storage: StorageId) -> Option<BrokerId> {
        let newest = self.brokers.iter().filter(|(_, broker)| broker.storage == storage);
        newest.max_by_key(|(_, broker)| broker.incarnation).map(|(id, _)| *id)
    }

    fn free_id(&mut self) -> BrokerId {
        while self.brokers.contains_key(&self.next_broker_id) {
            self.next_broker_id = BrokerId(self.next_broker_id.0.wrapping_add(1).max(0));
        }
        self.next_broker_id
    }
}
