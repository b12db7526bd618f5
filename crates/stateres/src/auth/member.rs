//! Rule 5: `m.room.member`.

mod ban;
mod invite;
mod join;
mod knock;
mod leave;

use std::borrow::Cow;

use ruma_common::{OwnedUserId, UserId};
use starling_events::{Value, id::parse_user_id};

use super::{AuthError, AuthState, Room};
use crate::membership::Membership;

/// A change of membership.
struct Change<'a, S> {
    room: &'a Room<'a, S>,
    sender: &'a UserId,
    /// The user whose membership it is.
    target: Cow<'a, UserId>,
    content: Value<'a>,
    /// The user who authorises a restricted join.
    authorised_by: Option<OwnedUserId>,
}

impl<S: AuthState> Change<'_, S> {
    fn sender_membership(&self) -> Membership {
        self.room.membership(self.sender)
    }

    fn target_membership(&self) -> Membership {
        self.room.membership(&self.target)
    }
}

pub(super) fn check<S: AuthState>(room: &Room<'_, S>) -> Result<(), AuthError> {
    let event = room.event;
    // 5.1
    let target = event.state_key().ok_or(AuthError::NoMembership)?;
    let membership =
        Membership::of_content(event.version(), event.content()).ok_or(AuthError::NoMembership)?;
    // The text doesn't say so, but nobody else can be a member, and other rules speak of the target user.
    let target = if event.sender() == target {
        Cow::Borrowed(event.sender())
    } else {
        Cow::Owned(parse_user_id(target).map_err(|_| AuthError::TargetNotAUser)?)
    };
    let content = Value::new(event.content());
    // 5.2
    let authorised_by = authorising_user(room, content)?;
    let change = Change {
        room,
        sender: event.sender(),
        target,
        content,
        authorised_by,
    };
    match membership {
        // 5.3
        Membership::Join => join::check(&change),
        // 5.4
        Membership::Invite => invite::check(&change),
        // 5.5
        Membership::Leave => leave::check(&change),
        // 5.6
        Membership::Ban => ban::check(&change),
        // 5.7
        Membership::Knock => knock::check(&change),
        // 5.8
        Membership::Unknown => Err(AuthError::UnknownMembership),
    }
}

/// The user of `join_authorised_via_users_server`, whose server must have signed the event. That the signature holds
/// was checked with the sender's, as with every required signature.
fn authorising_user<S>(
    room: &Room<'_, S>,
    content: Value<'_>,
) -> Result<Option<OwnedUserId>, AuthError> {
    if !room.rules.restricted {
        return Ok(None);
    }
    let Some(user) = content.get("join_authorised_via_users_server") else {
        return Ok(None);
    };
    let user = user.as_str().and_then(|user| parse_user_id(&user).ok());
    let user = user.ok_or(AuthError::AuthorisingServerNotSigned)?;
    let signatures = room.event.value().get("signatures");
    let of_server = signatures.and_then(|all| all.get(user.server_name().as_str()));
    if of_server.is_some_and(|own| own.members().any(|one| one.value.as_str().is_some())) {
        Ok(Some(user))
    } else {
        Err(AuthError::AuthorisingServerNotSigned)
    }
}
