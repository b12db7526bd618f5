//! Keys: those of other devices as they are told, and those that are made by a seed.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use starling_events::CanonicalObject;
use starling_runtime::Chance;
use vodozemac::megolm::{GroupSession, GroupSessionPickle};
use vodozemac::olm::Account;
use vodozemac::{Ed25519PublicKey, Ed25519Signature};

use super::ledger::DeviceName;

/// The keys of another device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PeerKeys {
    pub(super) curve25519: String,
    pub(super) ed25519: String,
}

/// The devices in a part of the answer to a query of keys.
pub(super) fn peer_keys(user: &str, devices: &Value) -> BTreeMap<String, PeerKeys> {
    let devices = devices.as_object().into_iter().flatten();
    let keys = devices.filter_map(|(id, object)| {
        let key = |kind: &str| {
            let key = object.get("keys")?.get(format!("{kind}:{id}"))?;
            Some(key.as_str()?.to_owned())
        };
        let keys = PeerKeys {
            curve25519: key("curve25519")?,
            ed25519: key("ed25519")?,
        };
        verify(object, &(user.to_owned(), id.clone()), &keys.ed25519)?;
        Some((id.clone(), keys))
    });
    keys.collect()
}

/// Whether the device has signed the object.
pub(super) fn verify(object: &Value, (user, device): &DeviceName, ed25519: &str) -> Option<()> {
    let signatures = object.get("signatures")?.get(user)?;
    let signature = signatures.get(format!("ed25519:{device}"))?.as_str()?;
    let signature = Ed25519Signature::from_base64(signature).ok()?;
    let key = Ed25519PublicKey::from_base64(ed25519).ok()?;
    let mut object = object.as_object()?.clone();
    object.remove("signatures");
    object.remove("unsigned");
    let bytes = canonical(&object.into());
    key.verify(&bytes, &signature).ok()
}

pub(super) fn canonical(object: &Value) -> Vec<u8> {
    let object = CanonicalObject::from_serialize(object).expect("an object");
    object.as_bytes().to_vec()
}

pub(super) fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// A new account. Its long-lived keys are of the given chance, so that the same seed makes the same devices.
pub(super) fn account(chance: &Chance) -> Account {
    let pickle = serde_json::to_value(Account::new().pickle());
    let mut pickle = pickle.expect("an account");
    let key = json!({ "Normal": random(chance, 32) });
    set(&mut pickle, "signing_key", key);
    set(&mut pickle, "diffie_hellman_key", json!(random(chance, 32)));
    Account::from_pickle(serde_json::from_value(pickle).expect("an account"))
}

/// A new session for a room. Its keys are of the given chance, so that the same seed makes the same events.
pub(super) fn group_session(chance: &Chance) -> GroupSession {
    let pickle = json!({
        "signing_key": { "Normal": random(chance, 32) },
        "ratchet": { "inner": random(chance, 128), "counter": 0 },
        "config": { "version": "V1" },
    });
    let pickle: GroupSessionPickle = serde_json::from_value(pickle).expect("a session");
    GroupSession::from_pickle(pickle)
}

fn random(chance: &Chance, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    chance.fill(&mut bytes);
    bytes
}
