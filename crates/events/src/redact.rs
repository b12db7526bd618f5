//! The redaction algorithm. <https://spec.matrix.org/v1.19/rooms/v11/#redactions>

use crate::{
    object::ObjectWriter,
    room_version::RoomVersion,
    value::{Member, Value},
};

/// The keys that a room version's redaction algorithm keeps.
#[derive(Debug)]
pub struct RedactionRules {
    /// The keys of the event.
    event: &'static [&'static str],
    /// By type of the event, the keys of its content. Of a type that isn't named none is kept.
    content: &'static [(&'static str, Kept)],
}

/// What a redaction keeps of an object.
#[derive(Debug)]
enum Kept {
    All,
    Keys(&'static [KeptKey]),
}

/// A key that a redaction keeps.
#[derive(Debug)]
enum KeptKey {
    /// With its whole value.
    Whole(&'static str),
    /// An object, with only one of its keys. Anything but an object is not kept.
    Only(&'static str, &'static str),
}

/// The algorithm of room version 11 and later.
pub(crate) const V11_REDACTION: RedactionRules = RedactionRules {
    event: &[
        "auth_events",
        "content",
        "depth",
        "event_id",
        "hashes",
        "origin_server_ts",
        "prev_events",
        "room_id",
        "sender",
        "signatures",
        "state_key",
        "type",
    ],
    content: &[
        (
            "m.room.member",
            Kept::Keys(&[
                KeptKey::Whole("join_authorised_via_users_server"),
                KeptKey::Whole("membership"),
                KeptKey::Only("third_party_invite", "signed"),
            ]),
        ),
        ("m.room.create", Kept::All),
        (
            "m.room.join_rules",
            Kept::Keys(&[KeptKey::Whole("allow"), KeptKey::Whole("join_rule")]),
        ),
        (
            "m.room.power_levels",
            Kept::Keys(&[
                KeptKey::Whole("ban"),
                KeptKey::Whole("events"),
                KeptKey::Whole("events_default"),
                KeptKey::Whole("invite"),
                KeptKey::Whole("kick"),
                KeptKey::Whole("redact"),
                KeptKey::Whole("state_default"),
                KeptKey::Whole("users"),
                KeptKey::Whole("users_default"),
            ]),
        ),
        (
            "m.room.history_visibility",
            Kept::Keys(&[KeptKey::Whole("history_visibility")]),
        ),
        ("m.room.redaction", Kept::Keys(&[KeptKey::Whole("redacts")])),
    ],
};

/// What a redaction leaves of the event with these canonical bytes: canonical bytes again, with hashes and signatures.
#[must_use]
pub fn redact(version: RoomVersion, event: &[u8]) -> Vec<u8> {
    redact_without(version, event, "")
}

/// The bytes that an event's signatures and reference hash cover: the redacted event without its signatures.
#[must_use]
pub fn signed_bytes(version: RoomVersion, event: &[u8]) -> Vec<u8> {
    redact_without(version, event, "signatures")
}

fn redact_without(version: RoomVersion, event: &[u8], dropped: &str) -> Vec<u8> {
    let rules = version.rules().redaction;
    let view = Value::new(event);
    let kind = view.get("type").and_then(Value::as_str).unwrap_or_default();
    let mut out = ObjectWriter::with_capacity(event.len());
    for member in view.members() {
        if member.raw_key == b"content" {
            out.member("content", &redact_content(rules, &kind, member.value));
        } else if member.raw_key != dropped.as_bytes()
            && rules.event.iter().any(|key| is_key(&member, key))
        {
            out.copy(&member);
        }
    }
    out.finish()
}

fn redact_content(rules: &RedactionRules, kind: &str, content: Value<'_>) -> Vec<u8> {
    let kept = rules
        .content
        .iter()
        .find(|(name, _)| *name == kind)
        .map(|(_, kept)| kept);
    let keys = match kept {
        Some(Kept::All) => return content.as_bytes().to_vec(),
        Some(Kept::Keys(keys)) => *keys,
        None => return b"{}".to_vec(),
    };
    let mut out = ObjectWriter::with_capacity(content.as_bytes().len());
    for member in content.members() {
        for key in keys {
            copy_kept(&mut out, &member, key);
        }
    }
    out.finish()
}

fn copy_kept(out: &mut ObjectWriter, member: &Member<'_>, kept: &KeptKey) {
    match kept {
        KeptKey::Whole(key) if is_key(member, key) => out.copy(member),
        KeptKey::Only(key, inner_key) if is_key(member, key) && member.value.is_object() => {
            let mut inner = ObjectWriter::with_capacity(member.value.as_bytes().len());
            if let Some(value) = member.value.get(inner_key) {
                inner.member(inner_key, value.as_bytes());
            }
            out.member(key, &inner.finish());
        }
        KeptKey::Whole(_) | KeptKey::Only(..) => {}
    }
}

fn is_key(member: &Member<'_>, key: &str) -> bool {
    member.raw_key == key.as_bytes()
}
