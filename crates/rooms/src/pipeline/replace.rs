//! Replacing a room by another: the end of the one and the whole beginning of the other are one transaction.

use std::sync::Arc;

use ruma_common::OwnedRoomId;
use starling_db::{Positions, Slot, Tx, Write};
use starling_stateres::AuthState as _;
use starling_store::RoomNum;
use starling_store::aliases::aliases_move;
use starling_store::append::{AppendError, NewEvent};
use starling_store::room_details::public_set;

use super::build::{Draft, Tip};
use super::head::{Head, Queued, Stored};
use super::persist::{Chain, Link};
use crate::create::Built as NewRoom;
use crate::error::SendError;
use crate::rooms::Rooms;
use crate::upgrade::Upgrade;

/// The old room's last events, and the room that takes its place.
#[derive(Debug)]
struct Replacing {
    ends: Vec<NewEvent>,
    new: NewRoom,
}

impl Rooms {
    /// Replaces a room; the id of the new one, which is durable when this returns. `None` when the profile that its
    /// creator joins with, or what it takes over of the old one, has changed meanwhile.
    pub(crate) async fn replace(
        &self,
        upgrade: Arc<Upgrade>,
    ) -> Result<Option<OwnedRoomId>, SendError> {
        let stored = self.on_head(upgrade.old, |head, (slot, _)| {
            self.try_replace(head, &upgrade, slot)
        });
        Ok(match stored.await? {
            Stored::Done(room_id) => Some(room_id),
            Stored::UsedTransaction | Stored::Outdated => None,
        })
    }

    /// Builds and queues all of it, if what it needs is at hand. The old room's head is locked meanwhile.
    fn try_replace(
        &self,
        head: &Arc<Head>,
        upgrade: &Arc<Upgrade>,
        slot: Slot,
    ) -> Result<Queued<OwnedRoomId>, SendError> {
        let mut state = head.state.lock();
        let (generation, tip, chain) = match state.ready(self.store(), upgrade.old) {
            Ok(ready) => ready,
            Err(first) => return Ok(first),
        };
        let sender = (
            Box::from("m.room.member"),
            Box::from(upgrade.actor.user_id.as_str()),
        );
        let missing = tip.missing(&[sender]);
        if !missing.is_empty() {
            return Ok(Queued::Missing(missing));
        }
        let (new, end) = self.build_both(tip, upgrade)?;
        // Nothing can fail from here on: the head moves on to what is queued.
        let mut ends = vec![end];
        if let Some(end) = ends.first() {
            tip.advance(&end.pdu);
        }
        let (create, levels) = (
            tip.get("m.room.create", ""),
            tip.get("m.room.power_levels", ""),
        );
        if let Some(draft) = upgrade.restriction(create, levels)
            // "If possible": who may end the room may not be let to do this.
            && let Ok(restriction) = self.build_end(tip, draft)
        {
            tip.advance(&restriction.pdu);
            ends.push(restriction);
        }
        let last = Arc::new(Link::default());
        let before = std::mem::replace(chain, Chain::Queued(Arc::clone(&last)));
        let replacing = Arc::new(Replacing { ends, new });
        let receipt =
            self.submit_both(slot, upgrade, (before, last), (replacing, head, generation));
        Ok(Queued::Receipt(receipt))
    }

    /// The new room, and the event that ends the old one: each names the other, as far as the version lets it.
    fn build_both(
        &self,
        tip: &mut Tip,
        upgrade: &Upgrade,
    ) -> Result<(NewRoom, NewEvent), SendError> {
        if upgrade.is_named_by_creation() {
            // The tombstone names the new room, so this can't name the tombstone.
            let last = tip.last().map(ToOwned::to_owned);
            let new = upgrade.build(self, None, last.as_deref())?;
            let end = self.build_end(tip, upgrade.tombstone(&new.room_id)?)?;
            return Ok((new, end));
        }
        let room_id = self.random_room_id()?;
        let end = self.build_end(tip, upgrade.tombstone(&room_id)?)?;
        let new = upgrade.build(self, Some(room_id), Some(end.pdu.event_id()))?;
        Ok((new, end))
    }

    fn build_end(&self, tip: &mut Tip, draft: Draft) -> Result<NewEvent, SendError> {
        let now_ms = self.parts.clock.now_ms();
        let (server, key) = (&self.parts.server_name, &self.parts.signing_key);
        let built = tip.build(draft, now_ms, server, key)?;
        Ok(NewEvent {
            pdu: built.pdu,
            auth: built.auth,
            fork: None,
            transaction: None,
            redacts: None,
            relates_to: None,
            profile: None,
            now_ms,
            forgets_left: self.parts.forget_on_leave,
        })
    }

    fn submit_both(
        &self,
        slot: Slot,
        upgrade: &Arc<Upgrade>,
        (before, last): (Chain, Arc<Link>),
        (replacing, head, generation): (Arc<Replacing>, &Arc<Head>, u64),
    ) -> starling_db::Receipt<OwnedRoomId, AppendError> {
        let (parts, old) = (Arc::clone(&self.parts), upgrade.old);
        let (head, rooms) = (Arc::clone(head), self.parts.store.clone());
        let (rows, carry, was_listed) =
            (Arc::clone(&replacing), upgrade.carry(), upgrade.is_public);
        let upgrade = Arc::clone(upgrade);
        slot.submit(
            Write::new("upgrade_room").locking([old.0]),
            move |tx| {
                let new = rows.new.insert_row(tx)?;
                aliases_move(tx, old, new)?;
                if was_listed {
                    public_set(tx, old, false)?;
                }
                Ok(new)
            },
            move |tx: &mut Tx<'_>, positions: &mut Positions, new: RoomNum| {
                let old = before.before()?;
                if !upgrade.is_of(&parts.store, tx, &old)? {
                    return Err(AppendError::Outdated);
                }
                let mut chain = before.clone();
                for (index, end) in replacing.ends.iter().enumerate() {
                    let is_last = index + 1 == replacing.ends.len();
                    let link = if is_last {
                        Arc::clone(&last)
                    } else {
                        Arc::default()
                    };
                    link.place(&parts, (tx, positions), &chain, end)?;
                    chain = Chain::Queued(link);
                }
                // Before the last events, since whoever wakes up is told of all positions up to theirs.
                let to = (new, &*replacing.new.room_id);
                carry.apply(&parts.store, (tx, positions), to)?;
                replacing.new.place(&parts, (tx, positions), new)?;
                Ok(replacing.new.room_id.clone())
            },
            move || {
                rooms.rooms().forget(old);
                head.reset(generation);
            },
        )
    }
}
