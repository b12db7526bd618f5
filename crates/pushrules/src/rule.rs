//! One push rule.

use serde_json::{Map, Value as Json, json};

use crate::condition::{Condition, OWN_ID};
use crate::verdict::Verdict;

/// The kinds of rules, in the order in which they are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Before all others.
    Override,
    /// For a pattern in the body.
    Content,
    /// For one room.
    Room,
    /// For one sender.
    Sender,
    /// After all others.
    Underride,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Override,
        Self::Content,
        Self::Room,
        Self::Sender,
        Self::Underride,
    ];

    /// Its name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Content => "content",
            Self::Room => "room",
            Self::Sender => "sender",
            Self::Underride => "underride",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether its rules have conditions of their own.
    #[must_use]
    pub fn has_conditions(self) -> bool {
        matches!(self, Self::Override | Self::Underride)
    }
}

/// A push rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub(crate) id: Box<str>,
    pub(crate) is_default: bool,
    pub(crate) enabled: bool,
    pub(crate) actions: Vec<Json>,
    /// As the client wrote them.
    pub(crate) stated: Stated,
    /// All must hold.
    pub(crate) conditions: Vec<Condition>,
    pub(crate) verdict: Verdict,
}

/// What a rule looks for, as it is shown.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Stated {
    pub(crate) conditions: Vec<Json>,
    pub(crate) pattern: Option<String>,
}

impl Rule {
    pub(crate) fn new(kind: Kind, id: &str, is_default: bool, stated: Stated) -> Self {
        let conditions = match kind {
            Kind::Override | Kind::Underride => stated
                .conditions
                .iter()
                .map(|condition| Condition::read(condition, is_default))
                .collect(),
            Kind::Content => vec![Condition::body(
                stated.pattern.as_deref().unwrap_or_default(),
            )],
            Kind::Room => vec![Condition::RoomIs(id.into())],
            Kind::Sender => vec![Condition::SenderIs(id.into())],
        };
        Self {
            id: id.into(),
            is_default,
            enabled: true,
            actions: Vec::new(),
            stated,
            conditions,
            verdict: Verdict::default(),
        }
    }

    pub(crate) fn with_actions(mut self, actions: Vec<Json>) -> Self {
        let notify = actions.iter().any(|action| action == "notify");
        self.verdict = Verdict {
            notify,
            highlight: notify && actions.iter().any(is_highlight),
        };
        self.actions = actions;
        self
    }

    pub(crate) fn with_enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Its id, unique among the user's of its kind.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it is looked at.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// What is done with an event that it matches.
    #[must_use]
    pub fn actions(&self) -> &[Json] {
        &self.actions
    }

    /// What becomes of an event that it matches.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The same rule for the room `to`, if it is one of the user's for the room `from`.
    pub(crate) fn for_room(&self, kind: Kind, from: &str, to: &str) -> Option<Self> {
        let mut stated = self.stated.clone();
        let mut is_for_it = kind == Kind::Room && *self.id == *from;
        for condition in &mut stated.conditions {
            let is_room = condition
                .get("kind")
                .is_some_and(|kind| kind == "event_match")
                && condition.get("key").is_some_and(|key| key == "room_id");
            let pattern = condition.get_mut("pattern").filter(|_| is_room);
            if let Some(pattern) = pattern.filter(|pattern| **pattern == *from) {
                *pattern = json!(to);
                is_for_it = true;
            }
        }
        let id = if self.id.contains(from) {
            self.id.replace(from, to)
        } else {
            format!("{}-{to}", self.id)
        };
        let new = || {
            Self::new(kind, &id, false, stated)
                .with_actions(self.actions.clone())
                .with_enabled(self.enabled)
        };
        (is_for_it && !self.is_default).then(new)
    }

    /// As the API has it.
    pub(crate) fn to_json(&self, kind: Kind, user_id: &str) -> Json {
        let mut rule = Map::new();
        if kind.has_conditions() {
            let conditions = self.stated.conditions.iter();
            let conditions = if self.is_default {
                conditions
                    .map(|condition| with_own_id(condition, user_id))
                    .collect()
            } else {
                conditions.cloned().collect()
            };
            rule.insert("conditions".to_owned(), Json::Array(conditions));
        }
        if let (Kind::Content, Some(pattern)) = (kind, &self.stated.pattern) {
            rule.insert("pattern".to_owned(), json!(pattern));
        }
        rule.insert("actions".to_owned(), json!(self.actions));
        rule.insert("default".to_owned(), json!(self.is_default));
        rule.insert("enabled".to_owned(), json!(self.enabled));
        rule.insert("rule_id".to_owned(), json!(self.id));
        Json::Object(rule)
    }
}

/// A predefined condition with the user's own id in it.
fn with_own_id(condition: &Json, user_id: &str) -> Json {
    let mut condition = condition.clone();
    let members = condition.as_object_mut().into_iter().flatten();
    for (_, member) in members {
        if member == OWN_ID {
            *member = json!(user_id);
        }
    }
    condition
}

/// A tweak without a value is true.
fn is_highlight(action: &Json) -> bool {
    action
        .get("set_tweak")
        .is_some_and(|tweak| tweak == "highlight")
        && action.get("value").is_none_or(|value| value == true)
}
