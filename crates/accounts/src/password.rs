//! Passwords: the one rule for them, and argon2id, off the threads that serve requests.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as Argon2Error, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use starling_runtime::{Chance, Cpu, CpuError};

/// The longest password, in bytes: more would only cost time to hash.
pub const PASSWORD_BYTES: usize = 512;

const SALT_BYTES: usize = 16;

/// What hashing a password costs (argon2id, one lane).
#[derive(Debug, Clone)]
pub struct PasswordCost {
    params: Params,
}

/// The configured cost is outside of what argon2 allows: at least 8 KiB and one iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("argon2 needs at least 8 KiB of memory and one iteration")]
pub struct InvalidCost;

/// A password that no account may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is empty.
    #[error("the password is empty")]
    Empty,
    /// It has more than [`PASSWORD_BYTES`] bytes.
    #[error("the password is longer than {PASSWORD_BYTES} bytes")]
    TooLong,
}

/// Why a password could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Too many others wait for theirs.
    #[error("too many passwords are waiting to be hashed")]
    Busy,
    /// Too little memory, a damaged stored hash, or the server is stopping.
    #[error("the password could not be hashed")]
    Failed,
}

impl From<CpuError> for HashError {
    fn from(error: CpuError) -> Self {
        match error {
            CpuError::Busy => Self::Busy,
            CpuError::Ended => Self::Failed,
        }
    }
}

impl PasswordCost {
    /// `memory_kib` of memory, gone over `iterations` times.
    ///
    /// # Errors
    /// [`InvalidCost`] when argon2 doesn't allow it.
    pub fn new(memory_kib: u32, iterations: u32) -> Result<Self, InvalidCost> {
        let params = Params::new(memory_kib, iterations, 1, None).map_err(|_| InvalidCost)?;
        Ok(Self { params })
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }

    /// Whether `hash` was made at another cost.
    pub(crate) fn differs_from(&self, hash: &str) -> bool {
        let made = PasswordHash::new(hash)
            .ok()
            .and_then(|hash| Params::try_from(&hash).ok());
        made.is_none_or(|made| {
            (made.m_cost(), made.t_cost(), made.p_cost())
                != (
                    self.params.m_cost(),
                    self.params.t_cost(),
                    self.params.p_cost(),
                )
        })
    }
}

/// Whether an account may have this password.
pub(crate) fn check(password: &str) -> Result<(), PasswordError> {
    match password.len() {
        0 => Err(PasswordError::Empty),
        1..=PASSWORD_BYTES => Ok(()),
        _ => Err(PasswordError::TooLong),
    }
}

/// Hashes `password` with a random salt; the answer is in the PHC string format.
pub(crate) async fn hash(
    cpu: &Cpu,
    chance: &Chance,
    cost: &PasswordCost,
    password: String,
) -> Result<String, HashError> {
    let mut salt = [0; SALT_BYTES];
    chance.fill(&mut salt);
    let argon2 = cost.argon2();
    cpu.run(move || {
        let hash = argon2.hash_password_with_salt(password.as_bytes(), &salt);
        hash.map(|hash| hash.to_string())
            .map_err(|_| HashError::Failed)
    })
    .await?
}

/// Whether `password` is the one that `stored` is the hash of. Without a stored hash the answer is no, and takes the
/// same time, so that nobody learns from it which accounts exist.
pub(crate) async fn verify(
    cpu: &Cpu,
    cost: &PasswordCost,
    password: String,
    stored: Option<String>,
) -> Result<bool, HashError> {
    let argon2 = cost.argon2();
    cpu.run(move || {
        let password = password.as_bytes();
        let Some(stored) = stored else {
            let spent = argon2.hash_password_with_salt(password, &[0; SALT_BYTES]);
            return spent.map(|_| false).map_err(|_| HashError::Failed);
        };
        // The cost is that of the stored hash.
        match argon2.verify_password(password, stored.as_str()) {
            Ok(()) => Ok(true),
            Err(Argon2Error::PasswordInvalid) => Ok(false),
            Err(_) => Err(HashError::Failed),
        }
    })
    .await?
}
