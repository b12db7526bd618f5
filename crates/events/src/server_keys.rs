//! The documents in which servers publish their keys.
//! <https://spec.matrix.org/v1.19/server-server-api/#publishing-keys>

use std::collections::BTreeMap;

use ruma_common::{OwnedServerName, ServerName};
use serde_json::json;
use thiserror::Error;

use crate::{
    CanonicalObject, JsonError, KeyValidity, ServerKey, SigningKey, Value, VerifyingKey,
    canonical_json::canonicalize,
    id::parse_server_name,
    keys::{ALGORITHM, is_key_version},
    room_version::JsonForm,
    sign::{sign_json, verify_json},
};

/// A document of more bytes is not looked at.
pub const MAX_KEY_DOCUMENT_BYTES: usize = 64 << 10;
/// Of a document's keys, in use and old, so many are taken.
pub const MAX_KEYS: usize = 64;

/// Why a document is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyDocumentError {
    /// It is longer than [`MAX_KEY_DOCUMENT_BYTES`].
    #[error("more than {MAX_KEY_DOCUMENT_BYTES} bytes")]
    TooLarge,
    /// It is no JSON, or not such that everybody reads the same.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It lacks a property that it must have, or has it in another form.
    #[error("{0} is missing or malformed")]
    Property(&'static str),
    /// It is another server's.
    #[error("it is of {0}")]
    OtherServer(String),
    /// None of the keys in use has signed it.
    #[error("no key in use has signed it")]
    NotSigned,
}

/// A server's keys, as it published them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDocument {
    /// The server.
    pub server: OwnedServerName,
    /// Until when the document says that it holds, in milliseconds since 1970; see [`KeyValidity::current`].
    pub valid_until_ts: i64,
    /// The keys, in use and old, by their ids.
    pub keys: BTreeMap<String, ServerKey>,
    /// The document in canonical form, with all its signatures.
    pub json: Box<[u8]>,
}

impl KeyDocument {
    /// Reads a document that `server` is said to have published, fetched `now`, in milliseconds since 1970. It must be
    /// signed by a key in use: that shows who made it to whoever gets it from somebody else.
    ///
    /// # Errors
    /// [`KeyDocumentError`]. Single keys that are none are left out.
    pub fn parse(server: &ServerName, bytes: &[u8], now: i64) -> Result<Self, KeyDocumentError> {
        if bytes.len() > MAX_KEY_DOCUMENT_BYTES {
            return Err(KeyDocumentError::TooLarge);
        }
        let json = canonicalize(JsonForm::Loose, bytes)?;
        let value = Value::new(&json);
        let named = value.get("server_name").and_then(Value::as_str);
        let named = named.ok_or(KeyDocumentError::Property("server_name"))?;
        if parse_server_name(&named).as_deref() != Ok(server) {
            return Err(KeyDocumentError::OtherServer(
                named.chars().take(255).collect(),
            ));
        }
        let valid_until_ts = value.get("valid_until_ts").and_then(Value::as_integer);
        let valid_until_ts = valid_until_ts.ok_or(KeyDocumentError::Property("valid_until_ts"))?;
        let in_use = value.get("verify_keys").filter(|keys| keys.is_object());
        let in_use = in_use.ok_or(KeyDocumentError::Property("verify_keys"))?;
        let validity = KeyValidity::current(valid_until_ts, now);
        let mut keys = BTreeMap::new();
        for (key_id, key, _) in published(in_use) {
            keys.insert(key_id, ServerKey { key, validity });
        }
        let signed_by = |(key_id, known): (&String, &ServerKey)| {
            verify_json(&json, server.as_str(), key_id, &known.key).is_ok()
        };
        if !keys.iter().any(signed_by) {
            return Err(KeyDocumentError::NotSigned);
        }
        let old = value.get("old_verify_keys").into_iter();
        for (key_id, key, expired_ts) in old.flat_map(published) {
            if let (Some(expired_ts), true) = (expired_ts, keys.len() < MAX_KEYS) {
                let validity = KeyValidity::ExpiredAt(expired_ts);
                // What is in use is not old.
                keys.entry(key_id).or_insert(ServerKey { key, validity });
            }
        }
        Ok(Self {
            server: server.to_owned(),
            valid_until_ts,
            keys,
            json: json.into(),
        })
    }
}

/// Key ids, keys, and since when they are old if it says so, of an object of a document.
fn published<'a>(
    keys: Value<'a>,
) -> impl Iterator<Item = (String, VerifyingKey, Option<i64>)> + 'a {
    let read = |member: crate::value::Member<'a>| {
        let key_id = member.key()?.into_owned();
        let (algorithm, version) = key_id.split_once(':')?;
        if algorithm != ALGORITHM || !is_key_version(version) {
            return None;
        }
        let key = VerifyingKey::from_base64(&member.value.get("key")?.as_str()?).ok()?;
        let expired_ts = member.value.get("expired_ts").and_then(Value::as_integer);
        Some((key_id, key, expired_ts))
    };
    keys.members().filter_map(read).take(MAX_KEYS)
}

/// A key that this server no longer signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldKey {
    /// Its id.
    pub key_id: String,
    /// The key.
    pub key: VerifyingKey,
    /// When it was replaced, in milliseconds since 1970.
    pub expired_ts: i64,
}

/// This server's document.
///
/// # Errors
/// When a time is beyond what JSON can say everywhere.
pub fn own_key_document(
    server: &ServerName,
    key: &SigningKey,
    old: &[OldKey],
    valid_until_ts: i64,
) -> Result<CanonicalObject, JsonError> {
    let old: BTreeMap<&str, serde_json::Value> = old
        .iter()
        .map(|old| {
            let published = json!({"key": old.key.to_base64(), "expired_ts": old.expired_ts});
            (old.key_id.as_str(), published)
        })
        .collect();
    let document = json!({
        "server_name": server,
        "verify_keys": {key.key_id(): {"key": key.verifying_key().to_base64()}},
        "old_verify_keys": old,
        "valid_until_ts": valid_until_ts,
    });
    let mut document = CanonicalObject::from_serialize(&document)?;
    sign_json(&mut document, server.as_str(), key);
    Ok(document)
}
