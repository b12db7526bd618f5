//! Events of the shape of room versions 11 and 12: canonical, hashed and signed.
//! <https://spec.matrix.org/v1.19/server-server-api/#signing-events>
//!
//! The fields of the structures are in alphabetical order, and `serde_json` sorts the keys of the content and prints
//! them without spaces: so what it prints is [canonical](https://spec.matrix.org/v1.19/appendices/#canonical-json).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// Stand-ins for a room's create event, power levels and the sender's membership. The last is also what the first
/// message of a room comes after.
const AUTH_EVENTS: [&str; 3] = [
    "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "$BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA",
    "$CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCA",
];

/// Where a room's next event is appended.
#[derive(Debug)]
pub(super) struct Tip {
    /// The last event.
    pub(super) event_id: String,
    /// Its depth.
    pub(super) depth: u64,
}

impl Default for Tip {
    fn default() -> Self {
        let [.., last] = AUTH_EVENTS;
        Self {
            event_id: last.to_owned(),
            depth: 3,
        }
    }
}

/// What a message is made of.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) room_id: &'a str,
    pub(super) sender: &'a str,
    pub(super) kind: &'a str,
    /// Canonical.
    pub(super) content: &'a RawValue,
    /// Milliseconds since 1970.
    pub(super) origin_server_ts: i64,
}

/// An event that is ready to be stored and delivered.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: String,
    /// As servers see it.
    pub(super) json: Vec<u8>,
    /// As clients see it in `/sync`.
    pub(super) client_json: Bytes,
}

#[derive(Debug, Serialize)]
struct Pdu<'a> {
    auth_events: [&'static str; 3],
    content: Content<'a>,
    depth: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    hashes: Option<Hashes<'a>>,
    origin_server_ts: i64,
    prev_events: [&'a str; 1],
    room_id: &'a str,
    sender: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    signatures: Option<Signatures<'a>>,
    #[serde(rename = "type")]
    kind: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Whole(&'a RawValue),
    /// As redaction leaves it in all but a few types, which are state or redactions themselves.
    Redacted {},
}

#[derive(Debug, Serialize)]
struct Hashes<'a> {
    sha256: &'a str,
}

#[derive(Debug, Serialize)]
struct Signatures<'a> {
    #[serde(rename = "floor.example")]
    of_server: SignaturesOfServer<'a>,
}

#[derive(Debug, Serialize)]
struct SignaturesOfServer<'a> {
    #[serde(rename = "ed25519:1")]
    by_key: &'a str,
}

#[derive(Debug, Serialize)]
struct ClientEvent<'a> {
    content: &'a RawValue,
    event_id: &'a str,
    origin_server_ts: i64,
    sender: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

/// Makes events of messages.
#[derive(Debug)]
pub(super) struct Signer {
    key: SigningKey,
}

impl Signer {
    /// With a key that is no secret: nobody trusts this server.
    pub(super) fn new() -> Self {
        Self {
            key: SigningKey::from_bytes(&[1; 32]),
        }
    }

    pub(super) fn verifying_key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// Makes the room's next event, and moves its tip there.
    ///
    /// # Errors
    /// None that is known: each value has a form in JSON.
    pub(super) fn append(
        &self,
        tip: &mut Tip,
        message: &Message<'_>,
    ) -> Result<Event, serde_json::Error> {
        let mut pdu = Pdu {
            auth_events: AUTH_EVENTS,
            content: Content::Whole(message.content),
            depth: tip.depth + 1,
            hashes: None,
            origin_server_ts: message.origin_server_ts,
            prev_events: [&tip.event_id],
            room_id: message.room_id,
            sender: message.sender,
            signatures: None,
            kind: message.kind,
        };
        let content_hash = STANDARD_NO_PAD.encode(Sha256::digest(serde_json::to_vec(&pdu)?));
        pdu.hashes = Some(Hashes {
            sha256: &content_hash,
        });
        // The event id is the hash of the same bytes that are signed.
        pdu.content = Content::Redacted {};
        let redacted = serde_json::to_vec(&pdu)?;
        let event_id = format!("${}", URL_SAFE_NO_PAD.encode(Sha256::digest(&redacted)));
        let signature = STANDARD_NO_PAD.encode(self.key.sign(&redacted).to_bytes());
        pdu.content = Content::Whole(message.content);
        pdu.signatures = Some(Signatures {
            of_server: SignaturesOfServer { by_key: &signature },
        });
        let json = serde_json::to_vec(&pdu)?;
        tip.event_id.clone_from(&event_id);
        tip.depth += 1;
        let client_event = ClientEvent {
            content: message.content,
            event_id: &event_id,
            origin_server_ts: message.origin_server_ts,
            sender: message.sender,
            kind: message.kind,
        };
        Ok(Event {
            json,
            client_json: serde_json::to_vec(&client_event)?.into(),
            id: event_id,
        })
    }
}
