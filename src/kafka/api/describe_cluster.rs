//! DescribeCluster (60), versions 0 to 2. From 1 on a client may ask for controllers, whom this
//! listener does not name; from 2 on also for fenced brokers.

use proto_kafka::messages::{
    DescribeClusterRequest, DescribeClusterResponse,
    describe_cluster_response::DescribeClusterBroker,
};

use super::metadata::{CLUSTER_OPERATIONS, cluster_id};
use crate::{
    cluster::State,
    kafka::{context::Context, error::Code},
    types::BrokerId,
};

/// The endpoint type of brokers.
const BROKERS: i8 = 1;
/// The endpoint type of controllers.
const CONTROLLERS: i8 = 2;

pub(super) async fn handle(
    context: &Context,
    _version: i16,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let broker = context.serving.broker;
    context.serving.cluster.with(|state| answer(state, broker, &request))
}

pub(super) fn answer(
    state: &State,
    controller: BrokerId,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default();
    let refuse = |code: Code, text: String| {
        DescribeClusterResponse::default()
            .with_error_code(code.code())
            .with_error_message(Some(text.into()))
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let text = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint \
                        of type CONTROLLER";
            return refuse(Code::MismatchedEndpointType, text.to_owned());
        }
        other => {
            let text = format!("Unsupported endpoint type {other}");
            return refuse(Code::UnsupportedEndpointType, text);
        }
    }
    let described = state.brokers.iter().filter_map(|(&id, broker)| {
        let fenced = state.living_broker(id).is_none();
        (!fenced || request.include_fenced_brokers).then(|| {
            DescribeClusterBroker::default()
                .with_broker_id(id.0.into())
                .with_host(broker.host.clone().into())
                .with_port(i32::from(broker.port))
                .with_rack(broker.rack.clone().map(Into::into))
                .with_is_fenced(fenced)
        })
    });
    let operations = request.include_cluster_authorized_operations;
    response
        .with_endpoint_type(BROKERS)
        .with_cluster_id(cluster_id(state.cluster_id))
        .with_controller_id(controller.0.into())
        .with_brokers(described.collect())
        .with_cluster_authorized_operations(if operations { CLUSTER_OPERATIONS } else { i32::MIN })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kafka::api::testing::{received, state},
        types::Incarnation,
    };

    fn asked() -> DescribeClusterRequest {
        DescribeClusterRequest::default()
    }

    #[test]
    fn living_brokers_are_named_and_fenced_ones_on_demand() {
        let mut state = state(&[1, 2]);
        state.incarnations.get_mut(&Incarnation(2)).unwrap().fenced = true;
        let living = answer(&state, BrokerId(1), &asked());
        assert_eq!(living.brokers.len(), 1);
        assert_eq!((living.controller_id.0, living.error_code), (1, 0));
        for version in 0..=2 {
            let decoded = received(&living, version);
            assert_eq!(decoded.brokers[0].host.as_str(), "broker-1");
            assert!(!decoded.cluster_id.is_empty());
            assert_eq!(decoded.cluster_authorized_operations, i32::MIN);
        }
        let all = answer(&state, BrokerId(1), &asked().with_include_fenced_brokers(true));
        let fenced: Vec<bool> = all.brokers.iter().map(|broker| broker.is_fenced).collect();
        assert_eq!(fenced, [false, true]);
    }

    #[test]
    fn controllers_are_not_named_on_this_listener() {
        let state = state(&[1]);
        let code = |kind| answer(&state, BrokerId(1), &asked().with_endpoint_type(kind)).error_code;
        assert_eq!((code(1), code(2), code(3)), (0, 114, 115));
    }
}
