//! Any bytes through the redaction algorithm.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((version, bytes)) = starling_fuzz::split(data) {
        starling_fuzz::redaction(version, bytes);
    }
});
