//! Rule 4 of room versions 1 to 5: `m.room.aliases`. <https://spec.matrix.org/v1.19/rooms/v1/#authorisation-rules>

use starling_events::Pdu;

use super::AuthError;

pub(super) fn check(event: &Pdu) -> Result<(), AuthError> {
    // 4.1
    let server = event.state_key().ok_or(AuthError::AliasesWithoutStateKey)?;
    // 4.2
    if event.sender().server_name() != server {
        return Err(AuthError::AliasesOfOtherServer);
    }
    // 4.3
    Ok(())
}
