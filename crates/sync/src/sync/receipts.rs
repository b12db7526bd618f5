//! `m.receipt`: up to where the members of a room have read.
//! <https://spec.matrix.org/v1.19/client-server-api/#mreceipt>

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use starling_db::Tx;
use starling_store::RoomNum;
use starling_store::receipts::{Receipt, receipts_changed};
use starling_store::rooms::RoomSnapshot;

use super::Scope;
use super::plan::Section;
use crate::Error;
use crate::json::{self, Object};

/// The type of the event.
const KIND: &str = "m.receipt";

/// Whether the filter lets any receipts through.
pub(crate) fn are_wanted(scope: &Scope) -> bool {
    let filter = &scope.filter.room.ephemeral;
    filter.events.allows_type(KIND) && filter.contains_url != Some(true)
}

/// The receipts to tell of some rooms, in the order in which they are written: all of one that is told whole, those that
/// changed of one that is `changed`.
pub(crate) fn read(
    scope: &Scope,
    tx: &mut Tx<'_>,
    rooms: &[(Arc<RoomSnapshot>, Section)],
    changed: &BTreeSet<RoomNum>,
) -> Result<HashMap<RoomNum, Vec<Receipt>>, Error> {
    let mut found: HashMap<RoomNum, Vec<Receipt>> = HashMap::new();
    if !are_wanted(scope) {
        return Ok(found);
    }
    let filter = &scope.filter.room.ephemeral;
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    for (snapshot, section) in rooms {
        let room = snapshot.room;
        match section {
            _ if !filter.rooms.allows(snapshot.room_id.as_str()) => {}
            Section::Joined(extent) if extent.whole => whole.push(room),
            Section::Joined(_) | Section::Quiet if changed.contains(&room) => parts.push(room),
            _ => {}
        }
    }
    for (rooms, since) in [(whole, 0), (parts, scope.since.unwrap_or_default())] {
        if rooms.is_empty() {
            continue;
        }
        let user = scope.reader.user;
        for (room, receipt) in receipts_changed(tx, user, &rooms, (since, scope.upto))? {
            if filter.events.allows_sender(receipt.user_id.as_str()) {
                found.entry(room).or_default().push(receipt);
            }
        }
    }
    for receipts in found.values_mut() {
        receipts.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
    }
    Ok(found)
}

/// One event for each thread; in it by event, kind and user.
fn order(receipt: &Receipt) -> impl Ord + '_ {
    (
        &receipt.key.thread,
        &receipt.event_id,
        receipt.key.kind,
        &receipt.user_id,
    )
}

/// Appends the events to a list that began at `start`. A user may have a receipt of one kind for one event both with and
/// without a thread: in one event, one would hide the other.
pub(crate) fn write(out: &mut Vec<u8>, start: usize, receipts: &[Receipt]) {
    for of_thread in receipts.chunk_by(|a, b| a.key.thread == b.key.thread) {
        json::separate(out, start);
        let mut event = Object::begin(out);
        event.key(out, "content");
        let mut content = Object::begin(out);
        for of_event in of_thread.chunk_by(|a, b| a.event_id == b.event_id) {
            if let Some(first) = of_event.first() {
                content.key(out, first.event_id.as_str());
                write_kinds(out, of_event);
            }
        }
        out.push(b'}');
        event.string(out, "type", KIND);
        out.push(b'}');
    }
}

/// `{"m.read":{"@user":{"ts":1,"thread_id":"main"}}}`
fn write_kinds(out: &mut Vec<u8>, receipts: &[Receipt]) {
    let mut kinds = Object::begin(out);
    for of_kind in receipts.chunk_by(|a, b| a.key.kind == b.key.kind) {
        let Some(first) = of_kind.first() else {
            continue;
        };
        kinds.key(out, first.key.kind.as_str());
        let mut users = Object::begin(out);
        for receipt in of_kind {
            users.key(out, receipt.user_id.as_str());
            let mut one = Object::begin(out);
            if let Some(thread) = receipt.key.thread.id() {
                one.string(out, "thread_id", thread);
            }
            one.key(out, "ts");
            out.extend_from_slice(receipt.sent_at.to_string().as_bytes());
            out.push(b'}');
        }
        out.push(b'}');
    }
    out.push(b'}');
}
