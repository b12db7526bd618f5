//! Whether a redaction takes effect. <https://spec.matrix.org/v1.19/rooms/v11/#handling-redactions>

use starling_events::Pdu;

use crate::power_levels::RoomPower;

/// Whether `redaction`, in a room of this power, redacts `target`: its sender has the power to, or is on the server of
/// the target's sender. Both events are known to be allowed, and the caller has matched the redaction with its target.
#[must_use]
pub fn can_redact(redaction: &Pdu, target: &Pdu, power: &RoomPower) -> bool {
    redaction.room_id() == target.room_id()
        && (power.user_level(redaction.sender()) >= power.redact_level()
            || redaction.sender().server_name() == target.sender().server_name())
}
