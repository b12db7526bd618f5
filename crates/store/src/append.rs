//! Appending an event to a room: one call writes the event together with all that follows from it.

mod effect;

use std::collections::HashMap;
use std::sync::Arc;

use ruma_common::{OwnedEventId, OwnedServerName, OwnedUserId, ServerName, UserId};
use starling_db::{Error, Positions, Tx};
use starling_events::Pdu;

use crate::aggregations::is_aggregated;
use crate::device_lists_resent::Shared;
use crate::events::{
    DUMMY, Event, SentAs, Status, Visibility, event_insert, event_redact, event_settle,
};
use crate::gaps::{gap_insert, gaps_close};
use crate::heroes::KnownHeroes;
use crate::jobs::Task;
use crate::memberships::{Membership, membership_forget, membership_set};
use crate::names::{EMPTY_KEY, types};
use crate::numbers::{EventNum, KeyNum, TypeNum, UserNum};
use crate::profiles::{ProfileSeen, profile_has_changed};
use crate::redactions::waiting_redaction_insert;
use crate::relations::relation_of;
use crate::room_details::details_follow;
use crate::room_servers::MemberChange;
use crate::rooms::{Extremity, RoomSnapshot, head_hash, room_advance, visibility_of};
use crate::snapshots::Stored;
use crate::state_map::{Change, Entry, StateMap};
use crate::store::Store;
use crate::timeline::{StateDelta, state_delta_insert};
use crate::tokens::Place;
use crate::transactions::{Transaction, transaction_insert};
use crate::unread::note::{Counted, exceptions_delete_of_room};
use effect::Effect;
pub(crate) use effect::branch_state;

pub use crate::redactions::WaitingRedaction;

/// Where the state says whether guests may join.
const GUEST_ACCESS: (TypeNum, KeyNum) = (types::GUEST_ACCESS, EMPTY_KEY);

/// An event to append, and what goes with it.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event.
    pub pdu: Pdu,
    /// Where it stands, if it wasn't built on the room as it is before.
    pub fork: Option<Arc<Fork>>,
    /// The type and state key of each of its auth events, which the room's state holds; none of a fork's.
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

/// Where an event of another server stands in a room.
#[derive(Debug, Clone)]
pub struct Fork {
    /// The state before it.
    pub before: StateMap,
    /// A state that is stored, from which `before` differs in little, or not at all.
    pub base: Option<(StateMap, Stored)>,
    /// Those of its `prev_events` that are here.
    pub prev: Vec<EventNum>,
    /// Those that are not.
    pub missing: Vec<OwnedEventId>,
    /// Its `auth_events`.
    pub auth: Vec<EventNum>,
    /// Its number, if it is here already, for the sake of another event: what it cites is known then.
    pub stored_as: Option<EventNum>,
    /// Whether events of the room follow it already: then it is none of those that the next one follows.
    pub is_followed: bool,
    /// The extremities that the room keeps beside it.
    pub others: Vec<Extremity>,
    /// The room's state with it, where there are such; the event itself is [`crate::state_map::UNNUMBERED`] in it.
    pub current: Option<StateMap>,
    /// Whether the room begins anew with it, since this server wasn't in it: then nobody is told what changed meanwhile.
    pub is_import: bool,
    /// The server that it came from, if this one passes it on to the others in the room.
    pub forwards_from: Option<OwnedServerName>,
    /// The redaction of it that came first: then it is given as that leaves it.
    pub redacted_by: Option<EventNum>,
    /// What it redacts, if that isn't here.
    pub waits_for: Option<WaitingRedaction>,
}

/// Events by their numbers.
type Holders = HashMap<EventNum, Arc<Event>>;

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
    /// The memberships that it changed.
    pub memberships: Vec<MembershipChange>,
    /// Whether anybody came to be in the room, or ceased to be.
    pub moves_members: bool,
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
pub(crate) struct Numbers {
    pub(crate) kind: TypeNum,
    pub(crate) key: Option<KeyNum>,
    pub(crate) sender: UserNum,
}

/// A member whom an event changed: who, what they were, and what they are.
type ChangedMember = (OwnedUserId, Option<Membership>, Option<Membership>);

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
        let position = positions.give()?;
        let stored_as = new.fork.as_ref().and_then(|fork| fork.stored_as);
        let num = stored_as.unwrap_or(EventNum(position));
        let numbers = self.intern_event(tx, &new.pdu)?;
        let effect = match &new.fork {
            None => effect::of_next(tx, before, (&numbers, &new.pdu, num))?,
            Some(fork) => effect::of_fork(tx, (before, fork), (&numbers, &new.pdu, num))?,
        };
        let holders = self.holders(tx, &effect.changes, (num, server))?;
        let relation = relation_of(&new.pdu);
        let mut after = after(before, new, (num, position), &effect);
        after.visibility = self.visibility_after(tx, (before, &after), (&new.pdu, num))?;
        after.has_aggregations |= relation
            .as_ref()
            .is_some_and(|relation| is_aggregated(&relation.rel_type));
        let has_waiting_receipts = room_advance(tx, before, &after)?.ok_or(AppendError::Moved)?;
        let counted = self.count(tx, &mut after, (&new.pdu, relation.as_ref()), position)?;
        let visibility = self.visibility_around(tx, (before, after.visibility), new)?;
        let event = stored_event(
            new,
            (num, position),
            &numbers,
            (before, &effect, visibility),
        );
        let (prev, auth) = match &new.fork {
            None => {
                let prev = before.extremities.iter().map(|extremity| extremity.num);
                (prev.collect(), self.auth_numbers(tx, before, &new.auth)?)
            }
            Some(fork) => (fork.prev.clone(), fork.auth.clone()),
        };
        insert(tx, &event, (&prev, &auth, &counted), new.fork.as_deref())?;
        if let Some(fork) = &new.fork {
            self.fork_members_note(tx, (before, fork), &event, server)?;
        }
        let of = |change: &Change| pdu_of(change, (num, &new.pdu), &holders);
        details_follow(tx, (before, &after), (&effect.changes, &of), new)?;
        if let Some(relation) = &relation {
            self.relate(tx, &event, relation, new.relates_to.as_deref())?;
        }
        if let Some(target) = &new.redacts {
            self.redact(tx, positions, (before, &event), target)?;
        }
        let changed = (&event, &*effect.changes, &holders);
        let memberships = self.follow_up(tx, positions, changed, new, server)?;
        if stored_as.is_some() {
            self.place_membership(tx, &event)?;
        }
        let state_changes = (&event, &*effect.changes);
        let moves_members =
            self.tell_servers((tx, positions), &mut after, state_changes, (new, server))?;
        if let Some(place) = new.redacts.as_ref().and_then(|target| target.place) {
            after.unread.last_redacted = after.unread.last_redacted.max(place.major);
        }
        if holders.values().any(|holder| holder.kind == types::MEMBER) {
            // Others than the event's own target may have come or gone.
            after.unread.watch = None;
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
            memberships,
            moves_members,
            readers,
        };
        self.cache_after_commit(tx, before.last_position, &appended, new.redacts.as_deref());
        Ok(appended)
    }

    /// The events that came to hold keys of the room's state from which something follows (members of this server, and what
    /// lists show), but for the new one itself.
    fn holders(
        &self,
        tx: &mut Tx<'_>,
        changes: &[Change],
        (num, server): (EventNum, &ServerName),
    ) -> Result<Holders, Error> {
        let held = changes.iter().filter_map(|change| change.new);
        let others: Vec<Entry> = held.filter(|entry| entry.event != num).collect();
        if others.is_empty() {
            return Ok(HashMap::new());
        }
        let members = others.iter().filter(|entry| entry.kind == types::MEMBER);
        let names = self.names().key_names(tx, members.map(|entry| entry.key))?;
        let is_local = |key: KeyNum| {
            let name = names.get(&key);
            let user = name.and_then(|name| <&UserId>::try_from(&**name).ok());
            user.is_some_and(|user| user.server_name() == server)
        };
        let wanted = others.iter().filter(|entry| match entry.kind {
            types::MEMBER => is_local(entry.key),
            _ => entry.key == EMPTY_KEY,
        });
        let wanted: Vec<EventNum> = wanted.map(|entry| entry.event).collect();
        let events = self.events_read(tx, &wanted)?;
        Ok(events.into_iter().map(|event| (event.num, event)).collect())
    }

    /// The history visibility of the room after the event.
    fn visibility_after(
        &self,
        tx: &mut Tx<'_>,
        (before, after): (&RoomSnapshot, &RoomSnapshot),
        (pdu, num): (&Pdu, EventNum),
    ) -> Result<Visibility, Error> {
        let holder = after.state_event(types::HISTORY_VISIBILITY, EMPTY_KEY);
        if holder == Some(num) {
            return Ok(visibility_of(pdu));
        }
        self.visibility_in(tx, &after.state, before)
    }

    /// The history visibility before and after the event, where it stands.
    fn visibility_around(
        &self,
        tx: &mut Tx<'_>,
        (before, after): (&RoomSnapshot, Visibility),
        new: &NewEvent,
    ) -> Result<(Visibility, Visibility), Error> {
        let Some(fork) = &new.fork else {
            return Ok((before.visibility, after));
        };
        let visibility = self.visibility_in(tx, &fork.before, before)?;
        let sets = new.pdu.kind() == "m.room.history_visibility" && new.pdu.state_key() == Some("");
        Ok((
            visibility,
            if sets {
                visibility_of(&new.pdu)
            } else {
                visibility
            },
        ))
    }

    /// What follows from the event besides the room's own row.
    fn follow_up(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        (event, changes, holders): (&Event, &[Change], &Holders),
        new: &NewEvent,
        server: &ServerName,
    ) -> Result<Vec<MembershipChange>, AppendError> {
        let mut memberships = Vec::new();
        let is_import = new.fork.as_ref().is_some_and(|fork| fork.is_import);
        for change in changes {
            let holder = match change.new {
                Some(entry) if entry.event == event.num => Some(event),
                Some(entry) => holders.get(&entry.event).map(|holder| &**holder),
                None => None,
            };
            let is_own = holder.is_some_and(|holder| holder.num == event.num);
            let is_member = change.kind == types::MEMBER;
            let old_tag = change.old.map(|old| old.tag);
            let is_other = change.new.map(|entry| entry.tag) != old_tag;
            if is_own || !is_import {
                let delta = StateDelta {
                    room: event.room,
                    kind: change.kind,
                    key: change.key,
                    event: change.new.map(|entry| entry.event),
                    old: change.old.map(|old| old.event),
                    position: positions.give()?,
                };
                let left_tag = (is_member && is_other).then(|| old_tag.unwrap_or(0));
                state_delta_insert(tx, &delta, left_tag)?;
            }
            if let Some(member) = holder.filter(|_| is_member && is_other) {
                let options = (server, new.forgets_left);
                memberships.extend(self.change_membership(tx, positions, member, options)?);
            }
        }
        let is_replaced = changes
            .iter()
            .any(|change| (change.kind, change.key) == GUEST_ACCESS && change.old.is_some());
        let redacted = new.redacts.as_ref().map(|target| &target.pdu);
        if is_replaced || redacted.is_some_and(is_guest_access) {
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
        Ok(memberships)
    }

    /// Notes which servers are in the room now, and to whom the event goes. The answer is whether anybody came or went.
    fn tell_servers(
        &self,
        (tx, positions): (&mut Tx<'_>, &mut Positions),
        after: &mut RoomSnapshot,
        (event, changes): (&Event, &[Change]),
        (new, server): (&NewEvent, &ServerName),
    ) -> Result<bool, Error> {
        let members = self.changed_members(tx, event, changes)?;
        let all: Vec<MemberChange<'_>> = members
            .iter()
            .map(|(user, before, after)| MemberChange {
                user,
                before: *before,
                after: *after,
            })
            .collect();
        let position = after.last_position;
        let has_entered = self.servers_follow(tx, after, &all, (position, server))?;
        self.member_words_follow(tx, event, changes, (server, new.now_ms))?;
        let shared = Shared {
            room: after,
            position,
            has_entered,
        };
        self.resend_device_lists(tx, positions, shared, (&all, server))?;
        let own = event.pdu.state_key();
        let own = all.iter().find(|change| own == Some(change.user.as_str()));
        match &new.fork {
            // Whoever let the user in tells the others, and those who told of an event for another's sake have it.
            Some(fork) if fork.is_import || fork.stored_as.is_some() => {}
            Some(fork) if fork.forwards_from.is_some() => {
                let from = fork.forwards_from.as_deref();
                self.send_to_room(tx, (event.room, position), from)?;
            }
            // The next event leads to it.
            _ if event.pdu.kind() == DUMMY => {}
            _ => self.send_out(tx, after, (event, own), server)?,
        }
        let joined = |membership: Option<Membership>| membership == Some(Membership::Join);
        Ok(all.iter().any(|it| joined(it.before) != joined(it.after)))
    }

    /// The members whom the changes are about.
    fn changed_members(
        &self,
        tx: &mut Tx<'_>,
        event: &Event,
        changes: &[Change],
    ) -> Result<Vec<ChangedMember>, Error> {
        let of_members = changes.iter().filter(|change| change.kind == types::MEMBER);
        let of_members: Vec<&Change> = of_members.collect();
        let keys = of_members.iter().map(|change| change.key);
        let keys = keys.filter(|key| event.key != Some(*key));
        let names = self.names().key_names(tx, keys)?;
        let member = |change: &&Change| {
            let name = if event.key == Some(change.key) {
                event.pdu.state_key()
            } else {
                names.get(&change.key).map(|name| &**name)
            };
            let user = OwnedUserId::try_from(name?).ok()?;
            let membership = |entry: Option<Entry>| Membership::from_code(entry?.tag);
            Some((user, membership(change.old), membership(change.new)))
        };
        Ok(of_members.iter().filter_map(member).collect())
    }

    /// What the event redacts is pruned and relates to nothing any longer. Where it is of the room's state, that has
    /// changed, although the same event holds the key: clients with a gap there learn of it by the change.
    pub(crate) fn redact(
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
        state_delta_insert(tx, &delta, None)
    }

    pub(crate) fn intern_event(&self, tx: &mut Tx<'_>, pdu: &Pdu) -> Result<Numbers, Error> {
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
    ) -> Result<Vec<EventNum>, Error> {
        let mut numbers = Vec::with_capacity(auth.len());
        for (kind, key) in auth {
            let (kind, key) = (
                self.names().kind_intern(tx, kind)?,
                self.names().key_intern(tx, key)?,
            );
            numbers.extend(before.state_event(kind, key));
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
            let event = Arc::clone(&appended.event);
            if event.position() == Some(event.num.0) {
                store.events().insert(event);
            } else {
                store.events().replace(event);
            }
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

/// Writes the event's row, which may be there already, and what its place in the room's graph leads to.
fn insert(
    tx: &mut Tx<'_>,
    event: &Event,
    (prev, auth, counted): (&[EventNum], &[EventNum], &Counted),
    fork: Option<&Fork>,
) -> Result<(), Error> {
    let Some(fork) = fork else {
        return event_insert(tx, event, (prev, auth), Some(counted));
    };
    match fork.stored_as {
        None => event_insert(tx, event, (prev, auth), Some(counted))?,
        Some(_) => event_settle(tx, event, (prev, auth), Some(counted))?,
    }
    if fork.is_followed {
        gaps_close(tx, event.room, event.pdu.event_id())?;
    }
    for missing in &fork.missing {
        gap_insert(tx, event, missing)?;
    }
    match &fork.waits_for {
        Some(waiting) => waiting_redaction_insert(tx, event, waiting),
        None => Ok(()),
    }
}

/// Whether the event says, or said, if guests may join.
fn is_guest_access(pdu: &Pdu) -> bool {
    pdu.kind() == "m.room.guest_access" && pdu.state_key() == Some("")
}

/// The tag of the entry by which an event of this type holds a key of a state.
#[must_use]
pub fn tag_of(kind: TypeNum, pdu: &Pdu) -> i64 {
    if kind == types::MEMBER {
        membership_of(pdu).map_or(0, Membership::code)
    } else {
        0
    }
}

/// The membership that a member event gives.
#[must_use]
pub fn membership_of(pdu: &Pdu) -> Option<Membership> {
    let word = starling_events::Value::new(pdu.content())
        .get("membership")?
        .as_str()?;
    Membership::parse(&word)
}

/// The event that came to hold a key; `None` where none holds it any longer.
fn pdu_of<'a>(
    change: &Change,
    (num, pdu): (EventNum, &'a Pdu),
    holders: &'a Holders,
) -> Option<&'a Pdu> {
    let holder = change.new?.event;
    if holder == num {
        return Some(pdu);
    }
    holders.get(&holder).map(|event| &event.pdu)
}

/// The room after the event, but for its visibility.
fn after(
    before: &RoomSnapshot,
    new: &NewEvent,
    (num, position): (EventNum, i64),
    effect: &Effect,
) -> RoomSnapshot {
    let others: Vec<Extremity> = if let Some(fork) = &new.fork {
        fork.others.clone()
    } else {
        // An event names so many at most.
        let named = new.pdu.prev_events();
        let is_left = |other: &&Extremity| !named.contains(&other.reference.event_id);
        before.extremities.iter().filter(is_left).cloned().collect()
    };
    let is_followed = new.fork.as_ref().is_some_and(|fork| fork.is_followed);
    let own = (!is_followed).then(|| Extremity::new(num, &new.pdu));
    let mut after = RoomSnapshot {
        append_count: before.append_count + 1,
        head_hash: head_hash(new.pdu.event_id()),
        last_position: position,
        extremities: others.into_iter().chain(own).collect(),
        state: effect.state.clone(),
        stored: effect.stored,
        ..before.clone()
    };
    let members = effect.changes.iter();
    for change in members.filter(|change| change.kind == types::MEMBER) {
        let is = |entry: Option<Entry>, membership: Membership| {
            i64::from(entry.is_some_and(|entry| entry.tag == membership.code()))
        };
        let counted = |membership| is(change.new, membership) - is(change.old, membership);
        after.heroes = match &change.new {
            Some(entry) => after.heroes.after(entry),
            None => KnownHeroes::default(),
        };
        after.joined += counted(Membership::Join);
        after.invited += counted(Membership::Invite);
    }
    after
}

fn stored_event(
    new: &NewEvent,
    (num, position): (EventNum, i64),
    numbers: &Numbers,
    (before, effect, visibility): (&RoomSnapshot, &Effect, (Visibility, Visibility)),
) -> Event {
    Event {
        num,
        room: before.room,
        kind: numbers.kind,
        key: numbers.key,
        sender: numbers.sender,
        place: Some(Place {
            major: position,
            minor: 0,
        }),
        status: Status::Accepted,
        snapshot: effect.stored_event.map(|stored| stored.snapshot),
        replaces: effect.replaces,
        redacted_by: new.fork.as_ref().and_then(|fork| fork.redacted_by),
        visibility,
        after_gap: new
            .fork
            .as_ref()
            .is_some_and(|fork| !fork.missing.is_empty()),
        sent_as: new.transaction.as_ref().map(|transaction| SentAs {
            device: transaction.device,
            txn_id: transaction.txn_id.clone(),
        }),
        pdu: new.pdu.clone(),
    }
}
