//! What it answers: as much of the [server-server API](https://spec.matrix.org/v1.19/server-server-api/) as those ask for
//! who join a room and get its messages.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::StatusCode;
use percent_encoding::percent_decode_str;
use ruma_common::{EventId, OwnedEventId};
use serde::Deserialize;
use serde_json::{Value, json};
use starling_events::Pdu;

use super::Resident;
use super::room::{FIRST_MS, Room, VERSION, array};

/// How many events are given back where nobody says how many.
const DEFAULT_EVENTS: usize = 10;
/// How many are given back at most.
const MOST_EVENTS: usize = 100;

type Answer = (StatusCode, Bytes);

#[derive(Deserialize)]
struct Missing {
    #[serde(default)]
    earliest_events: BTreeSet<OwnedEventId>,
    #[serde(default)]
    latest_events: Vec<OwnedEventId>,
    limit: Option<usize>,
}

impl Resident {
    /// Answers a request: method, path with query, and body.
    pub fn answer(&self, method: &str, uri: &str, body: &Bytes) -> Answer {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let path = path.trim_start_matches("/_matrix/");
        let parts: Vec<String> = path.split('/').map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (what, answer) = match (method, parts.as_slice()) {
            ("GET", ["key", "v2", "server", ..]) => ("keys", Some(self.key_document.clone())),
            ("GET", ["federation", "v1", "version"]) => {
                let version = json!({ "server": { "name": "resident", "version": "1" } });
                ("version", Some(text(&version)))
            }
            (_, ["federation", _, rest @ ..]) => self.federation(method, (rest, query), body),
            _ => ("something else", None),
        };
        *self.told.lock().asked.entry(what).or_default() += 1;
        let refusal = || text(&json!({ "errcode": "M_NOT_FOUND", "error": "It is not here" }));
        answer.map_or_else(
            || (StatusCode::NOT_FOUND, refusal()),
            |body| (StatusCode::OK, body),
        )
    }

    fn federation(
        &self,
        method: &str,
        (path, query): (&[&str], &str),
        body: &Bytes,
    ) -> (&'static str, Option<Bytes>) {
        match (method, path) {
            ("GET", ["make_join", room, user]) => {
                let room = self.room(room);
                ("make_join", room.map(|room| text(&room.template(user))))
            }
            ("PUT", ["send_join", room, _]) => ("send_join", self.joined(room, body)),
            ("PUT", ["send", _]) => ("send", Some(Bytes::from_static(b"{\"pdus\":{}}"))),
            ("GET", ["event", id]) => ("event", self.one(id)),
            ("GET", ["state", room]) => ("state", self.state(room, query)),
            ("GET", ["state_ids", room]) => ("state_ids", self.state_ids(room, query)),
            ("GET", ["event_auth", room, _]) => {
                let chain = |room: &Room| object(&[("auth_chain", array(room.auth_chain()))]);
                ("event_auth", self.room(room).map(|room| chain(&room)))
            }
            ("POST", ["get_missing_events", _]) => ("get_missing_events", self.missing(body)),
            ("GET", ["backfill", room]) => ("backfill", self.backfill(room, query)),
            ("GET", ["user", "devices", user]) => {
                let devices = json!({ "user_id": user, "stream_id": 1, "devices": [] });
                ("devices", Some(text(&devices)))
            }
            ("POST", ["user", "keys", "query"]) => (
                "keys of users",
                Some(Bytes::from_static(b"{\"device_keys\":{}}")),
            ),
            _ => ("something else", None),
        }
    }

    fn joined(&self, room: &str, join: &Bytes) -> Option<Bytes> {
        let room = self.room(room)?;
        let event = Pdu::parse(VERSION, join).ok()?;
        let line = (room.id.clone(), event.sender().server_name().to_owned());
        let mut told = self.told.lock();
        told.lines.remove(&line);
        told.happened(&line, event);
        Some(room.joined(join))
    }

    fn one(&self, id: &str) -> Option<Bytes> {
        let id = <&EventId>::try_from(id).ok()?;
        let sent = self.told.lock().up_to(id).last().cloned();
        let rooms = self.rooms.lock();
        let mut made = rooms.values().flat_map(|room| room.history());
        let found = sent.or_else(|| made.find(|event| event.event_id() == id).cloned());
        Some(self.pdus([found?].iter()))
    }

    /// The state before an event: of those after the join, that with it.
    fn state(&self, room: &str, query: &str) -> Option<Bytes> {
        let (room, join) = (self.room(room)?, self.join_before(query));
        let state = room.state().chain(&join);
        let pdus = array(state);
        Some(object(&[
            ("auth_chain", array(room.auth_chain())),
            ("pdus", pdus),
        ]))
    }

    fn state_ids(&self, room: &str, query: &str) -> Option<Bytes> {
        let (room, join) = (self.room(room)?, self.join_before(query));
        let id = |event: &Pdu| event.event_id().to_string();
        let state: Vec<String> = room.state().chain(&join).map(id).collect();
        let chain: Vec<String> = room.auth_chain().map(id).collect();
        Some(text(&json!({ "pdu_ids": state, "auth_chain_ids": chain })))
    }

    /// The join that an event comes after, if it does.
    fn join_before(&self, query: &str) -> Option<Pdu> {
        let id = values(query, "event_id").next()?;
        let told = self.told.lock();
        let line = told.up_to(<&EventId>::try_from(id.as_str()).ok()?);
        let (_, before) = line.split_last()?;
        before.first().cloned()
    }

    /// Events between those that the other server has and those that it got, the older first.
    fn missing(&self, body: &Bytes) -> Option<Bytes> {
        let missing: Missing = serde_json::from_slice(body).ok()?;
        let limit = missing.limit.unwrap_or(DEFAULT_EVENTS).min(MOST_EVENTS);
        let told = self.told.lock();
        let line = told.up_to(missing.latest_events.first()?);
        let (_, before) = line.split_last()?;
        let is_known = |event: &Pdu| missing.earliest_events.contains(event.event_id());
        let from = before
            .iter()
            .rposition(is_known)
            .map_or(0, |known| known + 1);
        let from = from.max(before.len().saturating_sub(limit));
        let events = array(before.iter().skip(from));
        Some(object(&[("events", events)]))
    }

    /// Events of the history up to one, the newer first.
    fn backfill(&self, room: &str, query: &str) -> Option<Bytes> {
        let room = self.room(room)?;
        let limit = values(query, "limit").next();
        let limit = limit
            .and_then(|limit| limit.parse().ok())
            .unwrap_or(DEFAULT_EVENTS);
        let from = values(query, "v").next()?;
        let from = <&EventId>::try_from(from.as_str()).ok()?;
        let told = self.told.lock();
        let line = told.up_to(from);
        let history = room.history().iter().rev();
        let history = history.skip_while(|event| line.is_empty() && event.event_id() != from);
        Some(
            self.pdus(
                line.iter()
                    .rev()
                    .chain(history)
                    .take(limit.min(MOST_EVENTS)),
            ),
        )
    }

    fn pdus<'a>(&self, events: impl Iterator<Item = &'a Pdu>) -> Bytes {
        let head = format!(
            "{{\"origin\":\"{}\",\"origin_server_ts\":{FIRST_MS},\"pdus\":",
            self.name()
        );
        [head.as_bytes(), &array(events), b"}"].concat().into()
    }
}

/// An object of arrays.
fn object(members: &[(&str, Vec<u8>)]) -> Bytes {
    let mut out = vec![b'{'];
    for (name, array) in members {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(format!("\"{name}\":").as_bytes());
        out.extend_from_slice(array);
    }
    out.push(b'}');
    out.into()
}

/// What a query says of this, each time.
fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.filter(move |(key, _)| *key == name);
    pairs.map(|(_, value)| decoded(value))
}

fn text(json: &Value) -> Bytes {
    json.to_string().into()
}

/// A part of the path or query.
fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}
