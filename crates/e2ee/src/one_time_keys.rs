//! One-time and fallback keys.
//! <https://spec.matrix.org/v1.19/client-server-api/#one-time-and-fallback-keys>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ruma_common::OwnedUserId;
use serde_json::{Map, Value};
use starling_db::{Error, Positions, Tx, Write};
use starling_store::one_time_keys::{
    ClaimedKey, KeyCounts, OneTimeKey, devices_named, fallback_keys, one_time_keys_find,
};
use starling_store::rooms::stable_hash;
use starling_store::{DeviceNum, Store};

use crate::device_keys::{KeyUpload, parse};
use crate::keys::{announce_counts, name_of};
use crate::signed::unsigned;
use crate::{Keys, UploadError};

/// So many one-time keys of an algorithm a device has at most.
pub const MOST_ONE_TIME_KEYS: usize = 500;

/// So many algorithms one device has keys of.
const MOST_ALGORITHMS: usize = 16;

/// So many keys are taken at once.
const MOST_UPLOADED: usize = 500;

/// The largest key, in bytes, and the longest name of one.
const KEY_BYTES: usize = 4 << 10;
const NAME_BYTES: usize = 255;

/// So many keys are given out at the asking of one request.
pub const MOST_CLAIMED: usize = 5_000;

/// So many of them in one transaction.
const CLAIMED_AT_ONCE: usize = 200;

/// Whose keys are wanted: of each device one, of this algorithm.
pub type KeyClaim = BTreeMap<OwnedUserId, BTreeMap<String, String>>;

/// Keys that were given out, by user and device: each by its name.
pub type ClaimedKeys = BTreeMap<OwnedUserId, BTreeMap<String, BTreeMap<String, Value>>>;

/// Reads keys as a client sent them.
pub(crate) fn read_keys(
    field: &str,
    keys: &Map<String, Value>,
) -> Result<Vec<OneTimeKey>, UploadError> {
    let invalid = UploadError::Invalid;
    if keys.len() > MOST_UPLOADED {
        return Err(invalid(format!(
            "`{field}` has more than {MOST_UPLOADED} keys"
        )));
    }
    let read = |(name, key): (&String, &Value)| {
        let parts = name.split_once(':');
        let parts = parts.filter(|(algorithm, id)| !algorithm.is_empty() && !id.is_empty());
        let (algorithm, key_id) = parts
            .filter(|_| name.len() <= NAME_BYTES)
            .ok_or_else(|| invalid(format!("a name in `{field}` is not `<algorithm>:<key_id>`")))?;
        if !(key.is_object() || key.is_string()) {
            return Err(invalid(format!(
                "a key in `{field}` is neither an object nor a string"
            )));
        }
        let json = key.to_string();
        if json.len() > KEY_BYTES {
            return Err(invalid(format!("a key in `{field}` is too large")));
        }
        Ok(OneTimeKey {
            algorithm: algorithm.to_owned(),
            key_id: key_id.to_owned(),
            digest: stable_hash(sorted(&unsigned(key)).to_string().as_bytes()),
            json,
        })
    };
    keys.iter().map(read).collect()
}

/// The value with the members of its objects in order, whatever order they came in.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let sorted: BTreeMap<&String, Value> =
                object.iter().map(|(key, it)| (key, sorted(it))).collect();
            sorted
                .into_iter()
                .map(|(key, it)| (key.clone(), it))
                .collect()
        }
        Value::Array(list) => list.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Stores the one-time and fallback keys of an upload. The answer is which keys the device has then.
pub(crate) fn store_keys(
    store: &Store,
    tx: &mut Tx<'_>,
    device: DeviceNum,
    upload: &KeyUpload,
) -> Result<Arc<KeyCounts>, UploadError> {
    let new = new_keys(tx, device, &upload.one_time_keys)?;
    if !new.is_empty() {
        let counts = store.key_counts(tx, device)?;
        check_counts(&counts, &new)?;
        store.one_time_keys_insert(tx, device, &new)?;
    }
    if !upload.fallback_keys.is_empty() {
        let old = fallback_keys(tx, device)?;
        let mut known: BTreeSet<&str> = old.iter().map(|(key, _)| &*key.algorithm).collect();
        for key in &upload.fallback_keys {
            known.insert(&key.algorithm);
            if known.len() > MOST_ALGORITHMS {
                return Err(UploadError::TooMany(key.algorithm.clone()));
            }
            // The same one again, as who got no answer sends it, was given out if it was.
            let is_same = |(old, _): &(OneTimeKey, bool)| {
                (&old.algorithm, &old.key_id, &old.json) == (&key.algorithm, &key.key_id, &key.json)
            };
            if !old.iter().any(is_same) {
                store.fallback_key_set(tx, device, key)?;
            }
        }
    }
    Ok(store.key_counts(tx, device)?)
}

/// Those of `keys` that the device doesn't have, and hasn't had lately.
fn new_keys<'a>(
    tx: &mut Tx<'_>,
    device: DeviceNum,
    keys: &'a [OneTimeKey],
) -> Result<Vec<&'a OneTimeKey>, UploadError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = keys.iter().map(|key| &*key.key_id).collect();
    let known = one_time_keys_find(tx, device, &ids)?;
    let mut new = Vec::new();
    for key in keys {
        let name = (key.algorithm.clone(), key.key_id.clone());
        match known.get(&name) {
            Some(known) if known.digest == key.digest => {}
            Some(known) if !known.is_claimed => return Err(UploadError::Exists(name_of(key))),
            Some(_) | None => new.push(key),
        }
    }
    Ok(new)
}

fn check_counts(counts: &KeyCounts, new: &[&OneTimeKey]) -> Result<(), UploadError> {
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    for (algorithm, count) in &counts.one_time {
        totals.insert(algorithm, usize::try_from(*count).unwrap_or(usize::MAX));
    }
    for key in new {
        let total = totals.entry(&key.algorithm).or_default();
        *total = total.saturating_add(1);
        if *total > MOST_ONE_TIME_KEYS {
            return Err(UploadError::TooMany(key.algorithm.clone()));
        }
    }
    match totals.keys().nth(MOST_ALGORITHMS) {
        Some(algorithm) => Err(UploadError::TooMany((*algorithm).to_owned())),
        None => Ok(()),
    }
}

impl Keys {
    /// Gives out one key of each of some devices of this server's users: one-time keys once, and else fallback keys. Nobody
    /// gets one before it is on the disk that it is gone. What there isn't is left out. At most [`MOST_CLAIMED`] are looked
    /// for.
    ///
    /// # Errors
    /// When the database fails: of what was to be given out, some may be lost then, and nothing is given out twice.
    pub async fn claim_local(&self, claim: &KeyClaim) -> Result<ClaimedKeys, Error> {
        let found = self.find_devices(claim).await?;
        let mut wanted: Vec<(DeviceNum, String)> = Vec::new();
        let mut names: BTreeMap<DeviceNum, (&OwnedUserId, &str)> = BTreeMap::new();
        for (user, devices) in claim {
            for (device_id, algorithm) in devices {
                if let Some(device) = found.get(&(user.clone(), device_id.clone())) {
                    wanted.push((*device, algorithm.clone()));
                    names.insert(*device, (user, device_id));
                }
            }
        }
        let mut claimed = ClaimedKeys::new();
        for wanted in wanted.chunks(CLAIMED_AT_ONCE) {
            for key in self.claim_some(wanted.to_vec()).await? {
                let Some((user, device_id)) = names.get(&key.device) else {
                    continue;
                };
                let name = format!("{}:{}", key.algorithm, key.key_id);
                let of_user = claimed.entry((*user).clone()).or_default();
                let of_device = of_user.entry((*device_id).to_owned()).or_default();
                of_device.insert(name, parse(&key.json)?);
            }
        }
        Ok(claimed)
    }

    async fn find_devices(
        &self,
        claim: &KeyClaim,
    ) -> Result<BTreeMap<(OwnedUserId, String), DeviceNum>, Error> {
        let wanted = claim.iter().flat_map(|(user, devices)| {
            let devices = devices.keys();
            devices.map(move |device| (user.clone(), device.clone()))
        });
        let wanted: Vec<(OwnedUserId, String)> = wanted.take(MOST_CLAIMED).collect();
        let count = wanted.len();
        let names = self.store().names().clone();
        let read = move |tx: &mut Tx<'_>| {
            let users: BTreeSet<&OwnedUserId> = wanted.iter().map(|(user, _)| user).collect();
            let numbers = names.users(tx, users.into_iter().map(|user| &**user))?;
            let users: Vec<_> = numbers.values().copied().collect();
            let ids: Vec<&str> = wanted.iter().map(|(_, device)| &**device).collect();
            let found = devices_named(tx, &users, &ids)?;
            let of = |(user, device): &(OwnedUserId, String)| {
                let number = numbers.get(&**user)?;
                let device_num = found.get(&(*number, device.clone()))?;
                Some(((user.clone(), device.clone()), *device_num))
            };
            Ok(wanted.iter().filter_map(of).collect())
        };
        self.read_about("keys_claim_find", count, read).await
    }

    async fn claim_some(&self, wanted: Vec<(DeviceNum, String)>) -> Result<Vec<ClaimedKey>, Error> {
        let (store, bus) = (self.store().clone(), self.parts().bus.clone());
        let work = move |tx: &mut Tx<'_>| store.keys_claim(tx, &wanted);
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, keys: Vec<ClaimedKey>| {
            let changed = keys.iter().filter(|key| key.changes_counts);
            let changed: Vec<DeviceNum> = changed.map(|key| key.device).collect();
            if !changed.is_empty() {
                announce_counts(tx, &bus, positions.give()?, changed);
            }
            Ok(keys)
        };
        let write = Write::new("keys_claim");
        self.store().db().write_placed(write, work, place).await
    }
}
