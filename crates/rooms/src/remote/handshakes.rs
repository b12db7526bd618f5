//! Coming into a room of other servers, leaving it, and asking to be let in: a resident server gives a template for the
//! member event, and takes the event.
//! <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>

use std::time::Duration;

use ruma_common::{OwnedEventId, RoomId, ServerName, UserId};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use starling_events::{Pdu, RoomVersion};
use starling_outbound::{RemoteError, Request};
use starling_store::memberships::Membership;

use super::Remote;
use super::request::{v1, v2, with_query};

/// How long a client that waits for it is made to wait for a server.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a resident server may take to write a large room's state.
const JOIN_PATIENCE: Duration = Duration::from_mins(3);

/// How much of an answer with a room's state is taken: 64 MiB, some 70,000 events. It is in memory about three times
/// over until the room is stored, so what a hostile server can make of one join must stay bounded.
pub(super) const STATE_BYTES: usize = 64 << 20;

/// What a user wants to become by a member event of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// A member.
    Join,
    /// One who is not in the room.
    Leave,
    /// One who asks to be let in.
    Knock,
}

impl Handshake {
    /// The membership that it ends with.
    #[must_use]
    pub fn membership(self) -> Membership {
        match self {
            Self::Join => Membership::Join,
            Self::Leave => Membership::Leave,
            Self::Knock => Membership::Knock,
        }
    }
}

/// What a resident server wants a member event to be.
#[derive(Debug, Deserialize)]
pub struct Template {
    /// The room's version. Without one it is 1 or 2.
    pub room_version: Option<String>,
    /// The event without hashes and signatures.
    pub event: Box<RawValue>,
}

impl Template {
    /// The events that it follows: the newest that the server has of the room. What can't be the id of one is left out.
    pub fn follows(&self) -> impl Iterator<Item = OwnedEventId> + use<> {
        let event: Value = serde_json::from_str(self.event.get()).unwrap_or_default();
        let named = event.get("prev_events").and_then(Value::as_array);
        let named = named.cloned().unwrap_or_default().into_iter();
        named.filter_map(|reference| {
            // By its id, or up to version 2 of rooms with its hash.
            let id = reference.as_str().or_else(|| reference.get(0)?.as_str())?;
            // What databases refuse to compare with.
            let id = Some(id).filter(|id| !id.contains('\0'))?;
            OwnedEventId::try_from(id).ok()
        })
    }
}

/// A room, for who has just joined it.
#[derive(Debug, Deserialize)]
pub struct JoinAnswer {
    /// The state before the join.
    pub state: Vec<Box<RawValue>>,
    /// The events that allow those of the state and the join.
    pub auth_chain: Vec<Box<RawValue>>,
    /// The join, where the resident server has signed it too.
    pub event: Option<Box<RawValue>>,
}

/// What a room tells who knocks.
#[derive(Debug, Deserialize)]
pub struct KnockAnswer {
    /// Events of its state.
    pub knock_room_state: Vec<Box<RawValue>>,
}

impl Remote {
    /// The template of a member event of a local user.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn make(
        &self,
        handshake: Handshake,
        server: &ServerName,
        (room_id, user): (&RoomId, &UserId),
    ) -> Result<Template, RemoteError> {
        let endpoint = format!("make_{}", handshake.membership().as_str());
        let path = v1(&endpoint, &[room_id.as_str(), user.as_str()]);
        let uri = if handshake == Handshake::Leave {
            path
        } else {
            let versions = RoomVersion::ALL.map(|version| ("ver", version.as_str()));
            with_query(path, &versions)
        };
        let request = Request::get(uri).patience(PATIENCE).eager();
        self.ask(server, request).await
    }

    /// Sends a join to a resident server, which answers with the room.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn send_join(
        &self,
        server: &ServerName,
        join: &Pdu,
    ) -> Result<JoinAnswer, RemoteError> {
        let parts = [join.room_id().as_str(), join.event_id().as_str()];
        let request = |path| {
            Request::put(path, join.json().to_vec())
                .patience(JOIN_PATIENCE)
                .answer_bytes(STATE_BYTES)
        };
        match self.ask(server, request(v2("send_join", &parts))).await {
            Err(error) if error.is_unknown_endpoint() => {
                let answer: (IgnoredAny, JoinAnswer) =
                    self.ask(server, request(v1("send_join", &parts))).await?;
                Ok(answer.1)
            }
            answer => answer,
        }
    }

    /// Sends a leave to a resident server.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn send_leave(&self, server: &ServerName, leave: &Pdu) -> Result<(), RemoteError> {
        let parts = [leave.room_id().as_str(), leave.event_id().as_str()];
        let request = |path| Request::put(path, leave.json().to_vec()).patience(PATIENCE);
        let sent = match self.ask(server, request(v2("send_leave", &parts))).await {
            Err(error) if error.is_unknown_endpoint() => {
                self.ask(server, request(v1("send_leave", &parts))).await
            }
            sent => sent,
        };
        sent.map(|IgnoredAny| ())
    }

    /// Sends a knock to a resident server.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn send_knock(
        &self,
        server: &ServerName,
        knock: &Pdu,
    ) -> Result<KnockAnswer, RemoteError> {
        let parts = [knock.room_id().as_str(), knock.event_id().as_str()];
        let request = Request::put(v1("send_knock", &parts), knock.json().to_vec());
        self.ask(server, request.patience(PATIENCE)).await
    }
}
