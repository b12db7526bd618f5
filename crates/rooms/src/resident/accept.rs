//! Taking member events of other servers' users into rooms.

use ruma_common::{EventId, RoomId, ServerName, UserId};
use serde_json::value::RawValue;
use starling_db::Tx;
use starling_events::client_format::write_stripped;
use starling_events::id::parse_user_id;
use starling_events::sign::sign_event;
use starling_events::{Pdu, Value};
use starling_store::events::Status;
use starling_store::memberships::Membership;
use starling_store::outliers::events_known;
use starling_store::rooms::RoomSnapshot;

use super::{ResidentError, membership_of};
use crate::error::SendError;
use crate::membership::{AUTHORISED_VIA, is_same};
use crate::receive::Received;
use crate::remote::Handshake;
use crate::rooms::Rooms;

impl Rooms {
    /// Takes a member event of another server's user, which that server has made of a template, into its room. The event
    /// as it is now stored: signed by this server too, where it lets the user in.
    ///
    /// # Errors
    /// [`ResidentError`]; nothing is stored then.
    pub async fn accept_of(
        &self,
        origin: &ServerName,
        (handshake, room_id): (Handshake, &RoomId),
        event_id: &EventId,
        event: &RawValue,
    ) -> Result<Pdu, ResidentError> {
        let room = self.resident(room_id).await?;
        let sent = Pdu::parse(room.version, event.get().as_bytes());
        let sent =
            sent.map_err(|_| ResidentError::Invalid("it is no event of the room's version"))?;
        check_form(&sent, origin, (handshake, room_id), event_id)?;
        if handshake == Handshake::Knock && !room.version.rules().knocking {
            let why = "one cannot knock at rooms of this version";
            return Err(ResidentError::Forbidden(why.to_owned()));
        }
        let sent = if is_authorised(&sent) {
            self.authorise(&room, sent).await?
        } else {
            sent
        };
        let checked = self.asking()?.check_one(sent.clone()).await??;
        if !is_same(&checked, &sent) {
            return Err(ResidentError::Invalid("the event's hash is wrong"));
        }
        let checked = self.signed_by_policy_server(&room, checked).await?;
        match self.receive_for(origin, checked.clone()).await? {
            Received::Accepted => Ok(checked),
            Received::Known => self.known_as_accepted(checked).await,
            Received::SoftFailed(why) | Received::Rejected(why) => {
                Err(ResidentError::Forbidden(why))
            }
        }
    }

    /// The event, which came before, if it is part of the room.
    async fn known_as_accepted(&self, event: Pdu) -> Result<Pdu, ResidentError> {
        let id = event.event_id().to_owned();
        let read = move |tx: &mut Tx<'_>| events_known(tx, [&*id]);
        let known = self.store().db().read("known_event", read).await?;
        let known = known.get(event.event_id());
        if known.is_some_and(|known| known.is_placed && known.status == Status::Accepted) {
            return Ok(event);
        }
        Err(ResidentError::Forbidden(
            "the event was refused before".to_owned(),
        ))
    }

    /// What is shown of a room to who knocks at it by this event, which was accepted: events of its state, stripped.
    ///
    /// # Errors
    /// [`ResidentError`]
    pub async fn shown_to(&self, knock: &Pdu) -> Result<Vec<Box<RawValue>>, ResidentError> {
        let room = self.resident(knock.room_id()).await?;
        let shown = self.shown_events(&room, knock).await?;
        let stripped = |pdu: &Pdu| {
            let mut out = Vec::new();
            write_stripped(&mut out, pdu);
            serde_json::from_slice::<Box<RawValue>>(&out).ok()
        };
        Ok(shown.iter().filter_map(stripped).collect())
    }

    /// Signs a join that a user of this server is said to allow, if the user may come in: only this server has looked.
    async fn authorise(&self, room: &RoomSnapshot, join: Pdu) -> Result<Pdu, ResidentError> {
        let by = Value::new(join.content())
            .get(AUTHORISED_VIA)
            .and_then(Value::as_str);
        let by = by.and_then(|user| parse_user_id(&user).ok());
        if by.is_none_or(|user| user.server_name() != self.server_name()) {
            return Err(ResidentError::Invalid(
                "only users of this server can let somebody in through it",
            ));
        }
        self.authoriser_of_other(room, join.sender()).await?;
        let signed = sign_event(&join, self.server_name(), &self.parts.signing_key);
        signed.map_err(|_| SendError::TooLarge("the event").into())
    }
}

/// Whether it names who lets the user in.
fn is_authorised(event: &Pdu) -> bool {
    event.version().rules().restricted
        && membership_of(event) == Some(Membership::Join)
        && Value::new(event.content()).get(AUTHORISED_VIA).is_some()
}

/// Whether the event is what the request says.
fn check_form(
    event: &Pdu,
    origin: &ServerName,
    (handshake, room_id): (Handshake, &RoomId),
    event_id: &EventId,
) -> Result<(), ResidentError> {
    let is_own = event
        .state_key()
        .map(<&UserId>::try_from)
        .is_some_and(|key| key.is_ok_and(|key| key == event.sender()));
    let wrong = if membership_of(event) != Some(handshake.membership()) {
        "it is not an event with the membership that the path names"
    } else if !is_own {
        "the sender is not the user whom it is about"
    } else if event.sender().server_name() != origin {
        "the sender is of another server"
    } else if event.room_id() != room_id {
        "it is an event of another room"
    } else if event.event_id() != event_id {
        "it has another event id than the path"
    } else {
        return Ok(());
    };
    Err(ResidentError::Invalid(wrong))
}
