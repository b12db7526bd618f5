//! Any bytes through canonical JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| starling_fuzz::canonical_json(data));
