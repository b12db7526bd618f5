//! The events that name the rooms in a space.
//! <https://spec.matrix.org/v1.19/client-server-api/#mspacechild>

use std::sync::Arc;

use starling_db::{Error, Tx};
use starling_events::Value;
use starling_store::events::Event;
use starling_store::room_details::{RoomDetails, is_room_id};
use starling_store::{EventNum, RoomNum, Store, TypeNum};

use crate::published::ChildEvent;

/// The most children of one space that are looked at.
pub(super) const MAX_CHILDREN: usize = 5_000;

/// What the events that name the children of one space may take, in bytes.
const MAX_CHILDREN_BYTES: usize = 1 << 20;

/// The events that name the children of a room, if it is a space.
pub(crate) fn children_of(
    store: &Store,
    tx: &mut Tx<'_>,
    room: &RoomDetails,
    suggested_only: bool,
) -> Result<Vec<ChildEvent>, Error> {
    match store.names().kind(tx, "m.space.child")? {
        Some(kind) if room.is_space() => {
            read_children(store, tx, (room.room, kind), suggested_only)
        }
        _ => Ok(Vec::new()),
    }
}

/// The events of this type that name the children of a space, in the order of these.
pub(super) fn read_children(
    store: &Store,
    tx: &mut Tx<'_>,
    (space, kind): (RoomNum, TypeNum),
    suggested_only: bool,
) -> Result<Vec<ChildEvent>, Error> {
    let Some(space) = store.room_read(tx, space)? else {
        return Ok(Vec::new());
    };
    let entries = space.state.others().filter(|entry| entry.kind == kind);
    let numbers: Vec<EventNum> = entries
        .map(|entry| entry.event)
        .take(MAX_CHILDREN)
        .collect();
    let events = store.events_read(tx, &numbers)?;
    let child = |event: &Arc<Event>| {
        ChildEvent::try_from(&**event).map_err(|error| Error::Damaged(error.to_string()))
    };
    let children: Result<Vec<ChildEvent>, Error> = events.iter().map(child).collect();
    Ok(chosen(children?, suggested_only))
}

/// Those of the events that name a child, in order, as far as there is room for them.
pub(super) fn chosen(mut children: Vec<ChildEvent>, suggested_only: bool) -> Vec<ChildEvent> {
    children.retain(|event| is_child(event, suggested_only));
    children.sort_by_cached_key(place);
    let mut bytes = 0;
    let fits = |event: &ChildEvent| {
        bytes += event.size();
        bytes <= MAX_CHILDREN_BYTES
    };
    children.into_iter().take_while(fits).collect()
}

/// Whether an event names a child.
fn is_child(event: &ChildEvent, suggested_only: bool) -> bool {
    let content = event.content();
    let via = content.get("via").filter(|via| via.is_array());
    let has_via = via.is_some_and(|via| {
        let mut servers = via.elements().peekable();
        servers.peek().is_some() && servers.all(|server| server.as_str().is_some())
    });
    let is_suggested = || content.get("suggested").and_then(Value::as_bool) == Some(true);
    is_room_id(event.state_key()) && has_via && (!suggested_only || is_suggested())
}

/// Where a child stands among the others.
/// <https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space>
fn place(event: &ChildEvent) -> (bool, String, i64, String) {
    let order = event
        .content()
        .get("order")
        .and_then(Value::as_str)
        .filter(|order| (1..=50).contains(&order.len()))
        .filter(|order| order.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    (
        order.is_none(),
        order.unwrap_or_default().into_owned(),
        event.origin_server_ts(),
        event.state_key().to_owned(),
    )
}
