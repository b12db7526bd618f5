//! Registration by tools that know a secret of the configuration: nonces, and the check of their HMAC-SHA1.
//!
//! The message is `nonce`, user, password, `admin` or `notadmin`, and the user type if there is one, each parted from
//! the next by a zero byte.

use std::collections::VecDeque;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha1::Sha1;
use starling_runtime::{Chance, Clock};

/// How long a nonce is good for, in milliseconds.
const NONCE_MS: i64 = 60_000;

/// The most nonces that are good at once; a further one ends the oldest.
const NONCES: usize = 1_000;

const NONCE_LETTERS: usize = 32;

/// The length of an HMAC-SHA1, in bytes.
const MAC_BYTES: usize = 20;

/// The secret, and the nonces that were given out.
pub struct SharedSecret {
    secret: Box<[u8]>,
    clock: Clock,
    chance: Chance,
    /// Each with the time when it ends, oldest first.
    nonces: Mutex<VecDeque<(String, i64)>>,
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

/// What a tool asks for.
#[derive(Clone, Copy)]
pub struct SharedSecretRequest<'a> {
    /// One that [`SharedSecret::nonce`] gave out.
    pub nonce: &'a str,
    /// The localpart.
    pub user: &'a str,
    /// The password.
    pub password: &'a str,
    /// Whether the account is an administrator's.
    pub is_admin: bool,
    /// A kind of user that some tools name.
    pub user_type: Option<&'a str>,
    /// The HMAC-SHA1, in hexadecimal digits.
    pub mac: &'a str,
}

/// Why a request isn't believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SharedSecretError {
    /// The nonce was never given out, was used before, or is too old.
    #[error("unknown nonce")]
    UnknownNonce,
    /// A field holds a zero byte, so that one message could mean two requests.
    #[error("a field holds a zero byte")]
    ZeroByte,
    /// The HMAC doesn't fit the request and the secret.
    #[error("wrong HMAC")]
    WrongMac,
}

impl SharedSecret {
    /// `None` for an empty secret, which anybody could know.
    #[must_use]
    pub fn new(secret: &str, clock: Clock, chance: Chance) -> Option<Self> {
        (!secret.is_empty()).then(|| Self {
            secret: secret.as_bytes().into(),
            clock,
            chance,
            nonces: Mutex::new(VecDeque::new()),
        })
    }

    /// A nonce for one request within a minute.
    #[must_use]
    pub fn nonce(&self) -> String {
        let nonce = self.chance.token(NONCE_LETTERS);
        let mut nonces = self.nonces.lock();
        if nonces.len() >= NONCES {
            nonces.pop_front();
        }
        nonces.push_back((nonce.clone(), self.clock.now_ms() + NONCE_MS));
        nonce
    }

    /// Whether `request` comes from somebody who knows the secret. Its nonce is used up, whatever the answer.
    ///
    /// # Errors
    /// Why the request isn't believed.
    pub fn check(&self, request: &SharedSecretRequest<'_>) -> Result<(), SharedSecretError> {
        if !self.use_up(request.nonce) {
            return Err(SharedSecretError::UnknownNonce);
        }
        let admin = if request.is_admin {
            "admin"
        } else {
            "notadmin"
        };
        let fields = [request.nonce, request.user, request.password, admin];
        let fields: Vec<&str> = fields.into_iter().chain(request.user_type).collect();
        if fields.iter().any(|field| field.contains('\0')) {
            return Err(SharedSecretError::ZeroByte);
        }
        let presented = parse_mac(request.mac).ok_or(SharedSecretError::WrongMac)?;
        let mac = Hmac::<Sha1>::new_from_slice(&self.secret);
        let mut mac = mac.map_err(|_| SharedSecretError::WrongMac)?;
        mac.update(fields.join("\0").as_bytes());
        // Takes the same time wherever the two differ.
        mac.verify_slice(&presented)
            .map_err(|_| SharedSecretError::WrongMac)
    }

    /// Whether the nonce was good; it isn't any longer.
    fn use_up(&self, nonce: &str) -> bool {
        let now_ms = self.clock.now_ms();
        let mut nonces = self.nonces.lock();
        nonces.retain(|(_, end)| *end > now_ms);
        let place = nonces.iter().position(|(known, _)| known == nonce);
        place.and_then(|place| nonces.remove(place)).is_some()
    }
}

fn parse_mac(hex: &str) -> Option<[u8; MAC_BYTES]> {
    if hex.len() != 2 * MAC_BYTES {
        return None;
    }
    let mut mac = [0; MAC_BYTES];
    for (byte, digits) in mac.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let mut digits = digits.iter().map(|digit| char::from(*digit).to_digit(16));
        let value = digits.next()?? * 16 + digits.next()??;
        *byte = u8::try_from(value).ok()?;
    }
    Some(mac)
}
