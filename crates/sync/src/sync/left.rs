//! Rooms that the reader has left, was kicked or banned from, and invites that came to nothing.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_left-room>

use std::sync::Arc;

use starling_db::Tx;
use starling_store::events::Event;
use starling_store::memberships::MembershipRow;

use super::Scope;
use super::batch::Pages;
use super::plan::Extent;
use super::room::{Part, Told};
use super::sent_members::Known;
use crate::Error;
use crate::json::{self, Object};
use crate::scan::Newest;
use crate::state::{Changed, StateAt};

/// Finds out what to tell: the room up to the member event with which the reader's membership ended. The state isn't
/// filtered yet.
pub(crate) fn read(
    scope: &Scope,
    tx: &mut Tx<'_>,
    part: &Part<'_>,
    (row, extent): (&MembershipRow, Extent),
) -> Result<Option<Told>, Error> {
    let Some(end) = scope.store.event_read(tx, row.event)? else {
        return Ok(None);
    };
    let left = match part.viewer.left(extent.after, &end) {
        Some(left) if left == end.num => Some(Arc::clone(&end)),
        Some(left) => scope.store.event_read(tx, left)?,
        None => None,
    };
    if let Some(left) = left {
        return up_to(scope, tx, part, (&left, &end), extent).map(Some);
    }
    // Never in the room since it was last told of: nothing but the end of an invite, or a ban, is the user's.
    let allowed = scope.filter.room.timeline.matches(&end.pdu);
    let events = allowed.then_some(end).into_iter().collect();
    Ok(Some(Told {
        after: extent.after,
        timeline: Newest {
            events,
            limited_at: None,
        },
        state: Vec::new(),
        account_data: scope.room_account_data(part),
    }))
}

/// Appends `"!room": {…}`.
pub(crate) fn write(
    scope: &Scope,
    tx: &mut Tx<'_>,
    (part, mut told): (&Part<'_>, Told),
    pages: &Pages,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    told.state = scope.filtered(tx, told.state, pages)?;
    json::separate(out, 0);
    json::string(out, part.snapshot.room_id.as_str());
    out.push(b':');
    let mut room = Object::begin(out);
    scope.write_room(tx, (part, &told), pages, (out, &mut room))?;
    out.push(b'}');
    Ok(())
}

/// The room up to `end`, the reader's last member event: the state is that which they saw last, when they `left`, but
/// for their own membership.
fn up_to(
    scope: &Scope,
    tx: &mut Tx<'_>,
    part: &Part<'_>,
    (left, end): (&Event, &Event),
    extent: Extent,
) -> Result<Told, Error> {
    let mut at = StateAt::after(tx, left)?;
    if left.num != end.num {
        at.set_member(part.own, end);
    }
    let until = end.position().unwrap_or(end.num.0);
    let timeline = scope.timeline(tx, part, (extent.after, until, None), Some(end.num))?;
    let changed = if extent.whole {
        Changed::default()
    } else {
        Changed::read(tx, part.snapshot.room, extent.after, scope.upto)?
    };
    let state = scope.state_beside(
        tx,
        part,
        (&at, &timeline, extent),
        &changed,
        (&[], &Known::default()),
    )?;
    Ok(Told {
        after: extent.after,
        timeline,
        state,
        account_data: scope.room_account_data(part),
    })
}
