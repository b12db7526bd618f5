//! Rule 5.4: inviting.

use super::{AuthError, AuthState, Change};
use crate::{auth::third_party_invite, membership::Membership};

pub(super) fn check<S: AuthState>(change: &Change<'_, S>) -> Result<(), AuthError> {
    // 5.4.1
    if let Some(invite) = change.content.get("third_party_invite") {
        if change.target_membership() == Membership::Ban {
            return Err(AuthError::TargetBanned);
        }
        return third_party_invite::check(change.room, &change.target, invite);
    }
    // 5.4.2
    if change.sender_membership() != Membership::Join {
        return Err(AuthError::SenderNotJoined);
    }
    // 5.4.3
    match change.target_membership() {
        Membership::Join => return Err(AuthError::TargetJoined),
        Membership::Ban => return Err(AuthError::TargetBanned),
        _ => {}
    }
    // 5.4.4
    let power = change.room.power()?;
    if power.user_level(change.sender) >= power.invite_level() {
        Ok(())
    } else {
        Err(AuthError::InviteLevel)
    }
}
