//! How many seeds a test of random cases tries.

/// The seeds to try, from 0 on: as many as the environment variable `SEEDS` says (`make test-long` sets it), else
/// `default`.
///
/// # Panics
/// When `SEEDS` is not a number.
#[must_use]
pub fn seeds(default: u64) -> std::ops::Range<u64> {
    let stated = stated();
    let count = stated.map_or(default, |text| text.parse().expect("SEEDS is a number"));
    0..count
}

#[expect(
    clippy::disallowed_methods,
    reason = "who starts the tests says how long they may take"
)]
fn stated() -> Option<String> {
    std::env::var("SEEDS").ok()
}
