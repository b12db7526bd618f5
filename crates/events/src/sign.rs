//! Signing JSON and events, and checking signatures. <https://spec.matrix.org/v1.19/appendices/#signing-json>,
//! <https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events>

use ruma_common::{OwnedServerName, ServerName};
use thiserror::Error;

use crate::{
    canonical_json::CanonicalObject,
    id::parse_user_id,
    json_string,
    keys::{SigningKey, VerifyingKey},
    object,
    pdu::Pdu,
    redact, unpadded_base64,
    value::Value,
};

/// Why a signature doesn't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// The object has no signature of that name with that key.
    #[error("there is no such signature")]
    Missing,
    /// The signature is not 64 bytes in base64.
    #[error("the signature is not 64 bytes in base64")]
    Malformed,
    /// The signature is not one of this object by this key.
    #[error("the signature doesn't match")]
    Mismatch,
}

/// A signature in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Who signed: for servers, the server name.
    pub entity: String,
    /// The signing key identifier, for example `ed25519:1`.
    pub key_id: String,
    /// The signature in unpadded base64, unchecked.
    pub signature: String,
}

/// Adds a signature to the object. Others stay, and `unsigned` is not covered.
pub fn sign_json(object: &mut CanonicalObject, entity: &str, key: &SigningKey) {
    let signature = key.sign(&object::without(
        object.as_bytes(),
        &["signatures", "unsigned"],
    ));
    let signatures = with_signature(
        object.value().get("signatures"),
        entity,
        key.key_id(),
        &signature,
    );
    object.set("signatures", &signatures);
}

/// The value of `signatures` with one more in it.
pub(crate) fn with_signature(
    signatures: Option<Value<'_>>,
    entity: &str,
    key_id: &str,
    signature: &str,
) -> Vec<u8> {
    let signatures = signatures.filter(|value| value.is_object());
    let of_entity = signatures
        .and_then(|all| all.get(entity))
        .filter(|value| value.is_object());
    let mut literal = Vec::with_capacity(signature.len() + 2);
    json_string::write(&mut literal, signature);
    let of_entity = object::with_member(of_entity.map_or(b"{}", Value::as_bytes), key_id, &literal);
    object::with_member(
        signatures.map_or(b"{}", Value::as_bytes),
        entity,
        &of_entity,
    )
}

/// Checks the signature that `entity` made on the canonical object with the key of that id.
pub fn verify_json(
    object: &[u8],
    entity: &str,
    key_id: &str,
    key: &VerifyingKey,
) -> Result<(), VerifyError> {
    let signature = find(Value::new(object), entity, key_id)?;
    verify_bytes(
        &object::without(object, &["signatures", "unsigned"]),
        &signature,
        key,
    )
}

/// Checks the signature that a server made on the event with the key of that id. It covers only what a redaction
/// keeps; [`Pdu::has_valid_content_hash`] covers the rest.
pub fn verify_event(
    event: &Pdu,
    server: &ServerName,
    key_id: &str,
    key: &VerifyingKey,
) -> Result<(), VerifyError> {
    let signature = find(event.value(), server.as_str(), key_id)?;
    verify_bytes(
        &redact::signed_bytes(event.version(), event.json()),
        &signature,
        key,
    )
}

fn find(object: Value<'_>, entity: &str, key_id: &str) -> Result<[u8; 64], VerifyError> {
    let signature = object
        .get("signatures")
        .and_then(|all| all.get(entity))
        .and_then(|own| own.get(key_id));
    decode(signature.ok_or(VerifyError::Missing)?)
}

fn decode(signature: Value<'_>) -> Result<[u8; 64], VerifyError> {
    let bytes = signature
        .as_str()
        .and_then(|text| unpadded_base64::decode(&text));
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(VerifyError::Malformed)
}

fn verify_bytes(bytes: &[u8], signature: &[u8; 64], key: &VerifyingKey) -> Result<(), VerifyError> {
    if key.verifies(bytes, signature) {
        Ok(())
    } else {
        Err(VerifyError::Mismatch)
    }
}

/// The signatures of a canonical object, with whatever algorithm. What isn't in the form of one is left out.
pub fn signatures(object: &[u8]) -> impl Iterator<Item = Signature> {
    let entities = Value::new(object)
        .get("signatures")
        .into_iter()
        .flat_map(Value::members);
    entities.flat_map(|entity| {
        let name = entity.key().unwrap_or_default();
        entity.value.members().filter_map(move |member| {
            Some(Signature {
                entity: name.clone().into_owned(),
                key_id: member.key()?.into_owned(),
                signature: member.value.as_str()?.into_owned(),
            })
        })
    })
}

/// The servers that must have signed the event: its sender's, unless it is an invitation by way of a third party
/// (which another server may send), and for a restricted join that of the user who authorises it.
#[must_use]
pub fn required_servers(event: &Pdu) -> Vec<OwnedServerName> {
    let content = Value::new(event.content());
    let mut servers = Vec::with_capacity(1);
    let is_member = event.kind() == "m.room.member";
    let membership = content.get("membership").and_then(Value::as_str);
    let by_third_party = content
        .get("third_party_invite")
        .is_some_and(Value::is_object);
    if !(is_member && membership.as_deref() == Some("invite") && by_third_party) {
        servers.push(event.sender().server_name().to_owned());
    }
    if is_member
        && let Some(user) = content
            .get("join_authorised_via_users_server")
            .and_then(Value::as_str)
        && let Ok(user) = parse_user_id(&user)
        && !servers.iter().any(|server| server == user.server_name())
    {
        servers.push(user.server_name().to_owned());
    }
    servers
}
