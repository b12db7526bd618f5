//! A synthetic room: its state events, numbered and cited as a server has them at hand. Nothing is signed.

use std::sync::Arc;

use ruma_common::{OwnedEventId, OwnedUserId};
use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};
use starling_events::{
    Pdu, RoomVersion,
    canonical_json::canonicalize,
    room_version::{JsonForm, RoomIdForm},
    unpadded_base64,
};
use starling_runtime::Chance;
use starling_stateres::{
    Membership, auth_types,
    resolution::{EventNum, RoomEvents, StateEvent, StateKey},
};
use starling_store::{
    KeyNum, TypeNum,
    names::{EMPTY_KEY, types},
    state_map::{Entry, StateMap},
};

/// A custom state event, of which a room may have many.
pub const WIDGET: &str = "org.example.widget";

const KINDS: [(&str, TypeNum); 8] = [
    ("m.room.create", types::CREATE),
    ("m.room.member", types::MEMBER),
    ("m.room.power_levels", types::POWER_LEVELS),
    ("m.room.join_rules", types::JOIN_RULES),
    ("m.room.history_visibility", types::HISTORY_VISIBILITY),
    ("m.room.name", types::NAME),
    ("m.room.topic", types::TOPIC),
    (WIDGET, TypeNum(1000)),
];

/// A state event to be sent.
#[derive(Debug)]
pub struct Draft<'a> {
    /// Who sends it.
    pub sender: &'a str,
    /// Its type.
    pub kind: &'a str,
    /// Its state key.
    pub state_key: &'a str,
    /// Its content.
    pub content: Json,
}

/// One line of a room's history: its state, its newest event, and the time.
#[derive(Debug, Clone)]
pub struct Branch {
    /// The state after the newest event.
    pub state: StateMap,
    last: Option<EventNum>,
    now_ms: i64,
}

/// All state events of a room.
#[derive(Debug)]
pub struct Room {
    version: RoomVersion,
    id: String,
    /// Older events come first, and an event's number is its place.
    events: Vec<StateEvent>,
    cited_by: Vec<Vec<EventNum>>,
    keys: FxHashMap<Box<str>, KeyNum>,
    chance: Chance,
}

impl Room {
    /// A room with its create event.
    #[must_use]
    pub fn new(version: RoomVersion, creator: &str, chance: Chance) -> (Self, Branch) {
        let mut room = Self {
            version,
            id: "!room:server0.example.org".to_owned(),
            events: Vec::new(),
            cited_by: Vec::new(),
            keys: FxHashMap::from_iter([(Box::from(""), EMPTY_KEY)]),
            chance,
        };
        let mut branch = Branch {
            state: StateMap::default(),
            last: None,
            now_ms: 1_700_000_000_000,
        };
        let create = Draft {
            sender: creator,
            kind: "m.room.create",
            state_key: "",
            content: json!({ "room_version": version.as_str() }),
        };
        room.send(&mut branch, &create);
        (room, branch)
    }

    /// The room's version.
    #[must_use]
    pub fn version(&self) -> RoomVersion {
        self.version
    }

    /// All events; those that an event cites come before it, and an event's number is its place.
    #[must_use]
    pub fn events(&self) -> &[StateEvent] {
        &self.events
    }

    /// Random numbers, the same in each run.
    #[must_use]
    pub fn chance(&self) -> &Chance {
        &self.chance
    }

    /// Sends a state event: its auth events are what the branch's state says, and the branch goes on from it.
    pub fn send(&mut self, branch: &mut Branch, draft: &Draft<'_>) -> EventNum {
        branch.now_ms += 1 + self.chance.number().rem_euclid(1000).cast_signed();
        let sender: OwnedUserId = draft.sender.try_into().expect("a user id");
        let content = canonical(&draft.content);
        let cited = self.auth_events(&branch.state, draft, &sender, &content);
        let json = self.write(branch, draft, &cited);
        let pdu = Pdu::from_stored(self.version, self.new_event_id(), json.into())
            .expect("an event of ours");
        if draft.kind == "m.room.create" {
            self.id = pdu.room_id().to_string();
        }
        let number = EventNum(i64::try_from(self.events.len()).unwrap_or(i64::MAX));
        let key = self.intern(draft.kind, draft.state_key);
        let sender_key = self.intern("m.room.member", draft.sender);
        let membership = (draft.kind == "m.room.member")
            .then(|| Membership::of_content(self.version, &content))
            .flatten();
        for &auth_event in &cited {
            if let Some(cited_by) = self.cited_by.get_mut(place(auth_event)) {
                cited_by.push(number);
            }
        }
        let generations = cited
            .iter()
            .filter_map(|&event| self.event(event).map(|event| event.generation + 1));
        self.events.push(StateEvent {
            num: number,
            generation: generations.max().unwrap_or(0),
            pdu: Arc::new(pdu),
            key,
            sender_key,
            membership,
            auth_events: cited.into(),
            is_rejected: false,
        });
        self.cited_by.push(Vec::new());
        branch.last = Some(number);
        branch.state = branch.state.with(Entry {
            kind: TypeNum(key.kind),
            key: KeyNum(key.key),
            event: starling_store::EventNum(number.0),
            tag: 0,
        });
        number
    }

    /// Puts the events that cite an event in the order in which a server best has them: newest first.
    pub fn finish(&mut self) {
        self.cited_by.iter_mut().for_each(|citing| citing.reverse());
    }

    /// What resolution asks, when these are the states to be resolved.
    #[must_use]
    pub fn at_hand<'a>(&'a self, states: &[&'a StateMap]) -> AtHand<'a> {
        AtHand {
            room: self,
            state: states.first().expect("a state"),
        }
    }

    /// The event of this number.
    #[must_use]
    pub fn event(&self, event: EventNum) -> Option<&StateEvent> {
        self.events.get(place(event))
    }

    /// The number of a type and state key.
    #[must_use]
    pub fn key(&self, kind: &str, state_key: &str) -> Option<StateKey> {
        let (_, kind) = KINDS.iter().find(|(name, _)| *name == kind)?;
        let key = self.keys.get(state_key)?;
        Some(StateKey {
            kind: kind.0,
            key: key.0,
        })
    }

    fn intern(&mut self, kind: &str, state_key: &str) -> StateKey {
        if let Some(key) = self.key(kind, state_key) {
            return key;
        }
        let number = EMPTY_KEY.0 + i64::try_from(self.keys.len()).unwrap_or(i64::MAX);
        self.keys.insert(state_key.into(), KeyNum(number));
        self.key(kind, state_key).expect("a type of the table")
    }

    fn auth_events(
        &self,
        state: &StateMap,
        draft: &Draft<'_>,
        sender: &OwnedUserId,
        content: &[u8],
    ) -> Vec<EventNum> {
        let needed = auth_types(
            self.version,
            draft.kind,
            sender,
            Some(draft.state_key),
            content,
        );
        needed
            .iter()
            .filter_map(|(kind, state_key)| event_at(state, self.key(kind, state_key)?))
            .collect()
    }

    fn write(&self, branch: &Branch, draft: &Draft<'_>, cited: &[EventNum]) -> Vec<u8> {
        let id = |event: EventNum| self.event(event).map(|event| event.pdu.event_id().as_str());
        let auth_events: Vec<&str> = cited.iter().filter_map(|&event| id(event)).collect();
        let prev_events: Vec<&str> = branch.last.and_then(id).into_iter().collect();
        let mut event = json!({
            "auth_events": auth_events,
            "content": draft.content,
            "depth": self.events.len(),
            "hashes": {},
            "origin_server_ts": branch.now_ms,
            "prev_events": prev_events,
            "sender": draft.sender,
            "signatures": {},
            "state_key": draft.state_key,
            "type": draft.kind,
        });
        let names_room =
            draft.kind != "m.room.create" || self.version.rules().room_id == RoomIdForm::WithDomain;
        if let (true, Json::Object(members)) = (names_room, &mut event) {
            members.insert("room_id".to_owned(), self.id.clone().into());
        }
        canonical(&event)
    }

    /// The ids are no hashes of events, only like them in form and order.
    fn new_event_id(&self) -> OwnedEventId {
        let mut bytes = [0; 32];
        self.chance.fill(&mut bytes);
        format!("${}", unpadded_base64::encode_url_safe(&bytes))
            .try_into()
            .expect("an event id")
    }
}

/// A room's events at hand, and a state of those to be resolved.
#[derive(Debug, Clone, Copy)]
pub struct AtHand<'a> {
    room: &'a Room,
    state: &'a StateMap,
}

impl RoomEvents for AtHand<'_> {
    fn event(&self, event: EventNum) -> Option<&StateEvent> {
        self.room.event(event)
    }

    fn cited_by(&self, event: EventNum) -> &[EventNum] {
        self.room
            .cited_by
            .get(place(event))
            .map_or(&[], Vec::as_slice)
    }

    fn unconflicted(&self, key: StateKey) -> Option<EventNum> {
        event_at(self.state, key)
    }

    fn key(&self, kind: &str, state_key: &str) -> Option<StateKey> {
        self.room.key(kind, state_key)
    }

    fn create(&self) -> EventNum {
        EventNum(0)
    }
}

/// The event that a state has at a key.
#[must_use]
pub fn event_at(state: &StateMap, key: StateKey) -> Option<EventNum> {
    state
        .get(TypeNum(key.kind), KeyNum(key.key))
        .map(|entry| EventNum(entry.event.0))
}

/// The key and event of an entry of a state.
#[must_use]
pub fn key_and_event(entry: &Entry) -> (StateKey, EventNum) {
    let key = StateKey {
        kind: entry.kind.0,
        key: entry.key.0,
    };
    (key, EventNum(entry.event.0))
}

/// Where an event is in [`Room::events`].
#[must_use]
pub fn place(event: EventNum) -> usize {
    usize::try_from(event.0).unwrap_or(usize::MAX)
}

fn canonical(json: &Json) -> Vec<u8> {
    canonicalize(JsonForm::Strict, json.to_string().as_bytes()).expect("JSON of ours")
}
