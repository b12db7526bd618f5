//! Taking users out of rooms who may not be in them any longer: deactivated ones, and guests where none may be.

use starling_db::{Error, Tx};
use starling_store::jobs::{Job, Progress};
use starling_store::memberships::{Membership, guests_in};
use starling_store::{DeviceNum, RoomNum, UserNum};

use crate::jobs::PIECE;
use crate::membership::MembershipAction;
use crate::pipeline::{GUEST_ACCESS, lets_guests_join};
use crate::rooms::{Actor, Rooms};

/// Longer than any request takes, in milliseconds.
const REQUEST_MS: i64 = 600_000;

/// When to look again for what such a request may have done, in milliseconds.
const AGAIN_MS: i64 = 60_000;

/// No device: nobody asked for it.
pub(crate) const NO_DEVICE: DeviceNum = DeviceNum(0);

impl Rooms {
    /// Takes a deactivated user out of all rooms; invites are declined.
    pub(crate) async fn take_out_of_all(
        &self,
        job: &Job,
        user: UserNum,
    ) -> Result<Progress, Error> {
        let rooms = self.next_rooms(job, user).await?;
        let is_there = |membership| !matches!(membership, Membership::Leave | Membership::Ban);
        for row in &rooms {
            if is_there(row.membership) {
                self.take_out_of(user, row.room).await?;
            }
        }
        let now_ms = self.parts.clock.now_ms();
        Ok(match rooms.last() {
            Some(last) => Progress::At(last.room.0),
            // A request that was let in before may yet bring the user into a room.
            None if now_ms < job.noted_at + REQUEST_MS => Progress::Again(now_ms + AGAIN_MS),
            None => Progress::Done,
        })
    }

    /// Takes the guests out of a room, unless it lets them in (again).
    pub(crate) async fn take_guests_out(
        &self,
        job: &Job,
        room: RoomNum,
    ) -> Result<Progress, Error> {
        let (store, after) = (self.store().clone(), UserNum(job.progress));
        let read = move |tx: &mut Tx<'_>| {
            let Some(snapshot) = store.room_read(tx, room)? else {
                return Ok(Vec::new());
            };
            let names = store.names();
            let numbers = names.kind(tx, GUEST_ACCESS)?.zip(names.key(tx, "")?);
            let event = numbers.and_then(|(kind, key)| snapshot.state_event(kind, key));
            let event = match event {
                Some(event) => store.event_read(tx, event)?,
                None => None,
            };
            if lets_guests_join(event.as_ref().map(|event| &event.pdu)) {
                return Ok(Vec::new());
            }
            guests_in(tx, room, after, PIECE)
        };
        let guests = self.store().db().scan("guests_in", read).await?;
        for guest in &guests {
            self.take_out_of(*guest, room).await?;
        }
        Ok(guests
            .last()
            .map_or(Progress::Done, |last| Progress::At(last.0)))
    }

    /// Takes a user out of a room; an invite is declined.
    pub(crate) async fn take_out_of(&self, user: UserNum, room: RoomNum) -> Result<(), Error> {
        let store = self.store().clone();
        let read =
            move |tx: &mut Tx<'_>| Ok((store.names().user_id(tx, user)?, store.room_id(tx, room)?));
        let (user_id, room_id) = self.store().db().read("departure", read).await?;
        let Some(room_id) = room_id else {
            return Ok(());
        };
        let actor = Actor {
            user,
            user_id: (*user_id).to_owned(),
            device: NO_DEVICE,
            is_guest: false,
        };
        let leave = MembershipAction::Leave;
        let left = self.change_membership(&actor, &room_id, leave, &actor.user_id, None);
        let what = "a user could not be taken out of a room";
        self.pass(left.await, (what, &actor.user_id, room)).await
    }
}
