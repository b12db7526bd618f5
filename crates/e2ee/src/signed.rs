//! JSON objects that users and devices have signed. <https://spec.matrix.org/v1.19/appendices/#signing-json>

use serde_json::Value;
use starling_events::sign::{VerifyError, verify_json};
use starling_events::{CanonicalObject, VerifyingKey};

/// The algorithm of all signatures.
pub(crate) const ED25519: &str = "ed25519";

/// A JSON object in canonical form; `None` for what is none, or holds what canonical JSON can't say.
pub(crate) fn canonical(value: &Value) -> Option<CanonicalObject> {
    value.as_object()?;
    CanonicalObject::from_serialize(value).ok()
}

/// Whether `entity` has signed the object with this key (`ed25519:…` and its public part).
///
/// # Errors
/// Why not.
pub(crate) fn verify(
    object: &CanonicalObject,
    entity: &str,
    (key_id, public): (&str, &str),
) -> Result<(), VerifyError> {
    let key = VerifyingKey::from_base64(public).map_err(|_| VerifyError::Malformed)?;
    verify_json(object.as_bytes(), entity, key_id, &key)
}

/// The value without its signatures and what is not signed.
pub(crate) fn unsigned(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("signatures");
        object.remove("unsigned");
    }
    value
}

/// Adds a signature to a signed object.
pub(crate) fn add_signature(object: &mut Value, (signer, key_id): (&str, &str), signature: &str) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    let all = object
        .entry("signatures")
        .or_insert_with(|| Value::Object(serde_json::Map::new()));
    let Some(all) = all.as_object_mut() else {
        return;
    };
    let of_signer = all
        .entry(signer)
        .or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(of_signer) = of_signer.as_object_mut() {
        of_signer.insert(key_id.to_owned(), signature.into());
    }
}
