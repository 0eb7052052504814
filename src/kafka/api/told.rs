//! Which errors an answer tells, for the metrics.
//!
//! Owns: where each answer keeps its codes. Invariant: an answer without an error costs no memory.

use proto_kafka::messages::{
    AlterConfigsResponse, ApiVersionsResponse, CreatePartitionsResponse, CreateTopicsResponse,
    DeleteGroupsResponse, DeleteRecordsResponse, DeleteTopicsResponse,
    DescribeClientQuotasResponse, DescribeClusterResponse, DescribeConfigsResponse,
    DescribeGroupsResponse, DescribeLogDirsResponse, DescribeTopicPartitionsResponse,
    ElectLeadersResponse, FindCoordinatorResponse, HeartbeatResponse,
    IncrementalAlterConfigsResponse, InitProducerIdResponse, JoinGroupResponse, LeaveGroupResponse,
    ListConfigResourcesResponse, ListGroupsResponse, ListOffsetsResponse,
    ListPartitionReassignmentsResponse, MetadataResponse, OffsetCommitResponse,
    OffsetDeleteResponse, OffsetFetchResponse, OffsetForLeaderEpochResponse, SyncGroupResponse,
};

/// Error codes of one answer, and how often each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::kafka) struct Errors(Vec<(i16, u64)>);

impl Errors {
    /// Notes a code; 0 is none.
    pub(in crate::kafka) fn note(&mut self, code: i16) {
        if code == 0 {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.0.push((code, 1)),
        }
    }

    /// Those of `codes`.
    pub(in crate::kafka) fn of(codes: impl IntoIterator<Item = i16>) -> Self {
        let mut errors = Self::default();
        codes.into_iter().for_each(|code| errors.note(code));
        errors
    }

    pub(in crate::kafka) fn iter(&self) -> impl Iterator<Item = (i16, u64)> {
        self.0.iter().copied()
    }
}

/// An answer that knows its errors.
pub(in crate::kafka) trait Told {
    /// What it tells.
    fn errors(&self) -> Errors;
}

/// The code at the top of an answer, and those of its parts, each with their own parts.
macro_rules! told {
    (@list $errors:ident, $list:expr) => {
        for it in &$list {
            $errors.note(it.error_code);
        }
    };
    (@list $errors:ident, $list:expr, $inner:ident $(, $more:ident)*) => {
        for it in &$list {
            told!(@list $errors, it.$inner $(, $more)*);
        }
    };
    ($($response:ty: [$($top:ident)?] $($list:ident $(. $inner:ident)*),*;)*) => {$(
        impl Told for $response {
            fn errors(&self) -> Errors {
                #[allow(unused_mut, reason = "some tell none")]
                let mut errors = Errors::default();
                $(errors.note(self.$top);)?
                $(told!(@list errors, self.$list $(, $inner)*);)*
                errors
            }
        }
    )*};
}

told! {
    AlterConfigsResponse: [] responses;
    ApiVersionsResponse: [error_code];
    CreatePartitionsResponse: [] results;
    CreateTopicsResponse: [] topics;
    DeleteGroupsResponse: [] results;
    DeleteRecordsResponse: [] topics.partitions;
    DeleteTopicsResponse: [] responses;
    DescribeClientQuotasResponse: [error_code];
    DescribeClusterResponse: [error_code];
    DescribeConfigsResponse: [] results;
    DescribeGroupsResponse: [] groups;
    DescribeLogDirsResponse: [error_code] results;
    DescribeTopicPartitionsResponse: [] topics, topics.partitions;
    ElectLeadersResponse: [error_code] replica_election_results.partition_result;
    FindCoordinatorResponse: [error_code] coordinators;
    HeartbeatResponse: [error_code];
    IncrementalAlterConfigsResponse: [] responses;
    InitProducerIdResponse: [error_code];
    JoinGroupResponse: [error_code];
    LeaveGroupResponse: [error_code] members;
    ListConfigResourcesResponse: [error_code];
    ListGroupsResponse: [error_code];
    ListOffsetsResponse: [] topics.partitions;
    ListPartitionReassignmentsResponse: [error_code];
    MetadataResponse: [error_code] topics, topics.partitions;
    OffsetCommitResponse: [] topics.partitions;
    OffsetDeleteResponse: [error_code] topics.partitions;
    OffsetFetchResponse: [error_code] topics.partitions, groups, groups.topics.partitions;
    OffsetForLeaderEpochResponse: [] topics.partitions;
    SyncGroupResponse: [error_code];
}

#[cfg(test)]
mod tests {
    use proto_kafka::messages::metadata_response::{
        MetadataResponsePartition, MetadataResponseTopic,
    };

    use super::*;

    #[test]
    fn codes_are_found_at_the_top_and_in_what_is_in_the_lists() {
        let partitions = [0, 5, 5].map(|c| MetadataResponsePartition::default().with_error_code(c));
        let topics = [
            MetadataResponseTopic::default().with_error_code(3),
            MetadataResponseTopic::default().with_partitions(partitions.to_vec()),
        ];
        let errors = MetadataResponse::default().with_topics(topics.to_vec()).errors();
        assert_eq!(errors, Errors(vec![(3, 1), (5, 2)]));
        assert_eq!(HeartbeatResponse::default().errors(), Errors::default());
    }
}
