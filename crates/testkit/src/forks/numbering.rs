//! A room's events under numbers that mean nothing, as a database would have them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId, UserId};
use starling_events::{Pdu, RoomVersion};
use starling_stateres::resolution::{Conflicts, EventNum, RoomEvents, StateEvent, StateKey};
use starling_stateres::{AuthState, Membership};

use super::Dice;

/// A state of a room: an event for each type and state key.
pub type State = BTreeMap<StateKey, EventNum>;

/// An event of a room.
#[derive(Debug, Clone)]
pub struct Event {
    /// The event.
    pub pdu: Arc<Pdu>,
    /// Its number.
    pub num: EventNum,
    /// What state resolution reads of it, if it is a state event.
    pub state: Option<StateEvent>,
}

/// All events of a room.
#[derive(Debug, Clone)]
pub struct Room {
    version: RoomVersion,
    create: Option<EventNum>,
    events: BTreeMap<EventNum, Event>,
    /// In the order in which they were made.
    order: Vec<EventNum>,
    by_id: BTreeMap<OwnedEventId, EventNum>,
    cited_by: BTreeMap<EventNum, Vec<EventNum>>,
    names: Names,
}

impl Room {
    /// A room without events.
    #[must_use]
    pub fn new(version: RoomVersion) -> Self {
        Self {
            version,
            create: None,
            events: BTreeMap::new(),
            order: Vec::new(),
            by_id: BTreeMap::new(),
            cited_by: BTreeMap::new(),
            names: Names::default(),
        }
    }

    /// The room's version.
    #[must_use]
    pub fn version(&self) -> RoomVersion {
        self.version
    }

    /// The room's create event: the first event.
    ///
    /// # Panics
    /// When the room has no events.
    #[must_use]
    pub fn create(&self) -> &Event {
        self.get(self.create.expect("the room has a create event"))
    }

    /// All events in the order in which they were made.
    #[must_use]
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.order.iter().map(|num| self.get(*num))
    }

    /// An event.
    ///
    /// # Panics
    /// When the room has none of this number.
    #[must_use]
    pub fn get(&self, num: EventNum) -> &Event {
        self.events.get(&num).expect("an event of the room")
    }

    /// The event with this id.
    #[must_use]
    pub fn by_id(&self, id: &EventId) -> Option<&Event> {
        self.by_id.get(id).map(|num| self.get(*num))
    }

    /// Adds an event. Those that it cites are there already.
    ///
    /// # Panics
    /// When one that it cites isn't there.
    pub fn insert(&mut self, pdu: Pdu, is_rejected: bool, dice: &mut Dice) -> EventNum {
        let mut num = EventNum(dice.number());
        while self.events.contains_key(&num) {
            num = EventNum(dice.number());
        }
        let pdu = Arc::new(pdu);
        let state = self.state_event(&pdu, num, is_rejected, dice);
        for auth_event in state.iter().flat_map(|state| &state.auth_events) {
            self.cited_by.entry(*auth_event).or_default().insert(0, num);
        }
        self.by_id.insert(pdu.event_id().to_owned(), num);
        self.events.insert(num, Event { pdu, num, state });
        self.order.push(num);
        self.create.get_or_insert(num);
        num
    }

    fn state_event(
        &mut self,
        pdu: &Arc<Pdu>,
        num: EventNum,
        is_rejected: bool,
        dice: &mut Dice,
    ) -> Option<StateEvent> {
        let key = self.names.number(pdu.kind(), pdu.state_key()?, dice);
        let sender_key = self
            .names
            .number("m.room.member", pdu.sender().as_str(), dice);
        let auth_events: Box<[EventNum]> = pdu
            .auth_events()
            .iter()
            .map(|id| self.by_id(id).expect("a cited event is there").num)
            .collect();
        let generations = auth_events.iter().map(|num| self.generation(*num) + 1);
        Some(StateEvent {
            num,
            pdu: Arc::clone(pdu),
            key,
            sender_key,
            membership: membership(pdu),
            generation: generations.max().unwrap_or(0),
            auth_events,
            is_rejected,
        })
    }

    fn generation(&self, num: EventNum) -> u32 {
        let state = self.get(num).state.as_ref();
        state.map_or(0, |state| state.generation)
    }

    /// Replaces an event by another form of it, with the same id and auth events.
    pub fn replace(&mut self, num: EventNum, pdu: Pdu) {
        let Some(event) = self.events.get_mut(&num) else {
            return;
        };
        event.pdu = Arc::new(pdu);
        if let Some(state) = &mut event.state {
            state.pdu = Arc::clone(&event.pdu);
            state.membership = membership(&event.pdu);
        }
    }

    /// Says that an event was rejected when it was received.
    pub fn reject(&mut self, num: EventNum) {
        let event = self.events.get_mut(&num);
        if let Some(state) = event.and_then(|event| event.state.as_mut()) {
            state.is_rejected = true;
        }
    }

    /// The number of a type and a state key.
    #[must_use]
    pub fn key(&self, kind: &str, state_key: &str) -> Option<StateKey> {
        self.names.find(kind, state_key)
    }

    /// The event of a state at a type and state key.
    #[must_use]
    pub fn at(&self, state: &State, kind: &str, state_key: &str) -> Option<&Event> {
        let num = state.get(&self.key(kind, state_key)?)?;
        Some(self.get(*num))
    }

    /// The state as the authorization rules read it.
    #[must_use]
    pub fn view<'a>(&'a self, state: &'a State) -> View<'a> {
        View { room: self, state }
    }

    /// What [`starling_stateres::resolution::resolve`] takes to resolve these states.
    ///
    /// # Panics
    /// When there are more states than it takes.
    #[must_use]
    pub fn conflicts<'a>(&'a self, states: &[State]) -> (Conflicts, Resolving<'a>) {
        let entries = states
            .iter()
            .enumerate()
            .flat_map(|(index, state)| state.iter().map(move |(key, num)| (*key, index, *num)));
        let conflicts = Conflicts::new(states.len(), entries).expect("a few states");
        let mut unconflicted = states.first().cloned().unwrap_or_default();
        unconflicted.retain(|key, _| !conflicts.contains(*key));
        let resolving = Resolving {
            room: self,
            unconflicted,
            conflicted: conflicts
                .keys()
                .iter()
                .map(|conflict| conflict.key)
                .collect(),
        };
        (conflicts, resolving)
    }

    /// The same room and states with all numbers other ones and all lists in another order.
    #[must_use]
    pub fn renumbered(&self, states: &[State], dice: &mut Dice) -> (Self, Vec<State>) {
        let mut room = Self::new(self.version);
        let mut new_nums = BTreeMap::new();
        for event in self.events() {
            let is_rejected = event.state.as_ref().is_some_and(|state| state.is_rejected);
            let num = room.insert((*event.pdu).clone(), is_rejected, dice);
            new_nums.insert(event.num, num);
        }
        for citing in room.cited_by.values_mut() {
            dice.shuffle(citing);
        }
        let states = states.iter().map(|state| {
            let nums = state.values().filter_map(|num| new_nums.get(num));
            let entries = nums.filter_map(|num| Some((room.get(*num).state.as_ref()?.key, *num)));
            entries.collect()
        });
        let states = states.collect();
        (room, states)
    }
}

fn membership(pdu: &Pdu) -> Option<Membership> {
    (pdu.kind() == "m.room.member").then(|| Membership::of_event(pdu))
}

/// The numbers of types and state keys.
#[derive(Debug, Clone, Default)]
struct Names {
    kinds: BTreeMap<String, i64>,
    state_keys: BTreeMap<String, i64>,
}

impl Names {
    fn find(&self, kind: &str, state_key: &str) -> Option<StateKey> {
        Some(StateKey {
            kind: *self.kinds.get(kind)?,
            key: *self.state_keys.get(state_key)?,
        })
    }

    fn number(&mut self, kind: &str, state_key: &str, dice: &mut Dice) -> StateKey {
        StateKey {
            kind: number_of(&mut self.kinds, kind, dice),
            key: number_of(&mut self.state_keys, state_key, dice),
        }
    }
}

fn number_of(names: &mut BTreeMap<String, i64>, name: &str, dice: &mut Dice) -> i64 {
    if let Some(number) = names.get(name) {
        return *number;
    }
    let mut number = dice.number();
    while names.values().any(|taken| *taken == number) {
        number = dice.number();
    }
    names.insert(name.to_owned(), number);
    number
}

/// A state as the authorization rules read it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The room.
    pub room: &'a Room,
    /// The state.
    pub state: &'a State,
}

impl AuthState for View<'_> {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        // Where the room id is the create event's, every state has it: nothing that is in a state cites it.
        let event = self.room.at(self.state, kind, state_key)?;
        Some(&event.pdu)
    }

    fn membership(&self, user: &UserId) -> Option<Membership> {
        let event = self.room.at(self.state, "m.room.member", user.as_str())?;
        event.state.as_ref()?.membership
    }
}

/// A room whose states are being resolved.
#[derive(Debug, Clone)]
pub struct Resolving<'a> {
    room: &'a Room,
    unconflicted: State,
    conflicted: BTreeSet<StateKey>,
}

impl RoomEvents for Resolving<'_> {
    fn event(&self, event: EventNum) -> Option<&StateEvent> {
        self.room.events.get(&event)?.state.as_ref()
    }

    fn cited_by(&self, event: EventNum) -> &[EventNum] {
        self.room.cited_by.get(&event).map_or(&[], Vec::as_slice)
    }

    fn unconflicted(&self, key: StateKey) -> Option<EventNum> {
        assert!(
            !self.conflicted.contains(&key),
            "asked for a key at which the states differ"
        );
        self.unconflicted.get(&key).copied()
    }

    fn key(&self, kind: &str, state_key: &str) -> Option<StateKey> {
        self.room.key(kind, state_key)
    }

    fn create(&self) -> EventNum {
        self.room.create().num
    }
}
