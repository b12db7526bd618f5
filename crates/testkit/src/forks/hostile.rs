//! What hostile or broken servers do: events that cite what they shouldn't, and states that nobody else has.

use serde_json::json;
use starling_events::room_version::RoomIdForm;
use starling_stateres::{check, check_auth_events};

use super::maker::{Branch, Maker};
use super::moves::{self, Mover};
use super::{Dice, Draft, ForkedRoom, Room, State};

/// Adds an event that passes the checks of its auth events but doesn't cite the state of its branch. `false`: nothing
/// came to mind.
pub(super) fn act(maker: &mut Maker, branch: &mut Branch, past: &[Branch]) -> bool {
    if maker.dice.one_in(30) && maker.room.version().rules().room_id == RoomIdForm::WithDomain {
        return create_again(maker, branch);
    }
    let pretended = match (maker.dice.below(3), maker.dice.pick(past)) {
        (0, Some(past)) => past.state.clone(),
        (1, Some(past)) => mixed(&[branch.state.clone(), past.state.clone()], &mut maker.dice),
        _ => anything(&maker.room, &mut maker.dice),
    };
    let mover = Mover {
        view: maker.room.view(&pretended),
        people: &maker.people,
    };
    let Some(draft) = moves::any(&mover, &mut maker.dice) else {
        return false;
    };
    let mut auth_events = maker.auth_events(&draft, &pretended);
    if maker.dice.percent(30) && auth_events.len() > 1 {
        let left_out = maker.dice.below(auth_events.len());
        auth_events.remove(left_out);
    }
    let pdu = maker.make(branch, draft, auth_events);
    if !passes_auth_events(&maker.room, &pdu) {
        return false;
    }
    let is_rejected = check(maker.room.version(), &pdu, &maker.room.view(&branch.state)).is_err();
    let num = maker.room.insert(pdu, is_rejected, &mut maker.dice);
    // A rejected event changes no state, but another server may have told us that it did.
    let is_state = !is_rejected || maker.dice.percent(40);
    maker.advance(branch, num, is_state);
    true
}

/// A second create event, at a state key where the room's own isn't. It cites nothing and is allowed.
fn create_again(maker: &mut Maker, branch: &mut Branch) -> bool {
    let creator = maker.people.creator().clone();
    let content = json!({ "creator": creator, "room_version": maker.room.version().as_str() });
    let draft = Draft::state(&creator, "m.room.create", "again", content);
    let start = Branch {
        ends: Vec::new(),
        depth: 0,
        state: State::new(),
    };
    let pdu = maker.make(&start, draft, Vec::new());
    let num = maker.room.insert(pdu, false, &mut maker.dice);
    maker.advance(branch, num, true);
    true
}

fn passes_auth_events(room: &Room, pdu: &starling_events::Pdu) -> bool {
    let cited = pdu.auth_events().iter().filter_map(|id| room.by_id(id));
    let cited: Vec<_> = cited.filter_map(|event| event.state.as_ref()).collect();
    if cited.iter().any(|event| event.is_rejected) {
        return false;
    }
    let events: Vec<_> = cited.iter().map(|event| &*event.pdu).collect();
    let mut state: State = cited.iter().map(|event| (event.key, event.num)).collect();
    if !room.version().rules().create_in_auth_events
        && let Some(create) = &room.create().state
    {
        state.insert(create.key, create.num);
    }
    check_auth_events(room.version(), pdu, &events).is_ok()
        && check(room.version(), pdu, &room.view(&state)).is_ok()
}

/// At each key what one of the states has there.
pub(super) fn mixed(states: &[State], dice: &mut Dice) -> State {
    let mut mixed = State::new();
    for key in states.iter().flat_map(State::keys) {
        if let Some(num) = dice.pick(states).and_then(|state| state.get(key)) {
            mixed.insert(*key, *num);
        }
    }
    mixed
}

/// At each key any event that ever was there, and was not rejected.
fn anything(room: &Room, dice: &mut Dice) -> State {
    let mut state = State::new();
    for event in room.events().filter_map(|event| event.state.as_ref()) {
        if !event.is_rejected && (!state.contains_key(&event.key) || dice.percent(40)) {
            state.insert(event.key, event.num);
        }
    }
    state
}

/// Spoils the finished room now and then: redacts events, says that some were rejected, lies about the states.
pub(super) fn spoil(forked: &mut ForkedRoom, dice: &mut Dice) {
    let create = forked.room.create().num;
    let events: Vec<_> = forked.room.events().map(|event| event.num).collect();
    let others: Vec<_> = events.into_iter().filter(|num| *num != create).collect();
    if dice.percent(10) {
        for num in others.iter().copied().filter(|_| dice.one_in(8)) {
            let redacted = forked.room.get(num).pdu.redacted();
            forked.room.replace(num, redacted);
        }
    }
    if dice.percent(5) {
        for num in others.iter().copied().filter(|_| dice.one_in(12)) {
            forked.room.reject(num);
        }
    }
    if dice.percent(8) {
        let states = dice.below(forked.states.len());
        if let Some(state) = forked.states.get_mut(states) {
            lie(&forked.room, state, dice);
        }
    }
}

/// Takes events out of a state, or puts older ones there.
fn lie(room: &Room, state: &mut State, dice: &mut Dice) {
    let old = anything(room, dice);
    let create = room.create().num;
    let keys: Vec<_> = state.keys().copied().collect();
    for key in keys {
        if state.get(&key) == Some(&create) || !dice.one_in(5) {
            continue;
        }
        match old.get(&key) {
            Some(num) if dice.percent(60) => state.insert(key, *num),
            _ => state.remove(&key),
        };
    }
}
