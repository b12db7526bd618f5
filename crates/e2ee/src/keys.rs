//! The handle to the keys of devices, and taking what a device uploads.

use std::sync::Arc;

use ruma_common::{OwnedServerName, OwnedUserId};
use serde_json::Value;
use starling_bus::{Bus, Topic};
use starling_db::{Error, Positions, Tx, Write};
use starling_outbound::FederationClient;
use starling_runtime::Clock;
use starling_store::accounts::lock_key;
use starling_store::cross_signing::signatures_delete;
use starling_store::device_keys::{device_keys_read, device_keys_set};
use starling_store::device_lists::DeviceListChange;
use starling_store::devices::device_find;
use starling_store::one_time_keys::{KeyCounts, OneTimeKey};
use starling_store::{DeviceNum, Store, UserNum};

use crate::device_keys::KeyUpload;
use crate::one_time_keys::store_keys;
use crate::signed::unsigned;
use crate::tracked::Tracking;

/// What is about so many users or devices takes less time to read than a change of threads matters.
const FEW: usize = 10;

/// What [`Keys`] works with.
#[derive(Debug)]
pub struct KeysParts {
    /// The database.
    pub store: Store,
    /// Hears of every change.
    pub bus: Bus,
    /// This server.
    pub server_name: OwnedServerName,
    /// Tells the time.
    pub clock: Clock,
    /// Asks other servers; `None` when this one talks to no other.
    pub remote: Option<FederationClient>,
}

/// The keys of devices and users. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keys {
    parts: Arc<KeysParts>,
    tracking: Arc<Tracking>,
}

/// Whose keys: a device of a local user.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The user.
    pub user: UserNum,
    /// The user's name.
    pub user_id: OwnedUserId,
    /// The device.
    pub device: DeviceNum,
    /// Its id.
    pub device_id: Arc<str>,
}

/// Why no key was taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Something is not as it must be: this.
    #[error("{0}")]
    Invalid(String),
    /// A signature is missing, or doesn't hold: this one.
    #[error("{0}")]
    Signature(String),
    /// The device has another key of this name.
    #[error("the device has another key with the name {0}")]
    Exists(String),
    /// There would be more keys than one device may have: of this algorithm.
    #[error("the device would have too many keys of the algorithm {0}")]
    TooMany(String),
    /// The device is gone.
    #[error("the device is gone")]
    NoDevice,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

impl Keys {
    /// Puts the domain together.
    #[must_use]
    pub fn new(parts: KeysParts) -> Self {
        Self {
            parts: Arc::new(parts),
            tracking: Arc::default(),
        }
    }

    pub(crate) fn tracking(&self) -> &Arc<Tracking> {
        &self.tracking
    }

    pub(crate) fn parts(&self) -> &KeysParts {
        &self.parts
    }

    pub(crate) fn store(&self) -> &Store {
        &self.parts.store
    }

    /// Reads what is about so many users or devices: of few at once, of more where nobody else waits for it.
    pub(crate) async fn read_about<T: Send + 'static>(
        &self,
        what: &'static str,
        count: usize,
        read: impl FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if count <= FEW {
            self.store().db().read(what, read).await
        } else {
            self.store().db().scan(what, read).await
        }
    }

    /// Whether an upload has other identity keys than the device has: then others are to be told.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn changes_device(&self, owner: &Owner, upload: &KeyUpload) -> Result<bool, Error> {
        let Some(given) = upload.given_device_keys() else {
            return Ok(false);
        };
        let device = owner.device;
        let read = move |tx: &mut Tx<'_>| device_keys_read(tx, device);
        let known = self.store().db().read("keys_upload_known", read).await?;
        Ok(known.is_none_or(|known| known.as_bytes() != given))
    }

    /// Takes keys of a device; all or none. The answer is how many one-time keys it has then.
    ///
    /// # Errors
    /// Why none was taken.
    pub async fn upload(
        &self,
        owner: &Owner,
        mut upload: KeyUpload,
    ) -> Result<Arc<KeyCounts>, UploadError> {
        upload.check(&owner.user_id, &owner.device_id)?;
        let (store, bus) = (self.store().clone(), self.parts.bus.clone());
        let (user, device) = (owner.user, owner.device);
        let device_id = owner.device_id.to_string();
        let (find, named) = (store.clone(), device_id.clone());
        let work = move |tx: &mut Tx<'_>| {
            let found = device_find(tx, user, &named)?;
            if found.is_none_or(|found| found.device != device) {
                return Err(UploadError::NoDevice);
            }
            let before = find.key_counts(tx, device)?;
            let other = match &upload.device_keys {
                Some(keys) => change_device_keys((&find, tx), (user, &named), device, keys)?,
                None => false,
            };
            let counts = store_keys(&find, tx, device, &upload)?;
            let has_other_counts = before != counts;
            Ok((other, has_other_counts, counts))
        };
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, stored| {
            let (has_other, has_other_counts, counts): (bool, bool, Arc<KeyCounts>) = stored;
            if has_other {
                let ids = [device_id.clone()].into();
                let change = store.device_list_change(tx, positions, user, &ids)?;
                announce_change(tx, &bus, change);
            }
            if has_other_counts {
                announce_counts(tx, &bus, positions.give()?, vec![device]);
            }
            Ok(counts)
        };
        let write = Write::new("keys_upload").locking([lock_key(user)]);
        self.store().db().write_placed(write, work, place).await
    }
}

/// Whether the device has other keys now than before. With its identity goes all that rests on it: who signed the old one
/// hasn't signed the new one, and what was encrypted for the old one's one-time keys nobody could read.
fn change_device_keys(
    (store, tx): (&Store, &mut Tx<'_>),
    (user, device_id): (UserNum, &str),
    device: DeviceNum,
    keys: &[u8],
) -> Result<bool, UploadError> {
    let old = device_keys_read(tx, device)?;
    if old.as_ref().is_some_and(|old| old.as_bytes() == keys) {
        return Ok(false);
    }
    if !device_keys_set(tx, device, keys)? {
        return Err(UploadError::NoDevice);
    }
    if let Some(old) = old {
        let [old, new] = [old.as_bytes(), keys].map(|keys| {
            let keys: Result<Value, _> = serde_json::from_slice(keys);
            keys.map(|keys| unsigned(&keys)).unwrap_or_default()
        });
        if old != new {
            signatures_delete(tx, user, [device_id])?;
        }
        if old.get("keys") != new.get("keys") {
            store.one_time_keys_clear(tx, device)?;
        }
    }
    Ok(true)
}

/// After the commit, wakes those whom a change of somebody's devices concerns.
pub(crate) fn announce_change(tx: &mut Tx<'_>, bus: &Bus, change: DeviceListChange) {
    let bus = bus.clone();
    tx.after_commit(move || {
        let rooms = change.rooms.iter().map(|room| room.0);
        bus.advance(change.position, &Topic::of_devices(change.user.0, rooms));
    });
}

/// After the commit, tells devices that they have other keys than before.
pub(crate) fn announce_counts(tx: &mut Tx<'_>, bus: &Bus, position: i64, devices: Vec<DeviceNum>) {
    let bus = bus.clone();
    tx.after_commit(move || {
        let topics: Vec<Topic> = devices.iter().map(|it| Topic::Device(it.0)).collect();
        bus.advance(position, &topics);
    });
}

/// The name of a one-time key, as clients say it.
pub(crate) fn name_of(key: &OneTimeKey) -> String {
    format!("{}:{}", key.algorithm, key.key_id)
}
