//! Dehydrated devices: who has no other device that could be sent room keys has one that nobody is logged in with, until the
//! next login. <https://github.com/matrix-org/matrix-spec-proposals/pull/3814>
//!
//! The messages to it stay until it is replaced or deleted: whoever brings it back may be interrupted, and begins again.

use std::collections::BTreeSet;

use ruma_common::UserId;
use serde_json::Value;
use serde_json::value::RawValue;
use starling_db::{Error, Positions, Tx, Write};
use starling_store::UserNum;
use starling_store::accounts::lock_key;
use starling_store::dehydrated::{dehydrated_find, dehydrated_set};
use starling_store::device_keys::device_keys_set;
use starling_store::devices::{device_delete, device_find, device_upsert};
use starling_store::to_device::to_device_read;
use starling_store::tokens::Token;

use crate::device_keys::KeyUpload;
use crate::keys::announce_change;
use crate::one_time_keys::store_keys;
use crate::to_device::MAX_DEVICE_ID_BYTES;
use crate::{Keys, UploadError};

pub use starling_store::dehydrated::DehydratedDevice;

/// The largest description of such a device, in bytes.
pub const MAX_DEHYDRATED_BYTES: usize = 64 << 10;

/// The longest display name, in bytes.
const MAX_NAME_BYTES: usize = 512;

/// So many messages are on one page.
pub const MOST_ON_PAGE: u32 = 100;

/// A dehydrated device that is to be.
#[derive(Debug)]
pub struct NewDehydrated {
    /// Its id.
    pub device_id: String,
    /// Its name for humans.
    pub display_name: Option<String>,
    /// What it takes to bring it back: a JSON object with an `algorithm`.
    pub data: Box<RawValue>,
    /// Its keys, of which it must have some.
    pub keys: KeyUpload,
}

/// Messages to a dehydrated device.
#[derive(Debug)]
pub struct DehydratedMessages {
    /// The events, each a JSON object.
    pub events: Vec<Vec<u8>>,
    /// Where the next page begins.
    pub next: Token,
    /// Whether there are others.
    pub has_more: bool,
}

/// Why no messages are told.
#[derive(Debug, thiserror::Error)]
pub enum DehydratedError {
    /// The user has no such dehydrated device.
    #[error("this is not your dehydrated device")]
    NotYours,
    /// A page can't begin there.
    #[error("this is no token of an earlier page")]
    NotAToken,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

impl Keys {
    /// Gives a user this dehydrated device in place of the one there may be, which is gone with all that was sent to it.
    ///
    /// # Errors
    /// Why it is as it was.
    pub async fn dehydrate(
        &self,
        (user, user_id): (UserNum, &UserId),
        new: NewDehydrated,
    ) -> Result<(), UploadError> {
        let (device_id, name, data, keys) = checked(user_id, new)?;
        let (store, bus) = (self.store().clone(), self.parts().bus.clone());
        let (kept, now_ms) = (store.clone(), self.parts().clock.now_ms());
        let work = move |tx: &mut Tx<'_>| {
            let old = dehydrated_find(tx, user)?;
            let mut changed = BTreeSet::from([device_id.clone()]);
            if let Some(old) = old {
                changed.extend(device_delete(tx, old.device)?.devices);
            }
            if device_find(tx, user, &device_id)?.is_some() {
                let message = "`device_id` must not be the id of another of your devices";
                return Err(UploadError::Invalid(message.to_owned()));
            }
            let device = device_upsert(tx, user, &device_id, name.as_deref(), now_ms)?;
            dehydrated_set(tx, device, &data)?;
            let identity = keys.device_keys.as_deref().unwrap_or_default();
            if !device_keys_set(tx, device, identity)? {
                return Err(UploadError::NoDevice);
            }
            store_keys(&kept, tx, device, &keys)?;
            Ok(changed)
        };
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, changed: BTreeSet<String>| {
            let change = store.device_list_change(tx, positions, user, &changed)?;
            announce_change(tx, &bus, change);
            Ok(())
        };
        let write = Write::new("dehydrate").locking([lock_key(user)]);
        self.store().db().write_placed(write, work, place).await
    }

    /// A user's dehydrated device, if there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dehydrated(&self, user: UserNum) -> Result<Option<DehydratedDevice>, Error> {
        let find = move |tx: &mut Tx<'_>| dehydrated_find(tx, user);
        self.store().db().read("dehydrated", find).await
    }

    /// Deletes a user's dehydrated device: its id, if there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_dehydrated(&self, user: UserNum) -> Result<Option<String>, Error> {
        let (store, bus) = (self.store().clone(), self.parts().bus.clone());
        let work = move |tx: &mut Tx<'_>| {
            let Some(old) = dehydrated_find(tx, user)? else {
                return Ok(None);
            };
            let ended = device_delete(tx, old.device)?;
            Ok(Some((old.device_id, ended.devices)))
        };
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, deleted| {
            let Some((device_id, known)): Option<(String, Vec<String>)> = deleted else {
                return Ok(None);
            };
            let known = known.into_iter().collect();
            let change = store.device_list_change(tx, positions, user, &known)?;
            announce_change(tx, &bus, change);
            Ok(Some(device_id))
        };
        let write = Write::new("delete_dehydrated").locking([lock_key(user)]);
        self.store().db().write_placed(write, work, place).await
    }

    /// The next messages to a user's dehydrated device, which must be this one: at most `limit`, up to [`MOST_ON_PAGE`], from
    /// where a page before ended. They stay.
    ///
    /// # Errors
    /// [`DehydratedError`].
    pub async fn dehydrated_messages(
        &self,
        (user, device_id): (UserNum, String),
        (from, limit): (Option<&str>, u32),
    ) -> Result<DehydratedMessages, DehydratedError> {
        let (epoch, head) = (self.store().epoch(), self.parts().bus.head());
        let after = match from.map(Token::parse) {
            None => 0,
            Some(Ok(Token::Sync {
                epoch: of,
                position,
            })) if of == epoch && position <= head => position,
            Some(_) => return Err(DehydratedError::NotAToken),
        };
        let limit = limit.clamp(1, MOST_ON_PAGE);
        let read = move |tx: &mut Tx<'_>| {
            let device = dehydrated_find(tx, user)?;
            let device = device.filter(|device| device.device_id == device_id);
            let device = device.ok_or(DehydratedError::NotYours)?.device;
            Ok::<_, DehydratedError>(to_device_read(tx, device, (after, head), limit + 1)?)
        };
        let mut waiting = self.store().db().read("dehydrated_messages", read).await?;
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = waiting.len() > most;
        waiting.truncate(most);
        let last = waiting.last().map(|message| message.position);
        let position = last.filter(|_| has_more).unwrap_or(head);
        Ok(DehydratedMessages {
            events: waiting.into_iter().map(|message| message.json).collect(),
            next: Token::Sync { epoch, position },
            has_more,
        })
    }
}

type Checked = (String, Option<String>, String, KeyUpload);

fn checked(user_id: &UserId, new: NewDehydrated) -> Result<Checked, UploadError> {
    let invalid = |message: &str| UploadError::Invalid(message.to_owned());
    let NewDehydrated {
        device_id,
        display_name,
        data,
        mut keys,
    } = new;
    if device_id.is_empty() || device_id.len() > MAX_DEVICE_ID_BYTES {
        return Err(invalid("`device_id` must have 1 to 255 bytes"));
    }
    let name_bytes = display_name.as_ref().map_or(0, String::len);
    if name_bytes > MAX_NAME_BYTES {
        return Err(invalid("`initial_device_display_name` is too long"));
    }
    if data.get().len() > MAX_DEHYDRATED_BYTES {
        return Err(invalid("`device_data` is too large"));
    }
    let read: Option<Value> = serde_json::from_str(data.get()).ok();
    let algorithm = read.as_ref().and_then(|data| data.get("algorithm"));
    if !algorithm.is_some_and(Value::is_string) {
        return Err(invalid(
            "`device_data` must be an object with an `algorithm`",
        ));
    }
    keys.check(user_id, &device_id)?;
    if keys.device_keys.is_none() {
        return Err(invalid("`device_keys` must be an object"));
    }
    Ok((device_id, display_name, data.get().to_owned(), keys))
}
