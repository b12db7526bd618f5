//! Sending events: messages, state and redactions of clients.

use ruma_common::{EventId, OwnedEventId, RoomId};
use serde_json::{Map, Value};
use starling_db::Error;
use starling_events::{CanonicalObject, Pdu};
use starling_store::RoomNum;
use starling_store::memberships::Membership;
use starling_store::transactions::Transaction;

use crate::error::SendError;
use crate::federation::SERVER_ACL;
use crate::pipeline::{Appending, Draft, Extras};
use crate::rooms::{Actor, Rooms};
use crate::transaction::RequestPath;

impl Rooms {
    /// Sends an event to a room; it is durable when this returns. With a transaction id, a retry returns the event of
    /// the first try.
    ///
    /// # Errors
    /// [`SendError`]; nothing is stored then.
    pub async fn send(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        mut draft: Draft,
        transaction: Option<(RequestPath, &str)>,
    ) -> Result<OwnedEventId, SendError> {
        // A redaction takes effect however it is sent.
        if let Some(target) = redacts_of(&draft) {
            return self
                .redact(actor, room_id, &target, draft.content, transaction)
                .await;
        }
        if draft.kind == "m.room.create" {
            return Err(SendError::Forbidden("the room exists already".to_owned()));
        }
        if draft.kind == "m.room.canonical_alias" && draft.state_key.as_deref() == Some("") {
            self.check_canonical_alias(room_id, &draft.content).await?;
        }
        let room = self.room_num(room_id, SendError::UnknownRoom).await?;
        if draft.kind == "m.room.member" && draft.state_key.is_some() {
            draft.content = self
                .checked_member_content(actor, Some(room), &draft)
                .await?;
            if let Some(user) = self.invited_elsewhere(&draft) {
                return self.send_invite(room, draft, &user).await;
            }
        }
        let mut extras = Extras::default();
        if is_join(&draft) {
            extras.guest_joins = actor.is_guest;
            extras.carry = self.carry_into(room, actor).await?;
        }
        self.send_with(actor, room, draft, transaction, extras)
            .await
    }

    /// Redacts an event of a room: what it said is removed, here and for every client that learns of it.
    ///
    /// # Errors
    /// [`SendError::UnknownEvent`] when there is no such event in the room, [`SendError::Forbidden`] when the user may
    /// not redact it, or nobody may; else [`SendError`].
    pub async fn redact(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        target: &EventId,
        content: CanonicalObject,
        transaction: Option<(RequestPath, &str)>,
    ) -> Result<OwnedEventId, SendError> {
        let room = self.room_num(room_id, SendError::UnknownRoom).await?;
        // Who is not in the room doesn't learn which events it has.
        if self.current_membership(room, &actor.user_id).await? != Some(Membership::Join) {
            return Err(SendError::Forbidden("you are not in this room".to_owned()));
        }
        let (store, wanted) = (self.store().clone(), target.to_owned());
        let event = self
            .store()
            .db()
            .read("redacts", move |tx| store.event_by_id(tx, &wanted))
            .await?;
        let event = event
            .filter(|event| event.room == room)
            .ok_or(SendError::UnknownEvent)?;
        check_may_be_redacted(&event.pdu)?;
        let content = without_redacts(content)?;
        let draft = Draft {
            redacts: Some(target.to_owned()),
            ..Draft::message(actor.user_id.clone(), "m.room.redaction", content)
        };
        let extras = Extras {
            target: Some(event),
            ..Extras::default()
        };
        self.send_with(actor, room, draft, transaction, extras)
            .await
    }

    async fn send_with(
        &self,
        actor: &Actor,
        room: RoomNum,
        draft: Draft,
        transaction: Option<(RequestPath, &str)>,
        mut extras: Extras,
    ) -> Result<OwnedEventId, SendError> {
        let Some((path, txn_id)) = transaction else {
            extras.relates_to = self.relates_to(room, &draft).await?;
            return self.append_new(room, draft, extras).await;
        };
        let begun = self.begin_transaction(actor, path, txn_id).await?;
        let (held, transaction) = match begun {
            Err(event) => return Ok(event),
            Ok(begun) => begun,
        };
        extras.transaction = Some(transaction.clone());
        // A task of its own: if the request goes away, the transaction is held until its event is stored all the same.
        let rooms = self.clone();
        let sending = tokio::spawn(async move {
            let sent = rooms.send_once(room, draft, transaction, extras).await;
            drop(held);
            sent
        });
        sending.await.map_err(|_| SendError::Db(Error::Closed))?
    }

    async fn send_once(
        &self,
        room: RoomNum,
        draft: Draft,
        transaction: Transaction,
        mut extras: Extras,
    ) -> Result<OwnedEventId, SendError> {
        extras.relates_to = self.relates_to(room, &draft).await?;
        match self.append(room, draft, extras).await? {
            Appending::Sent(event) => Ok(event.pdu.event_id().to_owned()),
            // Another node was first.
            Appending::UsedTransaction => self
                .transaction_event(&transaction)
                .await?
                .ok_or(SendError::UnknownEvent),
        }
    }

    /// Sends an event that has no transaction id.
    pub(crate) async fn append_new(
        &self,
        room: RoomNum,
        draft: Draft,
        extras: Extras,
    ) -> Result<OwnedEventId, SendError> {
        match self.append(room, draft, extras).await? {
            Appending::Sent(event) => Ok(event.pdu.event_id().to_owned()),
            Appending::UsedTransaction => Err(SendError::UnknownEvent),
        }
    }
}

/// Whether its sender joins by it, or is joined already and says something new of themself.
fn is_join(draft: &Draft) -> bool {
    let membership = draft.content.value().get("membership");
    let membership = membership.and_then(starling_events::Value::as_str);
    draft.kind == "m.room.member" && membership.as_deref() == Some("join")
}

/// Refuses what a room doesn't survive: an access control list of which nothing is left excludes every server, and a creation of
/// which nothing is left says no longer what version and type the room has.
fn check_may_be_redacted(target: &Pdu) -> Result<(), SendError> {
    let why = match (target.kind(), target.state_key()) {
        (SERVER_ACL, Some("")) => {
            "redacting an access control list would exclude all servers: set another one instead"
        }
        ("m.room.create", Some("")) => "the creation of a room is not to be redacted",
        _ => return Ok(()),
    };
    Err(SendError::Forbidden(why.to_owned()))
}

/// The event that a redaction names in its content: there clients write it, in rooms of every version.
fn redacts_of(draft: &Draft) -> Option<OwnedEventId> {
    if draft.kind != "m.room.redaction" || draft.state_key.is_some() {
        return None;
    }
    let target = draft.content.value().get("redacts")?.as_str()?;
    OwnedEventId::try_from(target.as_ref()).ok()
}

/// The content of a redaction without what it redacts: the event says that where its room's version wants it.
fn without_redacts(content: CanonicalObject) -> Result<CanonicalObject, SendError> {
    if content.value().get("redacts").is_none() {
        return Ok(content);
    }
    let members: Result<Map<String, Value>, _> = serde_json::from_slice(content.as_bytes());
    let mut members = members.map_err(|_| SendError::Invalid("content"))?;
    members.remove("redacts");
    Ok(CanonicalObject::from_serialize(&members)?)
}
