//! The keys that servers sign with. <https://spec.matrix.org/v1.19/appendices/#signing-details>

use std::fmt;

use ed25519_dalek::{Signature, Signer, Verifier};
use thiserror::Error;

use crate::unpadded_base64;

/// The one signing algorithm there is.
pub const ALGORITHM: &str = "ed25519";

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

/// A server's private ed25519 key and the version it goes by. The secret is wiped from memory when it is dropped.
#[derive(Clone)]
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    key_id: String,
}

impl SigningKey {
    /// The key that 32 random bytes make. The version tells a server's keys apart.
    pub fn generate(seed: [u8; 32], version: &str) -> Result<Self, KeyError> {
        if version.is_empty()
            || !version
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
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
