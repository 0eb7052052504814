//! What a request to a group can come to, by what the client does next.

use thiserror::Error;

/// Why a group did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The coordinator is reading its log: ask again.
    #[error("the coordinator is loading")]
    LoadInProgress,
    /// Another broker coordinates the group: find it.
    #[error("this broker does not coordinate the group")]
    NotCoordinator,
    /// Nothing was decided, or it is unknown whether it was: ask again.
    #[error("the coordinator is not available")]
    NotAvailable,
    /// The group's name may not be empty.
    #[error("the group id is invalid")]
    InvalidGroupId,
    /// The session timeout is outside the configured bounds.
    #[error("the session timeout is out of bounds")]
    InvalidSessionTimeout,
    /// The request contradicts itself.
    #[error("the request is invalid")]
    InvalidRequest,
    /// No protocol that every member supports.
    #[error("no protocol in common with the group")]
    InconsistentProtocol,
    /// Join again with the member id given.
    #[error("join again with the given member id")]
    MemberIdRequired,
    /// Not a member: join anew.
    #[error("unknown member")]
    UnknownMember,
    /// Another process has taken this static member's place.
    #[error("another member has this instance id")]
    FencedInstance,
    /// The member is in another generation: join again.
    #[error("illegal generation")]
    IllegalGeneration,
    /// The group rebalances: join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// The group has as many members as it may.
    #[error("the group is full")]
    GroupFull,
    /// No such group.
    #[error("no such group")]
    GroupNotFound,
    /// The group still has members.
    #[error("the group has members")]
    NonEmptyGroup,
    /// Members still read the topic.
    #[error("the group is subscribed to the topic")]
    SubscribedToTopic,
    /// The metadata beside an offset is too long.
    #[error("the offset metadata is too large")]
    MetadataTooLarge,
    /// The group's state would not fit one record.
    #[error("the group's metadata is too large")]
    GroupTooLarge,
}
