//! Changing rules: <https://spec.matrix.org/v1.19/client-server-api/#push-rules-api>

use std::sync::Arc;

use serde_json::Value as Json;

use crate::rule::{Kind, Rule, Stated};
use crate::ruleset::{Ruleset, first_own};

/// So many rules a user may have, beside the predefined ones.
const MAX_RULES: usize = 1_000;

/// The longest id of a rule, in bytes.
const MAX_ID_BYTES: usize = 512;

/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1_024;

/// The most conditions of a rule, and the most actions.
const MAX_LISTED: usize = 50;

/// The largest rule as JSON, in bytes.
const MAX_RULE_BYTES: usize = 16_384;

/// The largest ruleset as it is stored, in bytes: it is sent to clients whole whenever it changes.
const MAX_RULESET_BYTES: usize = 262_144;

/// Why rules were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is no such rule.
    #[error("the push rule was not found")]
    NotFound,
    /// A new or deleted rule would be one of the server's.
    #[error("ids that begin with a dot are the server's")]
    ServerDefault,
    /// An id is too long, or has a slash or a backslash.
    #[error("the id of the rule is not allowed")]
    InvalidId,
    /// A part of the rule is not as it must be.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no rule of the user's to put it before or after.
    #[error("before/after rule not found: {0}")]
    UnknownNeighbour(String),
    /// The user has too many rules, or too large ones.
    #[error("there are too many push rules, or they are too large")]
    TooMany,
}

/// What a client says of a rule.
#[derive(Debug, Clone, Default)]
pub struct RuleBody {
    /// What is done with an event that it matches.
    pub actions: Vec<Json>,
    /// For the kinds that have conditions.
    pub conditions: Vec<Json>,
    /// For `content` rules.
    pub pattern: Option<String>,
}

/// Where a rule goes among the user's own of its kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Just before this one: the next more important.
    pub before: Option<String>,
    /// Just after this one, if there is no `before`.
    pub after: Option<String>,
}

impl Ruleset {
    /// Makes a rule, or changes it. One that is there keeps its place, and whether it is enabled, unless `place` says
    /// where it goes; a new one comes first.
    ///
    /// # Errors
    /// Why nothing has changed.
    pub fn put(
        &mut self,
        kind: Kind,
        id: &str,
        body: RuleBody,
        place: &Place,
    ) -> Result<(), EditError> {
        check_id(id)?;
        let stated = stated(kind, body.conditions, body.pattern)?;
        let actions = check_actions(body.actions)?;
        let new = Rule::new(kind, id, false, stated).with_actions(actions);
        let mut changed = self.clone();
        let rules = changed.of_kind_mut(kind);
        let old = rules.iter().position(|rule| *rule.id == *id);
        let new = match old.and_then(|at| rules.get(at)) {
            Some(old) => new.with_enabled(old.enabled),
            None => new,
        };
        let neighbour = match (&place.before, &place.after) {
            (Some(before), _) => Some((before, 0)),
            (None, Some(after)) => Some((after, 1)),
            (None, None) => None,
        };
        if let (None, Some(at)) = (neighbour, old) {
            rules.splice(at..=at, [Arc::new(new)]);
        } else {
            let at = match neighbour {
                // Beside itself it stays where it is.
                Some((neighbour, _)) if neighbour == id => old,
                Some((neighbour, offset)) => {
                    rules.retain(|rule| *rule.id != *id);
                    let is_it = |rule: &Arc<Rule>| !rule.is_default && *rule.id == **neighbour;
                    rules.iter().position(is_it).map(|at| at + offset)
                }
                None => Some(first_own(kind, rules)),
            };
            let unknown = || {
                EditError::UnknownNeighbour(
                    neighbour.map_or_else(String::new, |(id, _)| id.clone()),
                )
            };
            let at = at.ok_or_else(unknown)?;
            rules.retain(|rule| *rule.id != *id);
            rules.insert(at.min(rules.len()), Arc::new(new));
        }
        self.become_checked(changed)
    }

    /// Deletes one of the user's own rules.
    ///
    /// # Errors
    /// [`EditError::NotFound`], [`EditError::ServerDefault`].
    pub fn delete(&mut self, kind: Kind, id: &str) -> Result<(), EditError> {
        let rule = self.rule(kind, id).ok_or(EditError::NotFound)?;
        if rule.is_default {
            return Err(EditError::ServerDefault);
        }
        self.of_kind_mut(kind).retain(|rule| *rule.id != *id);
        Ok(())
    }

    /// Turns a rule on or off.
    ///
    /// # Errors
    /// [`EditError::NotFound`].
    pub fn set_enabled(&mut self, kind: Kind, id: &str, enabled: bool) -> Result<(), EditError> {
        self.change(kind, id, |rule| rule.with_enabled(enabled))
    }

    /// Gives a rule other actions.
    ///
    /// # Errors
    /// [`EditError::NotFound`], or what the actions lack.
    pub fn set_actions(
        &mut self,
        kind: Kind,
        id: &str,
        actions: Vec<Json>,
    ) -> Result<(), EditError> {
        let actions = check_actions(actions)?;
        let mut changed = self.clone();
        changed.change(kind, id, |rule| rule.with_actions(actions))?;
        self.become_checked(changed)
    }

    /// These rules, and what they say of the room `from` said of `to` as well; `None` if that changes nothing, or would be
    /// too much. Each such rule comes just after the one that it is made of.
    #[must_use]
    pub fn with_room(&self, from: &str, to: &str) -> Option<Self> {
        let mut changed = self.clone();
        for kind in Kind::ALL {
            let rules = changed.of_kind_mut(kind);
            let mut all = Vec::with_capacity(rules.len());
            for rule in rules.iter() {
                all.push(Arc::clone(rule));
                let new = rule.for_room(kind, from, to);
                let is_new = |new: &Rule| rules.iter().all(|rule| rule.id != new.id);
                let new = new.filter(|new| is_new(new) && check_id(&new.id).is_ok());
                all.extend(new.map(Arc::new));
            }
            *rules = all;
        }
        let mut rules = self.clone();
        rules.become_checked(changed).ok()?;
        (rules != *self).then_some(rules)
    }

    fn change(
        &mut self,
        kind: Kind,
        id: &str,
        change: impl FnOnce(Rule) -> Rule,
    ) -> Result<(), EditError> {
        let rules = self.of_kind_mut(kind);
        let rule = rules.iter_mut().find(|rule| *rule.id == *id);
        let rule = rule.ok_or(EditError::NotFound)?;
        *rule = Arc::new(change(Rule::clone(rule)));
        Ok(())
    }

    fn become_checked(&mut self, changed: Self) -> Result<(), EditError> {
        let own = changed
            .rules
            .iter()
            .flatten()
            .filter(|rule| !rule.is_default);
        if own.count() > MAX_RULES || changed.to_stored().len() > MAX_RULESET_BYTES {
            return Err(EditError::TooMany);
        }
        *self = changed;
        Ok(())
    }
}

fn check_id(id: &str) -> Result<(), EditError> {
    if id.starts_with('.') {
        return Err(EditError::ServerDefault);
    }
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.contains(['/', '\\']) {
        return Err(EditError::InvalidId);
    }
    Ok(())
}

fn stated(kind: Kind, conditions: Vec<Json>, pattern: Option<String>) -> Result<Stated, EditError> {
    if !kind.has_conditions() {
        let pattern = pattern.filter(|_| kind == Kind::Content);
        if kind == Kind::Content && pattern.is_none() {
            return Err(EditError::Invalid("a content rule must have a pattern"));
        }
        if pattern
            .as_ref()
            .is_some_and(|pattern| pattern.len() > MAX_PATTERN_BYTES)
        {
            return Err(EditError::Invalid("the pattern is too long"));
        }
        return Ok(Stated {
            conditions: Vec::new(),
            pattern,
        });
    }
    let is_condition = |condition: &Json| condition.get("kind").is_some_and(Json::is_string);
    if conditions.len() > MAX_LISTED || !conditions.iter().all(is_condition) {
        return Err(EditError::Invalid(
            "each condition must be an object with a kind, and there must not be too many",
        ));
    }
    let patterns = conditions
        .iter()
        .filter_map(|condition| condition.get("pattern")?.as_str());
    if patterns
        .into_iter()
        .any(|pattern| pattern.len() > MAX_PATTERN_BYTES)
    {
        return Err(EditError::Invalid("a pattern is too long"));
    }
    check_size(&conditions)?;
    Ok(Stated {
        conditions,
        pattern: None,
    })
}

/// Leaves out what older versions of the specification had.
/// <https://spec.matrix.org/v1.19/client-server-api/#historical-actions>
fn check_actions(mut actions: Vec<Json>) -> Result<Vec<Json>, EditError> {
    actions.retain(|action| action != "dont_notify" && action != "coalesce");
    let is_action =
        |action: &Json| action == "notify" || action.get("set_tweak").is_some_and(Json::is_string);
    if actions.len() > MAX_LISTED || !actions.iter().all(is_action) {
        return Err(EditError::Invalid(
            "each action must be notify or set a tweak, and there must not be too many",
        ));
    }
    check_size(&actions)?;
    Ok(actions)
}

fn check_size(list: &[Json]) -> Result<(), EditError> {
    let bytes: usize = list.iter().map(|element| element.to_string().len()).sum();
    if bytes > MAX_RULE_BYTES {
        return Err(EditError::Invalid("the rule is too large"));
    }
    Ok(())
}
