//! Presence: judged from what each device of a user last said and when it was last here.
//! <https://spec.matrix.org/v1.19/client-server-api/#presence>
//!
//! All of it is in memory, but for the text that a user sets. Who is there no longer is forgotten here; the bus knows
//! for a while what was last told of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ruma_common::UserId;
use starling_bus::{Bus, Presence, PresenceState};
use starling_db::{Error, Tx, Write};
use starling_store::accounts::{account_find, lock_key};
use starling_store::memberships::{Membership, membership_list};
use starling_store::presence::{presence_status_read, presence_status_set, share_room};
use starling_store::{DeviceNum, UserNum};

use crate::heard::Heard;
use crate::keeper::Memory;
use crate::{Client, Ephemeral};

/// The longest text, in bytes.
pub const STATUS_BYTES: usize = 1_024;

/// For so long after something that a user did, they count as active.
const ACTIVE_MS: i64 = 60_000;

/// Who did nothing for so long is idle.
const IDLE_MS: i64 = 5 * 60_000;

/// Whose client hasn't been here for so long is gone.
const GONE_MS: i64 = 30_000;

/// What happens because time passes happens on whole seconds, and polls are woken on them: so many changes of one
/// second wake each poll once.
const STEP_MS: i64 = 1_000;

/// Why presence was not set or is not told.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// The text has more than [`STATUS_BYTES`] bytes.
    #[error("the status message has more than {STATUS_BYTES} bytes")]
    TooLong,
    /// There is no such user, or none who shares a room with whoever asks.
    #[error("you do not share a room with this user")]
    NotShared,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

/// Those who are there.
#[derive(Debug, Default)]
pub(crate) struct Presences {
    users: HashMap<UserNum, User>,
    /// When each of them must be judged again, if nothing happens before.
    due: BTreeSet<(i64, UserNum)>,
    /// Those of other servers.
    pub(crate) heard: Heard,
    /// Those of whom others are to be told, and when.
    changed: BTreeSet<UserNum>,
    tell_at_ms: Option<i64>,
}

#[derive(Debug)]
struct User {
    devices: BTreeMap<DeviceNum, Device>,
    /// What was last told, but for `last_active_ms`, which is as it is.
    told: Presence,
    due_ms: Option<i64>,
}

#[derive(Debug, Default)]
struct Device {
    /// What it last said.
    state: PresenceState,
    /// Polls that are open.
    polls: u32,
    /// When it was last here, if no poll is open.
    seen_ms: i64,
}

impl Device {
    fn is_here(&self, now_ms: i64) -> bool {
        self.polls > 0 || now_ms < self.seen_ms + GONE_MS
    }
}

/// An open poll. While there is one, its device is here.
#[derive(Debug)]
pub struct Poll {
    memory: Arc<Memory>,
    of: Option<(UserNum, DeviceNum)>,
}

impl Drop for Poll {
    fn drop(&mut self) {
        let Some((user, device)) = self.of else {
            return;
        };
        self.memory.with_presences(|presences, bus, now_ms| {
            if let Some(device) = presences
                .users
                .get_mut(&user)
                .and_then(|user| user.devices.get_mut(&device))
            {
                device.polls = device.polls.saturating_sub(1);
                device.seen_ms = now_ms;
            }
            presences.judge(user, bus, now_ms);
        });
    }
}

impl Ephemeral {
    /// `client` asks for news, and says of itself what `state` says; nothing means that it is there. The poll is open
    /// until what is returned is dropped.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn begin_poll(
        &self,
        client: &Client,
        state: Option<PresenceState>,
    ) -> Result<Poll, Error> {
        let mut poll = Poll {
            memory: Arc::clone(&self.memory),
            of: None,
        };
        if self.memory.presences.is_none() {
            return Ok(poll);
        }
        let (user, device) = (client.user, client.device);
        if state == Some(PresenceState::Offline) {
            // It keeps nobody here, and what it said before it takes back.
            self.memory.with_presences(|presences, bus, now_ms| {
                let known = presences.users.get_mut(&user);
                if let Some(device) = known.and_then(|user| user.devices.get_mut(&device)) {
                    device.state = PresenceState::Offline;
                }
                presences.judge(user, bus, now_ms);
            });
            return Ok(poll);
        }
        self.meet(user, &client.user_id).await?;
        self.memory.with_presences(|presences, bus, now_ms| {
            let known = presences.user(user, bus);
            let known_device = known.devices.entry(device).or_default();
            known_device.polls += 1;
            let before = known_device.state;
            known_device.state = match (state, before) {
                (Some(state), _) => state,
                // Who doesn't say and had said that they are idle has not become active by asking.
                (None, PresenceState::Unavailable) => before,
                (None, _) => PresenceState::Online,
            };
            if known_device.state == PresenceState::Online && before != PresenceState::Online {
                known.told.last_active_ms = Some(now_ms);
            }
            presences.judge(user, bus, now_ms);
        });
        poll.of = Some((user, device));
        Ok(poll)
    }

    /// `client` says whether its user is there, and what they say of themselves: no text removes what they said before.
    ///
    /// # Errors
    /// [`PresenceError::TooLong`], or when the database fails.
    pub async fn set_presence(
        &self,
        client: &Client,
        state: PresenceState,
        status: Option<String>,
    ) -> Result<(), PresenceError> {
        let status = status.filter(|status| !status.is_empty());
        if status.as_ref().is_some_and(|it| it.len() > STATUS_BYTES) {
            return Err(PresenceError::TooLong);
        }
        if self.memory.presences.is_none() {
            return Ok(());
        }
        let user = client.user;
        self.meet(user, &client.user_id).await?;
        let before = self.memory.bus.presence(user.0);
        let before = before.and_then(|presence| presence.status);
        if before.as_deref() != status.as_deref() {
            let status = status.clone();
            let write = Write::new("presence_status").locking([lock_key(user)]);
            let set = move |tx: &mut Tx<'_>| presence_status_set(tx, user, status.as_deref());
            self.store().db().write(write, set).await?;
        }
        self.memory.with_presences(|presences, bus, now_ms| {
            let known = presences.user(user, bus);
            let device = known.devices.entry(client.device).or_default();
            device.state = state;
            device.seen_ms = now_ms;
            known.told.last_active_ms = Some(now_ms);
            known.told.status = status.map(Arc::from);
            presences.judge_anew(user, bus, now_ms);
        });
        Ok(())
    }

    /// The presence of a user, for one who shares a room with them, or is them.
    ///
    /// # Errors
    /// [`PresenceError::NotShared`], or when the database cannot be read.
    pub async fn presence(
        &self,
        asker: UserNum,
        user_id: &UserId,
    ) -> Result<Presence, PresenceError> {
        let (wanted, names) = (user_id.to_owned(), Arc::clone(self.store().names()));
        let bus = self.memory.bus.clone();
        let read = move |tx: &mut Tx<'_>| {
            let Some(account) = account_find(tx, &wanted)? else {
                let remote = names.user(tx, &wanted)?;
                let remote = remote.ok_or(PresenceError::NotShared)?;
                let rooms = bus.presence_rooms(remote.0);
                let joined = membership_list(tx, asker)?;
                let is_shared = joined
                    .iter()
                    .any(|row| row.membership == Membership::Join && rooms.contains(&row.room.0));
                return if is_shared {
                    Ok((remote, None))
                } else {
                    Err(PresenceError::NotShared)
                };
            };
            if account.deactivated_at.is_some() {
                return Err(PresenceError::NotShared);
            }
            if account.user != asker && !share_room(tx, asker, account.user)? {
                return Err(PresenceError::NotShared);
            }
            let status = presence_status_read(tx, account.user)?;
            Ok((account.user, status))
        };
        let (user, status) = self.store().db().read("presence", read).await?;
        let is_on = self.memory.presences.is_some();
        let unknown = || Presence {
            user_id: user_id.as_str().into(),
            state: PresenceState::Offline,
            currently_active: false,
            last_active_ms: None,
            status: status.filter(|_| is_on).map(Arc::from),
        };
        let known = self.memory.bus.presence(user.0).filter(|_| is_on);
        Ok(known.unwrap_or_else(unknown))
    }

    /// `user` has done something that others can see.
    pub fn note_activity(&self, user: UserNum) {
        self.memory.with_presences(|presences, bus, now_ms| {
            let Some(known) = presences.users.get_mut(&user) else {
                return bus.note_activity(user.0, now_ms);
            };
            known.told.last_active_ms = Some(now_ms);
            for device in known.devices.values_mut() {
                // Who is active is not idle, whatever their clients said.
                if device.state == PresenceState::Unavailable {
                    device.state = PresenceState::Online;
                }
            }
            presences.judge(user, bus, now_ms);
        });
    }

    /// Makes the bus know `user`, with their text and the rooms that they are in.
    async fn meet(&self, user: UserNum, user_id: &UserId) -> Result<(), Error> {
        let bus = &self.memory.bus;
        if bus.knows(user.0) {
            return Ok(());
        }
        let read = move |tx: &mut Tx<'_>| presence_status_read(tx, user);
        let status = self.store().db().read("presence_status", read).await?;
        let presence = Presence {
            user_id: user_id.as_str().into(),
            state: PresenceState::Offline,
            currently_active: false,
            last_active_ms: None,
            status: status.map(Arc::from),
        };
        bus.meet(user.0, presence);
        // From here on joins and leaves are heard.
        let read = move |tx: &mut Tx<'_>| membership_list(tx, user);
        let memberships = self.store().db().read("presence_rooms", read).await?;
        let joined = memberships
            .iter()
            .filter(|row| row.membership == Membership::Join);
        let rooms: Vec<i64> = joined.map(|row| row.room.0).collect();
        bus.introduce(user.0, &rooms);
        Ok(())
    }
}

impl Memory {
    /// Changes who is there, and sees to it that what is due then is looked at.
    pub(crate) fn with_presences(self: &Arc<Self>, change: impl FnOnce(&mut Presences, &Bus, i64)) {
        let Some(presences) = &self.presences else {
            return;
        };
        let due_ms = {
            let mut presences = presences.lock();
            change(&mut presences, &self.bus, self.now_ms());
            presences.next_due()
        };
        if let Some(due_ms) = due_ms {
            self.look_again_at(due_ms);
        }
    }
}

impl Presences {
    /// The record of a user whom the bus knows.
    fn user(&mut self, user: UserNum, bus: &Bus) -> &mut User {
        self.users.entry(user).or_insert_with(|| User {
            devices: BTreeMap::new(),
            told: bus.presence(user.0).unwrap_or_else(|| Presence {
                user_id: "".into(),
                state: PresenceState::Offline,
                currently_active: false,
                last_active_ms: None,
                status: None,
            }),
            due_ms: None,
        })
    }

    fn next_due(&self) -> Option<i64> {
        let due = self.due.first().map(|(due_ms, _)| *due_ms);
        let due = due.into_iter().chain(self.heard.next_due());
        due.chain(self.tell_at_ms).min()
    }

    /// What time brings about; when to come again.
    pub(crate) fn pass(&mut self, bus: &Bus, now_ms: i64) -> Option<i64> {
        while let Some((due_ms, user)) = self.due.first().copied()
            && due_ms <= now_ms
        {
            self.judge(user, bus, now_ms);
            // Judged, it is due later, or never.
            self.due.remove(&(due_ms, user));
        }
        while let Some(user) = self.heard.next_silent(now_ms) {
            self.is_silent(user, bus, now_ms);
        }
        if self.tell_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.tell_at_ms = None;
            let changed = std::mem::take(&mut self.changed);
            let changed: Vec<i64> = changed.into_iter().map(|user| user.0).collect();
            bus.wake_for_presence(&changed);
        }
        self.next_due()
    }

    /// `user` is another than was told: on the next whole second others are told.
    pub(crate) fn tell_of(&mut self, user: UserNum, now_ms: i64) {
        self.changed.insert(user);
        self.tell_at_ms.get_or_insert(next_step(now_ms));
    }

    /// Finds out whether `user` is there, and tells others if that is news.
    fn judge(&mut self, user: UserNum, bus: &Bus, now_ms: i64) {
        self.judge_with(user, bus, now_ms, false);
    }

    /// As [`Presences::judge`], where something else has changed that others are told.
    fn judge_anew(&mut self, user: UserNum, bus: &Bus, now_ms: i64) {
        self.judge_with(user, bus, now_ms, true);
    }

    fn judge_with(&mut self, user: UserNum, bus: &Bus, now_ms: i64, is_news: bool) {
        let Some(known) = self.users.get_mut(&user) else {
            return;
        };
        let verdict = known.verdict(now_ms);
        let told = &mut known.told;
        let before = (told.state, told.currently_active);
        (told.state, told.currently_active) = (verdict.state, verdict.currently_active);
        if is_news || before != (verdict.state, verdict.currently_active) {
            bus.set_presence(user.0, told.clone());
            self.changed.insert(user);
            self.tell_at_ms.get_or_insert(next_step(now_ms));
        } else if let Some(last_active_ms) = told.last_active_ms {
            bus.note_activity(user.0, last_active_ms);
        }
        let due_ms = verdict.due_ms.map(next_step);
        if let Some(due_ms) = std::mem::replace(&mut known.due_ms, due_ms) {
            self.due.remove(&(due_ms, user));
        }
        self.due.extend(due_ms.map(|due_ms| (due_ms, user)));
        if known.devices.is_empty() {
            self.users.remove(&user);
        }
    }
}

/// What is to be told of a user.
struct Verdict {
    state: PresenceState,
    currently_active: bool,
    /// When it may become another without anything happening.
    due_ms: Option<i64>,
}

impl User {
    fn verdict(&mut self, now_ms: i64) -> Verdict {
        self.devices.retain(|_, device| device.is_here(now_ms));
        let said = self.devices.values().map(|device| device.state).max();
        let said = said.unwrap_or_default();
        let closed = self.devices.values().filter(|device| device.polls == 0);
        let mut due: Vec<i64> = closed.map(|device| device.seen_ms + GONE_MS).collect();
        let active_ms = self.told.last_active_ms.unwrap_or_default();
        let is_idle = now_ms >= active_ms + IDLE_MS;
        let currently_active = said == PresenceState::Online && now_ms < active_ms + ACTIVE_MS;
        if currently_active {
            due.push(active_ms + ACTIVE_MS);
        } else if said == PresenceState::Online && !is_idle {
            due.push(active_ms + IDLE_MS);
        }
        let state = match said {
            PresenceState::Online if is_idle => PresenceState::Unavailable,
            said => said,
        };
        Verdict {
            state,
            currently_active,
            due_ms: due.into_iter().min(),
        }
    }
}

/// The next whole second after a time.
pub(crate) fn next_step(at_ms: i64) -> i64 {
    (at_ms / STEP_MS + 1) * STEP_MS
}
