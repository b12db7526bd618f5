//! What happened, in order: by it two runs of a seed are compared.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use parking_lot::Mutex;
use starling_runtime::Clock;

/// Every message of the network, and every answer to a client.
#[derive(Debug)]
pub(super) struct Trace {
    clock: Clock,
    has_ciphertext: bool,
    lines: Mutex<Vec<String>>,
}

impl Trace {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            has_ciphertext: true,
            lines: Mutex::default(),
        }
    }

    /// As [`Trace::new`]; what chance of the operating system makes other bytes of each time is left out of digests.
    pub(super) fn without_ciphertext(clock: Clock) -> Self {
        Self {
            has_ciphertext: false,
            ..Self::new(clock)
        }
    }

    /// A short name of some bytes.
    pub(super) fn digest(&self, bytes: &[u8]) -> String {
        if self.has_ciphertext {
            return digest(bytes);
        }
        // Keys, signatures, hashes and ciphertext: what is long and Base64, but no event's id.
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        let mut kept = Vec::with_capacity(bytes.len());
        for run in bytes.chunk_by(|one, other| is_part(one) == is_part(other)) {
            let is_long = run.len() >= LONG && run.first().is_some_and(is_part);
            if !is_long || kept.last() == Some(&b'$') {
                kept.extend_from_slice(run);
            }
        }
        digest(&kept)
    }

    /// Something happened now.
    pub(super) fn note(&self, what: &str) {
        let line = format!("{} {what}", self.clock.now_ms());
        self.lines.lock().push(line);
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock())
    }
}

/// As long as a key or a hash in Base64 is at least.
const LONG: usize = 40;

/// A short name of some bytes.
fn digest(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:08x}", hasher.finish() & 0xffff_ffff)
}
