//! The power of users by the events that define it, each parsed once.

use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{EventNum, ResolveError, RoomEvents, StateEvent, StateKey};
use crate::power_levels::{
    Creators, PowerLevel, PowerLevels, PowerLevelsError, RoomPower, creators as creators_of,
};

/// The power that a create event and a power levels event make, or why they make none.
pub(super) type Power = Rc<Result<RoomPower, PowerLevelsError>>;

/// What a power levels event says, or why it is malformed.
pub(super) type ParsedLevels = Result<Arc<PowerLevels>, PowerLevelsError>;

/// The keys that resolution looks for itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    pub(super) create: Option<StateKey>,
    pub(super) power_levels: Option<StateKey>,
    pub(super) join_rules: Option<StateKey>,
}

impl Keys {
    pub(super) fn new(room: &impl RoomEvents) -> Self {
        Self {
            create: room.key("m.room.create", ""),
            power_levels: room.key("m.room.power_levels", ""),
            join_rules: room.key("m.room.join_rules", ""),
        }
    }
}

/// Reads events and the power that they define.
pub(super) struct PowerCache<'r, R> {
    pub(super) room: &'r R,
    pub(super) keys: Keys,
    powers: FxHashMap<(EventNum, Option<EventNum>), Power>,
    levels: FxHashMap<EventNum, ParsedLevels>,
    creators: FxHashMap<EventNum, Creators>,
}

impl<'r, R: RoomEvents> PowerCache<'r, R> {
    pub(super) fn new(room: &'r R) -> Self {
        Self {
            room,
            keys: Keys::new(room),
            powers: FxHashMap::default(),
            levels: FxHashMap::default(),
            creators: FxHashMap::default(),
        }
    }

    /// An event that must be at hand.
    pub(super) fn event(&self, event: EventNum) -> Result<&'r StateEvent, ResolveError> {
        self.room
            .event(event)
            .ok_or_else(|| ResolveError::Missing(vec![event]))
    }

    /// The auth event of this event that is at a key.
    pub(super) fn auth_event(
        &self,
        event: &StateEvent,
        key: Option<StateKey>,
    ) -> Result<Option<(EventNum, &'r StateEvent)>, ResolveError> {
        for &num in &event.auth_events {
            let auth_event = self.event(num)?;
            if Some(auth_event.key) == key {
                return Ok(Some((num, auth_event)));
            }
        }
        Ok(None)
    }

    /// What a power levels event says.
    pub(super) fn levels(&mut self, event: &StateEvent) -> ParsedLevels {
        let parse = || PowerLevels::parse(event.pdu.version(), event.pdu.content()).map(Arc::new);
        self.levels.entry(event.num).or_insert_with(parse).clone()
    }

    /// The power that these events make.
    pub(super) fn power(
        &mut self,
        create: EventNum,
        power_levels: Option<EventNum>,
    ) -> Result<Power, ResolveError> {
        if let Some(power) = self.powers.get(&(create, power_levels)) {
            return Ok(Rc::clone(power));
        }
        let create_event = self.event(create)?;
        let levels_event = power_levels.map(|levels| self.event(levels)).transpose()?;
        let levels = levels_event.map(|event| self.levels(event)).transpose();
        let create_pdu = &create_event.pdu;
        let creators = self.creators.entry(create);
        let creators = creators.or_insert_with(|| creators_of(create_pdu)).clone();
        let power = Rc::new(levels.map(|levels| RoomPower::with(create_pdu, creators, levels)));
        self.powers
            .insert((create, power_levels), Rc::clone(&power));
        Ok(power)
    }

    /// The power of an event's sender, by the event's own auth events. Without a create event or with malformed power
    /// levels, with which no event is ever allowed, it is 0.
    pub(super) fn sender_level(&mut self, event: &StateEvent) -> Result<PowerLevel, ResolveError> {
        let create = if event.pdu.version().rules().create_in_auth_events {
            self.auth_event(event, self.keys.create)?
                .map(|(num, _)| num)
        } else {
            Some(self.room.create())
        };
        let Some(create) = create else {
            return Ok(PowerLevel::Finite(0));
        };
        let levels = self.auth_event(event, self.keys.power_levels)?;
        let power = self.power(create, levels.map(|(num, _)| num))?;
        Ok(match power.as_ref() {
            Ok(power) => power.user_level(event.pdu.sender()),
            Err(_) => PowerLevel::Finite(0),
        })
    }
}
