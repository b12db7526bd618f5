//! Random numbers: seeded by the operating system in the program, by a number in a simulation.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A cryptographically strong source of random bytes, shared by its clones.
#[derive(Clone)]
pub struct Chance {
    generator: Arc<Mutex<ChaCha12Rng>>,
}

impl Chance {
    /// Seeded by the operating system.
    ///
    /// # Errors
    /// When the operating system has no random bytes to give.
    pub fn system() -> Result<Self, std::io::Error> {
        let mut seed = [0u8; 32];
        getrandom::fill(&mut seed).map_err(std::io::Error::from)?;
        Ok(Self::from_seed(seed))
    }

    /// The same numbers in the same order for the same `seed`: for simulations and tests only.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            generator: Arc::new(Mutex::new(ChaCha12Rng::seed_from_u64(seed))),
        }
    }

    fn from_seed(seed: [u8; 32]) -> Self {
        Self {
            generator: Arc::new(Mutex::new(ChaCha12Rng::from_seed(seed))),
        }
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.generator.lock().fill_bytes(bytes);
    }

    /// A random number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.generator.lock().next_u64()
    }

    /// A random number within `range` (its start when the range is empty).
    #[must_use]
    pub fn within(&self, range: Range<u64>) -> u64 {
        match range.end.checked_sub(range.start) {
            None | Some(0) => range.start,
            Some(width) => range.start + self.number() % width,
        }
    }

    /// A text of `length` letters and digits, about 5.95 bits of chance each.
    #[must_use]
    pub fn token(&self, length: usize) -> String {
        let mut generator = self.generator.lock();
        let mut token = String::with_capacity(length);
        while token.len() < length {
            for byte in generator.next_u64().to_le_bytes() {
                // 248 = 4 · 62: larger bytes would make the first letters more likely.
                let letter = ALPHANUMERIC.get(usize::from(byte % 62)).copied();
                if let (true, true, Some(letter)) = (byte < 248, token.len() < length, letter) {
                    token.push(char::from(letter));
                }
            }
        }
        token
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chance(..)")
    }
}
