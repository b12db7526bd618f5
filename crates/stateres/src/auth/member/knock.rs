//! Rule 5.7: knocking.

use super::{AuthError, AuthState, Change};
use crate::membership::{JoinRule, Membership};

pub(super) fn check<S: AuthState>(change: &Change<'_, S>) -> Result<(), AuthError> {
    // 5.7.1
    if !matches!(
        change.room.join_rule(),
        JoinRule::Knock | JoinRule::KnockRestricted
    ) {
        return Err(AuthError::KnockRule);
    }
    // 5.7.2
    if change.sender != &*change.target {
        return Err(AuthError::SenderNotTarget);
    }
    // 5.7.3
    match change.sender_membership() {
        Membership::Ban | Membership::Invite | Membership::Join => Err(AuthError::CannotKnock),
        Membership::Knock | Membership::Leave | Membership::Unknown => Ok(()),
    }
}
