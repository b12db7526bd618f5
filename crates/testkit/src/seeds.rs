//! Which seeds a test of random cases tries.

/// The seeds to try, from 0 on: as many as the environment variable `SEEDS` says (`make test-long` sets it), else
/// `default`. Only the one that `STARLING_SEED` names, if that is set.
///
/// # Panics
/// When one of them is not a number.
#[must_use]
pub fn seeds(default: u64) -> std::ops::Range<u64> {
    if let Some(seed) = stated("STARLING_SEED") {
        return seed..seed + 1;
    }
    0..stated("SEEDS").unwrap_or(default)
}

#[expect(
    clippy::disallowed_methods,
    reason = "who starts the tests says how long they may take"
)]
fn stated(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("it is a number"))
}
