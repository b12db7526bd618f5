//! Counts of unread notifications of the rooms that the reader is in.
//! <https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications>

use std::collections::HashMap;
use std::sync::Arc;

use starling_db::Tx;
use starling_store::RoomNum;
use starling_store::history::Viewer;
use starling_store::rooms::RoomSnapshot;
use starling_store::unread::{Count, Unread, UnreadOf};

use super::Scope;
use super::plan::Section;
use crate::Error;
use crate::json::Object;

/// Why a room's counts are told although nothing else of it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recount {
    /// The reader has read in it.
    Read,
    /// What the reader wants to be told of has changed: it matters where something is not read.
    Rules,
}

/// The counts of some rooms, of those that the reader is in.
pub(crate) fn read(
    scope: &Scope,
    tx: &mut Tx<'_>,
    rooms: &[(Arc<RoomSnapshot>, Section)],
    viewers: &HashMap<RoomNum, Viewer>,
) -> Result<HashMap<RoomNum, Unread>, Error> {
    let mut joined = Vec::with_capacity(rooms.len());
    for (snapshot, section) in rooms {
        let viewer = viewers.get(&snapshot.room);
        let at = viewer.and_then(|viewer| viewer.joined_at(scope.upto));
        if let (Section::Joined(_) | Section::Quiet, Some(at)) = (section, at) {
            joined.push((Arc::clone(snapshot), at));
        }
    }
    if joined.is_empty() {
        return Ok(HashMap::new());
    }
    let user = scope.reader.user;
    let of = UnreadOf {
        user,
        user_id: scope.reader.user_id.as_str(),
        rules: scope.store.push_rules(tx, user)?,
        ignored: &scope.store.ignored_numbers(tx, user)?,
        upto: scope.upto,
    };
    Ok(scope.store.unread_of_rooms(tx, &of, &joined)?)
}

/// Whether counts are news by themselves.
pub(crate) fn is_news(recount: Option<Recount>, unread: Option<&Unread>) -> bool {
    match recount {
        Some(Recount::Read) => true,
        Some(Recount::Rules) => unread.is_some_and(|unread| unread.has_events),
        None => false,
    }
}

/// Writes `unread_notifications`, and the threads' apart where the filter asks for that.
pub(crate) fn write(scope: &Scope, out: &mut Vec<u8>, room: &mut Object, unread: &Unread) {
    let apart = scope.filter.room.timeline.unread_thread_notifications;
    room.key(out, "unread_notifications");
    write_count(out, if apart { unread.main } else { unread.all() });
    if !apart || unread.threads.is_empty() {
        return;
    }
    room.key(out, "unread_thread_notifications");
    let mut threads = Object::begin(out);
    for (root, count) in &unread.threads {
        threads.key(out, root.as_str());
        write_count(out, *count);
    }
    out.push(b'}');
}

fn write_count(out: &mut Vec<u8>, count: Count) {
    let Count { notify, highlight } = count;
    out.extend_from_slice(
        format!("{{\"highlight_count\":{highlight},\"notification_count\":{notify}}}").as_bytes(),
    );
}
