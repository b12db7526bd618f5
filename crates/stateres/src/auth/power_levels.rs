//! Rule 10: `m.room.power_levels`.

use std::cmp::Ordering;
use std::iter;

use starling_events::{Pdu, RoomVersion};

use super::AuthError;
use crate::power_levels::{Levels, PowerLevel, PowerLevels, RoomPower, level_of};

/// `new` is the event's content: 10.1, 10.2 and 10.3 hold once it is parsed. `power` is that of the room before the event.
pub(super) fn check(
    version: RoomVersion,
    event: &Pdu,
    new: &PowerLevels,
    power: &RoomPower,
) -> Result<(), AuthError> {
    // 10.4
    if names_creator(new, power) {
        return Err(AuthError::PowerLevelsNameCreator);
    }
    // 10.5
    let Some(current) = power.levels() else {
        return Ok(());
    };
    let sender_level = power.user_level(event.sender());
    let is_above =
        |level: Option<i64>| level.is_some_and(|level| PowerLevel::Finite(level) > sender_level);
    // 10.6. The text infers levels that are not stated from the defaults, so that nobody can lower, by stating it, a
    // level that is above their own.
    for (current, new) in current.properties().into_iter().zip(new.properties()) {
        if current.stated != new.stated
            && (is_above(Some(current.effective())) || is_above(Some(new.effective())))
        {
            return Err(AuthError::PowerLevelsChange(new.name));
        }
    }
    // 10.7, 10.8
    let notifications = ("notifications", &current.notifications, &new.notifications);
    let notifications = version.rules().notification_levels.then_some(notifications);
    let events = ("events", &current.events, &new.events);
    for (name, current, new) in iter::once(events).chain(notifications) {
        if changes(current, new).any(|change| is_above(change.current) || is_above(change.new)) {
            return Err(AuthError::PowerLevelsChange(name));
        }
    }
    // 10.9, 10.10
    for change in changes(&current.users, &new.users) {
        let is_own = event.sender() == change.key;
        let is_peer = change
            .current
            .is_some_and(|level| PowerLevel::Finite(level) >= sender_level);
        if (is_peer && !is_own) || is_above(change.new) {
            return Err(AuthError::PowerLevelsChange("users"));
        }
    }
    Ok(())
}

/// Whether a creator is among the users. Either may be thousands: the fewer are looked up.
fn names_creator(new: &PowerLevels, power: &RoomPower) -> bool {
    let creators = power.privileged_creators();
    if new.users.len() < creators.len() {
        let mut users = new.users.iter();
        return users.any(|(user, _)| power.is_privileged_creator(user));
    }
    let mut creators = creators.iter();
    creators.any(|creator| level_of(&new.users, creator.as_str()).is_some())
}

/// An entry that was added (no `current`), changed, or removed (no `new`).
struct LevelChange<'a> {
    key: &'a str,
    current: Option<i64>,
    new: Option<i64>,
}

/// Both are sorted, and mostly alike: they are gone through side by side.
fn changes<'a>(current: &'a Levels, new: &'a Levels) -> impl Iterator<Item = LevelChange<'a>> {
    let (mut current, mut new) = (current.iter().peekable(), new.iter().peekable());
    let pairs = iter::from_fn(move || {
        let order = match (current.peek(), new.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old_key, _)), Some((new_key, _))) => old_key.cmp(new_key),
        };
        let current = current.next_if(|_| order.is_le());
        let new = new.next_if(|_| order.is_ge());
        let (key, _) = current.or(new)?;
        Some(LevelChange {
            key,
            current: current.map(|(_, level)| *level),
            new: new.map(|(_, level)| *level),
        })
    });
    pairs.filter(|change| change.current != change.new)
}
