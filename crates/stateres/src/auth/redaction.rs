//! Rule 11 of room versions 1 and 2: `m.room.redaction`.
//! <https://spec.matrix.org/v1.19/rooms/v1/#authorisation-rules>

use starling_events::Pdu;

use super::AuthError;
use crate::{power_levels::RoomPower, redaction::have_same_domain};

pub(super) fn check(event: &Pdu, power: &RoomPower) -> Result<(), AuthError> {
    // 11.1
    if power.user_level(event.sender()) >= power.redact_level() {
        return Ok(());
    }
    // 11.2
    if event
        .redacts()
        .is_some_and(|target| have_same_domain(event.event_id(), target))
    {
        return Ok(());
    }
    // 11.3
    Err(AuthError::RedactLevel)
}
