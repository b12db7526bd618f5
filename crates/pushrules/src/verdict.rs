//! What a user's rules say: of one event, and of all events of a shape.

use std::sync::Arc;

use crate::budget::Budget;
use crate::condition::{Condition, Scalar};
use crate::event::{EventView, Role};
use crate::glob::{Extent, Pattern};
use crate::rule::Rule;
use crate::ruleset::Ruleset;
use crate::shape::{EventKind, RoomMention, Shape};

/// A room, as far as rules look at it.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    /// Its id.
    pub room_id: &'a str,
    /// How many members have joined.
    pub member_count: i64,
}

/// An event, the room that it was sent to, and for whom rules are evaluated.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    /// The event.
    pub event: &'a EventView<'a>,
    /// Its room.
    pub room: Room<'a>,
    /// The user whose rules they are.
    pub user_id: &'a str,
    /// What the user is called in the room.
    pub display_name: Option<&'a str>,
    /// Whether the event's sender has the power to notify in this way (`room`).
    pub may_notify: &'a dyn Fn(&str) -> bool,
    /// What this evaluation may take.
    pub budget: &'a Budget,
}

/// What is done about events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The user is told of them.
    pub notify: bool,
    /// And they stand out.
    pub highlight: bool,
}

impl Verdict {
    fn of(rule: Option<&Rule>) -> Self {
        rule.map_or_else(Self::default, Rule::verdict)
    }
}

/// For which events a user's rules must be evaluated one by one, beside those that mention the user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interest {
    /// Those with one of these words (see [`crate::words`]) in the body.
    pub words: Vec<String>,
    /// Those that one of these has sent, in lower case.
    pub senders: Vec<String>,
    /// Those with the user's display name in the body.
    pub display_name: bool,
    kinds: u16,
}

impl Interest {
    /// Whether it is all events of this shape's kind.
    #[must_use]
    pub fn has(&self, shape: Shape) -> bool {
        self.kinds & shape.kind.bit() != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is known of a condition when only the event's shape is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    True,
    False,
    /// It depends on the room, as that is at the time.
    Room,
    /// If it holds, the event is among those that [`Interest`] names, or it mentions the user.
    Indexed,
    /// Nobody knows before the event is here.
    Unknown,
}

impl Ruleset {
    /// The rule that decides on an event: the first that matches it.
    #[must_use]
    pub fn evaluate(&self, situation: &Situation<'_>) -> Option<&Rule> {
        let matches = |rule: &&Arc<Rule>| {
            rule.enabled
                && rule
                    .conditions
                    .iter()
                    .all(|condition| condition.holds(situation))
        };
        self.rules.iter().flatten().find(matches).map(Arc::as_ref)
    }

    /// What happens with an event: what [`Ruleset::evaluate`] leads to.
    #[must_use]
    pub fn verdict_of(&self, situation: &Situation<'_>) -> Verdict {
        Verdict::of(self.evaluate(situation))
    }

    /// What happens with the events of a shape in a room, but for those that are decided one by one.
    #[must_use]
    pub fn verdict(&self, shape: Shape, room: Room<'_>, user_id: &str) -> Verdict {
        Verdict::of(self.decides(shape, room, user_id))
    }

    /// The rule that decides on the events of a shape, but for those that are decided one by one.
    #[must_use]
    pub fn decides(&self, shape: Shape, room: Room<'_>, user_id: &str) -> Option<&Rule> {
        let holds = |condition: &Condition| match condition {
            Condition::RoomMemberCount(comparison, count) => {
                comparison.holds(room.member_count, *count)
            }
            other => known(other, shape, Some(room.room_id), user_id) == Known::True,
        };
        let matches = |rule: &&Arc<Rule>| rule.enabled && rule.conditions.iter().all(holds);
        self.rules.iter().flatten().find(matches).map(Arc::as_ref)
    }

    /// Which events must be evaluated one by one, whatever room they are in: what a rule says of one room only is looked
    /// for everywhere, since the look at all rules for all shapes costs more than to evaluate them for an event.
    #[must_use]
    pub fn interest(&self, user_id: &str) -> Interest {
        let mut interest = Interest::default();
        for condition in self.enabled().flat_map(|rule| &rule.conditions) {
            let word = condition
                .as_body()
                .and_then(|pattern| pattern.needed_word());
            interest.words.extend(word.map(str::to_owned));
            interest.senders.extend(condition.as_sender());
            interest.display_name |= *condition == Condition::ContainsDisplayName;
        }
        for shape in Shape::all() {
            if !interest.has(shape) && !self.is_decided(shape, user_id) {
                interest.kinds |= shape.kind.bit();
            }
        }
        interest
    }

    fn enabled(&self) -> impl Iterator<Item = &Rule> {
        self.rules
            .iter()
            .flatten()
            .map(Arc::as_ref)
            .filter(|rule| rule.enabled)
    }

    /// Whether the shape says which rule decides, whatever becomes of the room.
    fn is_decided(&self, shape: Shape, user_id: &str) -> bool {
        for rule in self.enabled() {
            let conditions = rule.conditions.iter();
            let all = conditions.map(|condition| known(condition, shape, None, user_id));
            // The weakest of them is what is known of the rule.
            match all.reduce(both).unwrap_or(Known::True) {
                Known::True => return true,
                Known::Unknown => return false,
                Known::False | Known::Indexed | Known::Room => {}
            }
        }
        true
    }
}

/// What is known of two conditions together.
fn both(one: Known, other: Known) -> Known {
    use Known::{False, Indexed, Room, True, Unknown};
    match (one, other) {
        (False, _) | (_, False) => False,
        (Indexed, _) | (_, Indexed) => Indexed,
        (Unknown, _) | (_, Unknown) => Unknown,
        (Room, _) | (_, Room) => Room,
        (True, True) => True,
    }
}

/// What is known of a condition for events of a shape; `room_id` is the room, if it is about one.
fn known(condition: &Condition, shape: Shape, room_id: Option<&str>, user_id: &str) -> Known {
    match condition {
        Condition::EventMatch { key, pattern } => {
            pattern_matches(key.role, pattern, (shape, room_id))
        }
        // A member event for the user who is in the room is their own, and nobody is told of their own.
        Condition::IsOwn { key } if key.role == Role::StateKey => Known::False,
        Condition::PropertyIs { key, value } => match (key.role, value) {
            (Role::RelType, Scalar::Text(text)) if **text == *"m.replace" => truth(shape.edit),
            (Role::MentionsRoom, Scalar::Truth(true)) => truth(shape.room != RoomMention::No),
            _ => Known::Unknown,
        },
        Condition::PropertyContains { key, value }
            if key.role == Role::MentionsUsers && value.is_id(user_id) =>
        {
            Known::Indexed
        }
        Condition::ContainsDisplayName | Condition::SenderIs(_) => Known::Indexed,
        Condition::RoomMemberCount(..) => Known::Room,
        Condition::SenderNotificationPermission(key) if **key == *"room" => match shape.room {
            RoomMention::No => Known::Unknown,
            RoomMention::Refused => Known::False,
            RoomMention::Allowed => Known::True,
        },
        Condition::RoomIs(wanted) => {
            room_id.map_or(Known::Room, |room_id| truth(**wanted == *room_id))
        }
        Condition::Unrecognised => Known::False,
        Condition::IsOwn { .. }
        | Condition::PropertyContains { .. }
        | Condition::SenderNotificationPermission(_) => Known::Unknown,
    }
}

fn pattern_matches(
    role: Role,
    pattern: &Pattern,
    (shape, room_id): (Shape, Option<&str>),
) -> Known {
    let matches = |lower: &str| truth(pattern.matches(lower, Extent::Whole, &Budget::default()));
    let literal = pattern.as_literal();
    match role {
        Role::RoomId => room_id.map_or(Known::Room, |room_id| matches(&room_id.to_lowercase())),
        Role::Sender if literal.is_some() => Known::Indexed,
        Role::Body if pattern.needed_word().is_some() => Known::Indexed,
        Role::Type => match shape.kind.event_type() {
            Some(event_type) => matches(event_type),
            // Of none of the types that have kinds of their own.
            None if literal.is_some_and(EventKind::has_type) => Known::False,
            None => Known::Unknown,
        },
        Role::StateKey => match shape.kind {
            EventKind::Tombstone | EventKind::ServerAcl => matches(""),
            EventKind::OddTombstone | EventKind::OddServerAcl if literal == Some("") => {
                Known::False
            }
            EventKind::Other => Known::False,
            _ => Known::Unknown,
        },
        Role::MsgType if shape.notice => matches("m.notice"),
        Role::MsgType if literal == Some("m.notice") => Known::False,
        Role::RelType if shape.edit => matches("m.replace"),
        _ => Known::Unknown,
    }
}

fn truth(holds: bool) -> Known {
    if holds { Known::True } else { Known::False }
}
