//! The shape of an event: what the predefined rules, and switches and mutes of users, tell events apart by.
//!
//! Two events of one shape are the same to every rule but those that look at their words, their senders, those whom they
//! mention, or properties that no predefined rule knows. So unread messages are counted by shape, once for everybody in
//! a room, and a user's rules say which shapes count.

use crate::event::EventView;

/// What an event is, by type. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum EventKind {
    /// No state event, and of none of the types below.
    Other = 0,
    /// A state event of none of the types below.
    OtherState = 1,
    /// `m.room.message`
    Message = 2,
    /// `m.room.encrypted`
    Encrypted = 3,
    /// `m.call.invite`
    Call = 4,
    /// `m.poll.start`
    Poll = 5,
    /// The type that polls had before they were specified.
    UnstablePoll = 6,
    /// `m.room.tombstone` with an empty state key.
    Tombstone = 7,
    /// `m.room.tombstone` otherwise.
    OddTombstone = 8,
    /// `m.room.server_acl` with an empty state key.
    ServerAcl = 9,
    /// `m.room.server_acl` otherwise.
    OddServerAcl = 10,
    /// `m.reaction`
    Reaction = 11,
    /// `m.room.member`
    Member = 12,
}

impl EventKind {
    pub(crate) const ALL: [Self; 13] = [
        Self::Other,
        Self::OtherState,
        Self::Message,
        Self::Encrypted,
        Self::Call,
        Self::Poll,
        Self::UnstablePoll,
        Self::Tombstone,
        Self::OddTombstone,
        Self::ServerAcl,
        Self::OddServerAcl,
        Self::Reaction,
        Self::Member,
    ];

    fn of(kind: &str, state_key: Option<&str>) -> Self {
        // As patterns match: whatever the case.
        let lower = kind.bytes().any(|byte| byte.is_ascii_uppercase());
        let lower = lower.then(|| kind.to_ascii_lowercase());
        match (lower.as_deref().unwrap_or(kind), state_key == Some("")) {
            ("m.room.message", _) => Self::Message,
            ("m.room.encrypted", _) => Self::Encrypted,
            ("m.call.invite", _) => Self::Call,
            ("m.poll.start", _) => Self::Poll,
            ("org.matrix.msc3381.poll.start", _) => Self::UnstablePoll,
            ("m.room.tombstone", true) => Self::Tombstone,
            ("m.room.tombstone", false) => Self::OddTombstone,
            ("m.room.server_acl", true) => Self::ServerAcl,
            ("m.room.server_acl", false) => Self::OddServerAcl,
            ("m.reaction", _) => Self::Reaction,
            ("m.room.member", _) => Self::Member,
            _ if state_key.is_some() => Self::OtherState,
            _ => Self::Other,
        }
    }

    /// The one type that events of this kind have, if there is one.
    pub(crate) fn event_type(self) -> Option<&'static str> {
        Some(match self {
            Self::Other | Self::OtherState => return None,
            Self::Message => "m.room.message",
            Self::Encrypted => "m.room.encrypted",
            Self::Call => "m.call.invite",
            Self::Poll => "m.poll.start",
            Self::UnstablePoll => "org.matrix.msc3381.poll.start",
            Self::Tombstone | Self::OddTombstone => "m.room.tombstone",
            Self::ServerAcl | Self::OddServerAcl => "m.room.server_acl",
            Self::Reaction => "m.reaction",
            Self::Member => "m.room.member",
        })
    }

    /// Whether this event type, in lower case, has a kind of its own.
    pub(crate) fn has_type(lower: &str) -> bool {
        let types = Self::ALL.into_iter().filter_map(Self::event_type);
        types.into_iter().any(|event_type| event_type == lower)
    }

    /// Its bit in a set of kinds.
    pub(crate) fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

/// The shape of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    pub(crate) kind: EventKind,
    /// Its `msgtype` is `m.notice`.
    pub(crate) notice: bool,
    /// It says anew what another event said.
    pub(crate) edit: bool,
    /// Whether it is for everybody in the room.
    pub(crate) room: RoomMention,
}

/// Whether an event says that it is for everybody in the room, and its sender may say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RoomMention {
    No = 0,
    Refused = 1,
    Allowed = 2,
}

/// How many shapes there are of each kind.
const VARIANTS: u8 = 12;

impl Shape {
    /// The shape of an event. `may_notify_room` is asked only if the event says that it is for everybody in the room.
    #[must_use]
    pub fn of(event: &EventView<'_>, may_notify_room: impl FnOnce() -> bool) -> Self {
        let (pdu, content) = (event.pdu(), event.content());
        let (mut notice, mut edit, mut room_mention) = (false, false, false);
        for member in content.members() {
            let value = member.value;
            match member.raw_key {
                b"msgtype" => notice = value.as_bytes().eq_ignore_ascii_case(b"\"m.notice\""),
                b"m.relates_to" => {
                    let rel_type = value.get("rel_type");
                    edit = rel_type.is_some_and(|value| value.as_bytes() == b"\"m.replace\"");
                }
                b"m.mentions" => {
                    let room = value.get("room");
                    room_mention = room.is_some_and(|value| value.as_bool() == Some(true));
                }
                _ => {}
            }
        }
        Self {
            kind: EventKind::of(pdu.kind(), pdu.state_key()),
            notice,
            edit,
            room: match room_mention {
                false => RoomMention::No,
                true if may_notify_room() => RoomMention::Allowed,
                true => RoomMention::Refused,
            },
        }
    }

    /// The codes from here on are those of member events.
    pub const FIRST_MEMBER: u8 = EventKind::Member as u8 * VARIANTS;

    /// Whether it is that of member events.
    #[must_use]
    pub fn is_member(self) -> bool {
        self.kind == EventKind::Member
    }

    /// All shapes.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let codes = 0..u8::MAX;
        codes.map_while(Self::from_code)
    }

    /// The number that is stored.
    #[must_use]
    pub fn code(self) -> u8 {
        let variant = self.room as u8 * 4 + u8::from(self.edit) * 2 + u8::from(self.notice);
        self.kind as u8 * VARIANTS + variant
    }

    /// The shape with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        let kind = EventKind::ALL.get(usize::from(code / VARIANTS))?;
        let variant = code % VARIANTS;
        Some(Self {
            kind: *kind,
            notice: variant % 2 == 1,
            edit: variant / 2 % 2 == 1,
            room: match variant / 4 {
                0 => RoomMention::No,
                1 => RoomMention::Refused,
                _ => RoomMention::Allowed,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{EventKind, Shape};

    #[test]
    fn codes_come_back() {
        let shapes = Shape::all().zip(0..);
        for (shape, code) in shapes {
            assert_eq!(shape.code(), code);
        }
        assert_eq!(Shape::all().count(), 13 * 12);
        for shape in Shape::all() {
            assert_eq!(shape.is_member(), shape.code() >= Shape::FIRST_MEMBER);
        }
        for (at, kind) in EventKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }
}
