//! Checking the room that a resident server gives to who has joined it: signatures, hashes, and whether each event is
//! allowed by those that it names. The current state is then not what the server says, but what holds of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ruma_common::{OwnedEventId, ServerName};
use starling_events::{Pdu, RoomVersion, Value};
use starling_stateres::{AuthState, check, check_auth_events};

use crate::error::SendError;
use crate::import::ImportedRoom;
use crate::membership::{AUTHORISED_VIA, is_same};
use crate::order::in_order;
use crate::remote::{JoinAnswer, Refused, Remote, malformed};

/// The room that a server gave to who joined it by `join`, without what doesn't hold.
///
/// # Errors
/// [`SendError::Remote`] when it is not the room or doesn't let the user in.
pub(super) async fn checked_room(
    remote: &Remote,
    server: &ServerName,
    join: Pdu,
    answer: JoinAnswer,
) -> Result<ImportedRoom, SendError> {
    let (version, room_id) = (join.version(), join.room_id().to_owned());
    let JoinAnswer {
        state,
        auth_chain,
        event,
    } = answer;
    let (in_state, in_chain) = (state.len(), auth_chain.len());
    let all = state.into_iter().chain(auth_chain).chain(event).collect();
    let mut checked = remote.check(version, &room_id, all).await?.into_iter();
    let state = kept(server, checked.by_ref().take(in_state));
    let chain = kept(server, checked.by_ref().take(in_chain));
    let join = countersigned(join, checked.next()).map_err(|why| malformed(server, why))?;
    let accepted = remote.work(move || accept(join, state, chain)).await?;
    accepted.map_err(|why| malformed(server, why).into())
}

/// What was not refused.
fn kept(server: &ServerName, checked: impl Iterator<Item = Result<Pdu, Refused>>) -> Vec<Pdu> {
    let refused = |refused: &Refused| {
        tracing::debug!(%server, %refused, "an event of a joined room is left out");
    };
    checked
        .filter_map(|event| event.inspect_err(refused).ok())
        .collect()
}

/// The join as the resident server gives it back: with its own signature, where it authorises it.
fn countersigned(join: Pdu, returned: Option<Result<Pdu, Refused>>) -> Result<Pdu, String> {
    if !join.version().rules().restricted {
        return Ok(join);
    }
    match returned {
        Some(Err(refused)) => Err(format!("the join that came back is refused: {refused}")),
        Some(Ok(returned)) => is_same(&returned, &join)
            .then_some(returned)
            .ok_or_else(|| "another event than the join came back".to_owned()),
        None if Value::new(join.content()).get(AUTHORISED_VIA).is_some() => {
            Err("the server authorises the join and hasn't signed it".to_owned())
        }
        None => Ok(join),
    }
}

/// Events that allow an event: those that it names, and the create event where its room's id names that.
struct Among<'a> {
    events: &'a [&'a Pdu],
    create: &'a Pdu,
}

impl AuthState for Among<'_> {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        let named = |event: &&&Pdu| event.kind() == kind && event.state_key() == Some(state_key);
        let is_create = kind == "m.room.create" && state_key.is_empty();
        let by_room_id = is_create && !self.create.version().rules().create_in_auth_events;
        let found = self.events.iter().find(named).copied();
        found.or(by_room_id.then_some(self.create))
    }
}

/// The current state, by type and state key.
struct Current<'a>(HashMap<(&'a str, &'a str), &'a Pdu>);

impl AuthState for Current<'_> {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        self.0.get(&(kind, state_key)).copied()
    }
}

/// The room with those events that are allowed by what they name, in an order in which each comes after these.
///
/// # Errors
/// Why it is no room that `join` joins.
fn accept(join: Pdu, state: Vec<Pdu>, chain: Vec<Pdu>) -> Result<ImportedRoom, String> {
    let version = join.version();
    let count = state.len();
    let (mut all, mut index) = (Vec::new(), HashMap::new());
    let mut of_state = Vec::new();
    for (number, event) in state.into_iter().chain(chain).enumerate() {
        if let Entry::Vacant(place) = index.entry(event.event_id().to_owned()) {
            place.insert(all.len());
            of_state.push(number < count);
            all.push(event);
        }
    }
    let create = the_create_event(version, &all)?;
    let order = in_order(&all, Pdu::auth_events);
    let mut allowed = vec![false; all.len()];
    for number in &order {
        let is_allowed = all
            .get(*number)
            .is_some_and(|event| is_allowed(event, create, (&all, &index, &allowed)));
        if let Some(allowed) = allowed.get_mut(*number) {
            *allowed = is_allowed;
        }
    }
    let holds = |number: &usize| {
        let is_state = all
            .get(*number)
            .is_some_and(|event| event.state_key().is_some());
        is_state && allowed.get(*number) == Some(&true) && of_state.get(*number) == Some(&true)
    };
    let mut current = Current(HashMap::new());
    for event in order
        .iter()
        .filter(|number| holds(number))
        .filter_map(|number| all.get(*number))
    {
        let key = (event.kind(), event.state_key().unwrap_or_default());
        if current.0.insert(key, event).is_some() {
            return Err(format!("two events of the state are {key:?}"));
        }
    }
    if current.get("m.room.create", "").is_none() {
        return Err("the state has no create event".to_owned());
    }
    if !is_allowed(&join, create, (&all, &index, &allowed)) {
        return Err("the join is not allowed by the events that it names".to_owned());
    }
    check(version, &join, &current)
        .map_err(|error| format!("the room's state doesn't allow the join: {error}"))?;
    let state = current.0.values();
    let mut state: Vec<OwnedEventId> = state.map(|pdu| pdu.event_id().to_owned()).collect();
    state.sort_unstable();
    let mut all: Vec<Option<Pdu>> = all.into_iter().map(Some).collect();
    let kept = order
        .into_iter()
        .filter(|number| allowed.get(*number) == Some(&true));
    let events = kept.filter_map(|number| all.get_mut(number)?.take());
    let events: Vec<Pdu> = events.collect();
    Ok(ImportedRoom {
        version,
        room_id: join.room_id().to_owned(),
        join,
        events,
        state,
    })
}

/// The one create event, if it is of the version that was spoken of.
fn the_create_event(version: RoomVersion, all: &[Pdu]) -> Result<&Pdu, String> {
    let mut creates = all.iter().filter(|event| event.kind() == "m.room.create");
    let (Some(create), None) = (creates.next(), creates.next()) else {
        return Err("the room has not one create event".to_owned());
    };
    let said = Value::new(create.content()).get("room_version");
    let said = said.and_then(Value::as_str).unwrap_or("1".into());
    if said != version.as_str() {
        return Err(format!("the room is of version {said}, not {version}"));
    }
    Ok(create)
}

/// Events by their place in a list, and which of them are allowed.
type Known<'a> = (&'a [Pdu], &'a HashMap<OwnedEventId, usize>, &'a [bool]);

/// Whether the events that this one names are here and allowed, and allow it.
fn is_allowed(event: &Pdu, create: &Pdu, (all, index, allowed): Known<'_>) -> bool {
    let mut named = Vec::with_capacity(event.auth_events().len());
    for id in event.auth_events() {
        let number = index.get(id).copied();
        let number = number.filter(|number| allowed.get(*number) == Some(&true));
        let Some(other) = number.and_then(|number| all.get(number)) else {
            return false;
        };
        named.push(other);
    }
    let among = Among {
        events: &named,
        create,
    };
    let version = event.version();
    check_auth_events(version, event, &named).is_ok() && check(version, event, &among).is_ok()
}
