//! Noting what a local user becomes in a room that this server is not in.

use std::sync::Arc;

use ruma_common::OwnedServerName;
use starling_bus::Topic;
use starling_db::{Error, Positions, Tx, Write};
use starling_events::Pdu;
use starling_store::UserNum;
use starling_store::memberships::Membership;
use starling_store::remote_invites::{RemoteMembership, room_know};

use crate::receive::names_of;
use crate::rooms::Rooms;

impl Rooms {
    /// Notes a member event of a local user, and tells their devices. `shown` is what an invite or a knock shows of the
    /// room, and who gave it. False when nothing was noted, because the room is known here with another version.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn note_elsewhere(
        &self,
        (user, membership): (UserNum, Membership),
        event: Pdu,
        shown: Option<(OwnedServerName, Box<[u8]>)>,
    ) -> Result<bool, Error> {
        let new = RemoteMembership {
            user,
            membership,
            event,
            shown,
            forgets_left: self.parts.forget_on_leave,
            untold_at: None,
        };
        self.note(new).await
    }

    /// Notes that a local user leaves by an event that no other server knows; a job tells them.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn note_untold(&self, user: UserNum, leave: Pdu) -> Result<(), Error> {
        let new = RemoteMembership {
            user,
            membership: Membership::Leave,
            event: leave,
            shown: None,
            forgets_left: self.parts.forget_on_leave,
            untold_at: Some(self.parts.clock.now_ms()),
        };
        self.note(new).await.map(drop)
    }

    async fn note(&self, new: RemoteMembership) -> Result<bool, Error> {
        let (store, bus) = (self.store().clone(), self.parts.bus.clone());
        let names = names_of(&new.event);
        store.names().intern_ahead(store.db(), names).await?;
        let (room_id, version) = (new.event.room_id().to_owned(), new.event.version());
        let (user, new) = (new.user, Arc::new(new));
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, room| {
            let Some(room) = room else {
                return Ok(false);
            };
            if store.remote_membership_set(tx, positions, room, &new)? {
                let (bus, position) = (bus.clone(), positions.last());
                tx.after_commit(move || bus.advance(position, &[Topic::User(user.0)]));
            }
            Ok(true)
        };
        let work = move |tx: &mut Tx<'_>| room_know(tx, &room_id, version);
        let write = Write::new("note_elsewhere");
        self.store().db().write_placed(write, work, place).await
    }
}
