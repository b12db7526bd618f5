//! One-time keys, each of which is given out once, and fallback keys, which are given out when there is none.
//! <https://spec.matrix.org/v1.19/client-server-api/#one-time-and-fallback-keys>
//!
//! A key that was given out is deleted in the same transaction. The last of them are remembered, so that a client that
//! repeats its upload brings none of them back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use quick_cache::sync::Cache;
use starling_db::{Commits, Error, Row, Sql, Tx, Value};

use crate::last_changes::{LastChanges, STRIPES};
use crate::numbers::{DeviceNum, UserNum};
use crate::store::Store;

starling_db::statements! {
    /// Those of some keys that a device has.
    ONE_TIME_KEYS_FIND = "SELECT algorithm, key_id, digest FROM one_time_keys WHERE device_num = ?1 AND key_id IN {blobs ?2}";
    /// Those of some keys of a device that were given out.
    CLAIMED_KEYS_FIND = "SELECT algorithm, key_id, digest FROM claimed_keys WHERE device_num = ?1 AND key_id IN {blobs ?2}";
    /// New keys.
    ONE_TIME_KEYS_INSERT = "INSERT INTO one_time_keys (device_num, algorithm, key_id, digest, json)
        SELECT CAST(?1 AS BIGINT), c1, c2, c3, c4 FROM {zip blobs ?2 blobs ?3 ints ?4 blobs ?5} AS keys";
    /// Forgets all but the last of a device's keys that were given out.
    CLAIMED_KEYS_FORGET = "DELETE FROM claimed_keys WHERE device_num = ?1 AND key_num <= (SELECT key_num FROM claimed_keys
        WHERE device_num = ?1 ORDER BY key_num DESC LIMIT 1 OFFSET ?2)";
    /// How many keys a device has, by algorithm.
    ONE_TIME_KEYS_COUNT = "SELECT algorithm, COUNT(*) FROM one_time_keys WHERE device_num = ?1 GROUP BY algorithm";
    /// Another fallback key.
    FALLBACK_KEY_SET = "INSERT INTO fallback_keys (device_num, algorithm, key_id, json, is_used) VALUES (?1, ?2, ?3, ?4, 0)
        ON CONFLICT (device_num, algorithm) DO UPDATE SET key_id = excluded.key_id, json = excluded.json, is_used = 0";
    /// A device's fallback keys.
    FALLBACK_KEYS = "SELECT algorithm, key_id, json, is_used FROM fallback_keys WHERE device_num = ?1";
    /// Some devices of some users.
    DEVICES_NAMED = "SELECT devices.user_num, devices.device_id, devices.device_num FROM {ints ?1} AS wanted
        CROSS JOIN devices WHERE devices.user_num = wanted.value AND devices.device_id IN {blobs ?2}";
    /// The first key of each of some devices, of an algorithm each.
    CLAIM_FIND = "SELECT oldest.key_num FROM (SELECT (SELECT MIN(one.key_num) FROM one_time_keys AS one
            WHERE one.device_num = wanted.c1 AND one.algorithm = wanted.c2) AS key_num
            FROM {zip ints ?1 blobs ?2} AS wanted) AS oldest
        WHERE oldest.key_num IS NOT NULL";
    /// Notes keys that are given out.
    CLAIM_NOTE = "INSERT INTO claimed_keys (key_num, device_num, algorithm, key_id, digest)
        SELECT key_num, device_num, algorithm, key_id, digest FROM one_time_keys WHERE key_num IN {ints ?1}";
    /// Gives out keys.
    CLAIM_TAKE = "DELETE FROM one_time_keys WHERE key_num IN {ints ?1} RETURNING device_num, algorithm, key_id, json";
    /// The fallback keys of some devices, of an algorithm each.
    FALLBACK_FIND = "SELECT keys.device_num, keys.algorithm, keys.key_id, keys.json, keys.is_used
        FROM {zip ints ?1 blobs ?2} AS wanted CROSS JOIN fallback_keys AS keys
        WHERE keys.device_num = wanted.c1 AND keys.algorithm = wanted.c2";
    /// Fallback keys that are given out.
    FALLBACK_USE = "UPDATE fallback_keys SET is_used = 1
        WHERE (device_num, algorithm) IN (SELECT c1, c2 FROM {zip ints ?1 blobs ?2} AS given)";
    /// The end of devices' keys.
    ONE_TIME_KEYS_DELETE = "DELETE FROM one_time_keys WHERE device_num IN {ints ?1}";
    /// The end of devices' keys that were given out.
    CLAIMED_KEYS_DELETE = "DELETE FROM claimed_keys WHERE device_num IN {ints ?1}";
    /// The end of devices' fallback keys.
    FALLBACK_KEYS_DELETE = "DELETE FROM fallback_keys WHERE device_num IN {ints ?1}";
    /// The end of the keys of a user's devices but one.
    ONE_TIME_KEYS_DELETE_OF_USER = "DELETE FROM one_time_keys WHERE device_num IN
        (SELECT device_num FROM devices WHERE user_num = ?1 AND device_num <> ?2)";
    /// The end of those that were given out.
    CLAIMED_KEYS_DELETE_OF_USER = "DELETE FROM claimed_keys WHERE device_num IN
        (SELECT device_num FROM devices WHERE user_num = ?1 AND device_num <> ?2)";
    /// The end of the fallback keys of a user's devices but one.
    FALLBACK_KEYS_DELETE_OF_USER = "DELETE FROM fallback_keys WHERE device_num IN
        (SELECT device_num FROM devices WHERE user_num = ?1 AND device_num <> ?2)";
}

/// What deletes the keys of some devices.
pub(crate) static KEYS_DELETE: [&Sql; 3] = [
    &ONE_TIME_KEYS_DELETE,
    &CLAIMED_KEYS_DELETE,
    &FALLBACK_KEYS_DELETE,
];

/// What deletes the keys of a user's devices but one.
pub(crate) static KEYS_DELETE_OF_USER: [&Sql; 3] = [
    &ONE_TIME_KEYS_DELETE_OF_USER,
    &CLAIMED_KEYS_DELETE_OF_USER,
    &FALLBACK_KEYS_DELETE_OF_USER,
];

/// So many keys of a device are remembered that were given out.
pub const REMEMBERED: i64 = 500;

/// Devices whose counts are kept in memory; each takes some 200 bytes.
const COUNTED_DEVICES: usize = 10_000;

/// A one-time or fallback key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneTimeKey {
    /// Its algorithm.
    pub algorithm: String,
    /// Its id, without the algorithm.
    pub key_id: String,
    /// A hash of the key without its signatures.
    pub digest: i64,
    /// The key: a JSON object or text.
    pub json: String,
}

/// A key by its name: what it is by `digest`, and whether it was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownKey {
    /// A hash of the key without its signatures.
    pub digest: i64,
    /// Whether it was given out.
    pub is_claimed: bool,
}

/// Keys by algorithm and id.
pub type KnownKeys = BTreeMap<(String, String), KnownKey>;

/// Which keys a device has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// How many one-time keys, by algorithm.
    pub one_time: BTreeMap<String, i64>,
    /// The algorithms of which there is a fallback key that was never given out.
    pub unused_fallback: Vec<String>,
}

/// A key that is given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedKey {
    /// Whose it is.
    pub device: DeviceNum,
    /// Its algorithm.
    pub algorithm: String,
    /// Its id, without the algorithm.
    pub key_id: String,
    /// The key: a JSON object or text.
    pub json: String,
    /// Whether the device has other keys now than before.
    pub changes_counts: bool,
}

/// Those of some keys that `device` has or had, by algorithm and id.
///
/// # Errors
/// When the database cannot be read.
pub fn one_time_keys_find(
    tx: &mut Tx<'_>,
    device: DeviceNum,
    key_ids: &[&str],
) -> Result<KnownKeys, Error> {
    let key_ids: Vec<&[u8]> = key_ids.iter().map(|id| id.as_bytes()).collect();
    let mut known = BTreeMap::new();
    // Of a key that is there again with another content, what is there counts.
    for (statement, is_claimed) in [(&CLAIMED_KEYS_FIND, true), (&ONE_TIME_KEYS_FIND, false)] {
        let params = [device.into(), Value::Blobs(&key_ids)];
        tx.query(statement, &params, &mut |row| {
            let name = (row.utf8(0)?.to_owned(), row.utf8(1)?.to_owned());
            let digest = row.int(2)?;
            known.insert(name, KnownKey { digest, is_claimed });
            Ok(())
        })?;
    }
    Ok(known)
}

/// Those devices of `users` that have one of these ids.
///
/// # Errors
/// When the database cannot be read.
pub fn devices_named(
    tx: &mut Tx<'_>,
    users: &[UserNum],
    device_ids: &[&str],
) -> Result<BTreeMap<(UserNum, String), DeviceNum>, Error> {
    let users: Vec<i64> = users.iter().map(|user| user.0).collect();
    let device_ids: Vec<&[u8]> = device_ids.iter().map(|id| id.as_bytes()).collect();
    let params = [Value::Ints(&users), Value::Blobs(&device_ids)];
    let found = tx.query_all(&DEVICES_NAMED, &params, |row| {
        let name = (UserNum(row.int(0)?), row.utf8(1)?.to_owned());
        Ok((name, DeviceNum(row.int(2)?)))
    })?;
    Ok(found.into_iter().collect())
}

/// The fallback keys of `device`, each with whether it was given out.
///
/// # Errors
/// When the database cannot be read.
pub fn fallback_keys(tx: &mut Tx<'_>, device: DeviceNum) -> Result<Vec<(OneTimeKey, bool)>, Error> {
    tx.query_all(&FALLBACK_KEYS, &[device.into()], |row| {
        let key = OneTimeKey {
            algorithm: row.utf8(0)?.to_owned(),
            key_id: row.utf8(1)?.to_owned(),
            digest: 0,
            json: row.utf8(2)?.to_owned(),
        };
        Ok((key, row.truth(3)?))
    })
}

/// How many keys devices have, kept in memory: every sync says it.
pub struct KeyCountsCache {
    counts: Cache<DeviceNum, Arc<KeyCounts>>,
    changes: LastChanges,
}

impl fmt::Debug for KeyCountsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCountsCache").finish_non_exhaustive()
    }
}

impl KeyCountsCache {
    pub(crate) fn new(commits: Commits) -> Self {
        Self {
            counts: Cache::new(COUNTED_DEVICES),
            changes: LastChanges::new(STRIPES, commits),
        }
    }

    fn insert_read(&self, tx: &Tx<'_>, device: DeviceNum, counts: &Arc<KeyCounts>) {
        let insert = || self.counts.insert(device, Arc::clone(counts));
        let remove = || drop(self.counts.remove(&device));
        self.changes.put_read(tx, device.0, insert, remove);
    }

    /// From the hook of the commit that changed them.
    fn forget(&self, device: DeviceNum) {
        self.changes.note(device.0);
        self.counts.remove(&device);
    }
}

impl Store {
    /// Which keys `device` has now, if that is in memory.
    #[must_use]
    pub fn key_counts_at_hand(&self, device: DeviceNum) -> Option<Arc<KeyCounts>> {
        self.key_counts_cache().counts.get(&device)
    }

    /// Which keys `device` has now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn key_counts(&self, tx: &mut Tx<'_>, device: DeviceNum) -> Result<Arc<KeyCounts>, Error> {
        // A transaction that writes may have changed them.
        if tx.is_read_only()
            && let Some(counts) = self.key_counts_at_hand(device)
        {
            return Ok(counts);
        }
        let one_time = tx.query_all(&ONE_TIME_KEYS_COUNT, &[device.into()], |row| {
            Ok((row.utf8(0)?.to_owned(), row.int(1)?))
        })?;
        let fallback = fallback_keys(tx, device)?.into_iter();
        let unused = fallback.filter(|(_, is_used)| !is_used);
        let mut unused: Vec<String> = unused.map(|(key, _)| key.algorithm).collect();
        unused.sort_unstable();
        let counts = Arc::new(KeyCounts {
            one_time: one_time.into_iter().collect(),
            unused_fallback: unused,
        });
        self.key_counts_cache().insert_read(tx, device, &counts);
        Ok(counts)
    }

    /// The device has other keys after the commit.
    pub(crate) fn key_counts_changed(&self, tx: &mut Tx<'_>, device: DeviceNum) {
        let store = self.clone();
        tx.after_commit(move || store.key_counts_cache().forget(device));
    }

    /// Forgets all one-time and fallback keys of `device`, also which were given out.
    ///
    /// # Errors
    /// When the database fails.
    pub fn one_time_keys_clear(&self, tx: &mut Tx<'_>, device: DeviceNum) -> Result<(), Error> {
        for statement in KEYS_DELETE {
            tx.execute(statement, &[Value::Ints(&[device.0])])?;
        }
        self.key_counts_changed(tx, device);
        Ok(())
    }

    /// Adds one-time keys, which `device` must not have. What was given out long ago is forgotten.
    ///
    /// # Errors
    /// When the database fails.
    pub fn one_time_keys_insert(
        &self,
        tx: &mut Tx<'_>,
        device: DeviceNum,
        keys: &[&OneTimeKey],
    ) -> Result<(), Error> {
        let blobs = |of: fn(&OneTimeKey) -> &String| {
            let blobs = keys.iter().map(|key| of(key).as_bytes());
            blobs.collect::<Vec<&[u8]>>()
        };
        let (algorithms, ids) = (blobs(|key| &key.algorithm), blobs(|key| &key.key_id));
        let digests: Vec<i64> = keys.iter().map(|key| key.digest).collect();
        let json = blobs(|key| &key.json);
        let params = [
            device.into(),
            Value::Blobs(&algorithms),
            Value::Blobs(&ids),
            Value::Ints(&digests),
            Value::Blobs(&json),
        ];
        tx.execute(&ONE_TIME_KEYS_INSERT, &params)?;
        tx.execute(&CLAIMED_KEYS_FORGET, &[device.into(), REMEMBERED.into()])?;
        self.key_counts_changed(tx, device);
        Ok(())
    }

    /// Replaces the fallback key of an algorithm. The new one counts as never given out.
    ///
    /// # Errors
    /// When the database fails.
    pub fn fallback_key_set(
        &self,
        tx: &mut Tx<'_>,
        device: DeviceNum,
        key: &OneTimeKey,
    ) -> Result<(), Error> {
        let params = [
            device.into(),
            key.algorithm.as_bytes().into(),
            key.key_id.as_bytes().into(),
            key.json.as_bytes().into(),
        ];
        tx.execute_one(&FALLBACK_KEY_SET, &params)?;
        self.key_counts_changed(tx, device);
        Ok(())
    }

    /// Gives out one key of each of some devices, of the algorithm that is wanted of it, if there is one: the oldest, which
    /// is gone with this transaction, or else the fallback key. No device is wanted twice.
    ///
    /// # Errors
    /// When the database fails.
    pub fn keys_claim(
        &self,
        tx: &mut Tx<'_>,
        wanted: &[(DeviceNum, String)],
    ) -> Result<Vec<ClaimedKey>, Error> {
        let wanted: Vec<(i64, &[u8])> = wanted
            .iter()
            .map(|(device, algorithm)| (device.0, algorithm.as_bytes()))
            .collect();
        let (devices, algorithms): (Vec<i64>, Vec<&[u8]>) = wanted.iter().copied().unzip();
        let params = [Value::Ints(&devices), Value::Blobs(&algorithms)];
        let first = tx.query_all(&CLAIM_FIND, &params, |row| row.int(0))?;
        let mut claimed = Vec::new();
        if !first.is_empty() {
            tx.execute(&CLAIM_NOTE, &[Value::Ints(&first)])?;
            claimed = tx.query_all(&CLAIM_TAKE, &[Value::Ints(&first)], |row| {
                claimed_key(row, true)
            })?;
        }
        let served: BTreeSet<i64> = claimed.iter().map(|key| key.device.0).collect();
        let rest = wanted.into_iter().filter(|(it, _)| !served.contains(it));
        let rest: Vec<(i64, &[u8])> = rest.collect();
        if !rest.is_empty() {
            claimed.extend(fallback_claim(tx, rest)?);
        }
        for key in claimed.iter().filter(|key| key.changes_counts) {
            self.key_counts_changed(tx, key.device);
        }
        Ok(claimed)
    }
}

fn claimed_key(row: &dyn Row, changes_counts: bool) -> Result<ClaimedKey, Error> {
    Ok(ClaimedKey {
        device: DeviceNum(row.int(0)?),
        algorithm: row.utf8(1)?.to_owned(),
        key_id: row.utf8(2)?.to_owned(),
        json: row.utf8(3)?.to_owned(),
        changes_counts,
    })
}

fn fallback_claim(tx: &mut Tx<'_>, wanted: Vec<(i64, &[u8])>) -> Result<Vec<ClaimedKey>, Error> {
    let (devices, algorithms): (Vec<i64>, Vec<&[u8]>) = wanted.into_iter().unzip();
    let params = [Value::Ints(&devices), Value::Blobs(&algorithms)];
    let claimed = tx.query_all(&FALLBACK_FIND, &params, |row| {
        let is_used = row.truth(4)?;
        claimed_key(row, !is_used)
    })?;
    let unused = claimed.iter().filter(|key| key.changes_counts);
    let unused = unused.map(|key| (key.device.0, key.algorithm.as_bytes()));
    let (devices, algorithms): (Vec<i64>, Vec<&[u8]>) = unused.unzip();
    if !devices.is_empty() {
        let params = [Value::Ints(&devices), Value::Blobs(&algorithms)];
        tx.execute(&FALLBACK_USE, &params)?;
    }
    Ok(claimed)
}
