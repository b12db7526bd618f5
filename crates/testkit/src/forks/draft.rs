//! What a user wants to send, and the event that it becomes.

use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde_json::{Value, json};
use starling_events::{
    Pdu, RoomVersion,
    room_version::{EventIdForm, RedactsPlace, ReferenceForm, RoomIdForm},
    unpadded_base64,
};

use super::Dice;

/// What a user wants to send.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The user.
    pub sender: OwnedUserId,
    /// The `type`.
    pub kind: String,
    /// The state key, for a state event.
    pub state_key: Option<String>,
    /// The content, an object.
    pub content: Value,
    /// The user whose server signs the event too.
    pub authorised_by: Option<OwnedUserId>,
    /// The event that this one redacts.
    pub redacts: Option<OwnedEventId>,
}

impl Draft {
    /// A state event.
    #[must_use]
    pub fn state(sender: &OwnedUserId, kind: &str, state_key: &str, content: Value) -> Self {
        Self {
            sender: sender.clone(),
            kind: kind.to_owned(),
            state_key: Some(state_key.to_owned()),
            content,
            authorised_by: None,
            redacts: None,
        }
    }

    /// A change of somebody's membership.
    #[must_use]
    pub fn member(sender: &OwnedUserId, membership: &str, target: &OwnedUserId) -> Self {
        let content = json!({ "membership": membership });
        Self::state(sender, "m.room.member", target.as_str(), content)
    }
}

/// Where an event stands, as its server says.
#[derive(Debug, Clone)]
pub struct Place {
    /// The events that it follows.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that it cites.
    pub auth_events: Vec<OwnedEventId>,
    /// Its time.
    pub origin_server_ts: i64,
    /// Its depth.
    pub depth: i64,
}

/// An event id of the version's form that no event has yet.
///
/// # Panics
/// When `server` is no server name.
#[must_use]
pub fn random_event_id(version: RoomVersion, server: &str, dice: &mut Dice) -> OwnedEventId {
    let bytes = dice.bytes();
    let id = match version.rules().event_id {
        EventIdForm::Stated => {
            let opaque = unpadded_base64::encode_url_safe(bytes.split_at(12).0);
            format!("${opaque}:{server}")
        }
        EventIdForm::Hash => format!("${}", unpadded_base64::encode(&bytes)),
        EventIdForm::UrlSafeHash => format!("${}", unpadded_base64::encode_url_safe(&bytes)),
    };
    id.try_into().expect("an event id")
}

/// The room id of a room, before it has a create event where that is its id.
#[must_use]
pub fn room_id(version: RoomVersion, creator: &OwnedUserId) -> Option<OwnedRoomId> {
    match version.rules().room_id {
        RoomIdForm::WithDomain => {
            let id = format!("!forks:{}", creator.server_name());
            Some(id.try_into().expect("a room id"))
        }
        RoomIdForm::CreateEventHash => None,
    }
}

impl Draft {
    /// The event with this id: neither hashed nor signed, as that takes long and nothing here looks at it. Nor is JSON
    /// built as a tree of values: rooms are made by the ten thousand in tests that aren't optimised.
    ///
    /// # Panics
    /// When it is no event of the version's format.
    #[must_use]
    pub fn into_pdu(
        mut self,
        version: RoomVersion,
        room_id: Option<&OwnedRoomId>,
        event_id: OwnedEventId,
        place: &Place,
    ) -> Pdu {
        let rules = version.rules();
        let mut top_level_redacts = None;
        if let Some(redacts) = &self.redacts {
            match rules.redacts {
                RedactsPlace::TopLevel => top_level_redacts = Some(quoted(redacts.as_str())),
                RedactsPlace::Content => {
                    if let Value::Object(content) = &mut self.content {
                        content.insert("redacts".to_owned(), json!(redacts));
                    }
                }
            }
        }
        let states_id = rules.event_id == EventIdForm::Stated;
        let members = [
            ("auth_events", Some(references(version, &place.auth_events))),
            ("content", Some(self.content.to_string())),
            ("depth", Some(place.depth.to_string())),
            ("event_id", states_id.then(|| quoted(event_id.as_str()))),
            ("hashes", Some(r#"{"sha256":""}"#.to_owned())),
            ("origin_server_ts", Some(place.origin_server_ts.to_string())),
            ("prev_events", Some(references(version, &place.prev_events))),
            ("redacts", top_level_redacts),
            ("room_id", room_id.map(|id| quoted(id.as_str()))),
            ("sender", Some(quoted(self.sender.as_str()))),
            ("signatures", Some(self.signatures())),
            ("state_key", self.state_key.as_deref().map(quoted)),
            ("type", Some(quoted(&self.kind))),
        ];
        let members = members
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        let json = object(members);
        let bytes = json.into_bytes().into();
        Pdu::from_stored(version, event_id, bytes).expect("an event of the version's format")
    }

    fn signatures(&self) -> String {
        let mut servers = vec![self.sender.server_name()];
        servers.extend(self.authorised_by.iter().map(|user| user.server_name()));
        servers.sort_unstable();
        servers.dedup();
        object(
            servers
                .iter()
                .map(|server| (server.as_str(), r#"{"ed25519:0":""}"#)),
        )
    }
}

/// An object of these members, which are in order.
fn object<'a>(members: impl Iterator<Item = (&'a str, impl AsRef<str>)>) -> String {
    let mut json = String::with_capacity(768);
    for (key, value) in members {
        json.push_str(if json.is_empty() { "{\"" } else { ",\"" });
        json.push_str(key);
        json.push_str("\":");
        json.push_str(value.as_ref());
    }
    json.push('}');
    json
}

/// A literal of a text without characters that need an escape.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn references(version: RoomVersion, ids: &[OwnedEventId]) -> String {
    let literals: Vec<String> = ids
        .iter()
        .map(|id| match version.rules().references {
            ReferenceForm::Ids => quoted(id.as_str()),
            ReferenceForm::WithHashes => format!(r#"["{id}",{{"sha256":""}}]"#),
        })
        .collect();
    format!("[{}]", literals.join(","))
}
