//! What the rules ask about the room.

use std::borrow::Cow;

use ruma_common::UserId;
use starling_events::{Pdu, room_version::Rules};

use super::{AuthError, AuthState};
use crate::{
    membership::{JoinRule, Membership},
    power_levels::RoomPower,
};

/// The event to check and the state to check it against.
pub(super) struct Room<'a, S> {
    pub(super) rules: &'static Rules,
    pub(super) event: &'a Pdu,
    pub(super) state: &'a S,
    pub(super) create: &'a Pdu,
}

impl<'a, S: AuthState> Room<'a, S> {
    pub(super) fn membership(&self, user: &UserId) -> Membership {
        self.state.membership(user).unwrap_or(Membership::Leave)
    }

    pub(super) fn join_rule(&self) -> JoinRule {
        JoinRule::of_event(self.state.get("m.room.join_rules", ""))
    }

    pub(super) fn power(&self) -> Result<Cow<'a, RoomPower>, AuthError> {
        if let Some(power) = self.state.power() {
            return Ok(Cow::Borrowed(power?));
        }
        Ok(Cow::Owned(RoomPower::new(
            self.create,
            self.state.get("m.room.power_levels", ""),
        )?))
    }
}
