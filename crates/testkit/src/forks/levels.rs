//! Power levels: the first ones of a room and changes of them.

use serde_json::{Map, Value, json};
use starling_events::{RoomVersion, room_version::LevelForm};
use starling_stateres::AuthState;

use super::moves::Mover;
use super::{Dice, Draft, Population};

const PROPERTIES: [&str; 7] = [
    "ban",
    "events_default",
    "invite",
    "kick",
    "redact",
    "state_default",
    "users_default",
];
const KINDS: [&str; 6] = [
    "m.room.topic",
    "m.room.join_rules",
    "m.room.power_levels",
    "m.room.name",
    "m.room.redaction",
    "org.example.state",
];

/// The content of a room's first power levels.
pub(super) fn first(version: RoomVersion, people: &Population, dice: &mut Dice) -> Value {
    let mut users = Map::new();
    let is_privileged = version.rules().privileged_creators;
    for (index, user) in people.users().iter().enumerate() {
        let level = match index {
            0 if is_privileged => continue,
            0 => 100,
            _ => dice.of([0, 0, 50, 50, 75, 100]),
        };
        if index == 0 || level > 0 {
            users.insert(user.to_string(), level_in(version, level, dice));
        }
    }
    let mut content = Map::new();
    content.insert("users".to_owned(), Value::Object(users));
    if dice.percent(30) {
        set_property(version, &mut content, dice);
    }
    Value::Object(content)
}

/// A change of the power levels that there are.
pub(super) fn change(mover: &Mover<'_>, dice: &mut Dice) -> Draft {
    let version = mover.version();
    let sender = mover.member_of_room(dice);
    let current = mover.view.get("m.room.power_levels", "");
    let current = current.and_then(|event| serde_json::from_slice(event.content()).ok());
    let mut content: Map<String, Value> = current.unwrap_or_default();
    for _ in 0..=dice.below(2) {
        match dice.below(10) {
            0..6 => set_user(mover, &mut content, dice),
            6..8 => set_property(version, &mut content, dice),
            8 => set_in(version, &mut content, ("events", dice.of(KINDS)), dice),
            _ => set_in(version, &mut content, ("notifications", "room"), dice),
        }
    }
    // The text calls those of any state key power events.
    let state_key = if dice.one_in(20) { "odd" } else { "" };
    Draft::state(
        &sender,
        "m.room.power_levels",
        state_key,
        Value::Object(content),
    )
}

fn set_user(mover: &Mover<'_>, content: &mut Map<String, Value>, dice: &mut Dice) {
    let user = mover.people.anyone(dice);
    set_in(mover.version(), content, ("users", user.as_str()), dice);
}

fn set_in(
    version: RoomVersion,
    content: &mut Map<String, Value>,
    (property, key): (&str, &str),
    dice: &mut Dice,
) {
    let levels = content.entry(property).or_insert_with(|| json!({}));
    if let Value::Object(levels) = levels {
        set(version, levels, key, dice);
    }
}

fn set_property(version: RoomVersion, content: &mut Map<String, Value>, dice: &mut Dice) {
    set(version, content, dice.of(PROPERTIES), dice);
}

fn set(version: RoomVersion, levels: &mut Map<String, Value>, key: &str, dice: &mut Dice) {
    if dice.percent(15) {
        levels.remove(key);
    } else {
        let level = dice.of([-1, 0, 0, 10, 25, 50, 50, 75, 99, 100, 101]);
        levels.insert(key.to_owned(), level_in(version, level, dice));
    }
}

/// A level, now and then in an old form if the version takes it.
fn level_in(version: RoomVersion, level: i64, dice: &mut Dice) -> Value {
    match version.rules().levels {
        LevelForm::IntegerOrString | LevelForm::AnyNumber if dice.one_in(12) => {
            Value::String(level.to_string())
        }
        LevelForm::AnyNumber if dice.one_in(150) => {
            serde_json::from_str(&format!("{level}.25")).expect("a number")
        }
        _ => json!(level),
    }
}
