//! Rule 3: the event's `auth_events`.

use starling_events::{Pdu, RoomVersion};

use super::AuthError;
use crate::auth_types::auth_types;

/// Checks an event's choice of auth events. `auth_events` are all of them, none of which was rejected: an event with
/// one that was is to be rejected, and the caller knows (rule 3.3).
pub fn check_auth_events(
    version: RoomVersion,
    event: &Pdu,
    auth_events: &[&Pdu],
) -> Result<(), AuthError> {
    // Rule 1 allows a create event before it comes to this one.
    if event.kind() == "m.room.create" {
        return Ok(());
    }
    let expected = auth_types(
        version,
        event.kind(),
        event.sender(),
        event.state_key(),
        event.content(),
    );
    let mut seen = vec![false; expected.len()];
    for auth_event in auth_events {
        let index = expected.iter().position(|(kind, key)| {
            *kind == auth_event.kind() && Some(key.as_ref()) == auth_event.state_key()
        });
        // 3.2
        let place = index
            .and_then(|index| seen.get_mut(index))
            .ok_or(AuthError::UnexpectedAuthEvent)?;
        // 3.1
        if std::mem::replace(place, true) {
            return Err(AuthError::DuplicateAuthEvent);
        }
        // 3.5
        if auth_event.room_id() != event.room_id() {
            return Err(AuthError::AuthEventOfOtherRoom);
        }
    }
    // 3.4
    let has_create = auth_events
        .iter()
        .any(|auth_event| auth_event.kind() == "m.room.create");
    if version.rules().create_in_auth_events && !has_create {
        return Err(AuthError::NoCreateAmongAuthEvents);
    }
    Ok(())
}
