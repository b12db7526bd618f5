//! The state that decides on an event.
//! <https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection>

use std::borrow::Cow;

use ruma_common::UserId;
use starling_events::{Pdu, RoomVersion, Value};

use crate::membership::Membership;

/// A type of state event and a state key.
pub type TypeAndKey<'a> = (&'static str, Cow<'a, str>);

/// Which state an event's `auth_events` are chosen from: those that the room has of the types and state keys given.
/// `content` is canonical. Each pair is given once.
#[must_use]
pub fn auth_types<'a>(
    version: RoomVersion,
    kind: &str,
    sender: &'a UserId,
    state_key: Option<&'a str>,
    content: &'a [u8],
) -> Vec<TypeAndKey<'a>> {
    let mut types = Vec::with_capacity(5);
    if kind == "m.room.create" {
        return types;
    }
    if version.rules().create_in_auth_events {
        types.push(("m.room.create", Cow::Borrowed("")));
    }
    types.push(("m.room.power_levels", Cow::Borrowed("")));
    types.push(("m.room.member", Cow::Borrowed(sender.as_str())));
    if let (true, Some(target)) = (kind == "m.room.member", state_key) {
        add_for_member(&mut types, version, target, content);
    }
    types
}

/// [`auth_types()`] of an event that there is.
#[must_use]
pub fn auth_types_of(event: &Pdu) -> Vec<TypeAndKey<'_>> {
    auth_types(
        event.version(),
        event.kind(),
        event.sender(),
        event.state_key(),
        event.content(),
    )
}

fn add_for_member<'a>(
    types: &mut Vec<TypeAndKey<'a>>,
    version: RoomVersion,
    target: &'a str,
    content: &'a [u8],
) {
    add_member(types, Cow::Borrowed(target));
    let membership = Membership::of_content(version, content);
    if let Some(Membership::Join | Membership::Invite | Membership::Knock) = membership {
        types.push(("m.room.join_rules", Cow::Borrowed("")));
    }
    let content = Value::new(content);
    if membership == Some(Membership::Invite) {
        let signed = content
            .get("third_party_invite")
            .and_then(|invite| invite.get("signed"));
        let token = signed
            .and_then(|signed| signed.get("token"))
            .and_then(Value::as_str);
        types.extend(token.map(|token| ("m.room.third_party_invite", token)));
    }
    if version.rules().restricted
        && membership == Some(Membership::Join)
        && let Some(user) = content
            .get("join_authorised_via_users_server")
            .and_then(Value::as_str)
    {
        add_member(types, user);
    }
}

fn add_member<'a>(types: &mut Vec<TypeAndKey<'a>>, user: Cow<'a, str>) {
    let pair = ("m.room.member", user);
    if !types.contains(&pair) {
        types.push(pair);
    }
}
