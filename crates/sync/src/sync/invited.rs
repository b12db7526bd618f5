//! Rooms that the reader is invited to, or asks to be let into: a few events of their state, stripped.
//! <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>

use starling_db::Tx;
use starling_events::client_format::write_stripped;
use starling_store::names::{EMPTY_KEY, types};

use super::Scope;
use super::room::Part;
use crate::Error;
use crate::json;
use crate::state::StateAt;

/// Appends `"!room": {"…_state": {"events": […]}}`; `member` is `invite_state` or `knock_state`.
pub(crate) fn write(
    scope: &Scope,
    tx: &mut Tx<'_>,
    part: &Part<'_>,
    member: &str,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let at = StateAt::of_snapshot(&scope.store, tx, part.snapshot, scope.upto)?;
    let own = at.get((types::MEMBER, part.own)).map(|entry| entry.event);
    let Some(own) = own.map_or(Ok(None), |own| scope.store.event_read(tx, own))? else {
        return Ok(());
    };
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
    let numbers: Vec<_> = keys
        .filter_map(|key| at.get(key))
        .map(|entry| entry.event)
        .chain([own.num])
        .collect();
    json::separate(out, 0);
    json::string(out, part.snapshot.room_id.as_str());
    out.extend_from_slice(format!(":{{\"{member}\":{{\"events\":[").as_bytes());
    let start = out.len();
    for event in scope.store.events_read(tx, &numbers)? {
        json::separate(out, start);
        write_stripped(out, &event.pdu);
    }
    out.extend_from_slice(b"]}}");
    Ok(())
}
