//! A large room's history up to where it forks: members who join, change their profiles and leave, and power levels
//! that grow to about 200 users.

use serde_json::{Map, Value as Json, json};
use starling_events::RoomVersion;
use starling_runtime::Chance;

use crate::room::{Branch, Draft, Room, WIDGET};

/// Users who can do everything; the first is the creator.
pub const ADMINS: usize = 5;
/// Users with power of their own, the admins among them, in a room that has so many members.
pub const POWER_USERS: usize = 200;
/// How often the power levels change while the room grows.
const POWER_CHANGES: usize = 50;
/// Widgets, and other state that isn't members.
const WIDGETS: usize = 200;

/// A room before it forks.
#[derive(Debug)]
pub struct Base {
    /// The room, in which forks send on.
    pub room: Room,
    /// The state from which forks start.
    pub branch: Branch,
    /// Members who are in the room and have no power of their own.
    pub joined: Vec<usize>,
    /// The users with power of their own in the power levels, most first.
    pub power_users: usize,
}

/// The id of the n-th user.
#[must_use]
pub fn user(number: usize) -> String {
    format!("@user{number}:server{}.example.org", number % 997)
}

/// A member event's content.
#[must_use]
pub fn member(membership: &str, number: usize, revision: u64) -> Json {
    json!({
        "avatar_url": format!("mxc://server{}.example.org/{revision:016x}", number % 997),
        "displayname": format!("User {number}, revision {}", revision % 1000),
        "membership": membership,
    })
}

/// Power levels with these many users; `changed` are users who have another level than their place says.
#[must_use]
pub fn power_levels(version: RoomVersion, users: usize, changed: &[(usize, i64)]) -> Json {
    let mut levels: Map<String, Json> = (0..users)
        .map(|number| (user(number), if number < ADMINS { 100 } else { 50 }.into()))
        .collect();
    for &(number, level) in changed {
        levels.insert(user(number), level.into());
    }
    if version.rules().privileged_creators {
        // Their power is infinite, and must not be stated.
        levels.remove(&user(0));
    }
    json!({
        "ban": 50,
        "events": { "m.room.name": 50, "m.room.power_levels": 100, "m.room.tombstone": 150, WIDGET: 50 },
        "events_default": 0,
        "invite": 0,
        "kick": 50,
        "redact": 50,
        "state_default": 50,
        "users": levels,
        "users_default": 0,
    })
}

/// Makes a room with so many members.
#[must_use]
pub fn make(version: RoomVersion, members: usize, seed: u64) -> Base {
    let (room, branch) = Room::new(version, &user(0), Chance::seeded(seed));
    let mut base = Base {
        room,
        branch,
        joined: Vec::new(),
        power_users: ADMINS,
    };
    base.join(0);
    base.begin();
    let step = members.div_ceil(POWER_CHANGES);
    for number in 1..members {
        base.join(number);
        if number % step == 0 {
            base.grow_power(number);
        }
        if base.room.chance().within(0..10) < 3 {
            base.change_or_leave(number);
        }
    }
    base.joined = (base.power_users..members)
        .filter(|&number| !leaves(number))
        .collect();
    base
}

/// Whether the user with this number leaves before the room forks.
fn leaves(number: usize) -> bool {
    number >= POWER_USERS && number % 20 == 19
}

impl Base {
    fn send(&mut self, sender: usize, kind: &str, state_key: &str, content: Json) {
        let draft = Draft {
            sender: &user(sender),
            kind,
            state_key,
            content,
        };
        self.room.send(&mut self.branch, &draft);
    }

    fn begin(&mut self) {
        let levels = power_levels(self.room.version(), ADMINS, &[]);
        self.send(0, "m.room.power_levels", "", levels);
        self.send(0, "m.room.join_rules", "", json!({ "join_rule": "public" }));
        let visibility = json!({ "history_visibility": "shared" });
        self.send(0, "m.room.history_visibility", "", visibility);
        self.send(0, "m.room.name", "", json!({ "name": "A large room" }));
        self.send(
            0,
            "m.room.topic",
            "",
            json!({ "topic": "Everything under the sun" }),
        );
        for number in 0..WIDGETS {
            let content = json!({ "name": format!("Widget {number}"), "type": "custom" });
            self.send(0, WIDGET, &widget(number), content);
        }
    }

    fn join(&mut self, number: usize) {
        let revision = self.room.chance().number();
        let id = user(number);
        self.send(
            number,
            "m.room.member",
            &id,
            member("join", number, revision),
        );
        if leaves(number) {
            self.send(
                number,
                "m.room.member",
                &id,
                json!({ "membership": "leave" }),
            );
        }
    }

    /// One of the earlier members changes their profile.
    fn change_or_leave(&mut self, newest: usize) {
        let number = self.random(newest);
        if !leaves(number) {
            let revision = self.room.chance().number();
            self.send(
                number,
                "m.room.member",
                &user(number),
                member("join", number, revision),
            );
        }
    }

    /// Some more of those who have joined get power.
    fn grow_power(&mut self, newest: usize) {
        let more = POWER_USERS.div_ceil(POWER_CHANGES);
        self.power_users = (self.power_users + more).min(POWER_USERS).min(newest);
        let levels = power_levels(self.room.version(), self.power_users, &[]);
        self.send(0, "m.room.power_levels", "", levels);
    }

    fn random(&self, end: usize) -> usize {
        random(self.room.chance(), end)
    }
}

/// A random number below `end`.
#[must_use]
pub fn random(chance: &Chance, end: usize) -> usize {
    usize::try_from(chance.within(0..end as u64)).unwrap_or(0)
}

/// The state key of the n-th widget.
#[must_use]
pub fn widget(number: usize) -> String {
    format!("widget{number}")
}
