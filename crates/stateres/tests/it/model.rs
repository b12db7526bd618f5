//! A reference model: the text of state resolution with event ids and sets, as plainly as possible and without regard to
//! speed. What it takes for granted are the authorization rules.
//!
//! The definitions stand in the order of the text. Where others read the text otherwise, a [`Deviation`] says so, and the
//! model can follow it: so every difference to another implementation has a name.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use sha1::{Digest, Sha1};
use starling_events::{Pdu, RoomVersion, room_version::StateResolution};
use starling_stateres::{
    AuthState, Membership, PowerLevel, RoomPower, check, resolution::StateEvent,
};
use starling_testkit::forks::{Room, State};

/// An event id.
pub(crate) type Id<'a> = &'a str;
/// An event type and a state key.
pub(crate) type Key<'a> = (&'a str, &'a str);
/// An event for each key.
pub(crate) type StateMap<'a> = BTreeMap<Key<'a>, Id<'a>>;

/// A way to read the text that isn't its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deviation {
    /// Power levels and join rules are power events only with an empty state key.
    OnlyEmptyStateKeys,
    /// The auth chain of a power event ends where it leaves the full conflicted set, and so does the order.
    PathsStayInside,
    /// Rejected events that are in the partial state are passed over for auth events.
    RejectedStateIsUnused,
    /// The auth chain of a state has the state's own events.
    ChainsIncludeState,
    /// Nobody joins a room without join rules, invited or not: a difference in the authorization rules.
    NoJoinWithoutJoinRules,
}

/// What happened to an event in the iterative auth checks.
#[derive(Debug, Clone)]
pub(crate) struct Step<'a> {
    /// The event.
    pub(crate) event: Id<'a>,
    /// The state when it was its turn.
    pub(crate) state: StateMap<'a>,
    /// Whether the state allowed it.
    pub(crate) is_allowed: bool,
}

/// A room, and how the text is read.
pub(crate) struct Model<'a> {
    version: RoomVersion,
    create: Id<'a>,
    events: BTreeMap<Id<'a>, &'a StateEvent>,
    deviations: Vec<Deviation>,
    /// What happened in the last resolution.
    pub(crate) steps: Vec<Step<'a>>,
    keeps_steps: bool,
}

impl<'a> Model<'a> {
    pub(crate) fn new(room: &'a Room, deviations: &[Deviation]) -> Self {
        let events = room.events().filter_map(|event| event.state.as_ref());
        Self {
            version: room.version(),
            create: room.create().pdu.event_id().as_str(),
            events: events
                .map(|event| (event.pdu.event_id().as_str(), event))
                .collect(),
            deviations: deviations.to_vec(),
            steps: Vec::new(),
            keeps_steps: false,
        }
    }

    /// Keeps `steps`.
    pub(crate) fn keeping_steps(mut self) -> Self {
        self.keeps_steps = true;
        self
    }

    fn deviates(&self, deviation: Deviation) -> bool {
        self.deviations.contains(&deviation)
    }

    pub(crate) fn pdu(&self, id: Id<'a>) -> &'a Pdu {
        &self.events[id].pdu
    }

    fn key(&self, id: Id<'a>) -> Key<'a> {
        let pdu = self.pdu(id);
        (pdu.kind(), pdu.state_key().unwrap())
    }

    fn auth_events(&self, id: Id<'a>) -> impl Iterator<Item = Id<'a>> {
        self.pdu(id).auth_events().iter().map(|id| id.as_str())
    }

    fn keep_step(&mut self, event: Id<'a>, state: &StateMap<'a>, is_allowed: bool) {
        if self.keeps_steps {
            self.steps.push(Step {
                event,
                state: state.clone(),
                is_allowed,
            });
        }
    }

    /// The resolution of the states.
    pub(crate) fn resolve(&mut self, states: &[StateMap<'a>]) -> StateMap<'a> {
        self.steps.clear();
        match self.version.rules().state_resolution {
            StateResolution::V1 => self.resolve_v1(states),
            StateResolution::V2 | StateResolution::V2_1 => self.resolve_v2(states),
        }
    }
}

/// State resolution of version 2 and 2.1: definitions.
impl<'a> Model<'a> {
    fn is_power_event(&self, id: Id<'a>) -> bool {
        let pdu = self.pdu(id);
        let is_any_key = !self.deviates(Deviation::OnlyEmptyStateKeys);
        match pdu.kind() {
            "m.room.power_levels" | "m.room.join_rules" => {
                is_any_key || pdu.state_key() == Some("")
            }
            "m.room.member" => {
                let is_removal = matches!(
                    Membership::of_event(pdu),
                    Membership::Leave | Membership::Ban
                );
                is_removal && Some(pdu.sender().as_str()) != pdu.state_key()
            }
            _ => false,
        }
    }

    fn split(states: &[StateMap<'a>]) -> (StateMap<'a>, BTreeSet<Id<'a>>) {
        let (mut unconflicted, mut conflicted) = (StateMap::new(), BTreeSet::new());
        for (key, id) in states.iter().flatten() {
            if states.iter().all(|state| state.get(key) == Some(id)) {
                unconflicted.insert(*key, *id);
            } else {
                conflicted.insert(*id);
            }
        }
        (unconflicted, conflicted)
    }

    fn add_auth_chain(&self, id: Id<'a>, chain: &mut BTreeSet<Id<'a>>) {
        for auth_event in self.auth_events(id) {
            if chain.insert(auth_event) {
                self.add_auth_chain(auth_event, chain);
            }
        }
    }

    fn auth_chain(&self, id: Id<'a>) -> BTreeSet<Id<'a>> {
        let mut chain = BTreeSet::new();
        self.add_auth_chain(id, &mut chain);
        chain
    }

    pub(crate) fn full_auth_chain(&self, state: &StateMap<'a>) -> BTreeSet<Id<'a>> {
        let mut chain = BTreeSet::new();
        for id in state.values() {
            self.add_auth_chain(id, &mut chain);
        }
        if self.deviates(Deviation::ChainsIncludeState) {
            chain.extend(state.values());
        }
        chain
    }

    fn auth_difference(&self, states: &[StateMap<'a>]) -> BTreeSet<Id<'a>> {
        let chains: Vec<_> = states
            .iter()
            .map(|state| self.full_auth_chain(state))
            .collect();
        let mut difference: BTreeSet<Id<'a>> = chains.iter().flatten().copied().collect();
        difference.retain(|id| !chains.iter().all(|chain| chain.contains(id)));
        difference
    }

    pub(crate) fn conflicted_state_subgraph(
        &self,
        conflicted: &BTreeSet<Id<'a>>,
    ) -> BTreeSet<Id<'a>> {
        let mut subgraph = BTreeSet::new();
        for from in conflicted {
            let chain = self.auth_chain(from);
            for to in chain.iter().filter(|id| conflicted.contains(*id)) {
                subgraph.extend([*from, *to]);
                let between = chain.iter().filter(|id| self.auth_chain(id).contains(to));
                subgraph.extend(between);
            }
        }
        subgraph
    }

    fn full_conflicted_set(&self, states: &[StateMap<'a>]) -> BTreeSet<Id<'a>> {
        let (_, conflicted) = Self::split(states);
        let mut full = self.auth_difference(states);
        if self.version.rules().state_resolution == StateResolution::V2_1 {
            full.extend(self.conflicted_state_subgraph(&conflicted));
        }
        full.extend(conflicted);
        full
    }

    /// The power level of the event's sender, looking at its auth events.
    fn sender_power(&self, id: Id<'a>) -> PowerLevel {
        let find = |kind| {
            self.auth_events(id)
                .find(|auth_event| self.key(auth_event) == (kind, ""))
        };
        let power_levels = find("m.room.power_levels");
        let create = if self.version.rules().create_in_auth_events {
            find("m.room.create")
        } else {
            Some(self.create)
        };
        let power = create.and_then(|create| {
            RoomPower::new(self.pdu(create), power_levels.map(|id| self.pdu(id))).ok()
        });
        power.map_or(PowerLevel::Finite(0), |power| {
            power.user_level(self.pdu(id).sender())
        })
    }

    fn time_and_id(&self, id: Id<'a>) -> (i64, Id<'a>) {
        (self.pdu(id).origin_server_ts(), id)
    }

    fn reverse_topological_power_ordering(
        &self,
        events: &BTreeMap<Id<'a>, BTreeSet<Id<'a>>>,
    ) -> Vec<Id<'a>> {
        let mut remaining: BTreeSet<Id<'a>> = events.keys().copied().collect();
        let mut ordered = Vec::new();
        while !remaining.is_empty() {
            let candidates = remaining
                .iter()
                .filter(|id| events[*id].is_disjoint(&remaining));
            let next = *candidates
                .min_by_key(|id| (Reverse(self.sender_power(id)), self.time_and_id(id)))
                .expect("auth events form no circle");
            remaining.remove(next);
            ordered.push(next);
        }
        ordered
    }

    /// The power levels event among an event's auth events, that one's, and so on.
    fn mainline_from(&self, id: Id<'a>) -> Vec<Id<'a>> {
        let mut mainline = Vec::new();
        let mut at = id;
        while let Some(next) = self
            .auth_events(at)
            .find(|auth_event| self.pdu(auth_event).kind() == "m.room.power_levels")
        {
            mainline.push(next);
            at = next;
        }
        mainline
    }

    fn mainline_ordering(&self, power_levels: Option<Id<'a>>, events: Vec<Id<'a>>) -> Vec<Id<'a>> {
        let mut mainline = Vec::new();
        if let Some(power_levels) = power_levels {
            mainline.push(power_levels);
            mainline.extend(self.mainline_from(power_levels));
        }
        let position = |id| {
            let own = self.mainline_from(id);
            own.iter()
                .find_map(|id| mainline.iter().position(|of_mainline| of_mainline == id))
                .unwrap_or(usize::MAX)
        };
        let mut ordered = events;
        ordered.sort_by_key(|id| (Reverse(position(*id)), self.time_and_id(id)));
        ordered
    }

    fn iterative_auth_checks(
        &mut self,
        mut state: StateMap<'a>,
        events: &[Id<'a>],
    ) -> StateMap<'a> {
        for event in events {
            let seen = Seen {
                model: self,
                state: &state,
                auth_events_of: Some(event),
            };
            let is_allowed = seen.allows(event);
            self.keep_step(event, &state, is_allowed);
            if is_allowed {
                state.insert(self.key(event), event);
            }
        }
        state
    }
}

/// State resolution of version 2 and 2.1: the algorithm.
impl<'a> Model<'a> {
    fn resolve_v2(&mut self, states: &[StateMap<'a>]) -> StateMap<'a> {
        let (unconflicted, _) = Self::split(states);
        let full_conflicted_set = self.full_conflicted_set(states);
        // 1.
        let mut power_events = BTreeMap::new();
        let mut found: Vec<Id<'a>> = full_conflicted_set
            .iter()
            .copied()
            .filter(|id| self.is_power_event(id))
            .collect();
        while let Some(id) = found.pop() {
            let chain = self.chain_of_power_event(id, &full_conflicted_set);
            found.extend(
                chain.iter().filter(|id| {
                    full_conflicted_set.contains(*id) && !power_events.contains_key(*id)
                }),
            );
            power_events.insert(id, chain);
        }
        let ordered = self.reverse_topological_power_ordering(&power_events);
        // 2.
        let start = match self.version.rules().state_resolution {
            StateResolution::V2_1 => StateMap::new(),
            StateResolution::V1 | StateResolution::V2 => unconflicted.clone(),
        };
        let partial = self.iterative_auth_checks(start, &ordered);
        // 3.
        let mut remaining: Vec<Id<'a>> = full_conflicted_set.iter().copied().collect();
        remaining.retain(|id| !power_events.contains_key(id));
        let power_levels = partial.get(&("m.room.power_levels", "")).copied();
        let ordered = self.mainline_ordering(power_levels, remaining);
        // 4.
        let mut resolved = self.iterative_auth_checks(partial, &ordered);
        // 5.
        resolved.extend(unconflicted);
        resolved
    }

    fn chain_of_power_event(
        &self,
        id: Id<'a>,
        full_conflicted_set: &BTreeSet<Id<'a>>,
    ) -> BTreeSet<Id<'a>> {
        if !self.deviates(Deviation::PathsStayInside) {
            return self.auth_chain(id);
        }
        let mut chain = BTreeSet::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            for auth_event in self.auth_events(id) {
                if full_conflicted_set.contains(auth_event) && chain.insert(auth_event) {
                    open.push(auth_event);
                }
            }
        }
        chain
    }
}

/// State resolution of version 1.
impl<'a> Model<'a> {
    fn resolve_v1(&mut self, states: &[StateMap<'a>]) -> StateMap<'a> {
        let mut resolved = StateMap::new();
        let mut events: BTreeMap<Key<'a>, BTreeSet<Id<'a>>> = BTreeMap::new();
        for (key, id) in states.iter().flatten() {
            events.entry(*key).or_default().insert(id);
        }
        let (mut conflicts, agreed): (BTreeMap<_, _>, BTreeMap<_, _>) =
            events.into_iter().partition(|(_, ids)| ids.len() > 1);
        for (key, ids) in agreed {
            resolved.extend(ids.iter().map(|id| (key, *id)));
        }
        for kind in ["m.room.power_levels", "m.room.join_rules", "m.room.member"] {
            let before = resolved.clone();
            for (key, ids) in conflicts.iter().filter(|(key, _)| key.0 == kind) {
                resolved.insert(*key, self.last_allowed(*key, ids, &before));
            }
            conflicts.retain(|key, _| key.0 != kind);
        }
        let before = resolved.clone();
        for (key, ids) in conflicts {
            let mut ids: Vec<_> = ids.into_iter().collect();
            ids.sort_by_key(|id| (Reverse(self.pdu(id).depth()), sha1(id)));
            let first = ids.into_iter().find(|id| self.is_allowed_in(id, &before));
            resolved.extend(first.map(|id| (key, id)));
        }
        resolved
    }

    fn last_allowed(
        &mut self,
        key: Key<'a>,
        ids: &BTreeSet<Id<'a>>,
        before: &StateMap<'a>,
    ) -> Id<'a> {
        let mut ids: Vec<_> = ids.iter().copied().collect();
        ids.sort_by_key(|id| (self.pdu(id).depth(), Reverse(sha1(id))));
        let mut ids = ids.into_iter();
        let mut last = ids.next().expect("a conflict has events");
        for id in ids {
            let mut state = before.clone();
            state.insert(key, last);
            if !self.is_allowed_in(id, &state) {
                break;
            }
            last = id;
        }
        last
    }

    fn is_allowed_in(&mut self, event: Id<'a>, state: &StateMap<'a>) -> bool {
        let seen = Seen {
            model: self,
            state,
            auth_events_of: None,
        };
        let is_allowed = seen.allows(event);
        self.keep_step(event, state, is_allowed);
        is_allowed
    }
}

fn sha1(id: &str) -> [u8; 20] {
    Sha1::digest(id.as_bytes()).into()
}

/// A state as the authorization rules read it.
pub(crate) struct Seen<'m, 'a> {
    pub(crate) model: &'m Model<'a>,
    pub(crate) state: &'m StateMap<'a>,
    /// The event whose auth events are used where the state has nothing.
    pub(crate) auth_events_of: Option<Id<'a>>,
}

impl<'a> Seen<'_, 'a> {
    /// Whether the authorization rules allow the event in this state.
    pub(crate) fn allows(&self, event: Id<'a>) -> bool {
        let pdu = self.model.pdu(event);
        let is_refused_join = self.model.deviates(Deviation::NoJoinWithoutJoinRules)
            && Membership::of_content(self.model.version, pdu.content()) == Some(Membership::Join)
            && self.get("m.room.join_rules", "").is_none()
            && !matches!(pdu.prev_events(), [only] if only == self.model.create);
        check(self.model.version, pdu, self).is_ok() && !is_refused_join
    }
}

impl AuthState for Seen<'_, '_> {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        let model = self.model;
        if let Some(id) = self.state.get(&(kind, state_key))
            && !(model.deviates(Deviation::RejectedStateIsUnused) && model.events[id].is_rejected)
        {
            return Some(model.pdu(id));
        }
        let mut auth_events = self
            .auth_events_of
            .into_iter()
            .flat_map(|id| model.auth_events(id));
        let auth_event = auth_events
            .find(|id| model.key(id) == (kind, state_key) && !model.events[*id].is_rejected);
        // The room id names the create event where auth events don't.
        let create = (!model.version.rules().create_in_auth_events
            && (kind, state_key) == ("m.room.create", ""))
            .then_some(model.create);
        auth_event.or(create).map(|id| model.pdu(id))
    }
}

/// The states of a room with names instead of numbers.
pub(crate) fn named<'a>(room: &'a Room, states: &[State]) -> Vec<StateMap<'a>> {
    let named = states.iter().map(|state| {
        state
            .values()
            .map(|num| {
                let pdu = &room.get(*num).pdu;
                (
                    (pdu.kind(), pdu.state_key().unwrap()),
                    pdu.event_id().as_str(),
                )
            })
            .collect()
    });
    named.collect()
}
