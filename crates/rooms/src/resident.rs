//! Other servers' users who come into rooms of this one, leave them and knock at them, and invites of this server's users:
//! what a resident server, and an invited user's, does for others.
//! <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>
//!
//! Who calls these has verified that the request is the origin's, and that the room's access control list lets it take
//! part.

mod accept;
mod invite;
mod make;
mod third_party;

use std::sync::Arc;

use ruma_common::RoomId;
use starling_db::Error;
use starling_events::{Pdu, RoomVersion};
use starling_store::append;
use starling_store::memberships::Membership;
use starling_store::rooms::RoomSnapshot;

use crate::error::SendError;
use crate::receive::ReceiveError;
use crate::remote::Refused;
use crate::rooms::Rooms;

pub use invite::ReceivedInvite;
pub use make::OwnTemplate;
pub use third_party::BoundInvite;

/// Why another server's user is not let in or out, or one of this server's not invited.
#[derive(Debug, thiserror::Error)]
pub enum ResidentError {
    /// This server is not in the room.
    #[error("this server is not in the room")]
    UnknownRoom,
    /// There is no such user here.
    #[error("there is no such user here")]
    UnknownUser,
    /// The room's rules don't allow it.
    #[error("{0}")]
    Forbidden(String),
    /// The other server doesn't know the room's version.
    #[error("the room has version {0}, which your server does not know")]
    IncompatibleVersion(RoomVersion),
    /// This server has no rooms of that version.
    #[error("room version {0} is not supported")]
    UnsupportedVersion(String),
    /// None of the conditions under which the room lets users in can be looked at here.
    #[error("whether the user may join cannot be found out here")]
    ConditionsUnknown,
    /// The user may come in, but nobody of this server could let them.
    #[error("nobody here may let the user in")]
    NobodyToLetIn,
    /// The user wants no invites of the sender.
    #[error("the user does not want to be invited")]
    InviteBlocked,
    /// The request is not what it must be.
    #[error("{0}")]
    Invalid(&'static str),
    /// Another server, without which it can't be done, refused it or could not be asked.
    #[error(transparent)]
    Send(SendError),
    /// The database failed.
    #[error("the event could not be stored")]
    Db(#[from] Error),
}

impl From<SendError> for ResidentError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::UnknownRoom => Self::UnknownRoom,
            SendError::UnknownUser(_) => Self::UnknownUser,
            SendError::InviteBlocked(_) => Self::InviteBlocked,
            SendError::Forbidden(why) => Self::Forbidden(why),
            SendError::ConditionsUnknown => Self::ConditionsUnknown,
            SendError::NobodyToLetIn => Self::NobodyToLetIn,
            SendError::Db(error) => Self::Db(error),
            other => Self::Send(other),
        }
    }
}

impl From<Refused> for ResidentError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoEvent(_) => Self::Invalid("it is no event of the room's version"),
            Refused::OtherRoom(_) => Self::Invalid("it is an event of another room"),
            Refused::Signature(_) => Self::Forbidden(refused.to_string()),
        }
    }
}

impl From<ReceiveError> for ResidentError {
    fn from(error: ReceiveError) -> Self {
        SendError::from(error).into()
    }
}

impl Rooms {
    /// The room as committed, if a user of this server is in it.
    pub(crate) async fn resident(
        &self,
        room_id: &RoomId,
    ) -> Result<Arc<RoomSnapshot>, ResidentError> {
        let room = self.room(room_id, ResidentError::UnknownRoom).await?;
        if self.elsewhere(room_id).await?.is_some() || room.joined == 0 {
            return Err(ResidentError::UnknownRoom);
        }
        Ok(room)
    }
}

/// The membership that an event gives, if it is a member event.
fn membership_of(event: &Pdu) -> Option<Membership> {
    append::membership_of(event).filter(|_| event.kind() == "m.room.member")
}
