//! The redaction algorithm. <https://spec.matrix.org/v1.19/rooms/v11/#redactions>

use crate::{
    object::{Object, ObjectWriter},
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

/// The keys of an event that survive up to room version 10.
const V1_EVENT_KEYS: &[&str] = &[
    "auth_events",
    "content",
    "depth",
    "event_id",
    "hashes",
    "membership",
    "origin",
    "origin_server_ts",
    "prev_events",
    "prev_state",
    "room_id",
    "sender",
    "signatures",
    "state_key",
    "type",
];

/// The keys of an event that survive from room version 11 on.
const V11_EVENT_KEYS: &[&str] = &[
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
];

const ALIASES: (&str, Kept) = ("m.room.aliases", Kept::Keys(&[KeptKey::Whole("aliases")]));

const CREATOR: (&str, Kept) = ("m.room.create", Kept::Keys(&[KeptKey::Whole("creator")]));

const HISTORY_VISIBILITY: (&str, Kept) = (
    "m.room.history_visibility",
    Kept::Keys(&[KeptKey::Whole("history_visibility")]),
);

const JOIN_RULE: (&str, Kept) = (
    "m.room.join_rules",
    Kept::Keys(&[KeptKey::Whole("join_rule")]),
);

const JOIN_RULE_AND_ALLOW: (&str, Kept) = (
    "m.room.join_rules",
    Kept::Keys(&[KeptKey::Whole("allow"), KeptKey::Whole("join_rule")]),
);

const MEMBERSHIP: (&str, Kept) = ("m.room.member", Kept::Keys(&[KeptKey::Whole("membership")]));

const MEMBERSHIP_AND_AUTHORISER: (&str, Kept) = (
    "m.room.member",
    Kept::Keys(&[
        KeptKey::Whole("join_authorised_via_users_server"),
        KeptKey::Whole("membership"),
    ]),
);

const POWER_LEVELS: (&str, Kept) = (
    "m.room.power_levels",
    Kept::Keys(&[
        KeptKey::Whole("ban"),
        KeptKey::Whole("events"),
        KeptKey::Whole("events_default"),
        KeptKey::Whole("kick"),
        KeptKey::Whole("redact"),
        KeptKey::Whole("state_default"),
        KeptKey::Whole("users"),
        KeptKey::Whole("users_default"),
    ]),
);

/// The algorithm of room versions 1 to 5. <https://spec.matrix.org/v1.19/rooms/v1/#redactions>
pub(crate) const V1_REDACTION: RedactionRules = RedactionRules {
    event: V1_EVENT_KEYS,
    content: &[
        MEMBERSHIP,
        CREATOR,
        JOIN_RULE,
        POWER_LEVELS,
        ALIASES,
        HISTORY_VISIBILITY,
    ],
};

/// The algorithm of room versions 6 and 7. <https://spec.matrix.org/v1.19/rooms/v6/#redactions>
pub(crate) const V6_REDACTION: RedactionRules = RedactionRules {
    event: V1_EVENT_KEYS,
    content: &[
        MEMBERSHIP,
        CREATOR,
        JOIN_RULE,
        POWER_LEVELS,
        HISTORY_VISIBILITY,
    ],
};

/// The algorithm of room version 8. <https://spec.matrix.org/v1.19/rooms/v8/#redactions>
pub(crate) const V8_REDACTION: RedactionRules = RedactionRules {
    event: V1_EVENT_KEYS,
    content: &[
        MEMBERSHIP,
        CREATOR,
        JOIN_RULE_AND_ALLOW,
        POWER_LEVELS,
        HISTORY_VISIBILITY,
    ],
};

/// The algorithm of room versions 9 and 10. <https://spec.matrix.org/v1.19/rooms/v9/#redactions>
pub(crate) const V9_REDACTION: RedactionRules = RedactionRules {
    event: V1_EVENT_KEYS,
    content: &[
        MEMBERSHIP_AND_AUTHORISER,
        CREATOR,
        JOIN_RULE_AND_ALLOW,
        POWER_LEVELS,
        HISTORY_VISIBILITY,
    ],
};

/// The algorithm of room version 11 and later. <https://spec.matrix.org/v1.19/rooms/v11/#redactions>
pub(crate) const V11_REDACTION: RedactionRules = RedactionRules {
    event: V11_EVENT_KEYS,
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
        JOIN_RULE_AND_ALLOW,
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
        HISTORY_VISIBILITY,
        ("m.room.redaction", Kept::Keys(&[KeptKey::Whole("redacts")])),
    ],
};

/// What a redaction leaves of the event with these canonical bytes: canonical bytes again, with hashes and signatures.
#[must_use]
pub fn redact(version: RoomVersion, event: &[u8]) -> Vec<u8> {
    redact_without(version, &Object::new(event), "")
}

/// The bytes that an event's signatures and reference hash cover: the redacted event without its signatures.
#[must_use]
pub fn signed_bytes(version: RoomVersion, event: &[u8]) -> Vec<u8> {
    signed_bytes_of(version, &Object::new(event))
}

pub(crate) fn signed_bytes_of(version: RoomVersion, event: &Object<'_>) -> Vec<u8> {
    redact_without(version, event, "signatures")
}

fn redact_without(version: RoomVersion, event: &Object<'_>, dropped: &str) -> Vec<u8> {
    let rules = version.rules().redaction;
    let kind = event
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut out = ObjectWriter::with_capacity(event.len());
    for member in event.members() {
        if member.is("content") {
            redact_content(&mut out, rules, &kind, member);
        } else if !member.is(dropped) && rules.event.iter().any(|key| member.is(key)) {
            out.copy(member);
        }
    }
    out.finish()
}

fn redact_content(
    out: &mut ObjectWriter,
    rules: &RedactionRules,
    kind: &str,
    content: &Member<'_>,
) {
    let kept = rules.content.iter().find(|(name, _)| *name == kind);
    let keys = match kept {
        Some((_, Kept::All)) => return out.copy(content),
        Some((_, Kept::Keys(keys))) => *keys,
        None => &[],
    };
    out.object("content", |out| {
        if keys.is_empty() {
            return;
        }
        for member in content.value.members() {
            for key in keys {
                copy_kept(out, &member, key);
            }
        }
    });
}

fn copy_kept(out: &mut ObjectWriter, member: &Member<'_>, kept: &KeptKey) {
    match kept {
        KeptKey::Whole(key) if member.is(key) => out.copy(member),
        KeptKey::Only(key, inner_key) if member.is(key) && member.value.is_object() => {
            out.object(key, |out| {
                if let Some(value) = member.value.get(inner_key) {
                    out.member(inner_key, value.as_bytes());
                }
            });
        }
        KeptKey::Whole(_) | KeptKey::Only(..) => {}
    }
}
