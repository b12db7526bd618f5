//! Tokens: how they are made, and the hash by which they are kept.

use std::fmt;

use sha2::{Digest, Sha256};
use starling_runtime::Chance;
use starling_store::devices::TokenHash;

/// About 256 bits of chance.
const LETTERS: usize = 43;

/// The longest text that is looked at as a token, in bytes.
const MOST_BYTES: usize = 256;

/// A token as its client gets it. It is never logged and never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// What a token is for. Its prefix lets a secret scanner, and whoever finds one, see what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// To call the API.
    Access,
    /// To get another access token.
    Refresh,
    /// To log in once.
    Login,
    /// To prove to others who somebody is.
    OpenId,
}

impl TokenKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Access => "stl_",
            Self::Refresh => "stlr_",
            Self::Login => "stll_",
            Self::OpenId => "stlo_",
        }
    }
}

impl Token {
    pub(crate) fn new(kind: TokenKind, chance: &Chance) -> Self {
        Self(format!("{}{}", kind.prefix(), chance.token(LETTERS)))
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

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The hash of a token that somebody presents; `None` when it is longer than any token.
pub(crate) fn hash_presented(token: &str) -> Option<TokenHash> {
    (token.len() <= MOST_BYTES).then(|| Sha256::digest(token.as_bytes()).into())
}
