//! The keys that servers sign with, and how long they count. <https://spec.matrix.org/v1.19/appendices/#signing-details>,
//! <https://spec.matrix.org/v1.19/server-server-api/#publishing-keys>

use std::fmt;

use ed25519_dalek::{Signature, Signer, Verifier};
use thiserror::Error;

use crate::unpadded_base64;

/// The one signing algorithm there is.
pub const ALGORITHM: &str = "ed25519";

/// How far from now the end of a key's validity may be, in milliseconds: 7 days. What a server says beyond that doesn't
/// count, so that whoever got hold of its key can't make it last.
pub const MAX_KEY_VALIDITY: i64 = 7 * 24 * 60 * 60 * 1000;

/// Why a text or bytes are not a key. It says nothing about the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The file is not one line `ed25519 VERSION SEED`.
    #[error("not a line of the form `ed25519 VERSION SEED`")]
    NotAKeyLine,
    /// The version has other characters than `a`–`z`, `A`–`Z`, `0`–`9` and `_`, or none.
    #[error("a key's version consists of letters, digits and underscores")]
    Version,
    /// The key is not 32 bytes in base64.
    #[error("a key is 32 bytes in base64")]
    Length,
    /// The bytes are not a point of the curve.
    #[error("the bytes are not an ed25519 public key")]
    NotAPoint,
}

/// Whether the text can tell a server's keys apart: what follows `ed25519:` in a key id.
pub(crate) fn is_key_version(version: &str) -> bool {
    !version.is_empty()
        && version
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A server's private ed25519 key and the version it goes by. The secret is wiped from memory when it is dropped.
#[derive(Clone)]
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    key_id: String,
}

impl SigningKey {
    /// The key that 32 random bytes make. The version tells a server's keys apart.
    pub fn generate(seed: [u8; 32], version: &str) -> Result<Self, KeyError> {
        if !is_key_version(version) {
            return Err(KeyError::Version);
        }
        Ok(Self {
            key: ed25519_dalek::SigningKey::from_bytes(&seed),
            key_id: format!("{ALGORITHM}:{version}"),
        })
    }

    /// Reads the line of a key file: `ed25519 VERSION SEED`, the seed in base64.
    pub fn parse(file: &str) -> Result<Self, KeyError> {
        let mut words = file.split_ascii_whitespace();
        let (Some(ALGORITHM), Some(version), Some(seed), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(KeyError::NotAKeyLine);
        };
        let seed = unpadded_base64::decode(seed).and_then(|seed| seed.try_into().ok());
        Self::generate(seed.ok_or(KeyError::Length)?, version)
    }

    /// The line of a key file, with the secret.
    #[must_use]
    pub fn to_file(&self) -> String {
        format!(
            "{ALGORITHM} {} {}\n",
            self.version(),
            unpadded_base64::encode(self.key.as_bytes())
        )
    }

    /// The key's version.
    #[must_use]
    pub fn version(&self) -> &str {
        self.key_id
            .split_once(':')
            .map_or("", |(_, version)| version)
    }

    /// The signing key identifier: `ed25519:VERSION`.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public key.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.key.verifying_key())
    }

    /// The signature of the bytes, in unpadded base64.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> String {
        unpadded_base64::encode(&self.key.sign(bytes).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// A public ed25519 key, ready to verify with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// The key with these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = bytes.try_into().map_err(|_| KeyError::Length)?;
        ed25519_dalek::VerifyingKey::from_bytes(bytes)
            .map(Self)
            .map_err(|_| KeyError::NotAPoint)
    }

    /// The key with these bytes in unpadded base64.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&unpadded_base64::decode(text).ok_or(KeyError::Length)?)
    }

    /// The key's 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The key in unpadded base64.
    #[must_use]
    pub fn to_base64(&self) -> String {
        unpadded_base64::encode(self.0.as_bytes())
    }

    /// Whether `signature` is one of the bytes by this key. Like other homeservers this takes what the equation
    /// without cofactor accepts: servers must agree on each signature.
    #[must_use]
    pub fn verifies(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        self.0
            .verify(bytes, &Signature::from_bytes(signature))
            .is_ok()
    }
}

/// What is known of a key that a server has published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerKey {
    /// The key.
    pub key: VerifyingKey,
    /// The events that it counts for.
    pub validity: KeyValidity,
}

/// Until when a server's key counts. Times are in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyValidity {
    /// A key in use, of `verify_keys`. After this time it has to be fetched again; see [`KeyValidity::current`].
    Until(i64),
    /// A key that the server no longer uses, of `old_verify_keys`, and when it stopped: `expired_ts`.
    ExpiredAt(i64),
}

impl KeyValidity {
    /// That of a key in use which was published with this `valid_until_ts`, fetched `now`.
    #[must_use]
    pub fn current(valid_until_ts: i64, now: i64) -> Self {
        Self::Until(valid_until_ts.min(now.saturating_add(MAX_KEY_VALIDITY)))
    }

    /// Whether the key counts for an event of this time.
    #[must_use]
    pub fn covers(self, origin_server_ts: i64) -> bool {
        match self {
            Self::Until(end) | Self::ExpiredAt(end) => origin_server_ts <= end,
        }
    }
}
