//! Plays a room: draws moves, and adds the events that the branch allows.

use ruma_common::{OwnedEventId, OwnedRoomId};
use serde_json::{Map, Value, json};
use starling_events::{Pdu, RoomVersion, canonical_json::MAX_INTEGER, room_version::CreatorPlace};
use starling_stateres::resolution::EventNum;
use starling_stateres::{auth_types, check};

use super::draft::{Place, random_event_id, room_id};
use super::moves::{self, Mover};
use super::{Dice, Draft, Population, Room, State, hostile, levels};

/// How often a move is drawn before a branch stays as it is.
const TRIES: usize = 6;

/// The end of a branch.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    /// The events that the next one follows.
    pub(super) ends: Vec<OwnedEventId>,
    /// The greatest depth of these.
    pub(super) depth: i64,
    /// The state after them.
    pub(super) state: State,
}

impl Branch {
    pub(super) fn merged_with(mut self, other: Self, state: State) -> Self {
        self.ends.extend(other.ends);
        self.ends.sort();
        self.ends.dedup();
        Self {
            ends: self.ends,
            depth: self.depth.max(other.depth),
            state,
        }
    }
}

/// A room while it is played.
pub(super) struct Maker {
    pub(super) room: Room,
    pub(super) dice: Dice,
    pub(super) people: Population,
    room_id: Option<OwnedRoomId>,
    clock: i64,
}

impl Maker {
    pub(super) fn new(version: RoomVersion, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let people = Population::random(&mut dice);
        Self {
            room: Room::new(version),
            room_id: room_id(version, people.creator()),
            people,
            dice,
            clock: 1_000_000,
        }
    }

    /// Creates the room.
    pub(super) fn start(&mut self) -> Branch {
        let mut branch = Branch {
            ends: Vec::new(),
            depth: 0,
            state: State::new(),
        };
        let version = self.room.version();
        let creator = self.people.creator().clone();
        let content = self.create_content();
        let create = Draft::state(&creator, "m.room.create", "", content);
        self.send(&mut branch, create);
        self.room_id = Some(self.room.create().pdu.room_id().to_owned());
        self.send(&mut branch, Draft::member(&creator, "join", &creator));
        if self.dice.percent(92) {
            let content = levels::first(version, &self.people, &mut self.dice);
            self.send(
                &mut branch,
                Draft::state(&creator, "m.room.power_levels", "", content),
            );
        }
        if self.dice.percent(90) {
            let content = json!({ "join_rule": moves::join_rule(version, &mut self.dice) });
            self.send(
                &mut branch,
                Draft::state(&creator, "m.room.join_rules", "", content),
            );
        }
        for _ in 0..self.dice.below(8) {
            self.step(&mut branch, &[]);
        }
        branch
    }

    fn create_content(&mut self) -> Value {
        let rules = self.room.version().rules();
        let mut content = Map::new();
        if rules.creator == CreatorPlace::Content {
            content.insert("creator".to_owned(), json!(self.people.creator()));
        }
        if self.dice.percent(5) {
            content.insert("m.federate".to_owned(), json!(false));
        }
        if self.dice.percent(25) {
            let other = self.people.anyone(&mut self.dice);
            content.insert("additional_creators".to_owned(), json!([other]));
        }
        content.insert(
            "room_version".to_owned(),
            json!(self.room.version().as_str()),
        );
        Value::Object(content)
    }

    /// Adds what somebody does next, unless nothing comes to mind that is allowed.
    pub(super) fn step(&mut self, branch: &mut Branch, past: &[Branch]) {
        for _ in 0..TRIES {
            if self.dice.percent(12) {
                if hostile::act(self, branch, past) {
                    return;
                }
                continue;
            }
            let mover = Mover {
                view: self.room.view(&branch.state),
                people: &self.people,
            };
            if let Some(draft) = moves::any(&mover, &mut self.dice)
                && self.send(branch, draft)
            {
                return;
            }
        }
    }

    /// Sends what cites the state of its branch. `false`: the branch doesn't allow it.
    fn send(&mut self, branch: &mut Branch, draft: Draft) -> bool {
        let auth_events = self.auth_events(&draft, &branch.state);
        let pdu = self.make(branch, draft, auth_events);
        if check(self.room.version(), &pdu, &self.room.view(&branch.state)).is_err() {
            return false;
        }
        let num = self.room.insert(pdu, false, &mut self.dice);
        self.advance(branch, num, true);
        true
    }

    /// The events of a state that a draft is to cite.
    pub(super) fn auth_events(&self, draft: &Draft, state: &State) -> Vec<OwnedEventId> {
        let content = serde_json::to_vec(&draft.content).expect("JSON");
        let types = auth_types(
            self.room.version(),
            &draft.kind,
            &draft.sender,
            draft.state_key.as_deref(),
            &content,
        );
        let events = types
            .iter()
            .filter_map(|(kind, state_key)| self.room.at(state, kind, state_key));
        events
            .map(|event| event.pdu.event_id().to_owned())
            .collect()
    }

    /// The event of a draft at the end of a branch. One in some lies about its time or its depth.
    pub(super) fn make(
        &mut self,
        branch: &Branch,
        draft: Draft,
        auth_events: Vec<OwnedEventId>,
    ) -> Pdu {
        self.clock += i64::try_from(self.dice.below(3)).unwrap_or_default();
        let place = Place {
            prev_events: branch.ends.clone(),
            auth_events,
            origin_server_ts: match self.dice.below(2000) {
                0 => -1,
                1..160 => self.lie(self.clock),
                _ => self.clock,
            },
            depth: if self.dice.percent(5) {
                self.lie(branch.depth)
            } else {
                branch.depth.saturating_add(1).min(MAX_INTEGER)
            },
        };
        let version = self.room.version();
        let server = draft.sender.server_name().to_string();
        let event_id = random_event_id(version, &server, &mut self.dice);
        draft.into_pdu(version, self.room_id.as_ref(), event_id, &place)
    }

    fn lie(&mut self, truth: i64) -> i64 {
        match self.dice.below(8) {
            0 => 0,
            1 => 1,
            2 => MAX_INTEGER,
            3 => MAX_INTEGER - 1,
            4..6 => (truth - 20).max(0),
            _ => (truth + 20).min(MAX_INTEGER),
        }
    }

    /// Makes an event the end of the branch.
    pub(super) fn advance(&mut self, branch: &mut Branch, num: EventNum, is_state: bool) {
        let event = self.room.get(num);
        branch.ends = vec![event.pdu.event_id().to_owned()];
        branch.depth = event.pdu.depth();
        if let (true, Some(state)) = (is_state, &event.state) {
            branch.state.insert(state.key, num);
        }
    }
}
