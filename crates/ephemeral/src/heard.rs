//! Which users of other servers are there: as long as their servers say so again.

use std::collections::{BTreeMap, BTreeSet};

use starling_bus::{Bus, Presence, PresenceState};
use starling_store::UserNum;

use crate::presence::{Presences, next_step};

/// Of whom nothing was heard for so long, they are gone.
const SILENT_MS: i64 = 30 * 60_000;

/// Of so many it is known that they are there; of more it isn't told.
const MOST: usize = 50_000;

/// Those who are there.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Until when, if nothing is heard of them before.
    until: BTreeMap<UserNum, i64>,
    /// The same in the order of the times.
    due: BTreeSet<(i64, UserNum)>,
}

impl Heard {
    /// When somebody is gone, if nothing is heard of them before.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.due.first().map(|(until_ms, _)| *until_ms)
    }

    /// Somebody of whom nothing was heard for too long.
    pub(crate) fn next_silent(&mut self, now_ms: i64) -> Option<UserNum> {
        let (until_ms, user) = self.due.first().copied()?;
        (until_ms <= now_ms).then(|| {
            self.forget(user);
            user
        })
    }

    /// `user` is there; false when there are too many already.
    fn note(&mut self, user: UserNum, now_ms: i64) -> bool {
        self.forget(user);
        if self.until.len() >= MOST {
            return false;
        }
        let until_ms = next_step(now_ms + SILENT_MS);
        self.until.insert(user, until_ms);
        self.due.insert((until_ms, user))
    }

    fn forget(&mut self, user: UserNum) {
        if let Some(until_ms) = self.until.remove(&user) {
            self.due.remove(&(until_ms, user));
        }
    }
}

impl Presences {
    /// Another server says how the presence of its user is. The bus knows them.
    pub(crate) fn hear(&mut self, user: UserNum, told: Presence, (bus, now_ms): (&Bus, i64)) {
        if told.state == PresenceState::Offline {
            self.heard.forget(user);
        } else if !self.heard.note(user, now_ms) {
            return;
        }
        let known = bus.presence(user.0).map(|known| Presence {
            last_active_ms: told.last_active_ms,
            ..known
        });
        if known.as_ref() != Some(&told) {
            bus.set_presence(user.0, told);
            self.tell_of(user, now_ms);
        } else if let Some(last_active_ms) = told.last_active_ms {
            bus.note_activity(user.0, last_active_ms);
        }
    }

    /// Nothing was heard of a user for long: they are not there any longer.
    pub(crate) fn is_silent(&mut self, user: UserNum, bus: &Bus, now_ms: i64) {
        if let Some(known) = bus.presence(user.0) {
            let told = Presence {
                state: PresenceState::Offline,
                currently_active: false,
                ..known
            };
            self.hear(user, told, (bus, now_ms));
        }
    }
}
