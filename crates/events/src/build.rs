//! Making events: content hash, signature, event id.
//! <https://spec.matrix.org/v1.19/server-server-api/#adding-hashes-and-signatures-to-outgoing-events>

use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, ServerName};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{
    canonical_json::{CanonicalObject, MAX_INTEGER},
    format::{MAX_PDU_BYTES, ParseError, read_fields},
    hash, json_string,
    keys::SigningKey,
    object::{Object, ObjectWriter},
    pdu::Pdu,
    redact,
    room_version::{EventIdForm, RedactsPlace, ReferenceForm, RoomVersion},
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

/// How an event names another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventReference {
    /// The id of the event.
    pub event_id: OwnedEventId,
    /// The reference hash, which room versions 1 and 2 write beside the id; `None` elsewhere, and where it isn't known: deployed
    /// servers leave it out, and check none.
    pub hash: Option<[u8; 32]>,
}

impl EventReference {
    /// A reference to this event, from an event of the same room.
    #[must_use]
    pub fn of(event: &Pdu) -> Self {
        let hash = match event.version().rules().references {
            ReferenceForm::WithHashes => Some(hash::reference_hash(event.version(), event.json())),
            ReferenceForm::Ids => None,
        };
        Self {
            event_id: event.event_id().to_owned(),
            hash,
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
    /// One more than the greatest depth of the previous events. Beyond the room version's limit it becomes the limit.
    pub depth: i64,
    /// The events that this one follows.
    pub prev_events: Vec<EventReference>,
    /// The events that allow this one.
    pub auth_events: Vec<EventReference>,
}

impl EventBuilder {
    /// Hashes and signs the event in the name of `server_name`, and checks that other servers can take it. It is
    /// canonical JSON even where the room version doesn't ask for it (but for a depth beyond 2^53 − 1, to which only
    /// other servers' events can have led).
    ///
    /// Where events state their id, that is `$HASH:SERVER_NAME`, with the hash of all else that is in the event before
    /// hashes and signatures, in URL-safe base64. So the same event always has the same id, and other events have
    /// others: they differ in what they follow, in their content or in time.
    pub fn build(
        self,
        version: RoomVersion,
        server_name: &ServerName,
        key: &SigningKey,
    ) -> Result<Pdu, BuildError> {
        let mut event = self.write(version)?;
        if version.rules().event_id == EventIdForm::Stated {
            let hash = unpadded_base64::encode_url_safe(&Sha256::digest(&event.json));
            event.insert_event_id(&literal(&format!("${hash}:{server_name}")));
        }
        // Nothing that the content hash leaves out is there yet.
        let content_hash = Sha256::digest(&event.json).into();
        event.insert_hashes(&sha256_object(&content_hash));
        let signed = redact::signed_bytes(version, &event.json);
        let signatures =
            sign::with_signature(None, server_name.as_str(), key.key_id(), &key.sign(&signed));
        event.insert_signatures(&signatures);
        let event = event.json;
        if event.len() > MAX_PDU_BYTES {
            return Err(BuildError::TooLarge("event"));
        }
        let fields = read_fields(version, &Object::new(&event))?;
        let event_id = fields
            .event_id
            .clone()
            .unwrap_or_else(|| hash::event_id_of_signed_bytes(version, &signed));
        Ok(Pdu::new(version, event_id, fields, event.into()))
    }

    /// The event's canonical bytes without event id, hashes and signatures.
    fn write(mut self, version: RoomVersion) -> Result<Unfinished, BuildError> {
        if !(-MAX_INTEGER..=MAX_INTEGER).contains(&self.origin_server_ts) {
            return Err(BuildError::Invalid("origin_server_ts"));
        }
        let rules = version.rules();
        let mut top_level_redacts = None;
        match rules.redacts {
            RedactsPlace::TopLevel => top_level_redacts = self.redacts,
            RedactsPlace::Content => {
                if let Some(redacts) = self.redacts {
                    self.content.set("redacts", &literal(redacts.as_str()));
                }
            }
        }
        let mut out = ObjectWriter::with_capacity(self.content.as_bytes().len() + 512);
        let auth_events = references(rules.references, &self.auth_events);
        out.member("auth_events", &auth_events);
        out.member("content", self.content.as_bytes());
        let depth = self.depth.min(rules.max_depth());
        out.member("depth", depth.to_string().as_bytes());
        let after_depth = out.len();
        out.member(
            "origin_server_ts",
            self.origin_server_ts.to_string().as_bytes(),
        );
        let prev_events = references(rules.references, &self.prev_events);
        out.member("prev_events", &prev_events);
        if let Some(redacts) = top_level_redacts {
            out.string("redacts", redacts.as_str());
        }
        if let Some(room_id) = &self.room_id {
            out.string("room_id", room_id.as_str());
        }
        out.string("sender", self.sender.as_str());
        let after_sender = out.len();
        if let Some(state_key) = &self.state_key {
            out.string("state_key", state_key);
        }
        out.string("type", &self.kind);
        Ok(Unfinished {
            json: out.finish(),
            after_depth,
            after_sender,
        })
    }
}

/// An event to which members are added where their keys belong.
struct Unfinished {
    json: Vec<u8>,
    /// Where `event_id` and then `hashes` go.
    after_depth: usize,
    /// Where `signatures` goes.
    after_sender: usize,
}

impl Unfinished {
    fn insert_event_id(&mut self, value: &[u8]) {
        self.after_depth = self.insert(self.after_depth, "event_id", value);
    }

    fn insert_hashes(&mut self, value: &[u8]) {
        self.after_depth = self.insert(self.after_depth, "hashes", value);
    }

    fn insert_signatures(&mut self, value: &[u8]) {
        self.insert(self.after_sender, "signatures", value);
    }

    /// Adds a member after another, and returns where it ends.
    fn insert(&mut self, at: usize, key: &str, value: &[u8]) -> usize {
        let before = self.json.len();
        let member = [b",\"", key.as_bytes(), b"\":", value].concat();
        self.json.splice(at..at, member);
        let added = self.json.len() - before;
        if at < self.after_sender {
            self.after_sender += added;
        }
        at + added
    }
}

/// The array of references in this form.
fn references(form: ReferenceForm, references: &[EventReference]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, reference) in references.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let id = literal(reference.event_id.as_str());
        match form {
            ReferenceForm::Ids => out.extend_from_slice(&id),
            ReferenceForm::WithHashes => {
                out.push(b'[');
                out.extend_from_slice(&id);
                out.push(b',');
                match &reference.hash {
                    Some(hash) => out.extend_from_slice(&sha256_object(hash)),
                    None => out.extend_from_slice(b"{}"),
                }
                out.push(b']');
            }
        }
    }
    out.push(b']');
    out
}

/// A hash as events write it.
fn sha256_object(hash: &[u8; 32]) -> Vec<u8> {
    let mut out = ObjectWriter::with_capacity(64);
    out.string("sha256", &unpadded_base64::encode(hash));
    out.finish()
}

fn literal(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    json_string::write(&mut out, text);
    out
}
