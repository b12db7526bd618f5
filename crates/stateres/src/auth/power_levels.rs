//! Rule 10: `m.room.power_levels`.

use std::iter;

use starling_events::{Pdu, RoomVersion};

use super::AuthError;
use crate::power_levels::{Levels, PowerLevel, PowerLevels, RoomPower, level_of};

/// `power` is that of the room before the event.
pub(super) fn check(version: RoomVersion, event: &Pdu, power: &RoomPower) -> Result<(), AuthError> {
    // 10.1, 10.2, 10.3
    let new = PowerLevels::parse(version, event.content())?;
    // 10.4
    if power
        .privileged_creators()
        .iter()
        .any(|creator| level_of(&new.users, creator.as_str()).is_some())
    {
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

/// An entry that was added (no `current`), changed, or removed (no `new`).
struct LevelChange<'a> {
    key: &'a str,
    current: Option<i64>,
    new: Option<i64>,
}

fn changes<'a>(current: &'a Levels, new: &'a Levels) -> impl Iterator<Item = LevelChange<'a>> {
    let kept_or_removed = current.iter().map(|(key, level)| LevelChange {
        key,
        current: Some(*level),
        new: level_of(new, key),
    });
    let added = new
        .iter()
        .filter(|(key, _)| level_of(current, key).is_none())
        .map(|(key, level)| LevelChange {
            key,
            current: None,
            new: Some(*level),
        });
    kept_or_removed
        .chain(added)
        .filter(|change| change.current != change.new)
}
