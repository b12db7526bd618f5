//! The conditions of rules: <https://spec.matrix.org/v1.19/client-server-api/#conditions-1>

use serde_json::Value as Json;

use crate::event::{Path, Property, Role};
use crate::glob::{Extent, Pattern};
use crate::verdict::Situation;

/// What stands in the predefined rules for the user's own id.
pub(crate) const OWN_ID: &str = "@user:server";

/// The largest integer that canonical JSON has.
const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Something that must hold for a rule to match.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    /// A text property matches a pattern.
    EventMatch { key: Path, pattern: Pattern },
    /// A text property is the user's own id.
    IsOwn { key: Path },
    /// A property is this value.
    PropertyIs { key: Path, value: Scalar },
    /// An array property has this value.
    PropertyContains { key: Path, value: Scalar },
    /// The body has the user's display name in the room.
    ContainsDisplayName,
    /// So many members are in the room.
    RoomMemberCount(Comparison, i64),
    /// The sender may notify everybody in this way.
    SenderNotificationPermission(Box<str>),
    /// It is in this room: what a `room` rule says.
    RoomIs(Box<str>),
    /// This user has sent it: what a `sender` rule says.
    SenderIs(Box<str>),
    /// Nothing that is known here: it never holds.
    Unrecognised,
}

/// How a member count compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Less,
    Greater,
    AtMost,
    AtLeast,
}

/// A value that isn't compound.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Text(Box<str>),
    Integer(i64),
    Truth(bool),
    Null,
    /// The user's own id.
    Own,
}

impl Scalar {
    fn read(json: &Json, is_default: bool) -> Option<Self> {
        Some(match json {
            Json::String(text) if is_default && text == OWN_ID => Self::Own,
            Json::String(text) => Self::Text(text.as_str().into()),
            Json::Number(number) => {
                Self::Integer(number.as_i64().filter(|value| value.abs() <= MAX_INTEGER)?)
            }
            Json::Bool(truth) => Self::Truth(*truth),
            Json::Null => Self::Null,
            Json::Array(_) | Json::Object(_) => return None,
        })
    }

    fn equals(&self, property: &Property<'_>, own_id: &str) -> bool {
        match (self, property) {
            (Self::Text(wanted), Property::Text(text)) => **wanted == **text,
            (Self::Own, Property::Text(text)) => own_id == text,
            (Self::Integer(wanted), Property::Integer(integer)) => wanted == integer,
            (Self::Truth(wanted), Property::Truth(truth)) => wanted == truth,
            (Self::Null, Property::Null) => true,
            _ => false,
        }
    }

    /// Whether it is this user's id.
    pub(crate) fn is_id(&self, user_id: &str) -> bool {
        match self {
            Self::Own => true,
            Self::Text(text) => **text == *user_id,
            Self::Integer(_) | Self::Truth(_) | Self::Null => false,
        }
    }
}

impl Condition {
    /// Reads one of a client's conditions. What isn't as the specification has it never holds.
    pub(crate) fn read(json: &Json, is_default: bool) -> Self {
        Self::try_read(json, is_default).unwrap_or(Self::Unrecognised)
    }

    fn try_read(json: &Json, is_default: bool) -> Option<Self> {
        let text = |name: &str| json.get(name).and_then(Json::as_str);
        let key = || text("key").map(Path::new);
        Some(match text("kind")? {
            "event_match" => {
                let pattern = text("pattern")?;
                if is_default && pattern == OWN_ID {
                    Self::IsOwn { key: key()? }
                } else {
                    Self::EventMatch {
                        key: key()?,
                        pattern: Pattern::new(pattern),
                    }
                }
            }
            "event_property_is" => Self::PropertyIs {
                key: key()?,
                value: Scalar::read(json.get("value")?, is_default)?,
            },
            "event_property_contains" => Self::PropertyContains {
                key: key()?,
                value: Scalar::read(json.get("value")?, is_default)?,
            },
            "contains_display_name" => Self::ContainsDisplayName,
            "room_member_count" => {
                let (comparison, count) = read_count(text("is")?)?;
                Self::RoomMemberCount(comparison, count)
            }
            "sender_notification_permission" => {
                Self::SenderNotificationPermission(text("key")?.into())
            }
            _ => return None,
        })
    }

    /// What a `content` rule says.
    pub(crate) fn body(pattern: &str) -> Self {
        Self::EventMatch {
            key: Path::new("content.body"),
            pattern: Pattern::new(pattern),
        }
    }

    /// The pattern, if it is one for parts of the body.
    pub(crate) fn as_body(&self) -> Option<&Pattern> {
        match self {
            Self::EventMatch { key, pattern } if key.role == Role::Body => Some(pattern),
            _ => None,
        }
    }

    /// The user id in lower case, if it is about one sender.
    pub(crate) fn as_sender(&self) -> Option<String> {
        match self {
            Self::SenderIs(sender) => Some(sender.to_lowercase()),
            Self::EventMatch { key, pattern } if key.role == Role::Sender => {
                pattern.as_literal().map(str::to_owned)
            }
            _ => None,
        }
    }

    /// Whether it holds.
    pub(crate) fn holds(&self, situation: &Situation<'_>) -> bool {
        let (event, budget) = (situation.event, situation.budget);
        let text = |key: &Path| match event.get(key, budget) {
            Some(Property::Text(text)) => Some(text),
            _ => None,
        };
        match self {
            Self::EventMatch { pattern, .. } if self.as_body().is_some() => event
                .lower_body()
                .is_some_and(|body| pattern.matches(body, Extent::Words, budget)),
            Self::EventMatch { key, pattern } => text(key)
                .is_some_and(|text| pattern.matches(&text.to_lowercase(), Extent::Whole, budget)),
            Self::IsOwn { key } => text(key).is_some_and(|text| text == situation.user_id),
            Self::PropertyIs { key, value } => event
                .get(key, budget)
                .is_some_and(|found| value.equals(&found, situation.user_id)),
            Self::PropertyContains { key, value } => match event.get(key, budget) {
                Some(Property::Array(array)) => array
                    .elements()
                    .any(|element| value.equals(&Property::of(element), situation.user_id)),
                _ => false,
            },
            Self::ContainsDisplayName => situation.display_name.is_some_and(|name| {
                let body = event.lower_body();
                body.is_some_and(|body| {
                    !name.is_empty() && Pattern::literal(name).matches(body, Extent::Words, budget)
                })
            }),
            Self::RoomMemberCount(comparison, count) => {
                comparison.holds(situation.room.member_count, *count)
            }
            Self::SenderNotificationPermission(key) => (situation.may_notify)(key),
            Self::RoomIs(room_id) => event.pdu().room_id().as_str() == &**room_id,
            Self::SenderIs(sender) => event.pdu().sender().as_str() == &**sender,
            Self::Unrecognised => false,
        }
    }
}

impl Comparison {
    pub(crate) fn holds(self, members: i64, count: i64) -> bool {
        match self {
            Self::Equal => members == count,
            Self::Less => members < count,
            Self::Greater => members > count,
            Self::AtMost => members <= count,
            Self::AtLeast => members >= count,
        }
    }
}

/// Reads what a member count is compared with: digits, and before them `==`, `<`, `>`, `>=`, `<=` or nothing.
fn read_count(text: &str) -> Option<(Comparison, i64)> {
    let prefixes = [
        ("==", Comparison::Equal),
        ("<=", Comparison::AtMost),
        (">=", Comparison::AtLeast),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    let prefix = prefixes
        .iter()
        .find_map(|(prefix, comparison)| Some((*comparison, text.strip_prefix(prefix)?)));
    let (comparison, digits) = prefix.unwrap_or((Comparison::Equal, text));
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| Some((comparison, digits.parse().ok()?)))?
}
