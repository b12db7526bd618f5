//! Any bytes as a signed object and as a signed event.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((version, bytes)) = starling_fuzz::split(data) {
        starling_fuzz::signatures(version, bytes);
    }
});
