//! The check of JSON that clients leave with us and that we hand out again as it is.

use serde_json::{Map, Value};

/// Why a text isn't kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooLarge,
    NotAnObject,
}

/// Lets pass a JSON object of at most `most` bytes, and says whether it is empty. Parsing bounds its depth, too (128).
pub(crate) fn check_object(text: &str, most: usize) -> Result<bool, Refusal> {
    if text.len() > most {
        return Err(Refusal::TooLarge);
    }
    match serde_json::from_str::<Map<String, Value>>(text) {
        Ok(object) => Ok(object.is_empty()),
        Err(_) => Err(Refusal::NotAnObject),
    }
}
