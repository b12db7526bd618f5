//! Rule 5.6: banning.

use super::{AuthError, AuthState, Change};
use crate::membership::Membership;

pub(super) fn check<S: AuthState>(change: &Change<'_, S>) -> Result<(), AuthError> {
    // 5.6.1
    if change.sender_membership() != Membership::Join {
        return Err(AuthError::SenderNotJoined);
    }
    let power = change.room.power()?;
    let sender_level = power.user_level(change.sender);
    // 5.6.2
    if sender_level >= power.ban_level() && power.user_level(&change.target) < sender_level {
        return Ok(());
    }
    // 5.6.3
    Err(AuthError::BanLevel)
}
