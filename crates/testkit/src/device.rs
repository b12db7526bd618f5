//! Keys as a client's devices make them, without the encryption.

use serde_json::{Map, Value, json};
use starling_events::sign::sign_json;
use starling_events::{CanonicalObject, SigningKey};

/// A device that has keys.
#[derive(Debug)]
pub struct TestDevice {
    user_id: String,
    device_id: String,
    key: SigningKey,
}

impl TestDevice {
    /// A device with these ids; the same seed makes the same keys.
    ///
    /// # Panics
    /// When the device's id can't be part of a key's.
    #[must_use]
    pub fn new(user_id: &str, device_id: &str, seed: u8) -> Self {
        Self {
            user_id: user_id.to_owned(),
            device_id: device_id.to_owned(),
            key: SigningKey::generate([seed; 32], device_id).expect("a key"),
        }
    }

    /// Its identity keys, signed.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn keys(&self) -> Value {
        let device_id = &self.device_id;
        let public = self.key.verifying_key().to_base64();
        self.signed(&json!({
            "user_id": self.user_id, "device_id": device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": { format!("curve25519:{device_id}"): public, format!("ed25519:{device_id}"): public },
        }))
    }

    /// Signed one-time keys with these ids.
    #[must_use]
    pub fn one_time_keys<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Value {
        let key = |id: &str| {
            let key = self.signed(&json!({ "key": format!("key {id} of {}", self.device_id) }));
            (format!("signed_curve25519:{id}"), key)
        };
        ids.into_iter().map(key).collect::<Map<_, _>>().into()
    }

    /// The object with the device's signature.
    ///
    /// # Panics
    /// When it can't be signed.
    #[must_use]
    pub fn signed(&self, object: &Value) -> Value {
        signed(object, &self.user_id, &self.key)
    }
}

/// A user's cross-signing keys.
#[derive(Debug)]
pub struct CrossSigner {
    user_id: String,
    keys: [SigningKey; 3],
}

/// What a cross-signing key is for, in the order in which [`CrossSigner`] has them.
const USAGES: [&str; 3] = ["master", "self_signing", "user_signing"];

impl CrossSigner {
    /// The same seed makes the same keys.
    #[must_use]
    pub fn new(user_id: &str, seed: u8) -> Self {
        let key = |number: u8| SigningKey::generate([seed.wrapping_add(number); 32], "x");
        Self {
            user_id: user_id.to_owned(),
            keys: [0, 1, 2].map(|number| key(number).expect("a key")),
        }
    }

    /// The public part of a key: `master`, `self_signing` or `user_signing`.
    ///
    /// # Panics
    /// When there is none of this name.
    #[must_use]
    pub fn public(&self, usage: &str) -> String {
        self.key(usage).verifying_key().to_base64()
    }

    /// A key as it is uploaded; all but the master key are signed by that.
    ///
    /// # Panics
    /// When there is none of this name.
    #[must_use]
    pub fn key_object(&self, usage: &str) -> Value {
        let public = self.public(usage);
        let object = json!({
            "user_id": self.user_id, "usage": [usage], "keys": { format!("ed25519:{public}"): public },
        });
        if usage == "master" {
            object
        } else {
            self.sign("master", &object)
        }
    }

    /// All three, as they are uploaded.
    #[must_use]
    pub fn upload(&self) -> Value {
        let key = |usage: &str| (format!("{usage}_key"), self.key_object(usage));
        USAGES.into_iter().map(key).collect::<Map<_, _>>().into()
    }

    /// The object with the signature of a key.
    ///
    /// # Panics
    /// When there is no such key, or the object can't be signed.
    #[must_use]
    pub fn sign(&self, usage: &str, object: &Value) -> Value {
        let key = self.key(usage);
        let mut signed = signed(object, &self.user_id, key);
        // These keys are called by their public parts, which the names of a server's keys can't hold.
        let name = format!("ed25519:{}", key.verifying_key().to_base64());
        let signatures = signed.get_mut("signatures");
        let of_user = signatures.and_then(|it| it.get_mut(&self.user_id)?.as_object_mut());
        let of_user = of_user.expect("a signature");
        let signature = of_user.remove("ed25519:x").expect("a signature");
        of_user.insert(name, signature);
        signed
    }

    fn key(&self, usage: &str) -> &SigningKey {
        let mut keys = USAGES.iter().zip(&self.keys);
        let found = keys.find(|(it, _)| **it == usage);
        found.expect("a usage").1
    }
}

fn signed(object: &Value, user_id: &str, key: &SigningKey) -> Value {
    let mut object = CanonicalObject::from_serialize(object).expect("an object");
    sign_json(&mut object, user_id, key);
    serde_json::from_slice(object.as_bytes()).expect("JSON")
}
