//! Access tokens: how they are made, and the hash by which they are kept.

use std::fmt;

use sha2::{Digest, Sha256};
use starling_runtime::Chance;
use starling_store::devices::TokenHash;

/// Lets a secret scanner, and whoever finds a token, see what it is.
const PREFIX: &str = "stl_";

/// About 256 bits of chance.
const LETTERS: usize = 43;

/// The longest text that is looked at as a token, in bytes.
const MOST_BYTES: usize = 256;

/// An access token as its client gets it. It is never logged and never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);

impl AccessToken {
    pub(crate) fn new(chance: &Chance) -> Self {
        Self(format!("{PREFIX}{}", chance.token(LETTERS)))
    }

    /// The token itself: for its client only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> TokenHash {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(..)")
    }
}

/// The hash of a token that somebody presents; `None` when it is longer than any token.
pub(crate) fn hash_presented(token: &str) -> Option<TokenHash> {
    (token.len() <= MOST_BYTES).then(|| Sha256::digest(token.as_bytes()).into())
}
