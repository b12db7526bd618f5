//! Unpadded base64, standard and URL-safe. <https://spec.matrix.org/v1.19/appendices/#unpadded-base64>

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Padding may be there or not, and the bits that are left over need not be zero: the specification's own signing key
/// seed has some.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);

const STANDARD_ENGINE: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL_SAFE_ENGINE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// Encodes with the standard alphabet, as signatures, keys and content hashes are.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    STANDARD_ENGINE.encode(bytes)
}

/// Encodes with the URL-safe alphabet, as event ids are.
#[must_use]
pub fn encode_url_safe(bytes: &[u8]) -> String {
    URL_SAFE_ENGINE.encode(bytes)
}

/// Decodes the standard alphabet, with or without padding. `None` if the text isn't base64.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD_ENGINE.decode(text).ok()
}

/// Decodes the standard or the URL-safe alphabet, where the specification allows both (the public keys of third-party
/// invitations) or other homeservers do (signatures, hashes).
#[must_use]
pub fn decode_either(text: &str) -> Option<Vec<u8>> {
    decode(text).or_else(|| URL_SAFE_ENGINE.decode(text).ok())
}
