//! Rule 5.3: joining.

use ruma_common::UserId;

use super::{AuthError, AuthState, Change};
use crate::{
    membership::{JoinRule, Membership},
    power_levels::creator,
};

pub(super) fn check<S: AuthState>(change: &Change<'_, S>) -> Result<(), AuthError> {
    // 5.3.1
    if is_creators_first_join(change) {
        return Ok(());
    }
    // 5.3.2
    if change.sender != &*change.target {
        return Err(AuthError::SenderNotTarget);
    }
    let membership = change.target_membership();
    // 5.3.3
    if membership == Membership::Ban {
        return Err(AuthError::SenderBanned);
    }
    let is_invited = matches!(membership, Membership::Invite | Membership::Join);
    match change.room.join_rule() {
        // 5.3.4
        JoinRule::Invite | JoinRule::Knock if is_invited => Ok(()),
        // 5.3.5
        JoinRule::Restricted | JoinRule::KnockRestricted => check_restricted(change, is_invited),
        // 5.3.6
        JoinRule::Public => Ok(()),
        // 5.3.7
        JoinRule::Invite | JoinRule::Knock | JoinRule::Unknown => Err(AuthError::JoinRule),
    }
}

fn is_creators_first_join<S>(change: &Change<'_, S>) -> bool {
    let create = change.room.create;
    matches!(change.room.event.prev_events(), [only] if only == create.event_id())
        && creator(create).is_some_and(|creator| creator == change.target.as_str())
}

fn check_restricted<S: AuthState>(
    change: &Change<'_, S>,
    is_invited: bool,
) -> Result<(), AuthError> {
    // 5.3.5.1
    if is_invited {
        return Ok(());
    }
    // 5.3.5.2
    let authorised_by = change
        .authorised_by
        .as_deref()
        .ok_or(AuthError::JoinNotAuthorised)?;
    if can_invite(change, authorised_by)? {
        Ok(())
    } else {
        Err(AuthError::JoinNotAuthorised)
    }
}

fn can_invite<S: AuthState>(change: &Change<'_, S>, user: &UserId) -> Result<bool, AuthError> {
    if change.room.membership(user) != Membership::Join {
        return Ok(false);
    }
    let power = change.room.power()?;
    Ok(power.user_level(user) >= power.invite_level())
}
