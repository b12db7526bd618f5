//! Rooms that the reader is invited to, or asks to be let into: a few events of their state, stripped.
//! <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>

use starling_db::Tx;
use starling_events::client_format::write_stripped;
use starling_store::EventNum;
use starling_store::names::{EMPTY_KEY, types};

use super::Scope;
use super::batch::Pages;
use super::room::Part;
use crate::Error;
use crate::json;
use crate::state::StateAt;

/// Whether the reader is invited or knocks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stripped {
    Invite,
    Knock,
}

/// The events to tell, if the reader is invited, not by somebody whom they ignore, or knocks: their own member event is
/// the last.
pub(crate) fn read(
    scope: &Scope,
    tx: &mut Tx<'_>,
    part: &Part<'_>,
) -> Result<Option<Vec<EventNum>>, Error> {
    let at = StateAt::of_snapshot(&scope.store, tx, part.snapshot, scope.upto)?;
    let own = at.get((types::MEMBER, part.own)).map(|entry| entry.event);
    let Some(own) = own.map_or(Ok(None), |own| scope.store.event_read(tx, own))? else {
        return Ok(None);
    };
    if part.viewer.ignores(own.pdu.sender()) {
        return Ok(None);
    }
    let sender = scope
        .store
        .names()
        .key(tx, own.pdu.sender().as_str())?
        .filter(|sender| *sender != part.own);
    let about = [
        types::CREATE,
        types::JOIN_RULES,
        types::NAME,
        types::AVATAR,
        types::TOPIC,
        types::CANONICAL_ALIAS,
        types::ENCRYPTION,
    ];
    let keys = about
        .into_iter()
        .map(|kind| (kind, EMPTY_KEY))
        .chain(sender.map(|sender| (types::MEMBER, sender)));
    let numbers = keys.filter_map(|key| at.get(key)).map(|entry| entry.event);
    Ok(Some(numbers.chain([own.num]).collect()))
}

/// Appends `"!room": {"…_state": {"events": […]}}`.
pub(crate) fn write(
    scope: &Scope,
    tx: &mut Tx<'_>,
    (part, kind, numbers): (&Part<'_>, Stripped, &[EventNum]),
    pages: &Pages,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let member = match kind {
        Stripped::Invite => "invite_state",
        Stripped::Knock => "knock_state",
    };
    json::separate(out, 0);
    json::string(out, part.snapshot.room_id.as_str());
    out.extend_from_slice(format!(":{{\"{member}\":{{\"events\":[").as_bytes());
    let start = out.len();
    let events = match pages.get(numbers) {
        Some(events) => events,
        None => scope.store.events_read(tx, numbers)?,
    };
    for event in events {
        json::separate(out, start);
        write_stripped(out, &event.pdu);
    }
    out.extend_from_slice(b"]}}");
    Ok(())
}
