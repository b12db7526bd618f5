//! Which rule refused an event.

use thiserror::Error;

use crate::power_levels::PowerLevelsError;

/// The rule that refused an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AuthError {
    /// A create event follows other events.
    #[error("a create event has previous events")]
    CreateHasPrevEvents,
    /// A create event's room id is of another server than its sender.
    #[error("the room id is of another server than the sender")]
    CreateRoomIdDomain,
    /// A create event names a room version that this server doesn't know.
    #[error("the room version is not known")]
    UnknownRoomVersion,
    /// A create event has no `creator`, where it needs one.
    #[error("the create event names no creator")]
    NoCreator,
    /// A create event's `additional_creators` is not a list of user ids.
    #[error("additional_creators is not a list of user ids")]
    InvalidAdditionalCreators,
    /// The state has no create event.
    #[error("there is no create event")]
    NoCreateEvent,
    /// The create event is that of another room.
    #[error("the create event is of another room")]
    CreateOfOtherRoom,
    /// Two auth events have the same type and state key.
    #[error("two auth events have the same type and state key")]
    DuplicateAuthEvent,
    /// An auth event is none that decides on such an event.
    #[error("an auth event is none that decides on such an event")]
    UnexpectedAuthEvent,
    /// The create event is not among the auth events.
    #[error("the create event is not among the auth events")]
    NoCreateAmongAuthEvents,
    /// An auth event is of another room.
    #[error("an auth event is of another room")]
    AuthEventOfOtherRoom,
    /// The room is closed to users of other servers than its creator's.
    #[error("the room is not open to users of other servers")]
    NotFederated,
    /// An event of a server's aliases has no state key.
    #[error("the aliases have no state key")]
    AliasesWithoutStateKey,
    /// An event of a server's aliases was sent from another server.
    #[error("the aliases are those of another server than the sender's")]
    AliasesOfOtherServer,
    /// A member event has no state key or no membership.
    #[error("a member event has no state key or no membership")]
    NoMembership,
    /// A member event's state key is not a user id.
    #[error("a member event's state key is not a user id")]
    TargetNotAUser,
    /// The server of the user who authorises a join has not signed it.
    #[error("the join is not signed by the server of the user who authorises it")]
    AuthorisingServerNotSigned,
    /// The membership is none that the room version knows.
    #[error("the membership is unknown")]
    UnknownMembership,
    /// A join or knock was sent for another user.
    #[error("only users themselves can join or knock")]
    SenderNotTarget,
    /// The sender is banned.
    #[error("the sender is banned")]
    SenderBanned,
    /// The join rule lets nobody join, or only who is invited.
    #[error("the join rule doesn't let the user join")]
    JoinRule,
    /// A restricted join is not authorised by a member who can invite.
    #[error("no member who can invite has authorised the join")]
    JoinNotAuthorised,
    /// The sender is not in the room.
    #[error("the sender is not in the room")]
    SenderNotJoined,
    /// The target is in the room already.
    #[error("the user is in the room already")]
    TargetJoined,
    /// The target is banned.
    #[error("the user is banned")]
    TargetBanned,
    /// A third-party invitation has no `signed`, or no `mxid` or `token` in it.
    #[error("the third-party invitation has no signed token")]
    ThirdPartyInviteUnsigned,
    /// A third-party invitation was signed for another user.
    #[error("the third-party invitation is of another user")]
    ThirdPartyInviteOfOther,
    /// The room has no third-party invitation with the token.
    #[error("the room has no third-party invitation with this token")]
    NoThirdPartyInvite,
    /// The sender is not the one who made the third-party invitation.
    #[error("the sender didn't make the third-party invitation")]
    ThirdPartyInviteSender,
    /// No key of the third-party invitation has signed the token.
    #[error("no key of the third-party invitation matches a signature")]
    ThirdPartyInviteSignature,
    /// The sender lacks the power to invite.
    #[error("the sender lacks the power to invite")]
    InviteLevel,
    /// A user who is not invited, in or knocking can't leave.
    #[error("the user is not invited, in or knocking")]
    NothingToLeave,
    /// The sender lacks the power to lift the ban.
    #[error("the sender lacks the power to unban")]
    UnbanLevel,
    /// The sender lacks the power to kick the target.
    #[error("the sender lacks the power to kick the user")]
    KickLevel,
    /// The sender lacks the power to ban the target.
    #[error("the sender lacks the power to ban the user")]
    BanLevel,
    /// The join rule doesn't let users knock.
    #[error("the join rule doesn't let users knock")]
    KnockRule,
    /// A user who is banned, invited or in can't knock.
    #[error("the user is banned, invited or in already")]
    CannotKnock,
    /// The sender lacks the power to send events of this type.
    #[error("the sender lacks the power to send events of this type")]
    EventLevel,
    /// The state key is another user's.
    #[error("the state key is another user's")]
    StateKeyOfOtherUser,
    /// The power levels, new or current, are malformed.
    #[error("malformed power levels")]
    PowerLevels(#[from] PowerLevelsError),
    /// The power levels name a creator, who has infinite power.
    #[error("the power levels name a creator of the room")]
    PowerLevelsNameCreator,
    /// The sender lacks the power to change this property of the power levels, or set it so high.
    #[error("the sender lacks the power to change {0} so")]
    PowerLevelsChange(&'static str),
    /// The sender lacks the power to redact, and the event to redact was made by another server.
    #[error("the sender lacks the power to redact events of other servers")]
    RedactLevel,
}
