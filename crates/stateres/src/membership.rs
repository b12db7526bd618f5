//! Memberships and join rules, as the authorization rules see them.
//! <https://spec.matrix.org/v1.19/client-server-api/#mroommember>,
//! <https://spec.matrix.org/v1.19/client-server-api/#mroomjoin_rules>

use starling_events::{Pdu, RoomVersion, Value};

/// `content.membership` of an `m.room.member` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Membership {
    /// Banned from the room.
    Ban,
    /// Invited to the room.
    Invite,
    /// In the room.
    Join,
    /// Asks to be invited.
    Knock,
    /// Not in the room; also who never was.
    Leave,
    /// None that the room version knows.
    Unknown,
}

impl Membership {
    /// The membership of that name in rooms of this version.
    #[must_use]
    pub fn parse(version: RoomVersion, name: &str) -> Self {
        match name {
            "ban" => Self::Ban,
            "invite" => Self::Invite,
            "join" => Self::Join,
            "knock" if version.rules().knocking => Self::Knock,
            "leave" => Self::Leave,
            _ => Self::Unknown,
        }
    }

    /// The membership in the canonical bytes of a content. `None` if there is none, or it isn't a string.
    #[must_use]
    pub fn of_content(version: RoomVersion, content: &[u8]) -> Option<Self> {
        Value::new(content)
            .get("membership")?
            .as_str()
            .map(|name| Self::parse(version, &name))
    }

    /// The membership that an `m.room.member` event gives.
    #[must_use]
    pub fn of_event(event: &Pdu) -> Self {
        Self::of_content(event.version(), event.content()).unwrap_or(Self::Unknown)
    }
}

/// `content.join_rule` of an `m.room.join_rules` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinRule {
    /// Anyone may join.
    Public,
    /// Who is invited may join.
    Invite,
    /// As `Invite`, and anyone may ask to be invited.
    Knock,
    /// Who is invited may join, and whom a member who may invite lets in.
    Restricted,
    /// `Knock` and `Restricted` in one.
    KnockRestricted,
    /// `private`, or none that the room version knows: nobody may join.
    Unknown,
}

impl JoinRule {
    /// The join rule of that name in rooms of this version.
    #[must_use]
    pub fn parse(version: RoomVersion, name: &str) -> Self {
        let rules = version.rules();
        match name {
            "public" => Self::Public,
            "invite" => Self::Invite,
            "knock" if rules.knocking => Self::Knock,
            "restricted" if rules.restricted => Self::Restricted,
            "knock_restricted" if rules.knock_restricted => Self::KnockRestricted,
            _ => Self::Unknown,
        }
    }

    /// The rule that an `m.room.join_rules` event sets; without an event, [`JoinRule::Invite`].
    #[must_use]
    pub fn of_event(event: Option<&Pdu>) -> Self {
        let Some(event) = event else {
            return Self::Invite;
        };
        let name = Value::new(event.content())
            .get("join_rule")
            .and_then(Value::as_str);
        name.map_or(Self::Unknown, |name| Self::parse(event.version(), &name))
    }
}
