//! Iterative auth checks. <https://spec.matrix.org/v1.19/rooms/v2/#definitions>

use std::cell::RefCell;

use ruma_common::UserId;
use starling_events::{Pdu, RoomVersion};

use super::partial_state::PartialState;
use super::power_cache::{Keys, ParsedLevels, Power, PowerCache};
use super::{EventNum, ResolveError, RoomEvents, StateEvent, StateKey};
use crate::auth::{AuthState, check};
use crate::membership::Membership;
use crate::power_levels::{PowerLevels, PowerLevelsError, RoomPower};

/// What stands in for state that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallback {
    /// Nothing.
    Nothing,
    /// The event's own auth event at that key, unless it was rejected.
    AuthEvents,
}

/// Puts those of the events into the state, in order, that it allows when it is their turn.
pub(super) fn iterative_auth_checks<'r, R: RoomEvents>(
    version: RoomVersion,
    events: &[&'r StateEvent],
    state: &mut PartialState<'r, R>,
    powers: &mut PowerCache<'r, R>,
) -> Result<(), ResolveError> {
    for event in events {
        if is_allowed(version, event, (state, Fallback::AuthEvents), powers)? {
            state.insert(event.key, event.num);
        }
    }
    Ok(())
}

/// Whether the authorization rules allow an event in a state.
pub(super) fn is_allowed<'r, R: RoomEvents>(
    version: RoomVersion,
    event: &'r StateEvent,
    (state, fallback): (&PartialState<'r, R>, Fallback),
    powers: &mut PowerCache<'r, R>,
) -> Result<bool, ResolveError> {
    let mut view = View {
        event,
        state,
        fallback,
        room: powers.room,
        keys: powers.keys,
        power: None,
        new_levels: (Some(event.key) == powers.keys.power_levels).then(|| powers.levels(event)),
        missing: RefCell::default(),
    };
    if let Some(create) = view.create() {
        let levels = view.find(view.keys.power_levels);
        view.power = Some(powers.power(create.num, levels.map(|levels| levels.num))?);
    }
    let is_allowed = check(version, &event.pdu, &view).is_ok();
    let missing = view.missing.take();
    if missing.is_empty() {
        Ok(is_allowed)
    } else {
        Err(ResolveError::Missing(missing))
    }
}

/// A state as one event sees it.
struct View<'a, 'r, R> {
    event: &'r StateEvent,
    state: &'a PartialState<'r, R>,
    fallback: Fallback,
    room: &'r R,
    keys: Keys,
    power: Option<Power>,
    /// What the event says, if it is one of power levels.
    new_levels: Option<ParsedLevels>,
    /// Events that were asked for and aren't at hand.
    missing: RefCell<Vec<EventNum>>,
}

impl<'r, R: RoomEvents> View<'_, 'r, R> {
    fn event(&self, num: EventNum) -> Option<&'r StateEvent> {
        let event = self.room.event(num);
        if event.is_none() {
            self.missing.borrow_mut().push(num);
        }
        event
    }

    /// The event at a key.
    fn find(&self, key: Option<StateKey>) -> Option<&'r StateEvent> {
        let key = key?;
        if let Some(num) = self.state.get(key) {
            return self.event(num);
        }
        match self.fallback {
            Fallback::Nothing => None,
            Fallback::AuthEvents => {
                let auth_events = self.event.auth_events.iter();
                auth_events
                    .filter_map(|&num| self.event(num))
                    .find(|auth_event| auth_event.key == key && !auth_event.is_rejected)
            }
        }
    }

    fn create(&self) -> Option<&'r StateEvent> {
        if self.event.pdu.version().rules().create_in_auth_events {
            self.find(self.keys.create)
        } else {
            // The room id names it, whatever else the state has.
            self.event(self.room.create())
        }
    }

    /// The member event of a user. Most often that is the event's sender, or whom the event is about.
    fn member(&self, user: &str) -> Option<&'r StateEvent> {
        let event = self.event;
        let key = if user == event.pdu.sender().as_str() {
            Some(event.sender_key)
        } else if event.membership.is_some() && event.pdu.state_key() == Some(user) {
            Some(event.key)
        } else {
            self.room.key("m.room.member", user)
        };
        self.find(key)
    }
}

impl<R: RoomEvents> AuthState for View<'_, '_, R> {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        let event = match (kind, state_key) {
            ("m.room.create", "") => self.create(),
            ("m.room.power_levels", "") => self.find(self.keys.power_levels),
            ("m.room.join_rules", "") => self.find(self.keys.join_rules),
            ("m.room.member", user) => self.member(user),
            (kind, state_key) => self.find(self.room.key(kind, state_key)),
        };
        event.map(|event| &*event.pdu)
    }

    fn power(&self) -> Option<Result<&RoomPower, PowerLevelsError>> {
        let power = self.power.as_deref()?;
        Some(power.as_ref().map_err(|error| *error))
    }

    fn new_levels(&self) -> Option<Result<&PowerLevels, PowerLevelsError>> {
        let levels = self.new_levels.as_ref()?;
        Some(levels.as_deref().map_err(|error| *error))
    }

    fn membership(&self, user: &UserId) -> Option<Membership> {
        let event = self.member(user.as_str())?;
        Some(event.membership.unwrap_or(Membership::Unknown))
    }
}
