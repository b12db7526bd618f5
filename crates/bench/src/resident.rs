//! A small homeserver that other servers join rooms through and get messages from. It has nothing but what it has made
//! beforehand: rooms that are signed once, so that all who join get the same bytes, and a key.
//!
//! It knows no users and checks nothing. What it answers is a function of the request ([`Resident::answer`]), which
//! [`listener`] serves with TLS.

mod answers;
pub mod authority;
pub mod listener;
pub mod room;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, ServerName};
use starling_events::Pdu;
use starling_events::request_auth::sign_request;
use starling_events::server_keys::own_key_document;
use starling_testkit::Peer;
use thiserror::Error;

use room::{FIRST_MS, Room};

/// Its key is valid until then: longer than any run, in milliseconds since 1970.
const VALID_UNTIL_MS: i64 = 4_000_000_000_000;

/// Why it can't be reached.
#[derive(Debug, Error)]
pub enum ResidentError {
    /// A file or a socket.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A certificate cannot be made.
    #[error("no certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error("no TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The server.
#[derive(Debug)]
pub struct Resident {
    peer: Peer,
    key_document: Bytes,
    rooms: Mutex<BTreeMap<OwnedRoomId, Arc<Room>>>,
    told: Mutex<Told>,
}

/// A room as a server knows it that has joined it.
type Line = (OwnedRoomId, OwnedServerName);

/// What it has told others, or they it.
#[derive(Debug, Default)]
struct Told {
    /// What happened in rooms since others have joined: to each it is told apart, as contenders don't know each other.
    lines: HashMap<Line, Vec<Pdu>>,
    /// Where the events of the lines are.
    places: HashMap<OwnedEventId, (Line, usize)>,
    /// How often it was asked for what.
    asked: BTreeMap<&'static str, u64>,
}

impl Told {
    fn happened(&mut self, line: &Line, event: Pdu) {
        let events = self.lines.entry(line.clone()).or_default();
        let place = (line.clone(), events.len());
        self.places.insert(event.event_id().to_owned(), place);
        events.push(event);
    }

    /// The events of a line up to this one, the older first; the first of them is the join.
    fn up_to(&self, event: &EventId) -> &[Pdu] {
        let found = self.places.get(event);
        let events = found.and_then(|(line, place)| self.lines.get(line)?.get(..=*place));
        events.unwrap_or_default()
    }
}

/// A signed request to another server.
#[derive(Debug, Clone)]
pub struct SignedRequest {
    /// Its path.
    pub path: String,
    /// The header.
    pub authorization: String,
    /// The body.
    pub body: Bytes,
}

impl Resident {
    /// A server without rooms.
    ///
    /// # Panics
    /// When this is no name of a server.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let peer = Peer::new(name);
        let document = own_key_document(&peer.server, &peer.key, &[], VALID_UNTIL_MS);
        let document = document.expect("a time that JSON can say");
        Self {
            key_document: Bytes::copy_from_slice(document.as_bytes()),
            peer,
            rooms: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ServerName {
        &self.peer.server
    }

    /// Makes a room with so many members; `local` is the first part of its id.
    ///
    /// # Panics
    /// When this is no part of an id.
    pub fn add_room(&self, local: &str, members: usize) -> Arc<Room> {
        let room = Arc::new(Room::make(&self.peer, local, members));
        let mut rooms = self.rooms.lock();
        rooms.insert(room.id.clone(), Arc::clone(&room));
        room
    }

    fn room(&self, id: &str) -> Option<Arc<Room>> {
        let id = <&RoomId>::try_from(id).ok()?;
        self.rooms.lock().get(id).cloned()
    }

    /// Messages of the room's members that follow what `server` knows of the room: number `first` and so on, each with
    /// `mark` and its number in it.
    ///
    /// # Panics
    /// When that server hasn't joined the room.
    pub fn say(
        &self,
        server: &ServerName,
        room: &Room,
        mark: &str,
        numbers: std::ops::Range<u64>,
    ) -> Vec<Pdu> {
        let line = (room.id.clone(), server.to_owned());
        let mut told = self.told.lock();
        let last = told.lines.get(&line).and_then(|line| line.last());
        let mut last = last.expect("a server that has joined").clone();
        let mut said = Vec::new();
        for number in numbers {
            last = room.message(&self.peer, &last, number, mark);
            told.happened(&line, last.clone());
            said.push(last.clone());
        }
        said
    }

    /// The transaction that tells `destination` of these events.
    ///
    /// # Panics
    /// Never: events are JSON.
    #[must_use]
    pub fn transaction(&self, destination: &ServerName, id: &str, events: &[Pdu]) -> SignedRequest {
        let mut body = format!(
            "{{\"edus\":[],\"origin\":\"{}\",\"origin_server_ts\":{FIRST_MS},\"pdus\":[",
            self.name()
        );
        for (index, event) in events.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let json = std::str::from_utf8(event.json()).expect("JSON is UTF-8");
            write!(body, "{comma}{json}").ok();
        }
        body.push_str("]}");
        let path = format!("/_matrix/federation/v1/send/{id}");
        let signed = ("PUT", path.as_str(), Some(body.as_bytes()));
        let authorization = sign_request(signed, (self.name(), destination), &self.peer.key);
        SignedRequest {
            path,
            authorization,
            body: body.into(),
        }
    }

    /// How often others have asked for what.
    #[must_use]
    pub fn asked(&self) -> BTreeMap<&'static str, u64> {
        self.told.lock().asked.clone()
    }
}
