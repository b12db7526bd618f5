//! Invites of this server's users by those of others.
//! <https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>

use ruma_common::{EventId, OwnedUserId, RoomId, ServerName, UserId};
use serde_json::value::RawValue;
use starling_db::{Error, Tx};
use starling_events::sign::sign_event;
use starling_events::{Pdu, RoomVersion};
use starling_store::account_data::blocks_invites;
use starling_store::memberships::Membership;
use starling_store::{UserNum, accounts};

use super::{ResidentError, membership_of};
use crate::error::SendError;
use crate::rooms::Rooms;

/// An invite as another server sends it.
#[derive(Debug)]
pub struct ReceivedInvite {
    /// The room's version, as the server says.
    pub version: String,
    /// The event.
    pub event: Box<RawValue>,
    /// Events of the room's state.
    pub state: Vec<Box<RawValue>>,
}

impl Rooms {
    /// Takes an invite of a user of this server: signs it, and shows it to the user. The event with this server's
    /// signature.
    ///
    /// # Errors
    /// [`ResidentError`]; nothing is stored then.
    pub async fn receive_invite(
        &self,
        origin: &ServerName,
        (room_id, event_id): (&RoomId, &EventId),
        invite: ReceivedInvite,
    ) -> Result<Pdu, ResidentError> {
        let ReceivedInvite {
            version,
            event,
            state,
        } = invite;
        let version =
            RoomVersion::parse(&version).ok_or(ResidentError::UnsupportedVersion(version))?;
        let remote = self.asking()?;
        let checked = remote.check(version, room_id, vec![event]).await?.pop();
        let event = checked.ok_or(ResidentError::Invalid("it is no event"))??;
        let invited = self.invited_of(&event, origin, event_id)?;
        let user = self.who_may_be_invited(&invited).await?;
        let shown = remote.shown_state(&event, state).await?;
        if version >= RoomVersion::V12 && !shown.is_whole {
            return Err(ResidentError::Invalid(
                "`invite_room_state` must hold whole events of the room, the create event among them",
            ));
        }
        let signed = sign_event(&event, self.server_name(), &self.parts.signing_key);
        let signed = signed.map_err(|_| SendError::TooLarge("the event"))?;
        if self.resident(room_id).await.is_ok() {
            // It comes once more, as any event of the room does.
            return Ok(signed);
        }
        // In place of an earlier one, whoever gave that: clients show one, and which of two is still good nobody here knows.
        let shown = Some((origin.to_owned(), shown.events));
        let noted = self.note_elsewhere((user, Membership::Invite), signed.clone(), shown);
        if noted.await? {
            Ok(signed)
        } else {
            let why = "the room is known here with another version";
            Err(ResidentError::Forbidden(why.to_owned()))
        }
    }

    /// The user whom the event invites, if it is what the request says.
    fn invited_of(
        &self,
        event: &Pdu,
        origin: &ServerName,
        event_id: &EventId,
    ) -> Result<OwnedUserId, ResidentError> {
        let target = event
            .state_key()
            .and_then(|key| <&UserId>::try_from(key).ok());
        let target = target.filter(|target| target.server_name() == self.server_name());
        if membership_of(event) != Some(Membership::Invite) {
            Err(ResidentError::Invalid("it is no invite"))
        } else if event.sender().server_name() != origin {
            Err(ResidentError::Invalid("the sender is of another server"))
        } else if event.event_id() != event_id {
            Err(ResidentError::Invalid(
                "it has another event id than the path",
            ))
        } else {
            let target = target.map(ToOwned::to_owned);
            target.ok_or(ResidentError::Invalid(
                "who is invited is of another server",
            ))
        }
    }

    /// The number of a user of this server who may be invited.
    async fn who_may_be_invited(&self, user: &UserId) -> Result<UserNum, ResidentError> {
        let user = user.to_owned();
        let read = move |tx: &mut Tx<'_>| {
            let account = accounts::account_find(tx, &user)?;
            let Some(account) = account.filter(|account| account.deactivated_at.is_none()) else {
                return Ok::<_, Error>(None);
            };
            Ok(Some((account.user, blocks_invites(tx, account.user)?)))
        };
        match self.store().db().read("invited_user", read).await? {
            None => Err(ResidentError::UnknownUser),
            Some((_, true)) => Err(ResidentError::InviteBlocked),
            Some((user, false)) => Ok(user),
        }
    }
}
