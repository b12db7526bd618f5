//! Rooms that the reader is invited to, or asks to be let into: a few events of their state, stripped.
//! <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>

use starling_db::Tx;
use starling_events::client_format::write_stripped;
use starling_store::EventNum;
use starling_store::memberships::Membership;
use starling_store::names::{EMPTY_KEY, types};
use starling_store::remote_invites::remote_invite_read;

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

impl Stripped {
    fn membership(self) -> Membership {
        match self {
            Self::Invite => Membership::Invite,
            Self::Knock => Membership::Knock,
        }
    }
}

/// What is told of such a room.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Stripped events that came from another server, with what is here no event: JSON objects separated by commas.
    given: Box<[u8]>,
    /// Events: the reader's own member event is the last.
    pub(crate) events: Vec<EventNum>,
}

/// What to tell, if the reader is invited, not by somebody whom they ignore, or knocks.
pub(crate) fn read(
    scope: &Scope,
    tx: &mut Tx<'_>,
    part: &Part<'_>,
    kind: Stripped,
) -> Result<Option<Shown>, Error> {
    let at = StateAt::of_snapshot(&scope.store, tx, part.snapshot, scope.upto)?;
    let own = at
        .get((types::MEMBER, part.own))
        .filter(|entry| entry.tag == kind.membership().code());
    let (own, given) = match own {
        Some(own) => (own.event, None),
        // The server isn't in the room, or wasn't when it was told of the invite.
        None => match remote_invite_read(tx, scope.reader.user, part.snapshot.room)? {
            Some(invite) => (invite.event, Some(invite.state)),
            None => return Ok(None),
        },
    };
    let Some(own) = scope.store.event_read(tx, own)? else {
        return Ok(None);
    };
    if part.viewer.ignores(own.pdu.sender()) {
        return Ok(None);
    }
    if let Some(given) = given {
        let events = vec![own.num];
        return Ok(Some(Shown { given, events }));
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
    Ok(Some(Shown {
        given: Box::default(),
        events: numbers.chain([own.num]).collect(),
    }))
}

/// Appends `"!room": {"…_state": {"events": […]}}`.
pub(crate) fn write(
    scope: &Scope,
    tx: &mut Tx<'_>,
    (part, kind, shown): (&Part<'_>, Stripped, &Shown),
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
    out.extend_from_slice(&shown.given);
    let events = match pages.get(&shown.events) {
        Some(events) => events,
        None => scope.store.events_read(tx, &shown.events)?,
    };
    for event in events {
        json::separate(out, start);
        write_stripped(out, &event.pdu);
    }
    out.extend_from_slice(b"]}}");
    Ok(())
}
