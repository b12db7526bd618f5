//! The check of JSON that clients leave with us and that we hand out again as it is.

use serde_json::{Map, Value};

/// Why a text isn't kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooLarge,
    NotAnObject,
}

/// Lets pass a JSON object of at most `most` bytes. Parsing bounds its depth, too (128).
pub(crate) fn check_object(text: &str, most: usize) -> Result<(), Refusal> {
    if text.len() > most {
        return Err(Refusal::TooLarge);
    }
    match serde_json::from_str::<Map<String, Value>>(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::NotAnObject),
    }
}
