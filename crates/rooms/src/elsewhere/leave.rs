//! Declining an invite to a room that this server is not in, and giving up a knock.
//! <https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites>

use std::sync::Arc;

use ruma_common::{OwnedServerName, RoomId, ServerName};
use serde_json::{Map, Value};
use starling_db::Tx;
use starling_events::{CanonicalObject, EventBuilder, EventReference, Pdu};
use starling_store::events::Event;
use starling_store::memberships::{Membership, membership_read};

use super::Elsewhere;
use super::template::Wish;
use crate::error::SendError;
use crate::remote::{Handshake, Remote, Template};
use crate::rooms::{Actor, Rooms};

impl Rooms {
    /// Ends an invite or a knock. If no server takes the leave, it is one for this server alone at first (see `untold.rs`): a
    /// user must be able to get rid of an invite whose server is gone.
    ///
    /// # Errors
    /// [`SendError::UnknownRoom`] or [`SendError::Forbidden`] when the user is nothing in the room.
    pub(crate) async fn leave_elsewhere(
        &self,
        actor: &Actor,
        (room_id, elsewhere): (&RoomId, &Elsewhere),
        reason: Option<String>,
    ) -> Result<(), SendError> {
        let member = self.member_elsewhere(actor, elsewhere).await?;
        let mut content = Map::new();
        content.insert("membership".to_owned(), Membership::Leave.as_str().into());
        content.extend(reason.map(|reason| ("reason".to_owned(), Value::String(reason))));
        let wish = Wish {
            handshake: Handshake::Leave,
            room_id,
            user: &actor.user_id,
            content,
        };
        let servers = self.servers_of(actor, (room_id, elsewhere), &[]).await?;
        let taken = match &self.parts.remote {
            Some(remote) => self.leave_through_some(remote, servers, &wish).await.ok(),
            None => None,
        };
        let leave = match taken {
            Some(leave) if leave.version() == member.pdu.version() => leave,
            // Of another version than the invite said: one of the two is wrong, and clients need not see which.
            Some(_) => self.leave_alone(&member.pdu, &wish)?,
            None => {
                let leave = self.leave_alone(&member.pdu, &wish)?;
                return Ok(self.note_untold(actor.user, leave).await?);
            }
        };
        let became = (actor.user, Membership::Leave);
        self.note_elsewhere(became, leave, None).await?;
        Ok(())
    }

    /// The member event that invites the user or by which they knock.
    async fn member_elsewhere(
        &self,
        actor: &Actor,
        elsewhere: &Elsewhere,
    ) -> Result<Arc<Event>, SendError> {
        let snapshot = elsewhere.snapshot.as_ref();
        let room = snapshot.ok_or(SendError::UnknownRoom)?.room;
        let (store, user) = (self.store().clone(), actor.user);
        let read = move |tx: &mut Tx<'_>| {
            let row = membership_read(tx, user, room)?;
            let is_there = |membership| !matches!(membership, Membership::Leave | Membership::Ban);
            match row.filter(|row| is_there(row.membership)) {
                Some(row) => store.event_read(tx, row.event),
                None => Ok(None),
            }
        };
        let event = self.store().db().read("member_elsewhere", read).await?;
        event.ok_or_else(|| SendError::Forbidden("you are not in the room".to_owned()))
    }

    /// The leave that one of the servers takes.
    ///
    /// # Errors
    /// When none does.
    async fn leave_through_some(
        &self,
        remote: &Remote,
        servers: Vec<OwnedServerName>,
        wish: &Wish<'_>,
    ) -> Result<Pdu, SendError> {
        let mut attempts = self.attempts(remote, servers, wish);
        while let Some((server, template)) = attempts.next().await? {
            match self.leave_through(remote, (&server, &template), wish).await {
                Ok(leave) => return Ok(leave),
                Err(error) => attempts.failed(error)?,
            }
        }
        Err(attempts.told())
    }

    pub(super) async fn leave_through(
        &self,
        remote: &Remote,
        (server, template): (&ServerName, &Template),
        wish: &Wish<'_>,
    ) -> Result<Pdu, SendError> {
        let leave = self.fill_in(server, template, wish)?;
        remote.send_leave(server, &leave).await?;
        Ok(leave)
    }

    /// A leave that no other server knows, after the event that it ends.
    fn leave_alone(&self, member: &Pdu, wish: &Wish<'_>) -> Result<Pdu, SendError> {
        let builder = EventBuilder {
            room_id: Some(wish.room_id.to_owned()),
            sender: wish.user.to_owned(),
            kind: "m.room.member".to_owned(),
            state_key: Some(wish.user.as_str().to_owned()),
            content: CanonicalObject::from_serialize(&wish.content)?,
            redacts: None,
            origin_server_ts: self.parts.clock.now_ms(),
            depth: member.depth().saturating_add(1),
            prev_events: vec![EventReference::of(member)],
            auth_events: vec![EventReference::of(member)],
        };
        let (own, key) = (&self.parts.server_name, &self.parts.signing_key);
        Ok(builder.build(member.version(), own, key)?)
    }
}
