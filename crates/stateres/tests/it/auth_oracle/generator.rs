//! Random rooms of a few users, and random events in them, plausible and hostile.

use serde_json::{Map, Value as Json, json};
use starling_events::{
    CanonicalObject, Pdu, RoomVersion, SigningKey,
    room_version::{CreatorPlace, EventIdForm, LevelForm, ReferenceForm, RoomIdForm},
    sign::sign_json,
};
use starling_stateres::{AuthState, Membership, auth_types::auth_types_of};

use super::State;

const USERS: [&str; 5] = [
    "@creator:h",
    "@alice:h",
    "@bob:h",
    "@carol:other",
    "@dave:other",
];
const NO_USERS: [&str; 4] = ["bob", "@bob", "", "@bob:h:h"];
const MEMBERSHIPS: [&str; 6] = ["join", "join", "invite", "leave", "ban", "knock"];
const JOIN_RULES: [&str; 8] = [
    "public",
    "public",
    "invite",
    "knock",
    "restricted",
    "knock_restricted",
    "private",
    "org.example.other",
];
const LEVELS: [i64; 10] = [-1, 0, 1, 25, 49, 50, 51, 75, 100, 100];
const SINGLE_LEVELS: [&str; 7] = [
    "users_default",
    "events_default",
    "state_default",
    "ban",
    "redact",
    "kick",
    "invite",
];
const KINDS: [&str; 6] = [
    "m.room.message",
    "m.room.member",
    "m.room.name",
    "m.room.power_levels",
    "m.room.redaction",
    "org.example.other",
];

/// An event and the auth events that it names.
pub(super) struct Case {
    pub(super) event: Pdu,
    pub(super) auth_events: Vec<Pdu>,
}

/// An event to be.
#[derive(Clone)]
struct Draft {
    kind: &'static str,
    sender: &'static str,
    state_key: Option<String>,
    content: Json,
    room_id: Option<String>,
    prev_events: Vec<String>,
    auth_events: Vec<String>,
    redacts: Option<&'static str>,
}

/// Makes rooms and events of a version, always the same from the same seed.
pub(super) struct Generator {
    version: RoomVersion,
    random: u64,
    /// How many events there have been.
    events: u64,
}

impl Generator {
    pub(super) fn new(version: RoomVersion, seed: u64) -> Self {
        Self {
            version,
            // Neighbouring versions differ in the numbers that they draw.
            random: seed.wrapping_mul(1_000) + version as u64,
            events: 0,
        }
    }

    /// The next number of `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one_of<T: Clone>(&mut self, choice: &[T]) -> T {
        choice[self.below(choice.len())].clone()
    }

    fn is_room_id_stated(&self) -> bool {
        self.version.rules().room_id == RoomIdForm::WithDomain
    }

    /// The event as another server would send it, signed by all servers.
    fn event(&mut self, draft: &Draft) -> Pdu {
        self.events += 1;
        let rules = self.version.rules();
        let references = |ids: &[String]| match rules.references {
            ReferenceForm::Ids => json!(ids),
            ReferenceForm::WithHashes => {
                ids.iter().map(|id| json!([id, {"sha256": "x"}])).collect()
            }
        };
        let mut event = json!({
            "auth_events": references(&draft.auth_events),
            "content": draft.content,
            "depth": 5,
            "hashes": {"sha256": "x"},
            "origin_server_ts": self.events,
            "prev_events": references(&draft.prev_events),
            "sender": draft.sender,
            "signatures": {"h": {"ed25519:1": "x"}, "other": {"ed25519:1": "x"}},
            "type": draft.kind,
        });
        if let Some(room_id) = &draft.room_id {
            event["room_id"] = json!(room_id);
        }
        if let Some(state_key) = &draft.state_key {
            event["state_key"] = json!(state_key);
        }
        if let Some(redacts) = draft.redacts {
            event["redacts"] = json!(redacts);
        }
        if rules.event_id == EventIdForm::Stated {
            let server = self.one_of(&["h", "other"]);
            event["event_id"] = json!(format!("${}:{server}", self.events));
        }
        Pdu::parse(self.version, event.to_string().as_bytes()).unwrap()
    }

    /// An id of an event that nobody has.
    fn unknown_event(&self) -> String {
        match self.version.rules().event_id {
            EventIdForm::Stated => "$unknown:h".to_owned(),
            EventIdForm::Hash | EventIdForm::UrlSafeHash => format!("${}", "x".repeat(43)),
        }
    }

    /// The state events of a room, the create event first.
    pub(super) fn room(&mut self) -> Vec<Pdu> {
        let mut draft = Draft {
            kind: "m.room.create",
            sender: "@creator:h",
            state_key: Some(String::new()),
            content: self.create_content(),
            room_id: self.is_room_id_stated().then(|| "!room:h".to_owned()),
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            redacts: None,
        };
        let create = self.event(&draft);
        draft.room_id = Some(create.room_id().to_string());
        draft.prev_events = vec![self.unknown_event()];
        let mut events = vec![create];
        draft.kind = "m.room.join_rules";
        draft.content = json!({"join_rule": self.one_of(&JOIN_RULES)});
        if self.percent(3) {
            draft.content = self.one_of(&[json!({}), json!({"join_rule": 1})]);
        }
        events.push(self.event(&draft));
        if self.percent(75) {
            draft.kind = "m.room.power_levels";
            draft.content = self.levels();
            events.push(self.event(&draft));
        }
        draft.kind = "m.room.member";
        for user in USERS {
            if self.percent(90) {
                let membership = if user == "@creator:h" && self.percent(60) {
                    "join"
                } else {
                    self.one_of(&MEMBERSHIPS)
                };
                draft.sender = user;
                draft.state_key = Some(user.to_owned());
                draft.content = json!({"membership": membership});
                events.push(self.event(&draft));
            }
        }
        if self.percent(70) {
            draft.kind = "m.room.third_party_invite";
            draft.sender = "@alice:h";
            draft.state_key = Some("t".to_owned());
            draft.content = self.public_keys();
            events.push(self.event(&draft));
        }
        events
    }

    /// The content of a create event that the rules allow.
    fn create_content(&mut self) -> Json {
        let mut content = json!({});
        let names_creator = self.version.rules().creator == CreatorPlace::Content;
        if names_creator || self.percent(20) {
            let creators = ["@creator:h", "@creator:h", "@alice:h", "@carol:other"];
            content["creator"] = json!(self.one_of(&creators));
        }
        match self.below(10) {
            0 => content["m.federate"] = json!(false),
            1 => content["m.federate"] = json!(true),
            _ => {}
        }
        if self.percent(40) {
            let additional = [
                json!([]),
                json!(["@alice:h"]),
                json!(["@alice:h", "@dave:other"]),
            ];
            content["additional_creators"] = self.one_of(&additional);
        }
        if self.percent(50) {
            content["room_version"] = json!(self.version.as_str());
        }
        content
    }

    /// A level in a form that the version takes.
    fn level(&mut self) -> Json {
        let level = self.one_of(&LEVELS);
        if self.version.rules().levels == LevelForm::Integer || self.percent(70) {
            return json!(level);
        }
        match self.below(3) {
            0 => json!(level.to_string()),
            1 => json!(format!(" {level:+04}")),
            _ => json!(format!("{level}\n ")),
        }
    }

    /// The content of power levels that is well-formed in the version.
    fn levels(&mut self) -> Json {
        let mut content = Map::new();
        for name in SINGLE_LEVELS {
            if self.percent(25) {
                content.insert(name.to_owned(), self.level());
            }
        }
        for (name, keys, percent) in [
            ("events", &KINDS[..], 30),
            ("notifications", &["room", "x"], 30),
            ("users", &USERS, 60),
        ] {
            let mut levels = Map::new();
            for key in keys {
                if self.percent(percent) {
                    levels.insert((*key).to_owned(), self.level());
                }
            }
            if self.percent(80) {
                content.insert(name.to_owned(), levels.into());
            }
        }
        content.into()
    }

    /// The current levels with some changes.
    fn changed_levels(&mut self, current: Json) -> Json {
        let mut content = current;
        for _ in 0..self.below(4) {
            let (name, key) = match self.below(4) {
                0 => (self.one_of(&SINGLE_LEVELS), None),
                1 => ("events", Some(self.one_of(&KINDS))),
                2 => ("notifications", Some("room")),
                _ => ("users", Some(self.one_of(&USERS))),
            };
            let level = self.level();
            let whole = content.as_object_mut().unwrap();
            let holder = if key.is_some() {
                let levels = whole.entry(name).or_insert_with(|| json!({}));
                levels.as_object_mut().unwrap()
            } else {
                whole
            };
            let key = key.unwrap_or(name);
            if self.percent(30) {
                holder.remove(key);
            } else {
                holder.insert(key.to_owned(), level);
            }
        }
        if self.percent(15) {
            self.spoil_levels(&mut content);
        }
        content
    }

    /// Makes the content malformed, or nearly so.
    fn spoil_levels(&mut self, content: &mut Json) {
        let values = [
            json!(null),
            json!(true),
            json!([]),
            json!("all"),
            json!("5.0"),
            json!("- 1"),
            json!(""),
            json!("50"),
            json!({"x": null}),
            json!({"x": "y"}),
        ];
        let value = self.one_of(&values);
        match self.below(5) {
            0 => content[self.one_of(&SINGLE_LEVELS)] = value,
            1 => content["events"] = value,
            2 if self.version.rules().notification_levels => content["notifications"] = value,
            3 => content["users"] = json!({self.one_of(&NO_USERS): 50}),
            _ => content["users"] = value,
        }
    }

    fn public_keys(&mut self) -> Json {
        let [one, two] = [1, 2].map(|seed| key(seed).verifying_key().to_base64());
        self.one_of(&[
            json!({"public_key": one}),
            json!({"public_key": two}),
            json!({"public_key": two, "public_keys": [{"public_key": one}]}),
            json!({"public_key": one, "public_keys": []}),
            json!({"public_keys": [{"public_key": two}, {"public_key": one}]}),
            json!({}),
        ])
    }

    /// An event in the room of this state.
    pub(super) fn case(&mut self, state: &[Pdu]) -> Case {
        let mut draft = self.draft(state);
        let unlinked = self.event(&draft);
        let auth_events = self.auth_events(state, &unlinked);
        draft.auth_events = auth_events
            .iter()
            .map(|event| event.event_id().to_string())
            .collect();
        Case {
            event: self.event(&draft),
            auth_events,
        }
    }

    fn draft(&mut self, state: &[Pdu]) -> Draft {
        let create = state[0].event_id().to_string();
        let unknown = self.unknown_event();
        let draft = Draft {
            kind: "m.room.message",
            sender: self.sender(state),
            state_key: None,
            content: json!({}),
            room_id: Some(state[0].room_id().to_string()),
            prev_events: match self.below(10) {
                0 | 1 => vec![create],
                2 => vec![create, unknown],
                3 => Vec::new(),
                _ => vec![unknown],
            },
            auth_events: Vec::new(),
            redacts: None,
        };
        match self.below(100) {
            0..45 => self.member(draft),
            45..68 => self.power_levels(draft, state),
            68..73 => self.create(draft),
            73..78 => self.aliases(draft),
            78..86 => self.redaction(draft),
            86..91 => Draft {
                kind: "m.room.third_party_invite",
                state_key: Some(self.one_of(&["t", "u", "@alice:h"]).to_owned()),
                ..draft
            },
            _ => self.any_event(draft),
        }
    }

    /// Most often a user who is in the room.
    fn sender(&mut self, state: &[Pdu]) -> &'static str {
        let members = State::new(state);
        let joined: Vec<&str> = USERS
            .into_iter()
            .filter(|user| {
                members.membership((*user).try_into().unwrap()) == Some(Membership::Join)
            })
            .collect();
        if joined.is_empty() || self.percent(25) {
            self.one_of(&USERS)
        } else {
            self.one_of(&joined)
        }
    }

    fn any_event(&mut self, draft: Draft) -> Draft {
        let keys = [
            None,
            Some(""),
            Some("x"),
            Some("@alice:h"),
            Some("@x"),
            Some("@carol:other"),
        ];
        Draft {
            kind: self.one_of(&["m.room.message", "m.room.name", "org.example.other"]),
            state_key: self.one_of(&keys).map(str::to_owned),
            ..draft
        }
    }

    fn aliases(&mut self, draft: Draft) -> Draft {
        let keys = [None, Some("h"), Some("other"), Some(""), Some("@alice:h")];
        Draft {
            kind: "m.room.aliases",
            state_key: self.one_of(&keys).map(str::to_owned),
            content: json!({"aliases": []}),
            ..draft
        }
    }

    fn redaction(&mut self, draft: Draft) -> Draft {
        Draft {
            kind: "m.room.redaction",
            redacts: self.one_of(&[None, Some("$x:h"), Some("$x:other"), Some("x")]),
            ..draft
        }
    }

    fn power_levels(&mut self, draft: Draft, state: &[Pdu]) -> Draft {
        let current = State::new(state);
        let current = current
            .get("m.room.power_levels", "")
            .map_or(json!({}), |event| {
                serde_json::from_slice(event.content()).unwrap()
            });
        let content = if self.percent(20) {
            self.levels()
        } else {
            self.changed_levels(current)
        };
        Draft {
            kind: "m.room.power_levels",
            state_key: self
                .one_of(&[Some(""), Some(""), Some(""), None])
                .map(str::to_owned),
            content,
            ..draft
        }
    }

    fn create(&mut self, draft: Draft) -> Draft {
        let mut content = self.create_content();
        if self.percent(30) {
            content.as_object_mut().unwrap().remove("creator");
        } else if self.percent(20) {
            content["creator"] = self.one_of(&[json!(1), json!("x"), json!({})]);
        }
        if self.percent(30) {
            let others = [json!("x"), json!([1]), json!(["x"]), json!(null), json!({})];
            content["additional_creators"] = self.one_of(&others);
        }
        let prev_events = if self.percent(70) {
            Vec::new()
        } else {
            draft.prev_events
        };
        let room_id = self.one_of(&["!room:h", "!room:other", "!room:h:8448"]);
        Draft {
            kind: "m.room.create",
            state_key: Some(String::new()),
            content,
            room_id: self.is_room_id_stated().then(|| room_id.to_owned()),
            prev_events,
            ..draft
        }
    }

    fn member(&mut self, draft: Draft) -> Draft {
        let mut content = json!({});
        let membership = match self.below(40) {
            0 => json!("dance"),
            1 => json!(1),
            2 => Json::Null,
            _ => json!(self.one_of(&MEMBERSHIPS)),
        };
        if !membership.is_null() {
            content["membership"] = membership.clone();
        }
        if self.percent(if membership == "join" { 30 } else { 5 }) {
            content["join_authorised_via_users_server"] =
                if membership == "join" && self.percent(10) {
                    self.one_of(&[json!(1), json!("bob"), json!({})])
                } else {
                    json!(self.one_of(&USERS))
                };
        }
        let target = match self.below(20) {
            0 => None,
            1 => Some(self.one_of(&NO_USERS)),
            2..9 => Some(draft.sender),
            _ if membership == "join" || membership == "knock" => Some(draft.sender),
            _ => Some(self.one_of(&USERS)),
        };
        if self.percent(if membership == "invite" { 50 } else { 5 }) {
            content["third_party_invite"] = self.third_party_invite(target.unwrap_or_default());
        }
        Draft {
            kind: "m.room.member",
            state_key: target.map(str::to_owned),
            content,
            ..draft
        }
    }

    fn third_party_invite(&mut self, target: &str) -> Json {
        let mxid = if self.percent(90) { target } else { "@bob:h" };
        let token = if self.percent(90) { "t" } else { "u" };
        let seed = if self.percent(80) { 1 } else { 2 };
        let mut signed = signed(mxid, token, &key(seed));
        match self.below(20) {
            0 => {
                return self.one_of(&[
                    json!({}),
                    json!("x"),
                    json!({"signed": 1}),
                    json!({"signed": {}}),
                ]);
            }
            1 => drop(signed.as_object_mut().unwrap().remove("signatures")),
            2 => signed["mxid"] = json!(1),
            3 => signed["token"] = json!(1),
            4 => signed["extra"] = json!(1),
            5 => signed["signatures"]["another"] = json!({"ed25519:1": "x", "x": 1}),
            _ => {}
        }
        json!({"display_name": "x", "signed": signed})
    }

    /// Most often those that the event selects from the state.
    fn auth_events(&mut self, state: &[Pdu], event: &Pdu) -> Vec<Pdu> {
        let by_key = State::new(state);
        let selected = auth_types_of(event);
        let selected = selected
            .iter()
            .filter_map(|(kind, key)| by_key.get(kind, key));
        let mut auth_events: Vec<Pdu> = selected.cloned().collect();
        match self.below(20) {
            0 if !auth_events.is_empty() => {
                let index = self.below(auth_events.len());
                auth_events.remove(index);
            }
            1 => auth_events.push(self.one_of(state)),
            2 if !auth_events.is_empty() => {
                let again = self.one_of(&auth_events);
                auth_events.push(again);
            }
            _ => {}
        }
        auth_events
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::generate([seed; 32], "0").unwrap()
}

fn signed(mxid: &str, token: &str, key: &SigningKey) -> Json {
    let mut object =
        CanonicalObject::from_serialize(&json!({"mxid": mxid, "token": token})).unwrap();
    sign_json(&mut object, "id", key);
    serde_json::from_slice(object.as_bytes()).unwrap()
}
