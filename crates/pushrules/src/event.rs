//! An event as conditions look at it.

use std::borrow::Cow;
use std::cell::OnceCell;

use starling_events::{Pdu, Value};

use crate::budget::Budget;

/// The names of properties, one inside the other: <https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths>
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    names: Vec<Box<str>>,
    /// Which property it is, if it is one of those that shapes know of.
    pub(crate) role: Role,
}

/// Properties that the predefined rules look at, and that users' rules mostly do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Type,
    RoomId,
    Sender,
    StateKey,
    Body,
    MsgType,
    RelType,
    MentionsRoom,
    MentionsUsers,
    Other,
}

impl Path {
    /// Reads a path: a backslash before a dot or a backslash takes its meaning away, any other is one.
    pub(crate) fn new(text: &str) -> Self {
        let mut names = Vec::new();
        let mut name = String::new();
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '.' => names.push(std::mem::take(&mut name).into()),
                '\\' => name.push(
                    letters
                        .next_if(|next| matches!(next, '.' | '\\'))
                        .unwrap_or('\\'),
                ),
                _ => name.push(letter),
            }
        }
        names.push(name.into());
        let role = Role::of(&names);
        Self { names, role }
    }
}

impl Role {
    /// So many stand before `Other`, which is many.
    const KNOWN: usize = Self::Other as usize;

    fn of(names: &[Box<str>]) -> Self {
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        match names.as_slice() {
            ["type"] => Self::Type,
            ["room_id"] => Self::RoomId,
            ["sender"] => Self::Sender,
            ["state_key"] => Self::StateKey,
            ["content", "body"] => Self::Body,
            ["content", "msgtype"] => Self::MsgType,
            ["content", "m.relates_to", "rel_type"] => Self::RelType,
            ["content", "m.mentions", "room"] => Self::MentionsRoom,
            ["content", "m.mentions", "user_ids"] => Self::MentionsUsers,
            _ => Self::Other,
        }
    }
}

/// A value's bytes. A copy, so that a view may stand for one of a shorter life.
type Copied = Box<[u8]>;

/// An event, and what conditions ask of it more than once.
#[derive(Debug)]
pub struct EventView<'a> {
    pdu: &'a Pdu,
    body: OnceCell<Option<String>>,
    /// The values of the properties that most rules ask for, by role.
    found: [OnceCell<Option<Copied>>; Role::KNOWN],
}

impl<'a> EventView<'a> {
    /// A view of an event.
    #[must_use]
    pub fn new(pdu: &'a Pdu) -> Self {
        Self {
            pdu,
            body: OnceCell::new(),
            found: Default::default(),
        }
    }

    /// The event.
    #[must_use]
    pub fn pdu(&self) -> &'a Pdu {
        self.pdu
    }

    /// The content's `body` in lower case, if it is a text.
    #[must_use]
    pub fn lower_body(&self) -> Option<&str> {
        let body = || Some(self.content().get("body")?.as_str()?.to_lowercase());
        self.body.get_or_init(body).as_deref()
    }

    /// Those whom the sender means: `m.mentions` without duplicates.
    /// <https://spec.matrix.org/v1.19/client-server-api/#user-and-room-mentions>
    #[must_use]
    pub fn mentioned(&self) -> Vec<Cow<'a, str>> {
        let mentions = self.content().get("m.mentions");
        let users = mentions.and_then(|mentions| mentions.get("user_ids"));
        let elements = users.into_iter().flat_map(Value::elements);
        let mut mentioned: Vec<Cow<'a, str>> = elements.filter_map(Value::as_str).collect();
        mentioned.sort_unstable();
        mentioned.dedup();
        mentioned
    }

    pub(crate) fn content(&self) -> Value<'a> {
        Value::new(self.pdu.content())
    }

    /// The value of a property, if the event has it.
    pub(crate) fn get(&self, path: &Path, budget: &Budget) -> Option<Property<'_>> {
        let text = match path.role {
            Role::Type => Some(self.pdu.kind()),
            Role::Sender => Some(self.pdu.sender().as_str()),
            // Not every version has it in the create event.
            Role::RoomId => Some(self.pdu.room_id().as_str()),
            _ => None,
        };
        if let Some(text) = text {
            return Some(Property::Text(text.into()));
        }
        // Nothing is parsed that isn't asked for, so each question reads the event again, but for the few properties that
        // nearly everybody's rules ask for: of these it reads the value again.
        let kept = self.found.get(path.role as usize);
        let kept = kept.map(|kept| kept.get_or_init(|| self.find(&path.names).map(copied)));
        let read = match kept {
            Some(value) => value.as_ref().map_or(0, |value| value.len()),
            None => self.pdu.json().len(),
        };
        if !budget.take(read / 16 + 1) {
            return None;
        }
        // Nor do events of most versions state their id.
        if matches!(&*path.names, [name] if &**name == "event_id") {
            return Some(Property::Text(self.pdu.event_id().as_str().into()));
        }
        let value = match kept {
            Some(value) => value.as_deref().map(Value::new),
            None => self.find(&path.names),
        };
        value.map(Property::of)
    }

    fn find(&self, names: &[Box<str>]) -> Option<Value<'a>> {
        let (first, rest) = names.split_first()?;
        let top = match &**first {
            "content" => self.content(),
            name => self.pdu.value().get(name)?,
        };
        rest.iter().try_fold(top, |value, name| value.get(name))
    }
}

fn copied(value: Value<'_>) -> Copied {
    value.as_bytes().into()
}

/// A value, as far as conditions tell values apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Property<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    Truth(bool),
    Null,
    Array(Value<'a>),
    /// An object, or a number that is no integer.
    Other,
}

impl<'a> Property<'a> {
    pub(crate) fn of(value: Value<'a>) -> Self {
        if let Some(text) = value.as_str() {
            Self::Text(text)
        } else if let Some(integer) = value.as_integer() {
            Self::Integer(integer)
        } else if let Some(truth) = value.as_bool() {
            Self::Truth(truth)
        } else if value.is_array() {
            Self::Array(value)
        } else if value.as_bytes() == b"null" {
            Self::Null
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Path, Role};

    #[test]
    fn paths_of_properties() {
        let names = |text: &str| Path::new(text).names.join("|");
        assert_eq!(names("content.body"), "content|body");
        assert_eq!(names(r"content.m\.relates_to"), "content|m.relates_to");
        assert_eq!(names(r"content.m\\foo"), r"content|m\foo");
        assert_eq!(names(r"content.\x"), r"content|\x");
        assert_eq!(names(r"a\"), r"a\");
        assert_eq!(names("content."), "content|");
        let role = |text: &str| Path::new(text).role;
        assert_eq!(role(r"content.m\.mentions.room"), Role::MentionsRoom);
        assert_eq!(role("content.m.mentions.room"), Role::Other);
    }
}
