//! Events and state that this server doesn't have.
//! <https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events>,
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-events>

use std::time::Duration;

use ruma_common::{EventId, OwnedEventId, RoomId, ServerName};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use starling_events::CanonicalObject;
use starling_outbound::{RemoteError, Request};

use super::handshakes::STATE_BYTES;
use super::request::{v1, with_query};
use super::{Remote, malformed};

/// How long a server may take to say what a room's state was.
const STATE_PATIENCE: Duration = Duration::from_mins(2);

/// How much of an answer is taken that has no more than the greatest number of events that is asked for, 100: of the
/// largest events there is room for as many.
const EVENTS_BYTES: usize = 8 << 20;

/// How much of a list of ids is taken: some 200,000.
const IDS_BYTES: usize = 16 << 20;

/// How much of an answer with one event is taken. It may be in other than canonical form.
const EVENT_BYTES: usize = 512 << 10;

/// What is missing between events that are here and others.
#[derive(Debug, Clone, Copy)]
pub struct Missing<'a> {
    /// The newest events that are here.
    pub earliest: &'a [OwnedEventId],
    /// Events whose predecessors are missing.
    pub latest: &'a [OwnedEventId],
    /// At most so many.
    pub limit: u32,
    /// None of a lesser depth.
    pub min_depth: i64,
}

/// The ids of a room's state before an event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StateIds {
    /// The state events.
    pub pdu_ids: Vec<OwnedEventId>,
    /// The events that allow them.
    pub auth_chain_ids: Vec<OwnedEventId>,
}

/// A room's state before an event.
#[derive(Debug, Deserialize)]
pub struct WholeState {
    /// The state events.
    pub pdus: Vec<Box<RawValue>>,
    /// The events that allow them.
    pub auth_chain: Vec<Box<RawValue>>,
}

/// An event, and when it says that it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EventAtTime {
    /// Its id.
    pub event_id: OwnedEventId,
    /// Its time, in milliseconds since 1970.
    pub origin_server_ts: i64,
}

#[derive(Deserialize)]
struct Events {
    events: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Pdus {
    pdus: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct AuthChain {
    auth_chain: Vec<Box<RawValue>>,
}

impl Remote {
    /// Events between those that are here and later ones; of more than were asked for, the first.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn missing_events(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        missing: Missing<'_>,
    ) -> Result<Vec<Box<RawValue>>, RemoteError> {
        let body = CanonicalObject::from_serialize(&json!({
            "earliest_events": missing.earliest,
            "latest_events": missing.latest,
            "limit": missing.limit,
            "min_depth": missing.min_depth,
        }));
        let body = body.map_err(|error| malformed(server, error.to_string()))?;
        let path = v1("get_missing_events", &[room_id.as_str()]);
        let request = Request::post(path, body.as_bytes().to_vec()).answer_bytes(EVENTS_BYTES);
        let Events { mut events } = self.ask(server, request).await?;
        events.truncate(usize::try_from(missing.limit).unwrap_or(usize::MAX));
        Ok(events)
    }

    /// The ids of the room's state before an event.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn state_ids(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<StateIds, RemoteError> {
        let path = v1("state_ids", &[room_id.as_str()]);
        let uri = with_query(path, &[("event_id", event_id.as_str())]);
        let request = Request::get(uri)
            .patience(STATE_PATIENCE)
            .answer_bytes(IDS_BYTES);
        let ids: StateIds = self.ask(server, request).await?;
        let mut all = ids.pdu_ids.iter().chain(&ids.auth_chain_ids);
        // Not in their grammar, and what databases refuse to compare with.
        if all.any(|id| id.as_str().contains('\0')) {
            return Err(malformed(server, "an event id holds a zero character"));
        }
        Ok(ids)
    }

    /// The room's state before an event.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn state(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<WholeState, RemoteError> {
        let path = v1("state", &[room_id.as_str()]);
        let uri = with_query(path, &[("event_id", event_id.as_str())]);
        let request = Request::get(uri)
            .patience(STATE_PATIENCE)
            .answer_bytes(STATE_BYTES);
        self.ask(server, request).await
    }

    /// One event.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn event(
        &self,
        server: &ServerName,
        event_id: &EventId,
    ) -> Result<Box<RawValue>, RemoteError> {
        let request = Request::get(v1("event", &[event_id.as_str()])).answer_bytes(EVENT_BYTES);
        let Pdus { pdus } = self.ask(server, request).await?;
        let event = pdus.into_iter().next();
        event.ok_or_else(|| malformed(server, "there is no event in it"))
    }

    /// The events that allow an event, and those that allow them.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn event_auth(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Vec<Box<RawValue>>, RemoteError> {
        let path = v1("event_auth", &[room_id.as_str(), event_id.as_str()]);
        let request = Request::get(path)
            .patience(STATE_PATIENCE)
            .answer_bytes(STATE_BYTES);
        let AuthChain { auth_chain } = self.ask(server, request).await?;
        Ok(auth_chain)
    }

    /// Events up to `from`, these included, at most `limit` (100 or fewer).
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn backfill(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        from: &[OwnedEventId],
        limit: u32,
    ) -> Result<Vec<Box<RawValue>>, RemoteError> {
        let number = limit.to_string();
        let mut query = vec![("limit", number.as_str())];
        query.extend(from.iter().map(|event| ("v", event.as_str())));
        let uri = with_query(v1("backfill", &[room_id.as_str()]), &query);
        let request = Request::get(uri).answer_bytes(EVENTS_BYTES);
        let Pdus { mut pdus } = self.ask(server, request).await?;
        pdus.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(pdus)
    }

    /// The event whose time is the closest to `ts` (milliseconds since 1970), looking forwards or backwards.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn timestamp_to_event(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        (ts, forwards): (i64, bool),
    ) -> Result<EventAtTime, RemoteError> {
        let (ts, direction) = (ts.to_string(), if forwards { "f" } else { "b" });
        let path = v1("timestamp_to_event", &[room_id.as_str()]);
        let uri = with_query(path, &[("ts", &ts), ("dir", direction)]);
        self.ask(server, Request::get(uri)).await
    }
}
