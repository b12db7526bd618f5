//! The power levels on both sides of an upgrade. <https://spec.matrix.org/v1.19/client-server-api/#room-upgrades>

use ruma_common::OwnedUserId;
use serde_json::{Map, Value, json};
use starling_events::canonical_json::MAX_INTEGER;
use starling_events::{CanonicalObject, Pdu, RoomVersion};
use starling_stateres::{PowerLevel, RoomPower};

use super::carried::{OldRoom, object};
use crate::create::raise_tombstone_level;
use crate::error::SendError;
use crate::rooms::Actor;

/// Properties that are one level each.
const SINGLE: [&str; 7] = [
    "ban",
    "events_default",
    "invite",
    "kick",
    "redact",
    "state_default",
    "users_default",
];

/// Properties that are levels by name.
const BY_NAME: [&str; 3] = ["events", "notifications", "users"];

/// What a room's creator may do where levels say it.
const CREATOR_LEVEL: i64 = 100;

/// The least that `events_default` and `invite` are in a room that has been replaced.
const CLOSED_LEVEL: i64 = 50;

/// The levels of a new room.
#[derive(Debug)]
pub(super) struct CarriedLevels {
    /// With which it is set up.
    pub(super) first: Map<String, Value>,
    /// Which it has in the end.
    pub(super) last: Map<String, Value>,
}

/// The levels that the new room takes over, as its version writes them. Where creators are not above all levels, whoever
/// sets the room up has the highest of them meanwhile: they may not have had enough power for all of its state.
pub(super) fn carried(
    old: &OldRoom,
    power: &RoomPower,
    (actor, creators): (&Actor, &[OwnedUserId]),
    version: RoomVersion,
) -> Result<CarriedLevels, SendError> {
    let mut last = stated(&old.create, old.levels.as_ref());
    let highest = highest(&last).max(CREATOR_LEVEL);
    let invalid = SendError::Invalid("power levels");
    if version.rules().privileged_creators {
        let users = by_name(&mut last, "users").ok_or(invalid)?;
        users.remove(actor.user_id.as_str());
        for creator in creators {
            users.remove(creator.as_str());
        }
        by_name(&mut last, "events");
        let before = last.clone();
        raise_tombstone_level(&mut last, &before);
        let first = last.clone();
        return Ok(CarriedLevels { first, last });
    }
    let user = actor.user_id.to_string();
    let mut first = last.clone();
    let users = by_name(&mut first, "users").ok_or(invalid)?;
    users.insert(user, highest.into());
    // Who was above all levels is named by none, and nobody else need be.
    if power.user_level(&actor.user_id) == PowerLevel::Infinite {
        last.clone_from(&first);
    }
    Ok(CarriedLevels { first, last })
}

/// The levels of a room that has been replaced, where they are not high enough already to keep others from going on in
/// it.
pub(super) fn restricted(create: &Pdu, levels: Option<&Pdu>) -> Option<Map<String, Value>> {
    let before = stated(create, levels);
    let level = |key| before.get(key).and_then(Value::as_i64).unwrap_or(0);
    let least = CLOSED_LEVEL.max(level("users_default").saturating_add(1));
    let mut after = before.clone();
    for key in ["events_default", "invite"] {
        after.insert(key.to_owned(), level(key).max(least).into());
    }
    (after != before).then_some(after)
}

/// What a room's power levels say, or would if it had any, with every level as an integer.
fn stated(create: &Pdu, levels: Option<&Pdu>) -> Map<String, Value> {
    let Some(levels) = levels else {
        let creator = object(create)
            .get("creator")
            .and_then(Value::as_str)
            .unwrap_or(create.sender().as_str())
            .to_owned();
        return if create.version().rules().privileged_creators {
            Map::new()
        } else {
            Map::from_iter([("users".to_owned(), json!({ creator: CREATOR_LEVEL }))])
        };
    };
    let members = object(levels).into_iter();
    let normal = members.filter_map(|(key, value)| {
        let value = normal(&key, value)?;
        Some((key, value))
    });
    normal.collect()
}

/// A property as every version reads it. What is none is left out.
fn normal(key: &str, value: Value) -> Option<Value> {
    if SINGLE.contains(&key) {
        return level(&value).map(Value::from);
    }
    match value {
        Value::Object(levels) if BY_NAME.contains(&key) => {
            let levels = levels.into_iter();
            let normal = levels.filter_map(|(name, value)| Some((name, level(&value)?.into())));
            Some(Value::Object(normal.collect()))
        }
        _ if BY_NAME.contains(&key) => None,
        other => {
            let alone = json!({ key: other });
            let fits = CanonicalObject::from_serialize(&alone).is_ok();
            alone.get(key).filter(|_| fits).cloned()
        }
    }
}

/// An integer, or what older versions take for one.
/// <https://spec.matrix.org/v1.19/rooms/v1/#mroompower_levels-events-accept-values-as-strings>
fn level(value: &Value) -> Option<i64> {
    let level = match value {
        Value::Number(number) => number.as_i64().or_else(|| truncated(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    level.map(|level| level.clamp(-MAX_INTEGER, MAX_INTEGER))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "cuts off the fraction, and stops at the ends of the range"
)]
fn truncated(number: f64) -> Option<i64> {
    number.is_finite().then_some(number as i64)
}

/// A property that is levels by name, made if it is missing.
fn by_name<'a>(
    levels: &'a mut Map<String, Value>,
    key: &str,
) -> Option<&'a mut Map<String, Value>> {
    levels
        .entry(key)
        .or_insert_with(|| json!({}))
        .as_object_mut()
}

/// The highest of all levels.
fn highest(levels: &Map<String, Value>) -> i64 {
    let single = levels.values().filter_map(Value::as_i64);
    let by_name = BY_NAME
        .iter()
        .filter_map(|key| levels.get(*key)?.as_object());
    let named = by_name.flat_map(|levels| levels.values().filter_map(Value::as_i64));
    single.chain(named).max().unwrap_or(0)
}
