//! Taking users out of rooms who may not be in them any longer: deactivated ones, and guests where none may be.

use starling_db::{Error, Tx, Write};
use starling_store::departures::{self, GuestDeparture};
use starling_store::memberships::{Membership, membership_list};
use starling_store::{DeviceNum, RoomNum, UserNum};

use crate::error::SendError;
use crate::membership::MembershipAction;
use crate::pipeline::{GUEST_ACCESS, lets_guests_join};
use crate::rooms::{Actor, Rooms};

/// Users or rooms that are read at once.
const PAGE: u32 = 100;

/// Longer than any request takes, in milliseconds.
const REQUEST_MS: i64 = 600_000;

/// No device: nobody asked for it.
const NO_DEVICE: DeviceNum = DeviceNum(0);

impl Rooms {
    /// Waits until somebody has to leave rooms, as far as this process brought it about.
    pub async fn departures_wanted(&self) {
        self.store().departures().notified().await;
    }

    /// Takes everybody out who has to leave. What cannot be done for one room doesn't keep the others from it.
    ///
    /// # Errors
    /// When the database fails; what is left is done the next time.
    pub async fn take_out(&self) -> Result<(), Error> {
        let mut after = UserNum(0);
        loop {
            let page = move |tx: &mut Tx<'_>| departures::list(tx, after, PAGE);
            let users = self.store().db().read("departures", page).await?;
            let Some(last) = users.last() else { break };
            after = *last;
            for user in users {
                self.take_out_of_all(user).await?;
            }
        }
        let mut after = RoomNum(0);
        loop {
            let page = move |tx: &mut Tx<'_>| departures::guests_list(tx, after, PAGE);
            let rooms = self.store().db().read("guest_departures", page).await?;
            let Some(last) = rooms.last() else {
                return Ok(());
            };
            after = last.room;
            for departure in rooms {
                self.take_guests_out(departure).await?;
            }
        }
    }

    /// Takes a deactivated user out of all rooms; invites are declined.
    async fn take_out_of_all(&self, user: UserNum) -> Result<(), Error> {
        let list = move |tx: &mut Tx<'_>| membership_list(tx, user);
        let memberships = self.store().db().scan("membership_list", list).await?;
        let is_there = |membership| !matches!(membership, Membership::Leave | Membership::Ban);
        for row in memberships {
            if is_there(row.membership) {
                self.take_out_of(user, row.room).await?;
            }
        }
        // A request that was let in before may yet bring the user into a room.
        let upto = self.parts.clock.now_ms() - REQUEST_MS;
        let delete = move |tx: &mut Tx<'_>| departures::delete(tx, user, upto);
        let write = Write::new("departure_delete");
        self.store().db().write(write, delete).await
    }

    /// Takes the guests out of a room, unless it lets them in (again).
    async fn take_guests_out(&self, departure: GuestDeparture) -> Result<(), Error> {
        let (store, room) = (self.store().clone(), departure.room);
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
            departures::guests_in(tx, room)
        };
        let guests = self.store().db().scan("guests_in", read).await?;
        for guest in guests {
            self.take_out_of(guest, room).await?;
        }
        let delete = move |tx: &mut Tx<'_>| departures::guests_delete(tx, departure);
        let write = Write::new("guest_departure_delete");
        self.store().db().write(write, delete).await
    }

    async fn take_out_of(&self, user: UserNum, room: RoomNum) -> Result<(), Error> {
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
        match left.await {
            Ok(()) => Ok(()),
            Err(SendError::Db(error @ (Error::Closed | Error::Unavailable(_)))) => Err(error),
            // Also what is damaged in one room.
            Err(error) => {
                tracing::warn!(user = %actor.user_id, room = %room_id, %error, "a user could not be taken out of a room");
                Ok(())
            }
        }
    }
}
