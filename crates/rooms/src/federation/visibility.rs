//! What a server may see of a room's history: as much as any of its users. What it may not see, it is told as a redaction
//! leaves it, so that the room's graph stays whole.
//! <https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ruma_common::{OwnedEventId, ServerName, UserId};
use starling_db::{Error, Tx};
use starling_events::Value;
use starling_store::events::{Event, Visibility};
use starling_store::memberships::Membership;
use starling_store::names::types;
use starling_store::snapshots::snapshots_load;
use starling_store::state_map::Entry;
use starling_store::{EventNum, KeyNum, SnapshotNum, Store, UserNum};

use super::PduBytes;

/// What the users of one server are at an event, all together.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    joined: bool,
    invited: bool,
}

impl Standing {
    fn add(&mut self, membership: Membership) {
        self.joined |= membership == Membership::Join;
        self.invited |= membership == Membership::Invite;
    }
}

/// Events of one room, as `server` is told them; if it is no member any longer, in full only where it was one.
pub(super) fn tell(
    store: &Store,
    tx: &mut Tx<'_>,
    (server, is_member): (&ServerName, bool),
    events: &[Arc<Event>],
) -> Result<Vec<PduBytes>, Error> {
    let erased = store.erased().users(tx)?;
    let is_open = |event: &Event| is_member && is_open(event);
    let asks = |event: &&Arc<Event>| is_erased(event, &erased) || !is_open(event);
    let asked: Vec<&Arc<Event>> = events.iter().filter(asks).collect();
    let standings = standings(store, tx, server, &asked)?;
    let told = events.iter().map(|event| {
        let standing = standings.get(&event.num).copied().unwrap_or_default();
        let is_hidden = is_erased(event, &erased) && !standing.joined;
        if !is_hidden && (is_open(event) || sees(event, (standing, is_member))) {
            Arc::clone(event.pdu.json())
        } else {
            Arc::clone(event.pdu.redacted().json())
        }
    });
    Ok(told.collect())
}

/// Whether its sender wants it to be shown only to those who saw it then. What they made the room to be stays.
fn is_erased(event: &Event, erased: &HashSet<UserNum>) -> bool {
    erased.contains(&event.sender) && (event.key.is_none() || event.kind == types::MEMBER)
}

/// Whether all servers in the room may see it. State without a place of its own was given by others as what the room is made
/// of. Where nothing is known of the members then, only what is open to all is told.
fn is_open(event: &Event) -> bool {
    if event.place.is_none() && event.snapshot.is_none() {
        return event.key.is_some();
    }
    let is_open = |visibility| matches!(visibility, Visibility::WorldReadable | Visibility::Shared);
    is_open(event.visibility.0) || is_open(event.visibility.1)
}

fn sees(event: &Event, (standing, is_member): (Standing, bool)) -> bool {
    let for_invited = [event.visibility.0, event.visibility.1].contains(&Visibility::Invited);
    standing.joined || (is_member && for_invited && standing.invited)
}

/// Those of the events that put a user of the server out of the room.
pub(super) fn putting_out(
    store: &Store,
    tx: &mut Tx<'_>,
    server: &ServerName,
    events: &[Arc<Event>],
) -> Result<Vec<OwnedEventId>, Error> {
    let is_own = |event: &&Arc<Event>| {
        let target = event
            .pdu
            .state_key()
            .filter(|_| event.kind == types::MEMBER);
        target.is_some_and(|target| is_of(server, target))
            && membership(event) != Some(Membership::Join)
    };
    let own: Vec<&Arc<Event>> = events.iter().filter(is_own).collect();
    let replaced: Vec<EventNum> = own.iter().filter_map(|event| event.replaces).collect();
    let replaced = store.events_read(tx, &replaced)?;
    let was_joined = |event: &&&Arc<Event>| {
        let before = event.replaces;
        let before = replaced
            .iter()
            .find(|replaced| Some(replaced.num) == before);
        before.is_some_and(|before| membership(before) == Some(Membership::Join))
    };
    let putting_out = own.iter().filter(was_joined);
    Ok(putting_out
        .map(|event| event.pdu.event_id().to_owned())
        .collect())
}

/// What the server's users were at each of `events`: after it, and before it where it is about one of them.
fn standings(
    store: &Store,
    tx: &mut Tx<'_>,
    server: &ServerName,
    events: &[&Arc<Event>],
) -> Result<HashMap<EventNum, Standing>, Error> {
    if events.is_empty() {
        return Ok(HashMap::new());
    }
    let after = after_states(store, tx, server, events)?;
    let replaced: Vec<EventNum> = events
        .iter()
        .filter(|event| event.kind == types::MEMBER)
        .filter_map(|event| event.replaces)
        .collect();
    let replaced = store.events_read(tx, &replaced)?;
    let replaced: HashMap<EventNum, Membership> = replaced
        .iter()
        .filter(|event| event.pdu.state_key().is_some_and(|key| is_of(server, key)))
        .filter_map(|event| Some((event.num, membership(event)?)))
        .collect();
    let standing = |event: &&Arc<Event>| {
        let mut standing = event
            .snapshot
            .and_then(|snapshot| after.get(&snapshot).copied())
            .unwrap_or_default();
        let before = event.replaces.and_then(|event| replaced.get(&event));
        if let Some(before) = before {
            standing.add(*before);
        }
        (event.num, standing)
    };
    Ok(events.iter().map(standing).collect())
}

/// What the server's users are in the states after events.
fn after_states(
    store: &Store,
    tx: &mut Tx<'_>,
    server: &ServerName,
    events: &[&Arc<Event>],
) -> Result<HashMap<SnapshotNum, Standing>, Error> {
    let wanted: BTreeSet<SnapshotNum> = events.iter().filter_map(|event| event.snapshot).collect();
    let wanted: Vec<SnapshotNum> = wanted.into_iter().collect();
    let states = snapshots_load(tx, &wanted)?;
    let here = |entry: &&Entry| {
        [Membership::Join, Membership::Invite]
            .map(Membership::code)
            .contains(&entry.tag)
    };
    let members = states.values().flat_map(|(state, _)| state.members());
    let keys: BTreeSet<KeyNum> = members.filter(here).map(|entry| entry.key).collect();
    let names = store.names().key_names(tx, keys)?;
    let own: HashSet<KeyNum> = names
        .iter()
        .filter(|(_, name)| is_of(server, name))
        .map(|(key, _)| *key)
        .collect();
    let mut standings = HashMap::with_capacity(states.len());
    for (snapshot, (state, _)) in &states {
        let mut standing = Standing::default();
        let members = state.members().filter(|entry| own.contains(&entry.key));
        for membership in members.filter_map(|entry| Membership::from_code(entry.tag)) {
            standing.add(membership);
        }
        standings.insert(*snapshot, standing);
    }
    Ok(standings)
}

fn is_of(server: &ServerName, user: &str) -> bool {
    <&UserId>::try_from(user).is_ok_and(|user| user.server_name() == server)
}

fn membership(event: &Event) -> Option<Membership> {
    let word = Value::new(event.pdu.content())
        .get("membership")?
        .as_str()?;
    Membership::parse(&word)
}
