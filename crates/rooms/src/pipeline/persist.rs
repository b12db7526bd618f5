//! Writing built events, and the chain of those that are queued.

use std::sync::Arc;

use parking_lot::Mutex;
use starling_bus::{Bus, Topic};
use starling_db::{Positions, Tx};
use starling_store::append::{AppendError, Appended, MembershipChange, NewEvent};
use starling_store::events::Event;
use starling_store::memberships::Membership;
use starling_store::rooms::RoomSnapshot;
use starling_store::{RoomNum, UserNum};

use crate::rooms::Parts;
use crate::upgrade::Carry;

/// The place of a queued event in its room: once it is written, the room after it.
#[derive(Debug, Default)]
pub(crate) struct Link {
    placed: Mutex<Option<Arc<RoomSnapshot>>>,
}

/// What an event was built on.
#[derive(Debug, Clone)]
pub(crate) enum Chain {
    /// The room as committed.
    Committed(Arc<RoomSnapshot>),
    /// The room after an event that was queued before it.
    Queued(Arc<Link>),
}

impl Chain {
    /// The room that it was built on, or [`AppendError::Moved`] if the event before it was not written.
    pub(super) fn before(&self) -> Result<Arc<RoomSnapshot>, AppendError> {
        match self {
            Self::Committed(snapshot) => Ok(Arc::clone(snapshot)),
            Self::Queued(link) => link.placed.lock().clone().ok_or(AppendError::Moved),
        }
    }
}

impl Link {
    /// Whether its event was written and the room after it is `committed`.
    pub(crate) fn is_placed_as(&self, committed: &Arc<RoomSnapshot>) -> bool {
        let placed = self.placed.lock();
        placed.as_ref().is_some_and(|placed| {
            (placed.append_count, placed.head_hash) == (committed.append_count, committed.head_hash)
        })
    }

    /// As [`Link::place`], with what the event's target takes along from the room that its own replaces.
    pub(crate) fn place_with(
        &self,
        parts: &Arc<Parts>,
        (tx, positions): (&mut Tx<'_>, &mut Positions),
        (chain, new): (&Chain, &NewEvent),
        (room, carry): (RoomNum, Option<&Carry>),
    ) -> Result<Arc<Event>, AppendError> {
        // First, since whoever wakes up is told of all positions up to the event's.
        if let Some(carry) = carry {
            let to = (room, new.pdu.room_id());
            carry.apply(&parts.store, (tx, positions), to)?;
        }
        Ok(self.place(parts, (tx, positions), chain, new)?.event)
    }

    /// Writes an event in the second step of a transaction. After the commit, everybody whom it concerns is told.
    pub(crate) fn place(
        &self,
        parts: &Arc<Parts>,
        (tx, positions): (&mut Tx<'_>, &mut Positions),
        chain: &Chain,
        new: &NewEvent,
    ) -> Result<Appended, AppendError> {
        *self.placed.lock() = None;
        let before = chain.before()?;
        let appended = parts
            .store
            .append(tx, positions, &before, new, &parts.server_name)?;
        *self.placed.lock() = Some(Arc::clone(&appended.snapshot));
        announce_after_commit(tx, &parts.bus, positions.last(), &appended);
        Ok(appended)
    }
}

/// After the commit and the caches: wakes those whom the event concerns.
pub(crate) fn announce_after_commit(
    tx: &mut Tx<'_>,
    bus: &Bus,
    position: i64,
    appended: &Appended,
) {
    let (bus, room) = (bus.clone(), appended.event.room.0);
    let (readers, memberships) = (appended.readers.clone(), appended.memberships.clone());
    let moves_members = appended.moves_members;
    let speaker = is_message(&appended.event).then_some(appended.event.sender.0);
    tx.after_commit(move || {
        let is_gone = |change: &&MembershipChange| change.membership != Membership::Join;
        let gone: Vec<i64> = memberships
            .iter()
            .filter(is_gone)
            .map(|change| change.user.0)
            .collect();
        let silent = gone.iter().copied().chain(speaker);
        for user in silent {
            bus.end_typing_with(room, user);
        }
        let mut topics = vec![Topic::Room(room)];
        if !readers.is_empty() {
            topics.push(Topic::Receipts(room));
        }
        if moves_members {
            topics.push(Topic::Devices(room));
        }
        let reading = |user: UserNum| Topic::Reading { user: user.0, room };
        topics.extend(readers.into_iter().map(reading));
        for change in &memberships {
            topics.push(Topic::User(change.user.0));
            if change.membership == Membership::Join {
                bus.follow(change.user.0, room);
            }
        }
        bus.advance(position, &topics);
        for user in gone {
            bus.unfollow(user, room);
        }
    });
}

/// Whether it is what somebody was typing.
fn is_message(event: &Event) -> bool {
    event.key.is_none() && !["m.reaction", "m.room.redaction"].contains(&event.pdu.kind())
}
