//! Rooms that the reader is in.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_joined-room>

use std::collections::BTreeSet;

use starling_db::Tx;
use starling_store::memberships::Membership;

use super::plan::Extent;
use super::room::{Part, Told, has_member};
use super::summary::Summary;
use super::{Scope, ephemeral};
use crate::Error;
use crate::json::{self, Object};
use crate::state::{StateAt, changed};

/// Appends `"!room": {…}`, if the reader is in the room and there is something to tell. `extent` is `None` where the
/// timeline has not grown.
pub(crate) fn write(
    scope: &Scope,
    tx: &mut Tx<'_>,
    part: &Part<'_>,
    extent: Option<Extent>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let at = StateAt::of_snapshot(&scope.store, tx, part.snapshot, scope.upto)?;
    // What the listener hears may be of a room that the user has just left or is about to join.
    if at.membership(part.own) != Some(Membership::Join) {
        return Ok(());
    }
    let (told, summary) = match extent {
        Some(extent) => grown(scope, tx, part, (&at, extent))?,
        None => (Told::beside(scope, part), None),
    };
    let is_news = !told.timeline.events.is_empty()
        || told.timeline.limited_at.is_some()
        || !told.state.is_empty()
        || !told.account_data.is_empty()
        || !part.receipts.is_empty()
        || summary.is_some();
    if !is_news {
        return Ok(());
    }
    json::separate(out, 0);
    json::string(out, part.snapshot.room_id.as_str());
    out.push(b':');
    let mut room = Object::begin(out);
    let after = extent.map_or(scope.since.unwrap_or_default(), |extent| extent.after);
    scope.write_room(tx, part, &told, after, (out, &mut room))?;
    room.key(out, "ephemeral");
    ephemeral::write(out, part);
    if let Some(summary) = summary {
        room.key(out, "summary");
        summary.write(scope, tx, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// What is told of a room whose timeline may have grown, and whether its members are counted anew.
fn grown(
    scope: &Scope,
    tx: &mut Tx<'_>,
    part: &Part<'_>,
    (at, extent): (&StateAt, Extent),
) -> Result<(Told, Option<Summary>), Error> {
    let timeline = scope.timeline(tx, part, (extent.after, scope.upto), None)?;
    let changed = if extent.whole || timeline.stateless {
        BTreeSet::new()
    } else {
        changed(tx, part.snapshot.room, extent.after, scope.upto)?
    };
    let summary = if extent.whole || has_member(&changed) {
        Some(Summary::read(scope, tx, part, at)?)
    } else {
        None
    };
    let heroes = summary
        .as_ref()
        .and_then(|summary| summary.heroes.as_deref())
        .unwrap_or_default();
    let state = scope.state_beside(tx, part, (at, &timeline, extent), &changed, heroes)?;
    let told = Told {
        timeline,
        state,
        account_data: scope.room_account_data(part),
    };
    Ok((told, summary))
}
