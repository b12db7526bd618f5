//! What can go wrong with a room, in the words that a caller can act on.

use ruma_common::{OwnedServerName, OwnedUserId};
use starling_events::{BuildError, JsonError};
use starling_outbound::RemoteError;
use starling_stateres::AuthError;

use crate::receive::ReceiveError;

/// Why an event was not sent. Nothing is stored then.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no such room here.
    #[error("there is no such room")]
    UnknownRoom,
    /// There is no such user.
    #[error("there is no user {0}")]
    UnknownUser(OwnedUserId),
    /// The user is on another server, and this one speaks to none.
    #[error("{0} is on another server, and this one does not speak to other servers")]
    UserElsewhere(OwnedUserId),
    /// The room is of a version that this server has no rooms of.
    #[error("the room has version {0}, which this server does not know")]
    IncompatibleVersion(String),
    /// Another server, without which it can't be done, refused it or could not be asked.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// There is no such event in the room, or the user may not see it.
    #[error("there is no such event in the room")]
    UnknownEvent,
    /// The room's rules don't allow it.
    #[error("{0}")]
    Forbidden(String),
    /// Somebody's membership is not the one that could be changed so.
    #[error("{0}")]
    BadState(&'static str),
    /// The user wants no invites.
    #[error("{0} does not want to be invited")]
    InviteBlocked(OwnedUserId),
    /// None of the conditions under which a room lets users in can be looked at here.
    #[error("whether you may join cannot be found out here")]
    ConditionsUnknown,
    /// The user may come in, but nobody is in the room who could let them.
    #[error("nobody here may let you in")]
    NobodyToLetIn,
    /// Only another server could say whether a key is valid.
    #[error(
        "the invite's keys can only be checked with another server, which this one does not ask"
    )]
    UncheckedKey,
    /// The room takes no guests.
    #[error("this room takes no guests")]
    NoGuests,
    /// The event, or a field of it, is larger than allowed.
    #[error("{0} is too large")]
    TooLarge(&'static str),
    /// The content is no content of an event.
    #[error("the content is not valid: {0}")]
    Content(#[from] JsonError),
    /// The content is none that an event of its type has in a room of this version.
    #[error("the content is malformed: {0}")]
    Malformed(String),
    /// A field has a form that no event may have.
    #[error("{0} is invalid")]
    Invalid(&'static str),
    /// An access control list that would exclude this server from the room.
    #[error(
        "the access control list excludes this server itself, {0}: no other server would take anything from it any longer, \
         not even another list"
    )]
    ExcludesItself(OwnedServerName),
    /// The alias doesn't lead to this room.
    #[error("the alias {0} does not lead to this room")]
    BadAlias(String),
    /// A thread would begin with an event that itself relates to another.
    #[error("a thread cannot begin with an event that relates to another")]
    NestedThread,
    /// The user has annotated the event like this already.
    #[error("you have annotated the event like this already")]
    DuplicateAnnotation,
    /// The room could not be stored.
    #[error("the event could not be stored")]
    Db(#[from] starling_db::Error),
}

impl From<ReceiveError> for SendError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::UnknownRoom => Self::UnknownRoom,
            ReceiveError::Missing(_) => Self::Forbidden(error.to_string()),
            ReceiveError::Remote(error) => Self::Remote(error),
            ReceiveError::Db(error) => Self::Db(error),
        }
    }
}

impl From<BuildError> for SendError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::TooLarge(what) => Self::TooLarge(what),
            BuildError::Invalid(what) => Self::Invalid(what),
        }
    }
}

impl From<AuthError> for SendError {
    fn from(error: AuthError) -> Self {
        match error {
            // Those that the room has are well-formed, or they were not accepted.
            AuthError::PowerLevels(error) => Self::Malformed(error.to_string()),
            AuthError::NoMembership | AuthError::UnknownMembership => {
                Self::Malformed(error.to_string())
            }
            other => Self::Forbidden(other.to_string()),
        }
    }
}

/// Why a room was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// This server has no rooms of that version.
    #[error("room version {0} is not supported")]
    UnsupportedVersion(String),
    /// The alias is taken.
    #[error("the alias {0} is taken")]
    AliasTaken(String),
    /// The name cannot be an alias.
    #[error("{0}")]
    InvalidAlias(&'static str),
    /// Somebody cannot be invited.
    #[error(transparent)]
    Invite(SendError),
    /// The initial state cannot be.
    #[error("the room cannot be made like this: {0}")]
    InvalidState(SendError),
    /// The database failed.
    #[error("the room could not be stored")]
    Db(#[from] starling_db::Error),
}

/// Why a room was not upgraded.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// This server has no rooms of that version.
    #[error("room version {0} is not supported")]
    UnsupportedVersion(String),
    /// An event of the old room or of the new one cannot be.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such room here.
    #[error("there is no such room")]
    UnknownRoom,
    /// The user may not see that.
    #[error("you are not in this room")]
    NotAllowed,
    /// There is no such event or state, as far as the user may see.
    #[error("there is no such event or state, or you may not see it")]
    NotFound,
    /// The token is none of this server's.
    #[error("not a token of this server")]
    NotAToken,
    /// The database failed.
    #[error("the room could not be read")]
    Db(#[from] starling_db::Error),
}
