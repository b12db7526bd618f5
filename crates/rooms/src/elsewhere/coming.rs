//! Rooms that this server is coming into: what others send of them meanwhile waits until the room is here.
//!
//! They send from the moment on at which one of them has taken the join, and until its answer is checked that may take
//! seconds: of what is refused in that time, nothing would tell of it later.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ruma_common::{OwnedRoomId, RoomId};
use starling_db::{Tx, Write};
use starling_events::Pdu;
use starling_store::remote_invites::room_know;

use crate::error::SendError;
use crate::rooms::Rooms;

/// The rooms, and how many of this server's users are joining each.
#[derive(Debug, Default)]
pub(crate) struct Coming(Mutex<HashMap<OwnedRoomId, usize>>);

/// Somebody is joining a room, until it is dropped.
#[derive(Debug)]
pub(super) struct Joining {
    coming: Arc<Coming>,
    room_id: OwnedRoomId,
}

impl Coming {
    pub(super) fn begin(self: &Arc<Self>, room_id: &RoomId) -> Joining {
        *self.0.lock().entry(room_id.to_owned()).or_default() += 1;
        Joining {
            coming: Arc::clone(self),
            room_id: room_id.to_owned(),
        }
    }

    pub(crate) fn has(&self, room_id: &RoomId) -> bool {
        self.0.lock().contains_key(room_id)
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        let mut rooms = self.coming.0.lock();
        if let Some(count) = rooms.get_mut(&self.room_id) {
            *count -= 1;
            if *count == 0 {
                rooms.remove(&self.room_id);
            }
        }
    }
}

impl Rooms {
    /// Makes sure that events of a room can wait here, before another server takes the join.
    pub(super) async fn expect_events(&self, join: &Pdu) -> Result<(), SendError> {
        let (room_id, version) = (join.room_id().to_owned(), join.version());
        let know = move |tx: &mut Tx<'_>| room_know(tx, &room_id, version);
        let write = self.store().db().write(Write::new("room"), know);
        write.await?;
        Ok(())
    }
}
