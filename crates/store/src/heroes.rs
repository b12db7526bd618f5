//! Who may stand for a room that has no name: the first few of its members, by their member events.
//! <https://spec.matrix.org/v1.19/client-server-api/#calculating-the-display-name-for-a-room>

use std::sync::{Arc, OnceLock};

use crate::memberships::Membership;
use crate::numbers::{EventNum, KeyNum};
use crate::state_map::Entry;

/// So many heroes are named.
pub const HEROES: usize = 5;

/// So many are remembered: whoever asks is no hero of their own.
const REMEMBERED: usize = HEROES + 1;

/// The first members of a room, found once for all who ask.
#[derive(Debug, Clone, Default)]
pub struct KnownHeroes(OnceLock<Arc<FirstMembers>>);

/// The first members of a room, by their member events.
#[derive(Debug, Default)]
pub struct FirstMembers {
    /// Those who are in the room or invited.
    here: First,
    /// Those who left or are banned.
    gone: First,
}

impl KnownHeroes {
    pub(crate) fn get(&self, members: impl FnOnce() -> FirstMembers) -> Arc<FirstMembers> {
        Arc::clone(self.0.get_or_init(|| Arc::new(members())))
    }

    /// Those of the room after a member event: the same, if it surely changes nothing.
    pub(crate) fn after(&self, entry: &Entry) -> Self {
        let same = self.0.get().filter(|first| first.here.outlasts(entry));
        same.map_or_else(Self::default, |first| {
            Self(OnceLock::from(Arc::clone(first)))
        })
    }
}

impl FirstMembers {
    /// Of a room with these member events.
    pub fn of(members: impl Iterator<Item = Entry>) -> Self {
        let mut first = Self::default();
        for entry in members {
            match Membership::from_code(entry.tag) {
                Some(Membership::Join | Membership::Invite) => first.here.add(&entry),
                Some(Membership::Leave | Membership::Ban) => first.gone.add(&entry),
                Some(Membership::Knock) | None => {}
            }
        }
        first
    }

    /// The heroes for the user whose state key is `own`.
    #[must_use]
    pub fn heroes(&self, own: KeyNum) -> Vec<KeyNum> {
        let others = |list: &First| -> Vec<KeyNum> {
            let keys = list.0.iter().map(|(_, key)| *key);
            keys.filter(|key| *key != own).take(HEROES).collect()
        };
        let here = others(&self.here);
        if here.is_empty() {
            others(&self.gone)
        } else {
            here
        }
    }
}

/// The first few members of a kind, in the order of their events.
#[derive(Debug, Default)]
struct First(Vec<(EventNum, KeyNum)>);

impl First {
    fn add(&mut self, entry: &Entry) {
        let at = self.0.partition_point(|(other, _)| *other < entry.event);
        if at < REMEMBERED {
            self.0.insert(at, (entry.event, entry.key));
            self.0.truncate(REMEMBERED);
        }
    }

    /// Whether all are still the first when a member's event becomes this one.
    fn outlasts(&self, entry: &Entry) -> bool {
        let is_later = self.0.last().is_some_and(|(last, _)| *last < entry.event);
        self.0.len() == REMEMBERED && is_later && self.0.iter().all(|(_, key)| *key != entry.key)
    }
}

#[cfg(test)]
mod tests {
    use super::{FirstMembers, KnownHeroes};
    use crate::memberships::Membership::{self, Ban, Invite, Join, Knock, Leave};
    use crate::names::types;
    use crate::numbers::{EventNum, KeyNum};
    use crate::state_map::Entry;

    fn entry(event: i64, key: i64, membership: Membership) -> Entry {
        Entry {
            kind: types::MEMBER,
            key: KeyNum(key),
            event: EventNum(event),
            tag: membership.code(),
        }
    }

    fn heroes(entries: &[Entry], own: i64) -> Vec<i64> {
        let first = FirstMembers::of(entries.iter().copied());
        first.heroes(KeyNum(own)).iter().map(|key| key.0).collect()
    }

    #[test]
    fn heroes_are_the_first_others_who_are_there() {
        let all: Vec<Entry> = (1..=9).rev().map(|n| entry(n, n, Join)).collect();
        assert_eq!(heroes(&all, 2), [1, 3, 4, 5, 6]);
        assert_eq!(heroes(&all, 9), [1, 2, 3, 4, 5]);
        let some = [
            entry(1, 1, Leave),
            entry(2, 2, Knock),
            entry(3, 3, Join),
            entry(4, 4, Invite),
        ];
        assert_eq!(heroes(&some, 3), [4]);
        let alone = [
            entry(5, 5, Leave),
            entry(4, 4, Ban),
            entry(3, 3, Join),
            entry(1, 1, Knock),
        ];
        assert_eq!(heroes(&alone, 3), [4, 5]);
        assert!(heroes(&[entry(1, 1, Join)], 1).is_empty());
    }

    #[test]
    fn what_surely_changes_nothing_is_not_looked_for_again() {
        let members: Vec<Entry> = (1..=7).map(|n| entry(n, n, Join)).collect();
        let known = KnownHeroes::default();
        known.get(|| FirstMembers::of(members.iter().copied()));
        let is_kept = |changed: Entry| known.after(&changed).0.get().is_some();
        assert!(is_kept(entry(8, 8, Join)) && is_kept(entry(8, 7, Leave)));
        assert!(!is_kept(entry(8, 6, Leave)) && !is_kept(entry(8, 1, Join)));
        let few = KnownHeroes::default();
        few.get(|| FirstMembers::of(members.iter().copied().take(5)));
        assert!(few.after(&entry(8, 8, Join)).0.get().is_none());
    }
}
