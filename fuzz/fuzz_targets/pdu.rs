//! Any bytes as an event.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((version, bytes)) = starling_fuzz::split(data) {
        starling_fuzz::pdu(version, bytes);
    }
});
