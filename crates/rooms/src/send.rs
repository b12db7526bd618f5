//! Sending events: messages, state and redactions of clients.

use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId, RoomId};
use starling_events::CanonicalObject;
use starling_store::RoomNum;
use starling_store::events::Event;

use crate::error::SendError;
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
        draft: Draft,
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
        self.send_with(actor, room_id, draft, transaction, None)
            .await
    }

    /// Redacts an event of a room: what it said is removed, here and for every client that learns of it.
    ///
    /// # Errors
    /// [`SendError::UnknownEvent`] when there is no such event in the room, [`SendError::Forbidden`] when the user may
    /// not redact it; else [`SendError`].
    pub async fn redact(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        target: &EventId,
        content: CanonicalObject,
        transaction: Option<(RequestPath, &str)>,
    ) -> Result<OwnedEventId, SendError> {
        let room = self
            .store()
            .room_num(room_id)
            .await?
            .ok_or(SendError::UnknownRoom)?;
        let (store, wanted) = (self.store().clone(), target.to_owned());
        let event = self
            .store()
            .db()
            .read("redacts", move |tx| store.event_by_id(tx, &wanted))
            .await?;
        let event = event
            .filter(|event| event.room == room)
            .ok_or(SendError::UnknownEvent)?;
        let draft = Draft {
            redacts: Some(target.to_owned()),
            ..Draft::message(actor.user_id.clone(), "m.room.redaction", content)
        };
        self.send_with(actor, room_id, draft, transaction, Some(event))
            .await
    }

    async fn send_with(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        draft: Draft,
        transaction: Option<(RequestPath, &str)>,
        target: Option<Arc<Event>>,
    ) -> Result<OwnedEventId, SendError> {
        let room = self
            .store()
            .room_num(room_id)
            .await?
            .ok_or(SendError::UnknownRoom)?;
        let Some((path, txn_id)) = transaction else {
            return self.append_new(room, draft, target).await;
        };
        let begun = self.begin_transaction(actor, path, txn_id).await?;
        let (held, transaction) = match begun {
            Err(event) => return Ok(event),
            Ok(begun) => begun,
        };
        let extras = Extras {
            transaction: Some(transaction.clone()),
            target,
        };
        let sent = match self.append(room, draft, extras).await? {
            Appending::Sent(event) => event.pdu.event_id().to_owned(),
            // The first try was still being stored when its request went away.
            Appending::UsedTransaction => self
                .transaction_event(&transaction)
                .await?
                .ok_or(SendError::UnknownEvent)?,
        };
        drop(held);
        Ok(sent)
    }

    /// Sends an event that has no transaction id.
    pub(crate) async fn append_new(
        &self,
        room: RoomNum,
        draft: Draft,
        target: Option<Arc<Event>>,
    ) -> Result<OwnedEventId, SendError> {
        match self
            .append(
                room,
                draft,
                Extras {
                    transaction: None,
                    target,
                },
            )
            .await?
        {
            Appending::Sent(event) => Ok(event.pdu.event_id().to_owned()),
            Appending::UsedTransaction => Err(SendError::UnknownEvent),
        }
    }
}

/// The event that a redaction names in its content, as it is in room versions 11 and 12.
fn redacts_of(draft: &Draft) -> Option<OwnedEventId> {
    if draft.kind != "m.room.redaction" || draft.state_key.is_some() {
        return None;
    }
    let target = draft.content.value().get("redacts")?.as_str()?;
    OwnedEventId::try_from(target.as_ref()).ok()
}
