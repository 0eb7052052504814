//! `/v1/cluster`: who is in it and how it is.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;

use super::super::Shown;
use crate::{cluster, kafka::Service, types::BrokerId};

#[derive(Serialize)]
struct Cluster {
    cluster: Option<String>,
    version: &'static str,
    /// This broker; null until it is registered.
    broker: Option<i32>,
    ready: bool,
    reason: String,
    /// The time here, in milliseconds since 1970.
    now_ms: i64,
    connections: i64,
    topics: usize,
    partitions: usize,
    brokers: Vec<Broker>,
}

#[derive(Serialize)]
struct Broker {
    id: i32,
    host: String,
    port: u16,
    rack: Option<String>,
    /// `registered`, `fenced` or `drained`.
    status: cluster::BrokerStatus,
    /// Partitions it leads.
    leads: usize,
}

pub(super) async fn cluster(State(shown): State<Arc<Shown>>) -> Json<impl Serialize> {
    let faces = &shown.faces;
    let (state, broker) = match &*faces.service.borrow() {
        Service::Open(serving) => (Some(serving.cluster.state()), Some(serving.broker)),
        Service::Away(known) => (Some(known.cluster.state()), Some(known.broker)),
        Service::Starting => (None, None),
    };
    let readiness = faces.readiness.borrow().clone();
    let survey = shown.survey.recent().await;
    Json(Cluster {
        cluster: faces.identity.borrow().cluster.clone(),
        version: env!("CARGO_PKG_VERSION"),
        broker: broker.map(|broker| broker.0),
        ready: readiness.ready,
        reason: readiness.reason,
        now_ms: faces.clock.wall().0,
        connections: (faces.meters)().connections,
        topics: survey.topics,
        partitions: survey.partitions,
        brokers: state.map(|state| brokers(&state)).unwrap_or_default(),
    })
}

fn brokers(state: &cluster::State) -> Vec<Broker> {
    let leads = |id: BrokerId| {
        let partitions = state.topics.values().flat_map(|topic| &topic.partitions);
        partitions.filter(|partition| partition.leader == id).count()
    };
    let row = |(id, broker): (&BrokerId, &cluster::Broker)| Broker {
        id: id.0,
        host: broker.host.clone(),
        port: broker.port,
        rack: broker.rack.clone(),
        status: broker.status,
        leads: leads(*id),
    };
    state.brokers.iter().take(super::ROWS_MAX).map(row).collect()
}
