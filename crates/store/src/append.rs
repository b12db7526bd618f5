//! Appending an event to a room: one call writes the event together with all that follows from it.

use std::sync::Arc;

use ruma_common::{ServerName, UserId};
use starling_db::{Error, Positions, Tx};
use starling_events::Pdu;

use crate::aggregations::is_aggregated;
use crate::events::{Event, SentAs, Status, event_insert, event_redact};
use crate::jobs::Task;
use crate::memberships::{Membership, membership_forget, membership_set};
use crate::names::types;
use crate::numbers::{EventNum, KeyNum, RoomNum, TypeNum, UserNum};
use crate::profiles::{ProfileSeen, profile_has_changed};
use crate::relations::relation_of;
use crate::room_details::details_follow;
use crate::rooms::{Extremity, RoomSnapshot, head_hash, room_advance, visibility_of};
use crate::snapshots::{Stored, snapshot_insert};
use crate::state_map::Entry;
use crate::store::Store;
use crate::timeline::{StateDelta, state_delta_insert};
use crate::tokens::Place;
use crate::transactions::{Transaction, transaction_insert};
use crate::unread::note::exceptions_delete_of_room;

/// An event to append, and what goes with it.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event, built on the room as it is before.
    pub pdu: Pdu,
    /// The type and state key of each of its auth events, which the room's state holds.
    pub auth: Vec<(Box<str>, Box<str>)>,
    /// The client's transaction id, if it sent one.
    pub transaction: Option<Transaction>,
    /// The event that it redacts, if it may.
    pub redacts: Option<Arc<Event>>,
    /// The profile that it shows, if it does: later changes of that would go unnoticed in this room.
    pub profile: Option<ProfileSeen>,
    /// The event that it relates to, if that is in the same room. It is looked up ahead: nothing that is checked of it
    /// changes.
    pub relates_to: Option<Arc<Event>>,
    /// The time, for the transaction id.
    pub now_ms: i64,
    /// Whether a local user who leaves by it forgets the room at once.
    pub forgets_left: bool,
}

/// A local user's membership that the event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MembershipChange {
    /// The user.
    pub user: UserNum,
    /// Their membership from now on.
    pub membership: Membership,
}

/// What appending an event led to.
#[derive(Debug, Clone)]
pub struct Appended {
    /// The event as stored.
    pub event: Arc<Event>,
    /// The room after it.
    pub snapshot: Arc<RoomSnapshot>,
    /// The membership that it changed.
    pub membership: Option<MembershipChange>,
    /// Those whose receipts had waited for it.
    pub readers: Vec<UserNum>,
}

/// Why nothing was appended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The room is no longer as the event was built on it: build it again.
    #[error("the room has moved on")]
    Moved,
    /// What the event was drafted from has changed meanwhile, such as the profile that it shows: draft it anew.
    #[error("what the event was drafted from has changed")]
    Outdated,
    /// The transaction id has led to an event already.
    #[error("the transaction id was used before")]
    UsedTransaction,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] Error),
}

/// The numbers of what an event names.
struct Numbers {
    kind: TypeNum,
    key: Option<KeyNum>,
    sender: UserNum,
}

/// What a state event does to the state.
struct StateChange {
    entry: Entry,
    old: Option<Entry>,
}

impl Store {
    /// Appends an event to the room that `before` shows. Writes its row, the state after it, what lists show of the room,
    /// the changed membership, how it relates to another event, the pruned event that it redacts and its transaction id;
    /// after the commit, the caches know of it.
    ///
    /// # Errors
    /// [`AppendError::Moved`] when the room isn't as in `before` any more; [`AppendError::Outdated`]; else when the
    /// database fails.
    pub fn append(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        before: &RoomSnapshot,
        new: &NewEvent,
        server: &ServerName,
    ) -> Result<Appended, AppendError> {
        if let Some(seen) = new.profile
            && profile_has_changed(tx, seen)?
        {
            return Err(AppendError::Outdated);
        }
        let num = EventNum(positions.give()?);
        let numbers = self.intern_event(tx, &new.pdu)?;
        let change = state_change(&numbers, &new.pdu, before, num);
        let relation = relation_of(&new.pdu);
        let mut after = after(before, &new.pdu, num, change.as_ref());
        after.has_aggregations |= relation
            .as_ref()
            .is_some_and(|relation| is_aggregated(&relation.rel_type));
        if let Some(change) = &change {
            after.stored = Some(snapshot_insert(
                tx,
                before.room,
                before.stored,
                &change.entry,
                &after.state,
            )?);
        }
        let has_waiting_receipts = room_advance(tx, before, &after)?.ok_or(AppendError::Moved)?;
        let counted = self.count(tx, &mut after, (&new.pdu, relation.as_ref()), num)?;
        let event = Event {
            sent_as: new.transaction.as_ref().map(|transaction| SentAs {
                device: transaction.device,
                txn_id: transaction.txn_id.clone(),
            }),
            ..stored_event(&new.pdu, num, &numbers, (before, &after), change.as_ref())
        };
        let prev: Vec<i64> = before
            .extremities
            .iter()
            .map(|extremity| extremity.num.0)
            .collect();
        let auth = self.auth_numbers(tx, before, &new.auth)?;
        event_insert(tx, &event, (&prev, &auth), Some(&counted))?;
        details_follow(tx, (before, &after), new)?;
        if let Some(relation) = &relation {
            self.relate(tx, &event, relation, new.relates_to.as_deref())?;
        }
        if let Some(target) = &new.redacts {
            self.redact(tx, positions, (before, &event), target)?;
        }
        let membership = self.follow_up(tx, positions, (&event, change.as_ref()), new, server)?;
        if let Some(place) = new.redacts.as_ref().and_then(|target| target.place) {
            after.unread.last_redacted = after.unread.last_redacted.max(place.major);
        }
        self.note_exceptions(tx, (&event, &counted), &mut after, server)?;
        let readers = if has_waiting_receipts {
            self.receipts_arrive(tx, positions, &event)?
        } else {
            Vec::new()
        };
        let appended = Appended {
            event: Arc::new(event),
            snapshot: Arc::new(after),
            membership,
            readers,
        };
        self.cache_after_commit(tx, before.last_position, &appended, new.redacts.as_deref());
        Ok(appended)
    }

    /// What follows from the event besides the room's own row.
    fn follow_up(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        (event, change): (&Event, Option<&StateChange>),
        new: &NewEvent,
        server: &ServerName,
    ) -> Result<Option<MembershipChange>, AppendError> {
        let mut membership = None;
        if let Some(StateChange { entry, old }) = change {
            let delta = StateDelta {
                room: event.room,
                kind: entry.kind,
                key: entry.key,
                event: Some(entry.event),
                old: old.map(|old| old.event),
                position: positions.give()?,
            };
            state_delta_insert(tx, &delta)?;
            if entry.kind == types::MEMBER && old.map(|old| old.tag) != Some(entry.tag) {
                membership =
                    self.change_membership(tx, positions, event, (server, new.forgets_left))?;
            }
        }
        let is_replaced = change.is_some_and(|change| change.old.is_some());
        let redacted = new.redacts.as_ref().map(|target| &target.pdu);
        if (is_replaced && is_guest_access(&new.pdu)) || redacted.is_some_and(is_guest_access) {
            self.job_note(tx, Task::GuestDeparture(event.room), new.now_ms)?;
        }
        if let Some(transaction) = &new.transaction {
            transaction_insert(tx, transaction, event.num, new.now_ms).map_err(
                |error| match error {
                    Error::Constraint { .. } => AppendError::UsedTransaction,
                    other => AppendError::Db(other),
                },
            )?;
        }
        Ok(membership)
    }

    /// What the event redacts is pruned and relates to nothing any longer. Where it is of the room's state, that has
    /// changed, although the same event holds the key: clients with a gap there learn of it by the change.
    fn redact(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        (before, event): (&RoomSnapshot, &Event),
        target: &Event,
    ) -> Result<(), Error> {
        event_redact(tx, &target.redacted_by(event.num))?;
        self.unrelate(tx, target)?;
        let Some(key) = target.key else {
            return Ok(());
        };
        if before.state_event(target.kind, key) != Some(target.num) {
            return Ok(());
        }
        let delta = StateDelta {
            room: event.room,
            kind: target.kind,
            key,
            event: Some(target.num),
            old: Some(target.num),
            position: positions.give()?,
        };
        state_delta_insert(tx, &delta)
    }

    fn intern_event(&self, tx: &mut Tx<'_>, pdu: &Pdu) -> Result<Numbers, Error> {
        Ok(Numbers {
            kind: self.names().kind_intern(tx, pdu.kind())?,
            key: pdu
                .state_key()
                .map(|key| self.names().key_intern(tx, key))
                .transpose()?,
            sender: self.names().user_intern(tx, pdu.sender())?,
        })
    }

    fn auth_numbers(
        &self,
        tx: &mut Tx<'_>,
        before: &RoomSnapshot,
        auth: &[(Box<str>, Box<str>)],
    ) -> Result<Vec<i64>, Error> {
        let mut numbers = Vec::with_capacity(auth.len());
        for (kind, key) in auth {
            let (kind, key) = (
                self.names().kind_intern(tx, kind)?,
                self.names().key_intern(tx, key)?,
            );
            numbers.extend(before.state_event(kind, key).map(|event| event.0));
        }
        Ok(numbers)
    }

    /// The member event changed what its target is in the room: noted for users of this server.
    fn change_membership(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        event: &Event,
        (server, forgets_left): (&ServerName, bool),
    ) -> Result<Option<MembershipChange>, Error> {
        let target = event
            .pdu
            .state_key()
            .and_then(|key| <&UserId>::try_from(key).ok());
        let membership = membership_of(&event.pdu);
        let (Some(target), Some(membership)) = (target, membership) else {
            return Ok(None);
        };
        if target.server_name() != server {
            return Ok(None);
        }
        let user = self.names().user_intern(tx, target)?;
        membership_set(tx, positions, user, (event.room, membership, event.num))?;
        if forgets_left && matches!(membership, Membership::Leave | Membership::Ban) {
            membership_forget(tx, user, event.room)?;
        }
        if membership != Membership::Join {
            exceptions_delete_of_room(tx, user, event.room)?;
        }
        Ok(Some(MembershipChange { user, membership }))
    }

    fn cache_after_commit(
        &self,
        tx: &mut Tx<'_>,
        before: i64,
        appended: &Appended,
        redacted: Option<&Event>,
    ) {
        let (store, appended) = (self.clone(), appended.clone());
        let pruned = redacted.map(|target| Arc::new(target.redacted_by(appended.event.num)));
        tx.after_commit(move || {
            store.events().insert(Arc::clone(&appended.event));
            if let Some(pruned) = pruned {
                store.timelines().replace(&pruned);
                store.events().replace(pruned);
            }
            store.timelines().push(&appended.event, before);
            let sender = appended.event.sender;
            store.unread_cache().changed(sender, appended.event.room);
            store.rooms().replace(appended.snapshot);
        });
    }
}

/// Whether the event says, or said, if guests may join.
fn is_guest_access(pdu: &Pdu) -> bool {
    pdu.kind() == "m.room.guest_access" && pdu.state_key() == Some("")
}

/// The membership that a member event gives.
#[must_use]
pub fn membership_of(pdu: &Pdu) -> Option<Membership> {
    let word = starling_events::Value::new(pdu.content())
        .get("membership")?
        .as_str()?;
    Membership::parse(&word)
}

fn state_change(
    numbers: &Numbers,
    pdu: &Pdu,
    before: &RoomSnapshot,
    num: EventNum,
) -> Option<StateChange> {
    let (kind, key) = (numbers.kind, numbers.key?);
    let tag = if kind == types::MEMBER {
        membership_of(pdu).map_or(0, Membership::code)
    } else {
        0
    };
    let entry = Entry {
        kind,
        key,
        event: num,
        tag,
    };
    Some(StateChange {
        entry,
        old: before.state.get(kind, key).copied(),
    })
}

/// The room after the event, but for where its state is stored.
fn after(
    before: &RoomSnapshot,
    pdu: &Pdu,
    num: EventNum,
    change: Option<&StateChange>,
) -> RoomSnapshot {
    let mut after = RoomSnapshot {
        append_count: before.append_count + 1,
        head_hash: head_hash(pdu.event_id()),
        last_position: num.0,
        extremities: vec![Extremity::new(num, pdu)],
        ..before.clone()
    };
    if let Some(StateChange { entry, old }) = change {
        after.state = before.state.with(*entry);
        let counted = |membership: Membership| {
            i64::from(entry.tag == membership.code())
                - i64::from(old.is_some_and(|old| old.tag == membership.code()))
        };
        if entry.kind == types::MEMBER {
            after.heroes = before.heroes.after(entry);
            after.joined += counted(Membership::Join);
            after.invited += counted(Membership::Invite);
        } else if entry.kind == types::HISTORY_VISIBILITY && pdu.state_key() == Some("") {
            after.visibility = visibility_of(pdu);
        }
    }
    after
}

fn stored_event(
    pdu: &Pdu,
    num: EventNum,
    numbers: &Numbers,
    (before, after): (&RoomSnapshot, &RoomSnapshot),
    change: Option<&StateChange>,
) -> Event {
    Event {
        num,
        room: RoomNum(before.room.0),
        kind: numbers.kind,
        key: numbers.key,
        sender: numbers.sender,
        place: Some(Place {
            major: num.0,
            minor: 0,
        }),
        status: Status::Accepted,
        snapshot: after.stored.map(|Stored { snapshot, .. }| snapshot),
        replaces: change.and_then(|change| change.old).map(|old| old.event),
        redacted_by: None,
        visibility: (before.visibility, after.visibility),
        sent_as: None,
        pdu: pdu.clone(),
    }
}
