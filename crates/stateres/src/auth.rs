//! The authorization rules, in the order of the text. <https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules>,
//! <https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules>
//!
//! Numbers of rules in comments are those of room version 12; version 11 has no rule 2, so that its later rules are
//! one less.

mod auth_events;
mod create;
mod error;
mod federate;
mod member;
mod power_levels;
mod room;
mod third_party_invite;

use starling_events::{Pdu, RoomVersion};

use crate::{membership::Membership, power_levels::RoomPower};

pub use auth_events::check_auth_events;
pub use error::AuthError;
use room::Room;

/// The state to check an event against.
pub trait AuthState {
    /// The state event of this type and state key.
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu>;

    /// The room's power, if the state keeps it parsed. It must be that of the state's own create and power levels
    /// events. Without it, each check parses them.
    fn power(&self) -> Option<&RoomPower> {
        None
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
    let room = Room {
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
        return power_levels::check(version, event, &power);
    }
    // 11.
    Ok(())
}
