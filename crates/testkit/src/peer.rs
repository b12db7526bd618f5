//! Another server, as far as its events go: they are built and signed as it would.

use ruma_common::{OwnedServerName, OwnedUserId, RoomId};
use serde_json::Value;
use starling_events::{
    CanonicalObject, EventBuilder, EventReference, Pdu, RoomVersion, SigningKey,
};

/// A server that makes events.
#[derive(Debug)]
pub struct Peer {
    /// Its name.
    pub server: OwnedServerName,
    /// The key that it signs with.
    pub key: SigningKey,
}

/// What an event of a peer says.
#[derive(Debug, Clone)]
pub struct Said<'a> {
    /// The local part of who sends it.
    pub sender: &'a str,
    /// Its type.
    pub kind: &'a str,
    /// Its state key, for a state event.
    pub state_key: Option<&'a str>,
    /// Its content.
    pub content: Value,
}

impl Peer {
    /// A server of this name.
    ///
    /// # Panics
    /// When it is no name of a server.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let seed = [u8::try_from(name.len()).unwrap_or(u8::MAX); 32];
        Self {
            server: OwnedServerName::try_from(name).expect("a server name"),
            key: SigningKey::generate(seed, "peer").expect("a key"),
        }
    }

    /// One of its users.
    ///
    /// # Panics
    /// When it is no local part.
    #[must_use]
    pub fn user(&self, name: &str) -> OwnedUserId {
        OwnedUserId::try_from(format!("@{name}:{}", self.server)).expect("a user id")
    }

    /// An event that follows `prev` and is allowed by `auth`, at this time (milliseconds since 1970).
    ///
    /// # Panics
    /// When it cannot be an event.
    #[must_use]
    pub fn event(
        &self,
        (version, room_id): (RoomVersion, &RoomId),
        said: &Said<'_>,
        (prev, auth): (&[&Pdu], &[&Pdu]),
        origin_server_ts: i64,
    ) -> Pdu {
        let depth = prev.iter().map(|pdu| pdu.depth()).max().unwrap_or(0) + 1;
        let create =
            |pdu: &&&Pdu| version.rules().create_in_auth_events || pdu.kind() != "m.room.create";
        let builder = EventBuilder {
            room_id: Some(room_id.to_owned()),
            sender: self.user(said.sender),
            kind: said.kind.to_owned(),
            state_key: said.state_key.map(str::to_owned),
            content: CanonicalObject::from_serialize(&said.content).expect("content"),
            redacts: None,
            origin_server_ts,
            depth,
            prev_events: prev.iter().map(|pdu| EventReference::of(pdu)).collect(),
            auth_events: auth
                .iter()
                .filter(create)
                .map(|pdu| EventReference::of(pdu))
                .collect(),
        };
        builder
            .build(version, &self.server, &self.key)
            .expect("an event")
    }
}
