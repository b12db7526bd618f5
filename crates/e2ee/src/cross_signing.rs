//! Users' cross-signing keys. <https://spec.matrix.org/v1.19/client-server-api/#cross-signing>

use std::collections::BTreeMap;

use serde_json::Value;
use starling_bus::Bus;
use starling_db::{Error, Positions, Tx, Write};
use starling_store::accounts::lock_key;
use starling_store::cross_signing::{
    KeyUsage, cross_signing_key_set, cross_signing_keys, signatures_delete,
};
use starling_store::device_lists::CROSS_SIGNING;
use starling_store::devices::device_list;
use starling_store::{Store, UserNum};

use crate::keys::announce_change;
use crate::signed::{ED25519, canonical, verify};
use crate::{Keys, Owner};

/// The largest key, in bytes.
pub(crate) const KEY_BYTES: usize = 16 << 10;

/// A key by its usage, as JSON text.
pub(crate) type KeysByUsage = BTreeMap<KeyUsage, String>;

/// The cross-signing keys that a user uploads, checked as far as they can be alone.
#[derive(Debug, Clone)]
pub struct CrossSigningUpload {
    keys: BTreeMap<KeyUsage, CrossSigningKey>,
}

#[derive(Debug, Clone)]
struct CrossSigningKey {
    /// In canonical form.
    json: Vec<u8>,
    /// Its public part.
    public: String,
}

/// Why no cross-signing key was taken.
#[derive(Debug, thiserror::Error)]
pub enum CrossSigningError {
    /// Something is not as it must be: this.
    #[error("{0}")]
    Invalid(String),
    /// A key is not signed by the master key: this one.
    #[error("`{0}_key` is not signed by the master key")]
    Signature(&'static str),
    /// There is no master key.
    #[error("there is no master key")]
    NoMaster,
    /// A key's public part is the id of one of the user's devices.
    #[error("a key is called as one of your devices is")]
    InUse,
    /// There are other keys, and the user has to confirm it.
    #[error("there are other keys already")]
    Unconfirmed,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

impl CrossSigningUpload {
    /// Reads keys by what they are for.
    ///
    /// # Errors
    /// [`CrossSigningError::Invalid`]
    pub fn read(
        owner: &Owner,
        keys: impl IntoIterator<Item = (KeyUsage, Option<Value>)>,
    ) -> Result<Self, CrossSigningError> {
        let given = keys
            .into_iter()
            .filter_map(|(usage, key)| Some((usage, key?)));
        let read = given.map(|(usage, key)| {
            let invalid = |problem: &str| {
                CrossSigningError::Invalid(format!("`{}_key` {problem}", usage.word()))
            };
            let json = canonical(&key).ok_or_else(|| invalid("must be an object"))?;
            if json.as_bytes().len() > KEY_BYTES {
                return Err(invalid("is too large"));
            }
            if key.get("user_id").and_then(Value::as_str) != Some(owner.user_id.as_str()) {
                return Err(invalid("must have your user id"));
            }
            let usages = key.get("usage").and_then(Value::as_array);
            if !usages.is_some_and(|all| all.iter().any(|it| it == usage.word())) {
                return Err(invalid("must name what it is for in `usage`"));
            }
            let public = public_part(&key);
            let public = public.ok_or_else(|| invalid("must have one ed25519 key in `keys`"))?;
            let json = json.as_bytes().to_vec();
            Ok((usage, CrossSigningKey { json, public }))
        });
        Ok(Self {
            keys: read.collect::<Result<_, _>>()?,
        })
    }
}

/// The public part of a cross-signing key.
pub(crate) fn public_part(key: &Value) -> Option<String> {
    let keys = key.get("keys")?.as_object()?;
    let (name, public) = keys.iter().next().filter(|_| keys.len() == 1)?;
    let public = public.as_str()?;
    let is_named = name.strip_prefix(ED25519)?.strip_prefix(':')? == public;
    is_named.then(|| public.to_owned())
}

/// The public part of a key that is stored.
pub(crate) fn stored_public(json: &str) -> Option<String> {
    public_part(&serde_json::from_str(json).ok()?)
}

/// The cross-signing keys of a user.
pub(crate) fn keys_of(tx: &mut Tx<'_>, user: UserNum) -> Result<KeysByUsage, Error> {
    let keys = cross_signing_keys(tx, &[user])?;
    Ok(keys
        .into_iter()
        .map(|((_, usage), json)| (usage, json))
        .collect())
}

impl Keys {
    /// Gives a user cross-signing keys. If there are others already, only `is_confirmed` lets them be replaced. The same keys
    /// again change nothing.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub async fn upload_cross_signing(
        &self,
        owner: &Owner,
        upload: CrossSigningUpload,
        is_confirmed: bool,
    ) -> Result<(), CrossSigningError> {
        let (store, bus) = (self.store().clone(), self.parts().bus.clone());
        let (user, user_id) = (owner.user, owner.user_id.clone());
        // To verify takes long: other writes don't wait for it, unless keys change at the same moment.
        let read = move |tx: &mut Tx<'_>| keys_of(tx, user);
        let known = store.db().read("cross_signing_known", read).await?;
        check_signatures(&upload, &known, user_id.as_str())?;
        let work = move |tx: &mut Tx<'_>| {
            let old = keys_of(tx, user)?;
            if old != known {
                check_signatures(&upload, &old, user_id.as_str())?;
            }
            let new = new_keys(&upload, &old);
            let devices = device_list(tx, user)?;
            let is_device = |public: &str| devices.iter().any(|it| it.device_id == public);
            if new.values().any(|key| is_device(&key.public)) {
                return Err(CrossSigningError::InUse);
            }
            if !new.is_empty() && old.contains_key(&KeyUsage::Master) && !is_confirmed {
                return Err(CrossSigningError::Unconfirmed);
            }
            replace(tx, user, &old, &new)?;
            Ok(!new.is_empty())
        };
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, has_changed: bool| {
            if has_changed {
                note_change(&store, &bus, tx, positions, user)?;
            }
            Ok(())
        };
        let write = Write::new("cross_signing_upload").locking([lock_key(user)]);
        self.store().db().write_placed(write, work, place).await
    }
}

/// Notes that a user has other cross-signing keys.
fn note_change(
    store: &Store,
    bus: &Bus,
    tx: &mut Tx<'_>,
    positions: &mut Positions,
    user: UserNum,
) -> Result<(), Error> {
    let ids = [CROSS_SIGNING.to_owned()].into();
    let change = store.device_list_change(tx, positions, user, &ids)?;
    announce_change(tx, bus, change);
    Ok(())
}

/// Those keys that the user doesn't have.
fn new_keys<'a>(
    upload: &'a CrossSigningUpload,
    old: &KeysByUsage,
) -> BTreeMap<KeyUsage, &'a CrossSigningKey> {
    let is_other = |usage: &KeyUsage, key: &CrossSigningKey| {
        let old = old.get(usage).and_then(|old| stored_public(old));
        old.as_ref() != Some(&key.public)
    };
    let master = upload.keys.get(&KeyUsage::Master);
    // With a new master key, the others are new even if they are the same: it has signed them.
    let is_anew = master.is_some_and(|master| is_other(&KeyUsage::Master, master));
    let keys = upload.keys.iter();
    let new = keys.filter(|(usage, key)| is_anew || is_other(usage, key));
    new.map(|(usage, key)| (*usage, key)).collect()
}

/// Whether the master key, which is among those that come or those that are there, has signed what is new of the others.
fn check_signatures(
    upload: &CrossSigningUpload,
    old: &KeysByUsage,
    user_id: &str,
) -> Result<(), CrossSigningError> {
    let master = match upload.keys.get(&KeyUsage::Master) {
        Some(key) => Some(key.public.clone()),
        None => old
            .get(&KeyUsage::Master)
            .and_then(|key| stored_public(key)),
    };
    let master = master.ok_or(CrossSigningError::NoMaster)?;
    let key_id = format!("{ED25519}:{master}");
    for (usage, key) in new_keys(upload, old) {
        if usage == KeyUsage::Master {
            continue;
        }
        let parsed = serde_json::from_slice(&key.json).ok();
        let parsed = parsed.and_then(|key: Value| canonical(&key));
        let holds = parsed.is_some_and(|key| verify(&key, user_id, (&key_id, &master)).is_ok());
        if !holds {
            return Err(CrossSigningError::Signature(usage.word()));
        }
    }
    Ok(())
}

/// Stores new keys in place of old ones. With a new master key, what the old one signed is worth nothing.
fn replace(
    tx: &mut Tx<'_>,
    user: UserNum,
    old: &KeysByUsage,
    new: &BTreeMap<KeyUsage, &CrossSigningKey>,
) -> Result<(), Error> {
    let has_new_master = new.contains_key(&KeyUsage::Master);
    let gone = old
        .iter()
        .filter(|(usage, _)| has_new_master || new.contains_key(usage));
    let gone: Vec<(KeyUsage, Option<String>)> = gone
        .map(|(usage, json)| (*usage, stored_public(json)))
        .collect();
    let publics = gone.iter().filter_map(|(_, public)| public.as_deref());
    signatures_delete(tx, user, publics)?;
    for (usage, _) in &gone {
        cross_signing_key_set(tx, user, *usage, None)?;
    }
    for (usage, key) in new {
        cross_signing_key_set(tx, user, *usage, Some(&key.json))?;
    }
    Ok(())
}
