//! Reports of rooms and events to the administrator.
//! <https://spec.matrix.org/v1.19/client-server-api/#reporting-content>

use ruma_common::{EventId, RoomId};
use starling_db::{Error, Tx, Write};
use starling_store::memberships::Membership;
use starling_store::reports::{Reported, report_insert};

use crate::error::ReadError;
use crate::rooms::{Actor, Rooms};

impl Rooms {
    /// Keeps a report of a room, whether the user is in it or not.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] when there is no such room; else when the database fails.
    pub async fn report_room(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        reason: String,
    ) -> Result<(), ReadError> {
        self.room_num(room_id, ReadError::NotFound).await?;
        let reported = Reported::Room(room_id.to_string());
        Ok(self.report(actor, reported, reason).await?)
    }

    /// Keeps a report of an event that the user sees, of a room that they are in.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] when the user is not in the room or sees no such event; else when the database fails.
    pub async fn report_event(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        event_id: &EventId,
        reason: String,
    ) -> Result<(), ReadError> {
        let room = self.room_num(room_id, ReadError::NotFound).await?;
        if self.current_membership(room, &actor.user_id).await? != Some(Membership::Join) {
            return Err(ReadError::NotFound);
        }
        self.event(actor, room_id, event_id).await?;
        let reported = Reported::Event {
            room_id: room_id.to_string(),
            event_id: event_id.to_string(),
        };
        Ok(self.report(actor, reported, reason).await?)
    }

    async fn report(&self, actor: &Actor, reported: Reported, reason: String) -> Result<(), Error> {
        let (by, now_ms) = (actor.user, self.parts.clock.now_ms());
        let insert = move |tx: &mut Tx<'_>| report_insert(tx, by, &reported, &reason, now_ms);
        self.store().db().write(Write::new("report"), insert).await
    }
}
