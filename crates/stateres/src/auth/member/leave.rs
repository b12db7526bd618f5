//! Rule 5.5: leaving, kicking, and lifting a ban.

use super::{AuthError, AuthState, Change};
use crate::membership::Membership;

pub(super) fn check<S: AuthState>(change: &Change<'_, S>) -> Result<(), AuthError> {
    // 5.5.1
    if change.sender == &*change.target {
        return match change.target_membership() {
            Membership::Invite | Membership::Join | Membership::Knock => Ok(()),
            Membership::Ban | Membership::Leave | Membership::Unknown => {
                Err(AuthError::NothingToLeave)
            }
        };
    }
    // 5.5.2
    if change.sender_membership() != Membership::Join {
        return Err(AuthError::SenderNotJoined);
    }
    let power = change.room.power()?;
    let sender_level = power.user_level(change.sender);
    // 5.5.3
    if change.target_membership() == Membership::Ban && sender_level < power.ban_level() {
        return Err(AuthError::UnbanLevel);
    }
    // 5.5.4
    if sender_level >= power.kick_level() && power.user_level(&change.target) < sender_level {
        return Ok(());
    }
    // 5.5.5
    Err(AuthError::KickLevel)
}
