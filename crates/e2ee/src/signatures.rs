//! Signatures of keys that are uploaded later.
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload>
//!
//! A user signs devices of their own with the self-signing key, their master key with a device, and others' master keys with
//! the user-signing key. What isn't one of these is refused, each signature by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ruma_common::OwnedUserId;
use serde_json::Value;
use starling_bus::Topic;
use starling_db::{Error, Positions, Tx, Write};
use starling_store::accounts::lock_key;
use starling_store::cross_signing::{
    KeySignature, KeyUsage, cross_signing_keys, signature_set, signatures_change, signatures_seen,
};
use starling_store::device_keys::device_keys_of_users;
use starling_store::device_lists::CROSS_SIGNING;
use starling_store::{Store, UserNum};

use crate::cross_signing::stored_public;
use crate::keys::announce_change;
use crate::remote::{USUAL_PATIENCE, whole};
use crate::signed::{ED25519, canonical, unsigned, verify};
use crate::{Keys, Owner};

/// So many objects are taken at once.
pub const MOST_SIGNED: usize = 200;

/// So many signatures of one object are looked at.
const MOST_SIGNATURES: usize = 20;

/// Signed objects, by whose key is signed and which.
pub type SignedKeys = BTreeMap<OwnedUserId, BTreeMap<String, Value>>;

/// Why a signature was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no such key.
    #[error("there is no such key")]
    NotFound,
    /// The object is not the key.
    #[error("the object is not the key that is stored")]
    OtherKey,
    /// There is no signature that the user could make.
    #[error("there is no signature by a key of yours that may sign it")]
    NoSignature,
    /// A signature doesn't hold.
    #[error("a signature doesn't hold")]
    Invalid,
}

/// Signatures that were not taken, by whose key was to be signed and which.
pub type SignatureFailures = BTreeMap<OwnedUserId, BTreeMap<String, SignatureError>>;

/// A signature, and what it changes if it is of a key of one's own: a device, or the cross-signing keys.
type Taken = (KeySignature, String);

/// The keys that signatures are about, and those that make them, as they are stored.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    users: BTreeMap<OwnedUserId, UserNum>,
    cross_signing: BTreeMap<(UserNum, KeyUsage), String>,
    /// The signer's devices.
    devices: BTreeMap<String, String>,
}

impl Keys {
    /// Takes signatures of a user. The answer is which are not taken, and why.
    ///
    /// # Errors
    /// When the database fails; then none is taken.
    pub async fn upload_signatures(
        &self,
        owner: &Owner,
        signed: SignedKeys,
    ) -> Result<SignatureFailures, Error> {
        let (store, bus) = (self.store().clone(), self.parts().bus.clone());
        let (user, owner) = (owner.user, owner.clone());
        let remote = self.remote_masters(user, &signed).await?;
        let placing = store.clone();
        let request = Arc::new((owner, remote, signed));
        // To verify takes long: other writes don't wait for it, unless keys change at the same moment.
        let (reading, asked) = (store.clone(), Arc::clone(&request));
        let read = move |tx: &mut Tx<'_>| {
            let (owner, remote, signed) = &*asked;
            Known::read(&reading, tx, (owner, remote), signed)
        };
        let known = store.db().read("signatures_known", read).await?;
        let checked = known.check_all(&request.0, &request.2);
        let work = move |tx: &mut Tx<'_>| {
            let (owner, remote, signed) = &*request;
            let now = Known::read(&store, tx, (owner, remote), signed)?;
            let (failures, mut taken) = if now == known {
                checked.clone()
            } else {
                now.check_all(owner, signed)
            };
            let targets: Vec<UserNum> = now.users.values().copied().collect();
            let stored = signatures_seen(tx, &targets, Some(user))?;
            taken.retain(|(signature, _)| !stored.contains(signature));
            for (signature, _) in &taken {
                signature_set(tx, user, signature)?;
            }
            Ok((failures, taken))
        };
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, done| {
            let (failures, taken): (SignatureFailures, Vec<Taken>) = done;
            let own = taken.iter().filter(|(it, _)| it.user == user);
            let own: BTreeSet<String> = own.map(|(_, changed)| changed.clone()).collect();
            if !own.is_empty() {
                let change = placing.device_list_change(tx, positions, user, &own)?;
                announce_change(tx, &bus, change);
            }
            let others = taken.iter().map(|(it, _)| it.user).filter(|it| *it != user);
            let others: BTreeSet<UserNum> = others.collect();
            if !others.is_empty() {
                let position = signatures_change(tx, positions, user, &others)?;
                let bus = bus.clone();
                tx.after_commit(move || bus.advance(position, &[Topic::User(user.0)]));
            }
            Ok(failures)
        };
        let write = Write::new("signatures_upload").locking([lock_key(user)]);
        let db = self.store().db();
        db.write_placed(write, work, place).await
    }

    /// The master keys of those users of other servers of whom keys are signed, as far as their servers say them.
    async fn remote_masters(
        &self,
        asker: UserNum,
        signed: &SignedKeys,
    ) -> Result<BTreeMap<OwnedUserId, String>, Error> {
        let own = &self.parts().server_name;
        let others = signed.keys().filter(|user| user.server_name() != own);
        let others = whole(others.cloned());
        if others.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (queried, _) = self.query(asker, others, USUAL_PATIENCE).await?;
        let masters = queried.master_keys.into_iter();
        Ok(masters.map(|(user, key)| (user, key.to_string())).collect())
    }
}

impl Known {
    fn read(
        store: &Store,
        tx: &mut Tx<'_>,
        (owner, remote): (&Owner, &BTreeMap<OwnedUserId, String>),
        signed: &SignedKeys,
    ) -> Result<Self, Error> {
        let wanted = signed.keys().chain([&owner.user_id]);
        let users = store.names().users(tx, wanted.map(|user| &**user))?;
        let users: BTreeMap<OwnedUserId, UserNum> = users
            .into_iter()
            .map(|(user, number)| (user.to_owned(), number))
            .collect();
        let numbers: Vec<UserNum> = users.values().copied().collect();
        let devices = device_keys_of_users(tx, &[owner.user])?;
        let mut cross_signing = cross_signing_keys(tx, &numbers)?;
        for (user, master) in remote {
            if let Some(number) = users.get(user) {
                cross_signing.insert((*number, KeyUsage::Master), master.clone());
            }
        }
        Ok(Self {
            users,
            cross_signing,
            devices: devices
                .into_iter()
                .map(|device| (device.device_id, device.keys))
                .collect(),
        })
    }

    fn key(&self, user: UserNum, usage: KeyUsage) -> Option<&str> {
        self.cross_signing.get(&(user, usage)).map(String::as_str)
    }

    fn public(&self, user: UserNum, usage: KeyUsage) -> Option<String> {
        stored_public(self.key(user, usage)?)
    }

    /// Which objects are not taken, and the signatures of the others.
    fn check_all(&self, owner: &Owner, signed: &SignedKeys) -> (SignatureFailures, Vec<Taken>) {
        let mut failures = SignatureFailures::new();
        let mut taken = Vec::new();
        for (target, objects) in signed {
            for (key_id, object) in objects {
                match self.check(owner, (target, key_id), object) {
                    Ok(signatures) => taken.extend(signatures),
                    Err(error) => {
                        let of_target = failures.entry(target.clone()).or_default();
                        of_target.insert(key_id.clone(), error);
                    }
                }
            }
        }
        (failures, taken)
    }

    /// The signatures that an object adds.
    fn check(
        &self,
        owner: &Owner,
        (target, key_id): (&OwnedUserId, &str),
        object: &Value,
    ) -> Result<Vec<Taken>, SignatureError> {
        let user = self.users.get(target).ok_or(SignatureError::NotFound)?;
        let is_own = *user == owner.user;
        let is_master = self.public(*user, KeyUsage::Master).as_deref() == Some(key_id);
        let stored = if is_master {
            self.key(*user, KeyUsage::Master)
        } else if is_own {
            self.devices.get(key_id).map(String::as_str)
        } else {
            None
        };
        let stored = stored.ok_or(SignatureError::NotFound)?;
        let stored: Value = serde_json::from_str(stored).map_err(|_| SignatureError::NotFound)?;
        if unsigned(object) != unsigned(&stored) {
            return Err(SignatureError::OtherKey);
        }
        let signers = match (is_own, is_master) {
            (true, true) => self.device_signers(),
            (true, false) => self.signer(owner.user, KeyUsage::SelfSigning),
            (false, _) => self.signer(owner.user, KeyUsage::UserSigning),
        };
        let signatures = verified(object, owner.user_id.as_str(), &signers)?;
        let changed = if is_master { CROSS_SIGNING } else { key_id };
        let signature = |(signing_key, signature)| {
            let signature = KeySignature {
                user: *user,
                key_id: key_id.to_owned(),
                signer: owner.user_id.clone(),
                signing_key,
                signature,
            };
            (signature, changed.to_owned())
        };
        Ok(signatures.into_iter().map(signature).collect())
    }

    /// The signer's devices' keys, by their names.
    fn device_signers(&self) -> BTreeMap<String, String> {
        let key = |(device_id, keys): (&String, &String)| {
            let name = format!("{ED25519}:{device_id}");
            let keys: Value = serde_json::from_str(keys).ok()?;
            let public = keys.get("keys")?.get(&name)?.as_str()?.to_owned();
            Some((name, public))
        };
        self.devices.iter().filter_map(key).collect()
    }

    fn signer(&self, user: UserNum, usage: KeyUsage) -> BTreeMap<String, String> {
        let public = self.public(user, usage).into_iter();
        public
            .map(|public| (format!("{ED25519}:{public}"), public))
            .collect()
    }
}

/// The signatures of `user` on an object by keys that may sign it. All of these must hold.
fn verified(
    object: &Value,
    user: &str,
    signers: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, SignatureError> {
    let canonical = canonical(object).ok_or(SignatureError::OtherKey)?;
    let made = object.get("signatures").and_then(|all| all.get(user));
    let made = made.and_then(Value::as_object).into_iter().flatten();
    let mut verified = Vec::new();
    for (name, signature) in made.take(MOST_SIGNATURES) {
        let (Some(public), Some(signature)) = (signers.get(name), signature.as_str()) else {
            continue;
        };
        verify(&canonical, user, (name, public)).map_err(|_| SignatureError::Invalid)?;
        verified.push((name.clone(), signature.to_owned()));
    }
    if verified.is_empty() {
        Err(SignatureError::NoSignature)
    } else {
        Ok(verified)
    }
}
