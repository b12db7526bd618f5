//! Rooms to test with, written in one line: `"public alice=join:50 bob=ban"`.

use std::collections::BTreeMap;

use ruma_common::{OwnedEventId, OwnedUserId, RoomId};
use serde_json::{Value as Json, json};
use starling_events::{
    CanonicalObject, EventBuilder, EventReference, Pdu, RoomVersion, SigningKey,
    room_version::{CreatorPlace, EventIdForm, ReferenceForm, RoomIdForm},
};
use starling_stateres::{AuthError, AuthState, check};

/// `alice` is `@alice:h`, `alice/other` is `@alice:other`.
pub(crate) fn user(name: &str) -> OwnedUserId {
    let (localpart, server) = name.split_once('/').unwrap_or((name, "h"));
    OwnedUserId::try_from(format!("@{localpart}:{server}")).unwrap()
}

/// An event id in the form of the version; where it has a domain, that is `h`.
pub(crate) fn event_id(version: RoomVersion, letter: char) -> OwnedEventId {
    let domain = match version.rules().event_id {
        EventIdForm::Stated => ":h",
        EventIdForm::Hash | EventIdForm::UrlSafeHash => "",
    };
    OwnedEventId::try_from(format!("${}{domain}", letter.to_string().repeat(43))).unwrap()
}

/// A reference to [`event_id`].
pub(crate) fn reference(version: RoomVersion, letter: char) -> EventReference {
    EventReference {
        event_id: event_id(version, letter),
        hash: (version.rules().references == ReferenceForm::WithHashes).then_some([0; 32]),
    }
}

/// The content of a create event with the creator that the version may want to have in it.
pub(crate) fn with_creator(version: RoomVersion, content: &Json) -> Json {
    let mut content = content.clone();
    if version.rules().creator == CreatorPlace::Content && content.get("creator").is_none() {
        content["creator"] = json!("@creator:h");
    }
    content
}

/// The versions, each with its number.
pub(crate) fn numbered_versions() -> impl Iterator<Item = (usize, RoomVersion)> {
    (1..).zip(RoomVersion::ALL)
}

/// A room with state. Its creator is `creator`, who is joined.
pub(crate) struct Room {
    pub(crate) version: RoomVersion,
    pub(crate) create: Pdu,
    pub(crate) state: BTreeMap<(String, String), Pdu>,
}

impl AuthState for Room {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        self.state.get(&(kind.to_owned(), state_key.to_owned()))
    }
}

/// A create event of the version.
pub(crate) fn create_event(version: RoomVersion, content: &Json) -> Pdu {
    let room_id = match version.rules().room_id {
        RoomIdForm::WithDomain => Some(RoomId::parse("!room:h").unwrap()),
        RoomIdForm::CreateEventHash => None,
    };
    let create = EventBuilder {
        room_id,
        sender: user("creator"),
        kind: "m.room.create".to_owned(),
        state_key: Some(String::new()),
        content: CanonicalObject::from_serialize(content).unwrap(),
        redacts: None,
        origin_server_ts: 0,
        depth: 1,
        prev_events: Vec::new(),
        auth_events: Vec::new(),
    };
    sign(create, version)
}

/// Builds the event, signed by its sender's server.
pub(crate) fn sign(event: EventBuilder, version: RoomVersion) -> Pdu {
    let key = SigningKey::generate([1; 32], "1").unwrap();
    let server = event.sender.server_name().to_owned();
    event.build(version, &server, &key).unwrap()
}

impl Room {
    /// A room with nothing but a create event of this content (see [`with_creator`]).
    pub(crate) fn empty(version: RoomVersion, create: &Json) -> Self {
        let mut room = Self {
            version,
            create: create_event(version, &with_creator(version, create)),
            state: BTreeMap::new(),
        };
        room.insert(room.create.clone());
        room
    }

    /// A room as described: the join rule, and users with `=membership` and perhaps `:level`. Of the power levels
    /// there is an event if a user has one.
    pub(crate) fn new(version: RoomVersion, description: &str) -> Self {
        let mut room = Self::empty(version, &json!({"room_version": version.as_str()}));
        let mut levels = serde_json::Map::new();
        room.set(
            "creator",
            "m.room.member",
            user("creator").as_str(),
            &json!({"membership": "join"}),
        );
        for word in description.split_whitespace() {
            let Some((name, is)) = word.split_once('=') else {
                room.set(
                    "creator",
                    "m.room.join_rules",
                    "",
                    &json!({"join_rule": word}),
                );
                continue;
            };
            let (membership, level) = is.split_once(':').unwrap_or((is, ""));
            room.set(
                name,
                "m.room.member",
                user(name).as_str(),
                &json!({"membership": membership}),
            );
            if !level.is_empty() {
                levels.insert(user(name).to_string(), json!(level.parse::<i64>().unwrap()));
            }
        }
        if !levels.is_empty() {
            if !version.rules().privileged_creators {
                levels
                    .entry(user("creator").to_string())
                    .or_insert(json!(100));
            }
            room.levels(&json!({"users": levels}));
        }
        room
    }

    /// An event that the room may be asked about.
    pub(crate) fn builder(
        &self,
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: &Json,
    ) -> EventBuilder {
        EventBuilder {
            room_id: Some(self.create.room_id().to_owned()),
            sender: user(sender),
            kind: kind.to_owned(),
            state_key: state_key.map(str::to_owned),
            content: CanonicalObject::from_serialize(content).unwrap(),
            redacts: None,
            origin_server_ts: 1,
            depth: 2,
            prev_events: vec![reference(self.version, 'p')],
            auth_events: Vec::new(),
        }
    }

    pub(crate) fn event(
        &self,
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: &Json,
    ) -> Pdu {
        sign(self.builder(sender, kind, state_key, content), self.version)
    }

    /// An event from another server, whose content is written as given. It needn't be JSON that we would write.
    pub(crate) fn received(
        &self,
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: &str,
    ) -> Pdu {
        let event = self.event(sender, kind, state_key, &json!({"placeholder": 0}));
        let json = String::from_utf8(event.json().to_vec()).unwrap();
        let json = json.replace(r#"{"placeholder":0}"#, content);
        Pdu::parse(self.version, json.as_bytes()).unwrap()
    }

    pub(crate) fn insert(&mut self, event: Pdu) {
        let key = (
            event.kind().to_owned(),
            event.state_key().unwrap().to_owned(),
        );
        self.state.insert(key, event);
    }

    /// Puts an event into the state, unchecked.
    pub(crate) fn set(&mut self, sender: &str, kind: &str, state_key: &str, content: &Json) {
        let event = self.event(sender, kind, Some(state_key), content);
        self.insert(event);
    }

    pub(crate) fn levels(&mut self, content: &Json) {
        self.set("creator", "m.room.power_levels", "", content);
    }

    pub(crate) fn check(&self, event: &Pdu) -> Result<(), AuthError> {
        check(self.version, event, self)
    }

    /// The member event of an action: `"alice invite bob"`, or `"alice join"` of oneself.
    pub(crate) fn action(&self, action: &str) -> Pdu {
        let mut words = action.split_whitespace();
        let (sender, membership) = (words.next().unwrap(), words.next().unwrap());
        let target = words.next().unwrap_or(sender);
        self.event(
            sender,
            "m.room.member",
            Some(user(target).as_str()),
            &json!({"membership": membership}),
        )
    }
}

/// What the rules say to an action in a room of each version.
#[track_caller]
pub(crate) fn member(description: &str, action: &str, expected: Result<(), AuthError>) {
    for version in RoomVersion::ALL {
        let room = Room::new(version, description);
        let result = room.check(&room.action(action));
        assert_eq!(
            result, expected,
            "version {version}: [{description}] {action}"
        );
    }
}
