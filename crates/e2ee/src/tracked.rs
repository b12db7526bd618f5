//! Following the devices of users of other servers.
//! <https://spec.matrix.org/v1.19/server-server-api/#device-management>
//!
//! Whoever is asked for and shares a room with a local user is followed: the list is fetched once, and from then on its server
//! tells what changes. As long as nothing puts it in doubt, it is told without asking. Of a stale one the server is asked; if
//! it doesn't answer, what was known last is better than nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ruma_common::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde_json::Value;
use starling_db::{Error, Positions, Tx, Write};
use starling_outbound::{FederationClient, RemoteError};
use starling_store::accounts::lock_key;
use starling_store::device_lists::{DeviceListChange, remote_devices_change};
use starling_store::members::Whereabouts;
use starling_store::remote_devices::{
    RemoteDevice, RemoteDevices, RemoteList, remote_device_set, remote_devices,
    remote_devices_delete, remote_list_set, remote_lists, remote_lists_begin, remote_lists_delete,
};
use starling_store::{RoomNum, UserNum};
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard};

use crate::device_keys::{parse, shown};
use crate::keys::announce_change;
use crate::remote::{ByServer, Failures, ask, words};
use crate::snapshot::Snapshot;
use crate::{KeyQuery, Keys, QueriedKeys};

/// A list with more devices is not kept.
pub(crate) const MOST_DEVICES: usize = 1_000;

/// Of one server so many lists are fetched while a client waits. When it wants more, it is told keys by a single request, and
/// the lists are fetched afterwards.
const FETCHED_AT_ONCE: usize = 5;

/// Which lists are being fetched, and whether there are others to fetch.
#[derive(Debug, Default)]
pub(crate) struct Tracking {
    fetching: Mutex<BTreeMap<UserNum, Arc<AsyncMutex<()>>>>,
    /// Lists have become stale.
    pub(crate) wake: Notify,
}

/// A list is fetched by whoever holds this.
#[derive(Debug)]
struct Held {
    tracking: Arc<Tracking>,
    user: UserNum,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Tracking {
    async fn hold(self: &Arc<Self>, user: UserNum) -> Held {
        // Made before it waits, so that it cleans up also when the request goes away meanwhile.
        let mut held = Held {
            tracking: Arc::clone(self),
            user,
            guard: None,
        };
        let lock = Arc::clone(self.fetching.lock().entry(user).or_default());
        held.guard = Some(lock.lock_owned().await);
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut fetching = self.tracking.fetching.lock();
        drop(self.guard.take());
        // One reference is the map's: nobody else waits.
        let lock = fetching.get(&self.user);
        if lock.is_some_and(|lock| Arc::strong_count(lock) == 1) {
            fetching.remove(&self.user);
        }
    }
}

/// What is known of the devices and keys of a user of another server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tracked {
    pub(crate) list: RemoteList,
    pub(crate) devices: RemoteDevices,
}

impl Keys {
    /// What is known, or their servers say, of the keys of users of other servers; and the servers that don't answer.
    pub(crate) async fn query_remote(
        &self,
        mut remote: ByServer<BTreeSet<String>>,
        patience: Duration,
    ) -> Result<(QueriedKeys, Failures), Error> {
        let (mut queried, mut failures) = (QueriedKeys::default(), Failures::new());
        let users: Vec<OwnedUserId> = remote.values().flat_map(BTreeMap::keys).cloned().collect();
        if users.is_empty() {
            return Ok((queried, failures));
        }
        let known = self.tracked(users).await?;
        for wanted in remote.values_mut() {
            let told = wanted.iter().filter_map(|(user, ids)| {
                let tracked = known.get(user).filter(|it| !it.list.is_stale)?;
                Some((user.clone(), ids.clone(), tracked))
            });
            for (user, ids, tracked) in told.collect::<Vec<_>>() {
                queried.add_tracked((&user, &ids), tracked)?;
                wanted.remove(&user);
            }
        }
        remote.retain(|_, wanted| !wanted.is_empty());
        let keys = self.clone();
        let answers = self.ask_each(remote, patience, |client, server, wanted| {
            let keys = keys.clone();
            async move {
                let answer = keys.ask_server(client, &server, wanted, patience).await;
                (server, answer)
            }
        });
        let (answers, unanswered) = answers.await;
        failures.extend(unanswered);
        for (server, answer) in answers {
            let (told, failure) = answer?;
            queried.extend(told);
            if let Some(failure) = failure {
                failures.insert(server, failure);
            }
        }
        Ok((queried, failures))
    }

    /// Asks a server for keys of its users. Those who share a room with a local user are followed from now on. When it doesn't
    /// say all, also why, and what was known before.
    async fn ask_server(
        &self,
        client: Option<FederationClient>,
        server: &OwnedServerName,
        mut wanted: KeyQuery,
        patience: Duration,
    ) -> Result<(QueriedKeys, Option<String>), Error> {
        let mut queried = QueriedKeys::default();
        if client.is_some() {
            let users: Vec<OwnedUserId> = wanted.keys().cloned().collect();
            let followed = self.follow(server, users).await?;
            if followed.len() > FETCHED_AT_ONCE {
                self.tracking().wake.notify_one();
            } else {
                let fetches = followed.into_iter().map(|(user_id, place)| async move {
                    let fetched = self.fetch_list((&user_id, &place), patience).await;
                    (user_id, fetched)
                });
                for (user_id, fetched) in futures_util::future::join_all(fetches).await {
                    if let Ok(tracked) = fetched?
                        && let Some(ids) = wanted.remove(&user_id)
                    {
                        queried.add_tracked((&user_id, &ids), &tracked)?;
                    }
                }
            }
        }
        if wanted.is_empty() {
            return Ok((queried, None));
        }
        let endpoint = ("query", "device_keys");
        match ask(client.as_ref(), server, endpoint, &wanted, patience).await {
            Ok(answer) => {
                queried.add_remote(&wanted, answer);
                Ok((queried, None))
            }
            Err(failure) => {
                let known = self.tracked(wanted.keys().cloned().collect()).await?;
                let known = known.iter().filter(|(_, it)| it.list.stream_id.is_some());
                for (user, tracked) in known {
                    if let Some(ids) = wanted.get(user) {
                        queried.add_tracked((user, ids), tracked)?;
                    }
                }
                Ok((queried, Some(failure)))
            }
        }
    }

    /// The lists of those of `users` who are followed.
    async fn tracked(
        &self,
        users: Vec<OwnedUserId>,
    ) -> Result<BTreeMap<OwnedUserId, Tracked>, Error> {
        let (names, count) = (Arc::clone(self.store().names()), users.len());
        let read = move |tx: &mut Tx<'_>| {
            let numbers = names.users(tx, users.iter().map(|user| &**user))?;
            let all: Vec<UserNum> = numbers.values().copied().collect();
            let mut tracked = read_tracked(tx, &all)?;
            let of_user = |(user, number)| {
                let tracked = tracked.remove(&number)?;
                Some((UserId::to_owned(user), tracked))
            };
            Ok(numbers.into_iter().filter_map(of_user).collect())
        };
        self.read_about("tracked_lists", count, read).await
    }

    /// Follows those of `users` who share a room with a local user, and no longer the others. Where they are.
    async fn follow(
        &self,
        server: &ServerName,
        users: Vec<OwnedUserId>,
    ) -> Result<Whereabouts, Error> {
        let all = users.clone();
        let names = Arc::clone(self.store().names());
        let found = self.whereabouts(users.into_iter().collect()).await?;
        let shared: Vec<UserNum> = found.values().map(|(user, _)| *user).collect();
        let read = move |tx: &mut Tx<'_>| {
            let numbers = names.users(tx, all.iter().map(|user| &**user))?;
            let numbers: Vec<UserNum> = numbers.into_values().collect();
            Ok::<_, Error>(remote_lists(tx, &numbers)?.into_keys().collect::<Vec<_>>())
        };
        let known = self.store().db().read("followed", read).await?;
        let new = shared.iter().filter(|user| !known.contains(user));
        let new: Vec<UserNum> = new.copied().collect();
        let old = known.into_iter().filter(|user| !shared.contains(user));
        let old: Vec<UserNum> = old.collect();
        if !new.is_empty() || !old.is_empty() {
            let server = server.to_owned();
            let locks: Vec<i64> = new.iter().chain(&old).copied().map(lock_key).collect();
            let change = move |tx: &mut Tx<'_>| {
                remote_lists_delete(tx, &old)?;
                remote_lists_begin(tx, &server, &new)
            };
            let write = Write::new("follow_devices").locking(locks);
            self.store().db().write(write, change).await?;
        }
        Ok(found)
    }

    /// Fetches the list of a user, unless somebody else just did. A failure is of the other server.
    pub(crate) async fn fetch_list(
        &self,
        (user_id, place): (&OwnedUserId, &(UserNum, Vec<RoomNum>)),
        patience: Duration,
    ) -> Result<Result<Tracked, String>, Error> {
        let (user, rooms) = place;
        let Some(client) = self.parts().remote.as_ref() else {
            return Ok(Err("this server talks to no other".to_owned()));
        };
        let held = tokio::time::timeout(patience, self.tracking().hold(*user)).await;
        let Ok(_held) = held else {
            return Ok(Err("the server does not answer".to_owned()));
        };
        let number = *user;
        let read = move |tx: &mut Tx<'_>| read_tracked(tx, &[number]);
        let mut known = self.store().db().read("tracked_list", read).await?;
        let Some(known) = known.remove(user) else {
            return Ok(Err("the user is not followed any longer".to_owned()));
        };
        if !known.list.is_stale {
            return Ok(Ok(known));
        }
        let fetched: Result<Snapshot, RemoteError> =
            Snapshot::fetch(client, user_id, patience).await;
        let fetched = match fetched {
            Ok(snapshot) => snapshot.tracked(user_id),
            Err(error) => return Ok(Err(words(&error))),
        };
        let Some(fetched) = fetched else {
            return Ok(Err("the answer can't be read".to_owned()));
        };
        let place = (*user, rooms.clone());
        self.store_list(place, known.list.version, fetched.clone())
            .await?;
        Ok(Ok(fetched))
    }

    /// Keeps what was fetched of a list after doubt number `version`. If others know another one, they are told.
    async fn store_list(
        &self,
        (user, rooms): (UserNum, Vec<RoomNum>),
        version: i64,
        fetched: Tracked,
    ) -> Result<(), Error> {
        let work = move |tx: &mut Tx<'_>| {
            let Some(known) = read_tracked(tx, &[user])?.remove(&user) else {
                return Ok(false);
            };
            if fetched.devices.len() > MOST_DEVICES {
                remote_lists_delete(tx, &[user])?;
                return Ok(known.list.stream_id.is_some());
            }
            let list = RemoteList {
                is_stale: known.list.version != version,
                ..fetched.list.clone()
            };
            let has_other_devices = replace_devices(tx, user, (&known, &fetched))?;
            remote_list_set(tx, user, &list)?;
            let has_other_keys = list.master_key != known.list.master_key
                || list.self_signing_key != known.list.self_signing_key;
            Ok(known.list.stream_id.is_some() && (has_other_devices || has_other_keys))
        };
        let bus = self.parts().bus.clone();
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, is_other: bool| {
            if is_other {
                let position = remote_devices_change(tx, positions, user, &rooms)?;
                let change = DeviceListChange {
                    user,
                    position,
                    rooms: rooms.clone(),
                };
                announce_change(tx, &bus, change);
            }
            Ok(())
        };
        let write = Write::new("remote_device_list").locking([lock_key(user)]);
        self.store().db().write_placed(write, work, place).await
    }
}

/// Writes those devices that are others than before. Whether there are any.
fn replace_devices(
    tx: &mut Tx<'_>,
    user: UserNum,
    (old, new): (&Tracked, &Tracked),
) -> Result<bool, Error> {
    let gone = old.devices.keys().map(String::as_str);
    let gone: Vec<&str> = gone.filter(|id| !new.devices.contains_key(*id)).collect();
    let changed = new.devices.iter();
    let changed = changed.filter(|(id, device)| old.devices.get(*id) != Some(*device));
    let changed: Vec<(&String, &RemoteDevice)> = changed.collect();
    for (id, device) in &changed {
        remote_device_set(tx, user, (id, device))?;
    }
    let is_other = !gone.is_empty() || !changed.is_empty();
    remote_devices_delete(tx, user, gone)?;
    Ok(is_other)
}

fn read_tracked(tx: &mut Tx<'_>, users: &[UserNum]) -> Result<BTreeMap<UserNum, Tracked>, Error> {
    let lists = remote_lists(tx, users)?;
    let users: Vec<UserNum> = lists.keys().copied().collect();
    let mut devices = remote_devices(tx, &users)?;
    let tracked = |(user, list)| {
        let devices = devices.remove(&user).unwrap_or_default();
        (user, Tracked { list, devices })
    };
    Ok(lists.into_iter().map(tracked).collect())
}

impl QueriedKeys {
    /// Adds what is known of a user, of all or some devices.
    fn add_tracked(
        &mut self,
        (user, ids): (&OwnedUserId, &BTreeSet<String>),
        tracked: &Tracked,
    ) -> Result<(), Error> {
        let mut devices: BTreeMap<String, Value> = BTreeMap::new();
        for (id, device) in &tracked.devices {
            if ids.is_empty() || ids.contains(id) {
                let keys = shown(&device.keys, device.display_name.as_deref())?;
                devices.insert(id.clone(), keys);
            }
        }
        self.device_keys.insert(user.clone(), devices);
        if let Some(key) = &tracked.list.master_key {
            self.master_keys.insert(user.clone(), parse(key)?);
        }
        if let Some(key) = &tracked.list.self_signing_key {
            self.self_signing_keys.insert(user.clone(), parse(key)?);
        }
        Ok(())
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.device_keys.extend(other.device_keys);
        self.master_keys.extend(other.master_keys);
        self.self_signing_keys.extend(other.self_signing_keys);
    }
}
