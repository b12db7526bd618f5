//! Making a member event of a resident server's template.

use ruma_common::{OwnedEventId, RoomId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Map, Value};
use starling_events::room_version::ReferenceForm;
use starling_events::{
    CanonicalObject, EventBuilder, EventReference, Pdu, RoomVersion, unpadded_base64,
};

use crate::error::SendError;
use crate::membership::AUTHORISED_VIA;
use crate::remote::{Handshake, Template, malformed};
use crate::rooms::Rooms;

/// What a user wants of a room.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) handshake: Handshake,
    pub(super) room_id: &'a RoomId,
    pub(super) user: &'a UserId,
    /// The content of the member event, as far as it is this server's.
    pub(super) content: Map<String, Value>,
}

/// What is read of a template. What else it says, such as its time, is ours to say.
#[derive(Debug, Deserialize)]
struct TemplateEvent {
    #[serde(rename = "type")]
    kind: String,
    room_id: String,
    sender: String,
    state_key: String,
    content: TemplateContent,
    #[serde(default)]
    depth: i64,
    #[serde(default)]
    prev_events: Vec<Reference>,
    #[serde(default)]
    auth_events: Vec<Reference>,
}

#[derive(Debug, Deserialize)]
struct TemplateContent {
    membership: String,
    join_authorised_via_users_server: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Reference {
    Id(OwnedEventId),
    WithHash(OwnedEventId, Hash),
}

#[derive(Debug, Deserialize)]
struct Hash {
    /// Synapse leaves it out.
    sha256: Option<String>,
}

impl Rooms {
    /// The event that a template is for, signed.
    ///
    /// # Errors
    /// [`SendError::IncompatibleVersion`], and [`SendError::Remote`] when it is a template of something else.
    pub(super) fn fill_in(
        &self,
        server: &ServerName,
        template: &Template,
        wish: &Wish<'_>,
    ) -> Result<Pdu, SendError> {
        let malformed = |problem: &str| SendError::from(malformed(server, problem));
        let version = template.room_version.as_deref().unwrap_or("1");
        let version = RoomVersion::parse(version)
            .ok_or_else(|| SendError::IncompatibleVersion(version.to_owned()))?;
        let event: TemplateEvent = serde_json::from_str(template.event.get())
            .map_err(|error| malformed(&error.to_string()))?;
        let membership = wish.handshake.membership().as_str();
        let is_wanted = event.kind == "m.room.member"
            && *wish.room_id == *event.room_id
            && *wish.user == *event.sender
            && *wish.user == *event.state_key
            && event.content.membership == membership;
        if !is_wanted {
            return Err(malformed("a template of another event"));
        }
        let mut content = wish.content.clone();
        let authoriser = event.content.join_authorised_via_users_server;
        if wish.handshake == Handshake::Join {
            content.extend(authoriser.map(|user| (AUTHORISED_VIA.to_owned(), user.into())));
        }
        let references = |references: Vec<Reference>| {
            let read = references.into_iter().map(|one| one.read(version));
            read.collect::<Option<Vec<_>>>()
                .ok_or_else(|| malformed("events are not named as in this room version"))
        };
        let builder = EventBuilder {
            room_id: Some(wish.room_id.to_owned()),
            sender: wish.user.to_owned(),
            kind: "m.room.member".to_owned(),
            state_key: Some(wish.user.as_str().to_owned()),
            content: CanonicalObject::from_serialize(&content)?,
            redacts: None,
            origin_server_ts: self.parts.clock.now_ms(),
            depth: event.depth.max(1),
            prev_events: references(event.prev_events)?,
            auth_events: references(event.auth_events)?,
        };
        let (own, key) = (&self.parts.server_name, &self.parts.signing_key);
        builder
            .build(version, own, key)
            .map_err(|error| malformed(&error.to_string()))
    }
}

impl Reference {
    /// As the events of a version name others; `None` when it is in another form.
    fn read(self, version: RoomVersion) -> Option<EventReference> {
        match (self, version.rules().references) {
            (Self::Id(event_id), ReferenceForm::Ids) => Some(EventReference {
                event_id,
                hash: None,
            }),
            (Self::WithHash(event_id, Hash { sha256 }), ReferenceForm::WithHashes) => {
                let decode = |hash: String| unpadded_base64::decode(&hash)?.try_into().ok();
                let hash = match sha256 {
                    Some(hash) => Some(decode(hash)?),
                    None => None,
                };
                Some(EventReference { event_id, hash })
            }
            _ => None,
        }
    }
}
