//! Whether a redaction takes effect. <https://spec.matrix.org/v1.19/rooms/v11/#handling-redactions>,
//! <https://spec.matrix.org/v1.19/rooms/v1/#authorisation-rules>

use ruma_common::EventId;
use starling_events::{Pdu, id::event_id_domain};

use crate::power_levels::RoomPower;

/// Whether `redaction`, in a room of this power, redacts `target`: its sender has the power to, or is on the server of
/// the target's sender. Both events are known to be allowed, and the caller has matched the redaction with its target.
///
/// Where redactions have an authorization rule of their own, that is the rule here too: not the servers of the senders
/// are compared but those that made the event ids.
#[must_use]
pub fn can_redact(redaction: &Pdu, target: &Pdu, power: &RoomPower) -> bool {
    redaction.room_id() == target.room_id()
        && (power.user_level(redaction.sender()) >= power.redact_level()
            || is_of_same_server(redaction, target))
}

fn is_of_same_server(redaction: &Pdu, target: &Pdu) -> bool {
    if redaction.version().rules().redaction_rule {
        have_same_domain(redaction.event_id(), target.event_id())
    } else {
        redaction.sender().server_name() == target.sender().server_name()
    }
}

/// Whether both event ids have a domain, and the same one.
pub(crate) fn have_same_domain(one: &EventId, other: &EventId) -> bool {
    event_id_domain(one).is_some_and(|domain| event_id_domain(other) == Some(domain))
}
