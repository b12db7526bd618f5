//! What a device uploads, and what others are told of devices.
//! <https://spec.matrix.org/v1.19/client-server-api/#device-keys>

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{OwnedUserId, UserId};
use serde_json::{Map, Value};
use starling_db::{Error, Tx};
use starling_store::cross_signing::{KeySignature, KeyUsage, cross_signing_keys, signatures_seen};
use starling_store::device_keys::device_keys_of_users;
use starling_store::one_time_keys::OneTimeKey;
use starling_store::{Store, UserNum};

use crate::cross_signing::public_part;
use crate::one_time_keys::read_keys;
use crate::signed::{ED25519, add_signature, canonical, verify};
use crate::{Keys, UploadError};

/// The largest device keys, in bytes.
pub(crate) const DEVICE_KEYS_BYTES: usize = 16 << 10;

/// What a device uploads.
#[derive(Debug, Default)]
pub struct KeyUpload {
    /// Its identity keys, in canonical form and without what is not signed.
    pub(crate) device_keys: Option<Vec<u8>>,
    /// Its identity keys as they came.
    given: Option<Value>,
    /// Keys to be given out once.
    pub(crate) one_time_keys: Vec<OneTimeKey>,
    /// Keys for when there is no other.
    pub(crate) fallback_keys: Vec<OneTimeKey>,
}

/// Whose keys are asked for: of each user some devices, or all if none is named.
pub type KeyQuery = BTreeMap<OwnedUserId, BTreeSet<String>>;

/// What is known of users' keys, as JSON.
#[derive(Debug, Default)]
pub struct QueriedKeys {
    /// Devices' keys, by user and device.
    pub device_keys: BTreeMap<OwnedUserId, BTreeMap<String, Value>>,
    /// Master keys.
    pub master_keys: BTreeMap<OwnedUserId, Value>,
    /// Self-signing keys.
    pub self_signing_keys: BTreeMap<OwnedUserId, Value>,
    /// The user-signing key of who asks.
    pub user_signing_keys: BTreeMap<OwnedUserId, Value>,
}

impl KeyUpload {
    /// Reads what a client sent.
    ///
    /// # Errors
    /// [`UploadError::Invalid`].
    pub fn read(
        device_keys: Option<Value>,
        one_time_keys: &Map<String, Value>,
        fallback_keys: &Map<String, Value>,
    ) -> Result<Self, UploadError> {
        let fallback_keys = read_keys("fallback_keys", fallback_keys)?;
        let algorithms: BTreeSet<&str> = fallback_keys.iter().map(|it| &*it.algorithm).collect();
        if algorithms.len() < fallback_keys.len() {
            let message = "`fallback_keys` has more than one key of an algorithm";
            return Err(UploadError::Invalid(message.to_owned()));
        }
        Ok(Self {
            device_keys: None,
            given: device_keys,
            one_time_keys: read_keys("one_time_keys", one_time_keys)?,
            fallback_keys,
        })
    }

    /// The identity keys as they would be stored; `None` when there are none.
    pub(crate) fn given_device_keys(&self) -> Option<Vec<u8>> {
        let mut given = self.given.clone()?;
        if let Some(given) = given.as_object_mut() {
            given.remove("unsigned");
        }
        Some(canonical(&given).map_or_else(Vec::new, |given| given.as_bytes().to_vec()))
    }

    /// Checks the device keys: they are of this device, and signed by it.
    pub(crate) fn check(&mut self, user_id: &UserId, device_id: &str) -> Result<(), UploadError> {
        if let Some(given) = self.given.take() {
            self.device_keys = Some(checked(given, user_id, device_id)?);
        }
        Ok(())
    }
}

fn checked(mut keys: Value, user_id: &UserId, device_id: &str) -> Result<Vec<u8>, UploadError> {
    let invalid = |message: &str| UploadError::Invalid(message.to_owned());
    let object = keys.as_object_mut();
    let object = object.ok_or_else(|| invalid("`device_keys` must be an object"))?;
    object.remove("unsigned");
    let text = |field: &str| object.get(field).and_then(Value::as_str);
    if text("user_id") != Some(user_id.as_str()) {
        return Err(invalid("`device_keys.user_id` must be your user id"));
    }
    if text("device_id") != Some(device_id) {
        return Err(invalid(
            "`device_keys.device_id` must be the id of your device",
        ));
    }
    let algorithms = object.get("algorithms").and_then(Value::as_array);
    if !algorithms.is_some_and(|all| all.iter().all(Value::is_string)) {
        return Err(invalid(
            "`device_keys.algorithms` must be a list of strings",
        ));
    }
    let all = object.get("keys").and_then(Value::as_object);
    let all = all.filter(|all| all.values().all(Value::is_string));
    let all = all.ok_or_else(|| invalid("`device_keys.keys` must be an object of strings"))?;
    let key_id = format!("{ED25519}:{device_id}");
    let public = all.get(&key_id).and_then(Value::as_str);
    let public = public.ok_or_else(|| {
        UploadError::Invalid("`device_keys.keys` has no ed25519 key of the device".to_owned())
    })?;
    let public = public.to_owned();
    let signed = canonical(&keys).ok_or_else(|| {
        UploadError::Invalid("`device_keys` holds what can't be signed".to_owned())
    })?;
    if signed.as_bytes().len() > DEVICE_KEYS_BYTES {
        return Err(invalid("`device_keys` is too large"));
    }
    verify(&signed, user_id.as_str(), (&key_id, &public)).map_err(|error| {
        UploadError::Signature(format!(
            "`device_keys` is not signed by the device: {error}"
        ))
    })?;
    Ok(signed.as_bytes().to_vec())
}

/// Who asks for keys: signatures that users made on others' keys are told to nobody else, nor are user-signing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A user of this server.
    User(UserNum),
    /// Another server.
    Server,
}

impl Keys {
    /// What this server knows of the keys of its own users. Who there isn't has no devices.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn query_local(&self, asker: Asker, query: KeyQuery) -> Result<QueriedKeys, Error> {
        let store = self.store().clone();
        let users = query.len();
        let read = move |tx: &mut Tx<'_>| local_keys(&store, tx, asker, &query);
        self.read_about("keys_query", users, read).await
    }
}

pub(crate) fn local_keys(
    store: &Store,
    tx: &mut Tx<'_>,
    asker: Asker,
    query: &KeyQuery,
) -> Result<QueriedKeys, Error> {
    let numbers = store.names().users(tx, query.keys().map(|user| &**user))?;
    let users: Vec<UserNum> = numbers.values().copied().collect();
    let by_number: BTreeMap<UserNum, OwnedUserId> = numbers
        .iter()
        .map(|(id, number)| (*number, (*id).to_owned()))
        .collect();
    let mut queried = QueriedKeys::default();
    for user in query.keys() {
        queried.device_keys.insert(user.clone(), BTreeMap::new());
    }
    for device in device_keys_of_users(tx, &users)? {
        let Some(user) = by_number.get(&device.user) else {
            continue;
        };
        let wanted = query.get(user);
        if wanted.is_some_and(|ids| !ids.is_empty() && !ids.contains(&device.device_id)) {
            continue;
        }
        // To other servers devices have no names: people don't expect it.
        let name = device.display_name.filter(|_| asker != Asker::Server);
        let keys = shown(&device.keys, name.as_deref())?;
        let of_user = queried.device_keys.entry(user.clone()).or_default();
        of_user.insert(device.device_id, keys);
    }
    for ((number, usage), json) in cross_signing_keys(tx, &users)? {
        let Some(user) = by_number.get(&number) else {
            continue;
        };
        let keys = match usage {
            KeyUsage::Master => &mut queried.master_keys,
            KeyUsage::SelfSigning => &mut queried.self_signing_keys,
            KeyUsage::UserSigning if asker == Asker::User(number) => &mut queried.user_signing_keys,
            KeyUsage::UserSigning => continue,
        };
        keys.insert(user.clone(), parse(&json)?);
    }
    let viewer = match asker {
        Asker::User(user) => Some(user),
        Asker::Server => None,
    };
    for signature in signatures_seen(tx, &users, viewer)? {
        if let Some(user) = by_number.get(&signature.user) {
            queried.add_signature(user, &signature);
        }
    }
    Ok(queried)
}

impl QueriedKeys {
    /// Adds a signature to the device or master key that it signs, if that is told.
    pub(crate) fn add_signature(&mut self, user: &UserId, signature: &KeySignature) {
        let devices = self.device_keys.get_mut(user);
        let device = devices.and_then(|devices| devices.get_mut(&signature.key_id));
        let master = self.master_keys.get_mut(user);
        let master = master.filter(|key| public_part(key).as_ref() == Some(&signature.key_id));
        if let Some(key) = device.or(master) {
            let by = (signature.signer.as_str(), &*signature.signing_key);
            add_signature(key, by, &signature.signature);
        }
    }
}

/// A device's keys with its name.
pub(crate) fn shown(keys: &str, display_name: Option<&str>) -> Result<Value, Error> {
    let mut keys = parse(keys)?;
    if let (Some(keys), Some(name)) = (keys.as_object_mut(), display_name) {
        let unsigned = [("device_display_name".to_owned(), Value::from(name))];
        keys.insert("unsigned".to_owned(), Map::from_iter(unsigned).into());
    }
    Ok(keys)
}

/// Reads JSON that is stored.
pub(crate) fn parse(json: &str) -> Result<Value, Error> {
    serde_json::from_str(json).map_err(|_| Error::Damaged("a key is no JSON".to_owned()))
}
