//! Bringing many branches of a room together, when nobody here says anything for a while.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ruma_common::OwnedUserId;
use starling_db::{Error, Tx};
use starling_events::CanonicalObject;
use starling_store::events::DUMMY;
use starling_store::memberships::joined_in;
use starling_store::rooms::RoomSnapshot;
use starling_store::{RoomNum, Store};

use crate::error::SendError;
use crate::pipeline::{Draft, Extras};
use crate::rooms::Rooms;

/// More extremities than this are more than the next event should have to follow, and resolution to look at.
const MANY: usize = 10;

/// So many events are sent to make them few: each follows twenty.
const MAX_EVENTS: usize = 50;

/// So many local members are looked at to find one who may send something.
const MEMBERS: i64 = 50;

/// How long nobody brings the branches together before this server does, in seconds: where many servers see them, one does it
/// first.
const SECONDS: std::ops::Range<u64> = 60..300;

/// The rooms whose branches are brought together soon.
#[derive(Debug, Default)]
pub(crate) struct Merging(Mutex<HashSet<RoomNum>>);

impl Rooms {
    /// Sees to it that a room's extremities are few, after a while in which others may.
    pub(super) fn merge_soon(&self, room: RoomNum) {
        let Some(snapshot) = self.store().rooms().get(room) else {
            return;
        };
        if snapshot.extremities.len() <= MANY || !self.merging.0.lock().insert(room) {
            return;
        }
        let rooms = self.clone();
        let pause = Duration::from_secs(self.parts.chance.within(SECONDS));
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            rooms.merging.0.lock().remove(&room);
            rooms.merge_branches(room).await;
        });
    }

    /// Makes events that follow the room's extremities until these are few, if somebody here may. They aren't sent to others:
    /// the next event leads there.
    pub async fn merge_branches(&self, room: RoomNum) {
        for _ in 0..MAX_EVENTS {
            let snapshot = match self.store().room(room).await {
                Ok(Some(snapshot)) if snapshot.extremities.len() > MANY => snapshot,
                _ => return,
            };
            match self.merge(&snapshot).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::info!(room = %snapshot.room_id, %error, "branches are not brought together");
                    return;
                }
            }
        }
    }

    /// Sends one; whether somebody may.
    async fn merge(&self, snapshot: &Arc<RoomSnapshot>) -> Result<bool, SendError> {
        let (store, room) = (self.store().clone(), Arc::clone(snapshot));
        let read = move |tx: &mut Tx<'_>| strongest(&store, tx, &room);
        let sender = self.store().db().read("merge", read).await?;
        let Some(sender) = sender else {
            return Ok(false);
        };
        let draft = Draft::message(sender, DUMMY, CanonicalObject::default());
        self.append_new(snapshot.room, draft, Extras::default())
            .await?;
        Ok(true)
    }
}

/// The local member of the greatest power, of those who may send the event.
fn strongest(
    store: &Store,
    tx: &mut Tx<'_>,
    room: &RoomSnapshot,
) -> Result<Option<OwnedUserId>, Error> {
    let Some(power) = store.power_in(tx, &room.state)? else {
        return Ok(None);
    };
    let mut found = Vec::new();
    for user in joined_in(tx, room.room, MEMBERS)? {
        found.push(store.names().user_id(tx, user)?);
    }
    found.sort_by_key(|user| (Reverse(power.user_level(user)), user.clone()));
    Ok(found.into_iter().next())
}
