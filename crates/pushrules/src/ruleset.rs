//! All rules of a user: the predefined ones and the user's own.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::rule::{Kind, Rule, Stated};

/// The predefined rules, by kind.
/// <https://spec.matrix.org/v1.19/client-server-api/#predefined-rules>
const DEFAULTS: &str = include_str!("default_rules.json");

/// Rules by kind, in the order of [`Kind::ALL`], and in that in which they are looked at.
pub(crate) type Rules = [Vec<Arc<Rule>>; 5];

static DEFAULT_RULES: LazyLock<Rules> = LazyLock::new(|| {
    let stored: StoredRules = serde_json::from_str(DEFAULTS).unwrap_or_default();
    stored.into_rules(true)
});

/// A user's push rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruleset {
    pub(crate) rules: Rules,
}

impl Default for Ruleset {
    /// The predefined rules alone: what an account begins with.
    fn default() -> Self {
        Self {
            rules: DEFAULT_RULES.clone(),
        }
    }
}

/// What is stored of a ruleset: the user's own rules, and how the predefined ones differ from what they were given as.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    own: StoredRules,
    #[serde(default)]
    defaults: BTreeMap<String, Changed>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredRules {
    #[serde(default, rename = "override")]
    overriding: Vec<StoredRule>,
    #[serde(default)]
    content: Vec<StoredRule>,
    #[serde(default)]
    room: Vec<StoredRule>,
    #[serde(default)]
    sender: Vec<StoredRule>,
    #[serde(default)]
    underride: Vec<StoredRule>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredRule {
    rule_id: String,
    enabled: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    actions: Vec<Json>,
}

/// How a predefined rule was changed.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Changed {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actions: Option<Vec<Json>>,
}

impl StoredRules {
    fn into_rules(self, is_default: bool) -> Rules {
        let lists = [
            (Kind::Override, self.overriding),
            (Kind::Content, self.content),
            (Kind::Room, self.room),
            (Kind::Sender, self.sender),
            (Kind::Underride, self.underride),
        ];
        lists.map(|(kind, list)| {
            let rules = list.into_iter();
            rules
                .map(|rule| Arc::new(rule.into_rule(kind, is_default)))
                .collect()
        })
    }

    fn of(rules: &Rules) -> Self {
        let [overriding, content, room, sender, underride] = rules.each_ref().map(|rules| {
            let own = rules.iter().filter(|rule| !rule.is_default);
            own.map(|rule| StoredRule::of(rule)).collect()
        });
        Self {
            overriding,
            content,
            room,
            sender,
            underride,
        }
    }
}

impl StoredRule {
    fn into_rule(self, kind: Kind, is_default: bool) -> Rule {
        let stated = Stated {
            conditions: self.conditions,
            pattern: self.pattern,
        };
        Rule::new(kind, &self.rule_id, is_default, stated)
            .with_actions(self.actions)
            .with_enabled(self.enabled)
    }

    fn of(rule: &Rule) -> Self {
        Self {
            rule_id: rule.id.to_string(),
            enabled: rule.enabled,
            conditions: rule.stated.conditions.clone(),
            pattern: rule.stated.pattern.clone(),
            actions: rule.actions.clone(),
        }
    }
}

impl Ruleset {
    /// Reads what [`Ruleset::to_stored`] wrote; `None` when it is something else.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        let stored: Stored = serde_json::from_str(text).ok()?;
        let mut ruleset = Self::default();
        for (id, changed) in stored.defaults {
            // One that is no longer predefined is forgotten.
            if let Some(rule) = ruleset
                .rules
                .iter_mut()
                .flatten()
                .find(|rule| *rule.id == *id)
            {
                let mut new = Rule::clone(rule);
                if let Some(enabled) = changed.enabled {
                    new = new.with_enabled(enabled);
                }
                if let Some(actions) = changed.actions {
                    new = new.with_actions(actions);
                }
                *rule = Arc::new(new);
            }
        }
        let own = stored.own.into_rules(false);
        for ((kind, rules), own) in Kind::ALL.into_iter().zip(&mut ruleset.rules).zip(own) {
            let at = first_own(kind, rules);
            rules.splice(at..at, own);
        }
        Some(ruleset)
    }

    /// What there is to store, as JSON. It stays right when the predefined rules become others.
    #[must_use]
    pub fn to_stored(&self) -> String {
        let mut stored = Stored {
            own: StoredRules::of(&self.rules),
            defaults: BTreeMap::new(),
        };
        let given = DEFAULT_RULES.iter().flatten();
        for given in given {
            let now = self
                .rules
                .iter()
                .flatten()
                .find(|rule| rule.is_default && rule.id == given.id);
            let Some(now) = now.filter(|now| *now != given) else {
                continue;
            };
            let changed = Changed {
                enabled: (now.enabled != given.enabled).then_some(now.enabled),
                actions: (now.actions != given.actions).then(|| now.actions.clone()),
            };
            stored.defaults.insert(given.id.to_string(), changed);
        }
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Whether the user has changed anything.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        let mut given = DEFAULT_RULES.iter().zip(&self.rules);
        given.any(|(given, now)| {
            given.len() != now.len() || given.iter().zip(now).any(|(a, b)| !Arc::ptr_eq(a, b))
        })
    }

    /// The rules of one kind, in the order in which they are looked at.
    #[must_use]
    pub fn of_kind(&self, kind: Kind) -> &[Arc<Rule>] {
        let [overriding, content, room, sender, underride] = &self.rules;
        match kind {
            Kind::Override => overriding,
            Kind::Content => content,
            Kind::Room => room,
            Kind::Sender => sender,
            Kind::Underride => underride,
        }
    }

    pub(crate) fn of_kind_mut(&mut self, kind: Kind) -> &mut Vec<Arc<Rule>> {
        let [overriding, content, room, sender, underride] = &mut self.rules;
        match kind {
            Kind::Override => overriding,
            Kind::Content => content,
            Kind::Room => room,
            Kind::Sender => sender,
            Kind::Underride => underride,
        }
    }

    /// One rule.
    #[must_use]
    pub fn rule(&self, kind: Kind, id: &str) -> Option<&Rule> {
        let found = self.of_kind(kind).iter().find(|rule| *rule.id == *id);
        found.map(Arc::as_ref)
    }

    /// One rule, as the API has it.
    #[must_use]
    pub fn rule_json(&self, kind: Kind, id: &str, user_id: &str) -> Option<Json> {
        self.rule(kind, id).map(|rule| rule.to_json(kind, user_id))
    }

    /// All rules as the API has them: what `global` holds.
    #[must_use]
    pub fn to_json(&self, user_id: &str) -> Json {
        let kinds = Kind::ALL.into_iter().map(|kind| {
            let rules = self.of_kind(kind).iter();
            let rules = rules.map(|rule| rule.to_json(kind, user_id)).collect();
            (kind.as_str().to_owned(), Json::Array(rules))
        });
        Json::Object(kinds.collect())
    }

    /// The content of `m.push_rules`, and the answer to who asks for all rules: a JSON object.
    /// <https://spec.matrix.org/v1.19/client-server-api/#mpush_rules>
    #[must_use]
    pub fn to_content(&self, user_id: &str) -> String {
        let global = ("global".to_owned(), self.to_json(user_id));
        Json::Object(Map::from_iter([global])).to_string()
    }
}

/// Where a user's own rules of a kind begin: only the rule that turns everything off comes before them.
pub(crate) fn first_own(kind: Kind, rules: &[Arc<Rule>]) -> usize {
    let is_master = |rule: &&Arc<Rule>| rule.is_default && &*rule.id == ".m.rule.master";
    usize::from(kind == Kind::Override && rules.first().as_ref().is_some_and(is_master))
}
