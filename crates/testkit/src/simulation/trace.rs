//! What happened, in order: by it two runs of a seed are compared.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use parking_lot::Mutex;
use starling_runtime::Clock;

/// Every message of the network, and every answer to a client.
#[derive(Debug)]
pub(super) struct Trace {
    clock: Clock,
    lines: Mutex<Vec<String>>,
}

impl Trace {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            lines: Mutex::default(),
        }
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

/// A short name of some bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:08x}", hasher.finish() & 0xffff_ffff)
}
