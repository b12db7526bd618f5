//! Making events: content hash, signature, event id.
//! <https://spec.matrix.org/v1.19/server-server-api/#adding-hashes-and-signatures-to-outgoing-events>

use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, ServerName};
use thiserror::Error;

use crate::{
    canonical_json::{CanonicalObject, MAX_INTEGER},
    format::{MAX_PDU_BYTES, ParseError, read_fields},
    hash, json_string,
    keys::SigningKey,
    object::{self, ObjectWriter},
    pdu::Pdu,
    redact,
    room_version::{RedactsPlace, RoomVersion},
    sign, unpadded_base64,
};

/// Why no event can be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildError {
    /// The event, or the named field of it, is larger than allowed.
    #[error("{0} is too large")]
    TooLarge(&'static str),
    /// The named field is missing, of the wrong form, or beyond the integers of canonical JSON.
    #[error("{0} is invalid")]
    Invalid(&'static str),
}

impl From<ParseError> for BuildError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::TooLarge(field) => Self::TooLarge(field),
            ParseError::Missing(field) | ParseError::Invalid(field) => Self::Invalid(field),
            ParseError::Json(_) => Self::Invalid("event"),
        }
    }
}

/// An event that is not hashed and signed yet.
#[derive(Debug, Clone)]
pub struct EventBuilder {
    /// `None` for a create event whose hash is the room id.
    pub room_id: Option<OwnedRoomId>,
    /// The user who sends the event.
    pub sender: OwnedUserId,
    /// The event's `type`.
    pub kind: String,
    /// The state key, for a state event.
    pub state_key: Option<String>,
    /// The content.
    pub content: CanonicalObject,
    /// The event that this one redacts; put where the room version wants it.
    pub redacts: Option<OwnedEventId>,
    /// Now, in milliseconds since 1970.
    pub origin_server_ts: i64,
    /// One more than the greatest depth of the previous events. Beyond the limit it becomes the limit.
    pub depth: i64,
    /// The events that this one follows.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that allow this one.
    pub auth_events: Vec<OwnedEventId>,
}

impl EventBuilder {
    /// Hashes and signs the event in the name of `server_name`, and checks that other servers can take it.
    pub fn build(
        self,
        version: RoomVersion,
        server_name: &ServerName,
        key: &SigningKey,
    ) -> Result<Pdu, BuildError> {
        let unhashed = self.write(version)?;
        let mut sha256 = ObjectWriter::with_capacity(64);
        sha256.string(
            "sha256",
            &unpadded_base64::encode(&hash::content_hash(&unhashed)),
        );
        let hashed = object::with_member(&unhashed, "hashes", &sha256.finish());
        let signed = redact::signed_bytes(version, &hashed);
        let signatures =
            sign::with_signature(None, server_name.as_str(), key.key_id(), &key.sign(&signed));
        let event = object::with_member(&hashed, "signatures", &signatures);
        if event.len() > MAX_PDU_BYTES {
            return Err(BuildError::TooLarge("event"));
        }
        let fields = read_fields(version, &event)?;
        let event_id = hash::event_id_of_signed_bytes(version, &signed);
        Ok(Pdu::new(version, event_id, fields, event.into()))
    }

    /// The event's canonical bytes without hashes and signatures.
    fn write(mut self, version: RoomVersion) -> Result<Vec<u8>, BuildError> {
        if !(-MAX_INTEGER..=MAX_INTEGER).contains(&self.origin_server_ts) {
            return Err(BuildError::Invalid("origin_server_ts"));
        }
        if let Some(redacts) = &self.redacts {
            let mut literal = Vec::with_capacity(redacts.as_str().len() + 2);
            json_string::write(&mut literal, redacts.as_str());
            match version.rules().redacts {
                RedactsPlace::Content => self.content.set("redacts", &literal),
            }
        }
        let mut out = ObjectWriter::with_capacity(self.content.as_bytes().len() + 512);
        out.member("auth_events", &id_array(&self.auth_events));
        out.member("content", self.content.as_bytes());
        out.member("depth", self.depth.min(MAX_INTEGER).to_string().as_bytes());
        out.member(
            "origin_server_ts",
            self.origin_server_ts.to_string().as_bytes(),
        );
        out.member("prev_events", &id_array(&self.prev_events));
        if let Some(room_id) = &self.room_id {
            out.string("room_id", room_id.as_str());
        }
        out.string("sender", self.sender.as_str());
        if let Some(state_key) = &self.state_key {
            out.string("state_key", state_key);
        }
        out.string("type", &self.kind);
        Ok(out.finish())
    }
}

fn id_array(ids: &[OwnedEventId]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, id) in ids.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json_string::write(&mut out, id.as_str());
    }
    out.push(b']');
    out
}
