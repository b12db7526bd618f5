//! What is known of a run from outside: what clients did, what they were told, and what they have read.

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{OwnedEventId, OwnedRoomId, RoomId};

/// A room, as clients know of it.
#[derive(Debug, Clone)]
pub(super) struct KnownRoom {
    pub(super) id: OwnedRoomId,
    /// Who was told that they have joined, and not that they have left.
    pub(super) inside: BTreeSet<String>,
    /// Who was invited.
    pub(super) invited: BTreeSet<String>,
    /// Events to redact, read and reply to.
    pub(super) events: Vec<OwnedEventId>,
}

/// An event that a client was told is sent.
#[derive(Debug, Clone)]
pub(super) struct Acknowledged {
    pub(super) event_id: OwnedEventId,
    pub(super) room_id: OwnedRoomId,
    /// On which host.
    pub(super) host: usize,
    /// When, in milliseconds since 1970.
    pub(super) at_ms: i64,
    /// The servers that were in the room then, as that host knew.
    pub(super) servers: BTreeSet<String>,
}

/// Who reads: on which host, in which room, which user.
pub(super) type ReaderIn = (usize, OwnedRoomId, String);

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) rooms: Vec<KnownRoom>,
    pub(super) acknowledged: Vec<Acknowledged>,
    /// Who was ever to leave a room, by their own will or not.
    pub(super) unsteady: BTreeSet<(OwnedRoomId, String)>,
    /// What was read.
    pub(super) read: BTreeMap<ReaderIn, BTreeSet<OwnedEventId>>,
    /// What went wrong on the way.
    pub(super) failures: Vec<String>,
    /// The name of the hostile server, if there is one.
    pub(super) hostile: Option<String>,
    /// Rooms that a user of the hostile server may be in, or invited to.
    pub(super) hostile_in: BTreeSet<OwnedRoomId>,
    /// What the hostile server did.
    pub(super) attacks: u64,
    pub(super) crashes: u64,
    pub(super) partitions: u64,
    pub(super) refused: u64,
    pub(super) broken: u64,
}

impl Model {
    /// Somebody may get to know of a room.
    pub(super) fn let_in(&mut self, room_id: &RoomId, user: &str) {
        let server = user.split_once(':').map(|(_, server)| server);
        if server.is_some() && server == self.hostile.as_deref() {
            self.hostile_in.insert(room_id.to_owned());
        }
    }
}
