//! Forks of a room: each goes on from the same state, and together they differ at as many keys as wanted.
//!
//! Of the keys, most are members: profile changes, joins, some who leave, and a few whom a moderator kicks or bans, in
//! one fork or in two. Some are widgets. And in each fork the power levels and the join rules change, up to three
//! times.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};
use starling_store::state_map::StateMap;

use super::history::{ADMINS, Base, member, power_levels, random, user, widget};
use crate::room::{Branch, Draft, WIDGET};

/// What a fork changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// A member who is in the room.
    Member(usize),
    /// Someone who joins.
    Newcomer(usize),
    /// A moderator, who only changes their profile.
    Moderator(usize),
    /// A widget.
    Widget(usize),
    Topic,
}

/// The states of `forks` forks that differ at `conflicted` keys, of which there are at least 3.
#[must_use]
pub fn make(base: &mut Base, members: usize, forks: usize, conflicted: usize) -> Vec<StateMap> {
    let mut plans = vec![Vec::new(); forks];
    // The power levels and the join rules are the other two.
    for target in targets(base, members, conflicted.saturating_sub(2)) {
        let chance = base.room.chance();
        let first = random(chance, forks);
        let second = random(chance, forks);
        let in_two = chance.within(0..10) < 3;
        for (fork, plan) in plans.iter_mut().enumerate() {
            if fork == first || (in_two && fork == second) {
                plan.push(target);
            }
        }
    }
    let states = plans
        .iter()
        .enumerate()
        .map(|(fork, plan)| Fork::new(base, fork).run(plan))
        .collect();
    base.room.finish();
    states
}

/// As many different targets as wanted, in random order.
fn targets(base: &Base, members: usize, wanted: usize) -> Vec<Target> {
    let chance = base.room.chance();
    let mut chosen = BTreeSet::from([Target::Topic]);
    let mut targets = vec![Target::Topic];
    while targets.len() < wanted {
        let target = match chance.within(0..100) {
            // Once most members are chosen, newcomers take their place.
            0..75 if targets.len() < base.joined.len() / 2 => {
                let at = random(chance, base.joined.len());
                Target::Member(base.joined.get(at).copied().unwrap_or_default())
            }
            75..77 => Target::Moderator(ADMINS + random(chance, base.power_users - ADMINS)),
            77..82 => Target::Widget(random(chance, wanted)),
            _ => Target::Newcomer(members + random(chance, 2 * wanted)),
        };
        if chosen.insert(target) {
            targets.push(target);
        }
    }
    targets
}

struct Fork<'a> {
    base: &'a mut Base,
    number: usize,
    branch: Branch,
}

impl<'a> Fork<'a> {
    fn new(base: &'a mut Base, number: usize) -> Self {
        Self {
            branch: base.branch.clone(),
            base,
            number,
        }
    }

    fn run(mut self, plan: &[Target]) -> StateMap {
        let quarter = plan.len() / 4;
        for (index, &target) in plan.iter().enumerate() {
            if index == quarter {
                self.promote();
            } else if index == 2 * quarter {
                self.join_rules();
            } else if index == 3 * quarter {
                self.demote();
            }
            self.change(target);
        }
        // The last word of each fork, so that a short one has changed both too.
        self.demote();
        self.send(
            self.admin(),
            "m.room.join_rules",
            "",
            json!({ "join_rule": "public", "fork": self.number }),
        );
        self.branch.state
    }

    fn change(&mut self, target: Target) {
        let revision = self.base.room.chance().number();
        match target {
            Target::Topic => {
                let content = json!({ "topic": format!("As fork {} has it", self.number) });
                self.send(self.admin(), "m.room.topic", "", content);
            }
            Target::Widget(number) => {
                let content = json!({ "name": format!("Widget {revision}"), "type": "custom" });
                let moderator = self.moderator();
                self.send(moderator, WIDGET, &widget(number), content);
            }
            Target::Newcomer(number) | Target::Moderator(number) => {
                self.member(number, number, member("join", number, revision));
            }
            Target::Member(number) => match self.base.room.chance().within(0..100) {
                0..75 => self.member(number, number, member("join", number, revision)),
                75..90 => self.member(number, number, json!({ "membership": "leave" })),
                90..95 => self.remove(number, "leave"),
                _ => self.remove(number, "ban"),
            },
        }
    }

    fn remove(&mut self, number: usize, membership: &str) {
        let moderator = self.moderator();
        let content = json!({ "membership": membership, "reason": "spam" });
        self.member(moderator, number, content);
    }

    /// Gives a member the power of a moderator.
    fn promote(&mut self) {
        let promoted = self.base.joined.get(self.number).copied();
        self.power(&[(promoted.unwrap_or_default(), 50)]);
    }

    /// Takes a moderator's power, whose deeds in other forks may fail for it.
    fn demote(&mut self) {
        self.power(&[(self.demoted(), 0)]);
    }

    fn power(&mut self, changed: &[(usize, i64)]) {
        let levels = power_levels(self.base.room.version(), self.base.power_users, changed);
        self.send(self.admin(), "m.room.power_levels", "", levels);
    }

    /// Nobody may join in one fork for a while; those who did in others are let in by what all forks end with.
    fn join_rules(&mut self) {
        let rule = if self.number == 0 { "invite" } else { "public" };
        let content = json!({ "join_rule": rule, "fork": self.number });
        self.send(self.admin(), "m.room.join_rules", "", content);
        if rule != "public" {
            self.send(
                self.admin(),
                "m.room.join_rules",
                "",
                json!({ "join_rule": "public" }),
            );
        }
    }

    fn admin(&self) -> usize {
        self.number % ADMINS
    }

    fn demoted(&self) -> usize {
        ADMINS + self.number % (self.base.power_users - ADMINS)
    }

    /// A moderator who has power in this fork.
    fn moderator(&self) -> usize {
        let others = self.base.power_users - ADMINS - 1;
        let at = ADMINS + random(self.base.room.chance(), others);
        if at < self.demoted() { at } else { at + 1 }
    }

    fn member(&mut self, sender: usize, target: usize, content: Json) {
        self.send(sender, "m.room.member", &user(target), content);
    }

    fn send(&mut self, sender: usize, kind: &str, state_key: &str, content: Json) {
        let draft = Draft {
            sender: &user(sender),
            kind,
            state_key,
            content,
        };
        self.base.room.send(&mut self.branch, &draft);
    }
}
