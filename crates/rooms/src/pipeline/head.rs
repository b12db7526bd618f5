//! The heads of rooms: one writer per room at a time.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ruma_common::OwnedEventId;
use starling_db::{Error, Receipt, Slot, Write};
use starling_events::{Pdu, Value};
use starling_stateres::AuthState as _;
use starling_store::append::{AppendError, NewEvent};
use starling_store::events::Event;
use starling_store::names::Name;
use starling_store::profiles::ProfileSeen;
use starling_store::rooms::RoomSnapshot;
use starling_store::transactions::Transaction;
use starling_store::{EventNum, RoomNum, Store};
use tokio::sync::{RwLock, RwLockWriteGuard};

use super::build::{Draft, GUEST_ACCESS, Tip, decides};
use super::persist::{Chain, Link};
use crate::error::SendError;
use crate::rooms::Rooms;
use crate::upgrade::Carry;

/// A tip that knows more state than this (in bytes) is made anew, once nothing is queued on it.
const KNOWN_BYTES: usize = 256 << 10;

/// More than this, and nothing more is queued on it before that.
const CROWDED_BYTES: usize = 4 * KNOWN_BYTES;

/// More heads than this, and those that nobody uses are dropped.
const HEADS: usize = 1024;

/// How often a request is built again because the room moved on under it.
const ATTEMPTS: u32 = 16;

/// When the room has moved on so often, nothing is received in it until the request's event is in.
const FREE_ATTEMPTS: u32 = 6;

/// The longest pause before a further attempt, in milliseconds: other nodes must get their turn too.
const LONGEST_PAUSE_MS: u64 = 128;

/// The heads of the rooms that were written to lately.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    rooms: Mutex<HashMap<RoomNum, Arc<Head>>>,
}

/// What queued events build on, private to the pipeline.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(super) state: Mutex<HeadState>,
    /// Open while events may be built here. Who can't get an event of another server in, because the room moves on all the
    /// time, closes it for a moment.
    gate: RwLock<()>,
}

#[derive(Debug, Default)]
pub(super) struct HeadState {
    /// Counts resets, so that a failed event resets only the tip that it was built on.
    generation: u64,
    tip: Option<(Tip, Chain)>,
}

/// What goes with a draft.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extras {
    pub(crate) transaction: Option<Transaction>,
    /// The event that a redaction redacts, if it exists.
    pub(crate) target: Option<Arc<Event>>,
    /// The event of the same room that it relates to.
    pub(crate) relates_to: Option<Arc<Event>>,
    /// Whether a guest joins by it, who needs the room's consent.
    pub(crate) guest_joins: bool,
    /// The profile that its content shows.
    pub(crate) profile: Option<ProfileSeen>,
    /// The event that the state must hold at its key, for it to be sent at all.
    pub(crate) replaces: Option<OwnedEventId>,
    /// What its target takes along from the room that this one replaces.
    pub(crate) carry: Option<Carry>,
}

type Receiving = Receipt<Arc<Event>, AppendError>;

/// How an attempt to queue something ended: with a receipt, or with what must be done first.
pub(super) enum Queued<T> {
    Receipt(Receipt<T, AppendError>),
    /// These keys of the state must be looked up first.
    Missing(Vec<(Box<str>, Box<str>)>),
    /// These names must be stored before the event is.
    NewNames(Vec<Name>),
    /// There is no tip; it must be made from the committed room.
    NoTip,
    /// The tip knows so much that what is queued on it must be committed first.
    Crowded,
}

impl Heads {
    pub(crate) fn head(&self, room: RoomNum) -> Arc<Head> {
        let mut rooms = self.rooms.lock();
        if rooms.len() >= HEADS {
            // Whoever holds a head is using it; the others can be made again from the committed room.
            rooms.retain(|_, head| Arc::strong_count(head) > 1);
        }
        Arc::clone(rooms.entry(room).or_default())
    }
}

impl Heads {
    /// What is built next in the room is built on what is committed.
    pub(crate) fn forget(&self, room: RoomNum) {
        let head = self.rooms.lock().get(&room).cloned();
        if let Some(head) = head {
            let mut state = head.state.lock();
            state.generation += 1;
            state.tip = None;
        }
    }
}

impl Rooms {
    /// About how many bytes of state all heads hold in memory, beside the caches.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let heads: Vec<Arc<Head>> = self.heads.rooms.lock().values().cloned().collect();
        heads
            .iter()
            .map(|head| head.state.lock().known_bytes())
            .sum()
    }

    /// Takes a draft through the pipeline; the event is durable when this returns.
    pub(crate) async fn append(
        &self,
        room: RoomNum,
        mut draft: Draft,
        mut extras: Extras,
    ) -> Result<Appending, SendError> {
        if self.is_guarded(room, &draft).await? {
            return self.append_guarded(room, draft, extras).await;
        }
        for _ in 0..ATTEMPTS {
            let stored = self.on_head(room, |head, ready| {
                self.try_queue(head, room, (&draft, &extras), ready)
            });
            match stored.await? {
                Stored::Done(event) => return Ok(Appending::Sent(event)),
                Stored::UsedTransaction => return Ok(Appending::UsedTransaction),
                Stored::Outdated => self.show_anew(&mut draft, &mut extras).await?,
            }
        }
        Err(SendError::Db(Error::Unavailable(
            "the profile changed too often".to_owned(),
        )))
    }

    /// Has something built on the room's head and queued (with a place in the queue, and knowing whether its names are
    /// stored), as often as it takes until it is durable.
    pub(super) async fn on_head<T>(
        &self,
        room: RoomNum,
        try_queue: impl Fn(&Arc<Head>, (Slot, bool)) -> Result<Queued<T>, SendError>,
    ) -> Result<Stored<T>, SendError> {
        let head = self.heads.head(room);
        for attempt in 0..ATTEMPTS {
            self.pause_before(attempt).await;
            // Always before the gate, as who receives takes them.
            let _turn = if attempt < FREE_ATTEMPTS {
                None
            } else {
                Some(self.turns.take(room).await)
            };
            let receipt = self.queue(&head, room, &try_queue).await?;
            match receipt.await {
                Ok(stored) => return Ok(Stored::Done(stored)),
                // Something before it was not written, or another node was faster: build it on what is there now.
                Err(AppendError::Moved) => {}
                Err(AppendError::Outdated) => return Ok(Stored::Outdated),
                Err(AppendError::UsedTransaction) => return Ok(Stored::UsedTransaction),
                Err(AppendError::Db(error)) => return Err(SendError::Db(error)),
            }
        }
        Err(SendError::Db(Error::Unavailable(
            "the room moved on too often".to_owned(),
        )))
    }

    /// Nothing before the first attempts; then a while that grows and is left to chance, so that two nodes which
    /// write to one room don't keep on taking it from each other.
    async fn pause_before(&self, attempt: u32) {
        let Some(exponent) = attempt.checked_sub(2) else {
            return;
        };
        let longest = LONGEST_PAUSE_MS.min(1 << exponent);
        let pause = self.parts.chance.within(0..longest + 1);
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
    }

    async fn queue<T>(
        &self,
        head: &Arc<Head>,
        room: RoomNum,
        try_queue: &impl Fn(&Arc<Head>, (Slot, bool)) -> Result<Queued<T>, SendError>,
    ) -> Result<Receipt<T, AppendError>, SendError> {
        let (names, db) = (self.store().names(), self.store().db());
        let mut has_names = false;
        loop {
            let _open = head.gate.read().await;
            // A place in the queue is never held while something else is waited for that needs one itself.
            let slot = db.slot().await?;
            match try_queue(head, (slot, has_names))? {
                Queued::Receipt(receipt) => return Ok(receipt),
                Queued::Missing(keys) => self.learn(head, room, &keys).await?,
                Queued::NewNames(new) => {
                    names.intern_ahead(db, new).await?;
                    has_names = true;
                }
                Queued::Crowded => self.settle().await?,
                Queued::NoTip => {
                    let snapshot = self.store().room(room).await?;
                    let snapshot = snapshot.ok_or(SendError::UnknownRoom)?;
                    let mut state = head.state.lock();
                    state
                        .tip
                        .get_or_insert_with(|| (Tip::of(&snapshot), Chain::Committed(snapshot)));
                }
            }
        }
    }

    /// Waits until all that is queued now is committed, and so all that any tip is built of.
    pub(crate) async fn settle(&self) -> Result<(), Error> {
        let write = Write::new("settle");
        self.store().db().write(write, |_| Ok(())).await
    }

    /// Builds and queues the event if all that it needs is at hand. The head is locked meanwhile.
    fn try_queue(
        &self,
        head: &Arc<Head>,
        room: RoomNum,
        (draft, extras): (&Draft, &Extras),
        (slot, has_names): (Slot, bool),
    ) -> Result<Queued<Arc<Event>>, SendError> {
        let mut state = head.state.lock();
        let (generation, tip, chain) = match state.ready(self.store(), room) {
            Ok(ready) => ready,
            Err(first) => return Ok(first),
        };
        let mut keys = draft.auth_keys(tip.version);
        let redacted = extras.target.as_ref().and_then(|event| decides(&event.pdu));
        keys.extend(redacted.map(|(kind, key)| (kind.into(), key.into())));
        if extras.guest_joins {
            keys.push((GUEST_ACCESS.into(), "".into()));
        }
        let missing = tip.missing(&keys);
        if !missing.is_empty() {
            return Ok(Queued::Missing(missing));
        }
        if extras.guest_joins && !lets_guests_join(tip.get(GUEST_ACCESS, "")) {
            return Err(SendError::NoGuests);
        }
        check_replaced(tip, draft, extras)?;
        let now_ms = self.parts.clock.now_ms();
        let built = tip.build(
            draft.clone(),
            now_ms,
            &self.parts.server_name,
            &self.parts.signing_key,
        )?;
        if let Some(target) = &extras.target {
            check_redaction(tip, &built.pdu, &target.pdu)?;
        }
        let new_names = self
            .store()
            .names()
            .unknown(self.store().db(), || names_of(draft));
        if !has_names && !new_names.is_empty() {
            // The event is allowed, so its names may be stored; it is built again once they are.
            return Ok(Queued::NewNames(new_names));
        }
        let new = NewEvent {
            auth: built.auth,
            fork: None,
            transaction: extras.transaction.clone(),
            redacts: extras.target.clone(),
            profile: extras.profile,
            relates_to: extras.relates_to.clone(),
            now_ms,
            forgets_left: self.parts.forget_on_leave,
            pdu: built.pdu,
        };
        tip.advance(&new.pdu);
        if let Some(target) = &new.redacts {
            tip.redact(&target.pdu);
        }
        let link = Arc::new(Link::default());
        let before = std::mem::replace(chain, Chain::Queued(Arc::clone(&link)));
        let carry = extras.carry.clone();
        let receipt = self.submit(slot, room, (before, link, new, carry), (head, generation));
        Ok(Queued::Receipt(receipt))
    }

    fn submit(
        &self,
        slot: Slot,
        room: RoomNum,
        (before, link, new, carry): (Chain, Arc<Link>, NewEvent, Option<Carry>),
        (head, generation): (&Arc<Head>, u64),
    ) -> Receiving {
        let parts = Arc::clone(&self.parts);
        let (head, rooms) = (Arc::clone(head), self.parts.store.clone());
        slot.submit(
            Write::new("append").locking([room.0]),
            |_| Ok(()),
            move |tx, positions, ()| {
                link.place_with(
                    &parts,
                    (tx, positions),
                    (&before, &new),
                    (room, carry.as_ref()),
                )
            },
            move || {
                // The next tip is made from the database. Nothing more is built on this one; what was, fails by itself
                // and is built again.
                rooms.rooms().forget(room);
                head.reset(generation);
            },
        )
    }

    /// Looks up keys of the room's state for its tip.
    async fn learn(
        &self,
        head: &Arc<Head>,
        room: RoomNum,
        keys: &[(Box<str>, Box<str>)],
    ) -> Result<(), SendError> {
        let generation = head.state.lock().generation;
        let snapshot = self
            .store()
            .room(room)
            .await?
            .ok_or(SendError::UnknownRoom)?;
        let found = self.lookup(&snapshot, keys.to_vec()).await?;
        let mut state = head.state.lock();
        if state.generation == generation
            && let Some((tip, _)) = &mut state.tip
        {
            for ((kind, key), event) in keys.iter().zip(found) {
                tip.learn(kind, key, event);
            }
        }
        Ok(())
    }

    /// The events that hold `keys` in a committed state, in their order.
    pub(super) async fn lookup(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        keys: Vec<(Box<str>, Box<str>)>,
    ) -> Result<Vec<Option<Arc<Pdu>>>, Error> {
        let (store, snapshot) = (self.store().clone(), Arc::clone(snapshot));
        let read = move |tx: &mut starling_db::Tx<'_>| {
            let mut found = Vec::with_capacity(keys.len());
            for (kind, key) in &keys {
                let numbers = store
                    .names()
                    .kind(tx, kind)?
                    .zip(store.names().key(tx, key)?);
                found.push(numbers.and_then(|(kind, key)| snapshot.state_event(kind, key)));
            }
            let wanted: Vec<EventNum> = found.iter().flatten().copied().collect();
            let events = store.events_read(tx, &wanted)?;
            let pdu = |number: EventNum| {
                events
                    .iter()
                    .find(|event| event.num == number)
                    .map(|event| Arc::new(event.pdu.clone()))
            };
            Ok(found
                .into_iter()
                .map(|number| number.and_then(pdu))
                .collect())
        };
        self.store().db().read("auth_state", read).await
    }
}

/// How it ended to have something built and queued.
#[derive(Debug)]
pub(crate) enum Stored<T> {
    /// It is durable.
    Done(T),
    /// Its transaction id had led to another event before.
    UsedTransaction,
    /// What it was drafted from has changed, such as the profile that it shows.
    Outdated,
}

/// How an append ended well.
#[derive(Debug)]
pub(crate) enum Appending {
    /// The event is durable.
    Sent(Arc<Event>),
    /// Its transaction id had led to another event before.
    UsedTransaction,
}

impl Head {
    /// Keeps events from being built here as long as the guard lives.
    pub(crate) async fn close(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }

    pub(super) fn reset(&self, generation: u64) {
        let mut state = self.state.lock();
        if state.generation == generation {
            state.generation += 1;
            state.tip = None;
        }
    }
}

impl HeadState {
    /// The head's generation, and the tip to build on; or what must be done first.
    pub(super) fn ready<T>(
        &mut self,
        store: &Store,
        room: RoomNum,
    ) -> Result<(u64, &mut Tip, &mut Chain), Queued<T>> {
        if self.known_bytes() > KNOWN_BYTES {
            self.make_anew(store.rooms().get(room).as_ref());
            if self.known_bytes() > CROWDED_BYTES {
                return Err(Queued::Crowded);
            }
        }
        match &mut self.tip {
            Some((tip, chain)) => Ok((self.generation, tip, chain)),
            None => Err(Queued::NoTip),
        }
    }

    fn known_bytes(&self) -> usize {
        self.tip.as_ref().map_or(0, |(tip, _)| tip.known_bytes())
    }

    /// Forgets what the tip knows, if all that it is built of is in `committed`. Without a committed room at hand, the
    /// next request reads one.
    fn make_anew(&mut self, committed: Option<&Arc<RoomSnapshot>>) {
        let is_settled = match (&self.tip, committed) {
            (Some((_, Chain::Queued(link))), Some(committed)) => link.is_placed_as(committed),
            (Some((_, Chain::Queued(_))), None) => false,
            (Some((_, Chain::Committed(_))) | None, _) => true,
        };
        if is_settled {
            self.generation += 1;
            self.tip = None;
        }
    }
}

/// Whether the state of a room says that guests may join.
/// <https://spec.matrix.org/v1.19/client-server-api/#mroomguest_access>
pub(crate) fn lets_guests_join(guest_access: Option<&Pdu>) -> bool {
    let content = guest_access.map(|event| Value::new(event.content()));
    let access = content.and_then(|content| content.get("guest_access")?.as_str());
    access.as_deref() == Some("can_join")
}

/// Whether the state that the draft is to replace is still there. The key must be one that the tip knows.
pub(super) fn check_replaced(tip: &Tip, draft: &Draft, extras: &Extras) -> Result<(), SendError> {
    let Some(replaces) = &extras.replaces else {
        return Ok(());
    };
    let key = draft.state_key.as_deref().unwrap_or_default();
    let current = tip.get(&draft.kind, key);
    if current.is_some_and(|event| event.event_id() == replaces) {
        return Ok(());
    }
    Err(SendError::BadState("it is not as it was any longer"))
}

/// Whether a local user may redact an event. Other servers let any user of the target's server do so, and rely on that
/// server to look closer: without the power, only one's own events.
/// <https://spec.matrix.org/v1.19/client-server-api/#redactions>
pub(super) fn check_redaction(
    tip: &mut Tip,
    redaction: &Pdu,
    target: &Pdu,
) -> Result<(), SendError> {
    let has_power = tip
        .current_power()
        .is_some_and(|power| power.user_level(redaction.sender()) >= power.redact_level());
    if has_power || redaction.sender() == target.sender() {
        return Ok(());
    }
    Err(SendError::Forbidden(
        "you may redact only your own events here".to_owned(),
    ))
}

/// The names that writing a draft needs as integers.
pub(crate) fn names_of(draft: &Draft) -> Vec<Name> {
    let mut names = vec![
        Name::User(draft.sender.clone()),
        Name::Type(draft.kind.as_str().into()),
    ];
    if let Some(key) = &draft.state_key {
        names.push(Name::Key(key.as_str().into()));
        if draft.kind == "m.room.member"
            && let Ok(target) = ruma_common::OwnedUserId::try_from(key.as_str())
        {
            names.push(Name::User(target));
        }
    }
    names
}
