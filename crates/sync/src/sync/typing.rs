//! `m.typing`: who is typing in a room, told as the whole list.
//! <https://spec.matrix.org/v1.19/client-server-api/#mtyping>

use std::collections::BTreeSet;
use std::sync::Arc;

use starling_store::RoomNum;
use starling_store::rooms::RoomSnapshot;

use super::Scope;
use super::plan::Section;
use crate::json::{self, Object};

/// The type of the event.
const KIND: &str = "m.typing";

/// The rooms in which others are typing than the client was told, if it wants to know.
pub(crate) fn changed(scope: &Scope) -> Vec<RoomNum> {
    if !are_wanted(scope) {
        return Vec::new();
    }
    let listener = &scope.listener;
    let changed = scope.bus.typing_changed(scope.moment.since, listener);
    changed.into_iter().map(RoomNum).collect()
}

fn are_wanted(scope: &Scope) -> bool {
    let filter = &scope.filter.room.ephemeral;
    filter.events.allows_type(KIND) && filter.contains_url != Some(true)
}

/// Who is typing in those of `rooms` where that is `changed`; of one that is told whole, if anybody is.
pub(crate) fn read(
    scope: &Scope,
    rooms: &[(Arc<RoomSnapshot>, Section)],
    changed: &BTreeSet<RoomNum>,
) -> Vec<(RoomNum, Vec<Arc<str>>)> {
    if !are_wanted(scope) {
        return Vec::new();
    }
    let filter = &scope.filter.room.ephemeral;
    let mut told = Vec::new();
    for (snapshot, section) in rooms {
        let (room, is_changed) = (snapshot.room, changed.contains(&snapshot.room));
        let is_whole = matches!(section, Section::Joined(extent) if extent.whole);
        if !(is_whole || is_changed) || !filter.rooms.allows(snapshot.room_id.as_str()) {
            continue;
        }
        let mut users = scope.bus.typing(room.0);
        users.retain(|user| filter.events.allows_sender(user));
        if is_changed || !users.is_empty() {
            told.push((room, users));
        }
    }
    told
}

/// Appends the event to a list that began at `start`.
pub(crate) fn write(out: &mut Vec<u8>, start: usize, users: &[Arc<str>]) {
    json::separate(out, start);
    let mut event = Object::begin(out);
    event.key(out, "content");
    out.extend_from_slice(b"{\"user_ids\":[");
    let list = out.len();
    for user in users {
        json::separate(out, list);
        json::string(out, user);
    }
    out.extend_from_slice(b"]}");
    event.string(out, "type", KIND);
    out.push(b'}');
}
