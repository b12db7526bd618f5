//! The authorization rules, in the order of the text. <https://spec.matrix.org/v1.19/rooms/v1/#authorisation-rules> to
//! <https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules>
//!
//! Numbers of rules in comments are those of room version 12 where it has the rule. Other versions number so:
//!
//! | rule                                | 1 to 5 | 6 to 11 | 12 |
//! |-------------------------------------|--------|---------|----|
//! | `m.room.create`                     | 1      | 1       | 1  |
//! | the create event of the room id     | –      | –       | 2  |
//! | `auth_events`                       | 2      | 2       | 3  |
//! | `m.federate`                        | 3      | 3       | 4  |
//! | `m.room.aliases`                    | 4      | –       | –  |
//! | `m.room.member`                     | 5      | 4       | 5  |
//! | the sender is in the room           | 6      | 5       | 6  |
//! | `m.room.third_party_invite`         | 7      | 6       | 7  |
//! | the level of the type               | 8      | 7       | 8  |
//! | state keys that name users          | 9      | 8       | 9  |
//! | `m.room.power_levels`               | 10     | 9       | 10 |
//! | `m.room.redaction` (versions 1, 2)  | 11     | –       | –  |
//!
//! Within a rule, what a version doesn't have makes the later numbers one less: `content.creator` (1.4) ends with
//! version 10, `join_authorised_via_users_server` (5.2) and restricted joins (5.3.5) begin with 8, knocking (5.7) with
//! 7, the forms of all power levels but `users` (10.1, 10.2) with 10, and levels of creators (10.4) with 12.

mod aliases;
mod auth_events;
mod create;
mod error;
mod federate;
mod member;
mod power_levels;
mod redaction;
mod room;
mod third_party_invite;

use ruma_common::UserId;
use starling_events::{Pdu, RoomVersion};

use crate::{
    membership::Membership,
    power_levels::{PowerLevels, PowerLevelsError, RoomPower},
};

pub use auth_events::check_auth_events;
pub use error::AuthError;
use room::Room;
pub use third_party_invite::is_signed as is_signed_invite;

/// The state to check an event against. What it keeps parsed must be what its own events say.
pub trait AuthState {
    /// The state event of this type and state key.
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu>;

    /// The room's power, or why its power levels event is malformed, if the state keeps that. `None`: each check that
    /// needs it parses the events.
    fn power(&self) -> Option<Result<&RoomPower, PowerLevelsError>> {
        None
    }

    /// The content of the power levels event that is being checked, if it is kept parsed, or why it is malformed. `None`:
    /// the check parses it.
    fn new_levels(&self) -> Option<Result<&PowerLevels, PowerLevelsError>> {
        None
    }

    /// The membership that the user's `m.room.member` event gives; `None` without one. A state that keeps memberships
    /// can answer from them; otherwise, the event is read.
    fn membership(&self, user: &UserId) -> Option<Membership> {
        self.get("m.room.member", user.as_str())
            .map(Membership::of_event)
    }
}

/// Checks all rules but that on `auth_events` ([`check_auth_events`]): whether the state allows the event.
pub fn check(version: RoomVersion, event: &Pdu, state: &impl AuthState) -> Result<(), AuthError> {
    // 1.
    if event.kind() == "m.room.create" {
        return create::check(version, event);
    }
    let create = state
        .get("m.room.create", "")
        .ok_or(AuthError::NoCreateEvent)?;
    // 2. The room id of version 12 is the hash of the create event, so equal ids mean that it is this event.
    if create.room_id() != event.room_id() {
        return Err(AuthError::CreateOfOtherRoom);
    }
    // 4.
    federate::check(event, create)?;
    let rules = version.rules();
    // 4 of versions 1 to 5.
    if rules.aliases_rule && event.kind() == "m.room.aliases" {
        return aliases::check(event);
    }
    let room = Room {
        rules,
        event,
        state,
        create,
    };
    // 5.
    if event.kind() == "m.room.member" {
        return member::check(&room);
    }
    // 6.
    if room.membership(event.sender()) != Membership::Join {
        return Err(AuthError::SenderNotJoined);
    }
    let power = room.power()?;
    let sender_level = power.user_level(event.sender());
    // 7.
    if event.kind() == "m.room.third_party_invite" {
        return if sender_level >= power.invite_level() {
            Ok(())
        } else {
            Err(AuthError::InviteLevel)
        };
    }
    // 8.
    if power.event_level(event.kind(), event.state_key().is_some()) > sender_level {
        return Err(AuthError::EventLevel);
    }
    // 9.
    if event
        .state_key()
        .is_some_and(|key| key.starts_with('@') && key != event.sender())
    {
        return Err(AuthError::StateKeyOfOtherUser);
    }
    // 10.
    if event.kind() == "m.room.power_levels" {
        if let Some(new) = state.new_levels() {
            return power_levels::check(version, event, new?, &power);
        }
        let new = PowerLevels::parse(version, event.content())?;
        return power_levels::check(version, event, &new, &power);
    }
    // 11 of versions 1 and 2.
    if rules.redaction_rule && event.kind() == "m.room.redaction" {
        return redaction::check(event, &power);
    }
    // 11.
    Ok(())
}
