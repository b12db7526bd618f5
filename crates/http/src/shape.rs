//! What has another shape than a request must have, told in words for people: which property or parameter, and what it
//! must be.
//!
//! Serde tells its errors in texts that are for programmers, and has no kinds to tell them apart by. All that is known of
//! those texts is here.

use serde_path_to_error::{Path, Segment};

/// The longest name of a place, in bytes: a part of it may be what the client sent.
const PLACE_BYTES: usize = 255;

/// A value that does not fit, or that is missing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// Whether something is missing.
    pub(crate) is_missing: bool,
    /// The text for people.
    pub(crate) message: String,
}

impl Misfit {
    /// From the place of an error and its text.
    pub(crate) fn new(path: &Path, error: &str) -> Self {
        let error = without_line(error);
        if error == "recursion limit exceeded" {
            // Where is no matter, and long.
            return Self {
                is_missing: false,
                message: "The content is nested too deep".to_owned(),
            };
        }
        let quoted = |prefix: &str| error.strip_prefix(prefix)?.strip_suffix('`');
        if let Some(name) = quoted("missing field `") {
            return Self::at(path, Some(name), "is missing", true);
        }
        if let Some(name) = quoted("duplicate field `") {
            return Self::at(path, Some(name), "is there more than once", false);
        }
        Self::at(path, None, &demand(error), false)
    }

    fn at(path: &Path, field: Option<&str>, what: &str, is_missing: bool) -> Self {
        let place = place(path, field);
        let message = if place.is_empty() {
            format!("The content {what}")
        } else {
            format!("`{place}` {what}")
        };
        Self {
            is_missing,
            message,
        }
    }
}

/// Where an error is, as in `initial_state[2].type`.
fn place(path: &Path, field: Option<&str>) -> String {
    let mut place = String::new();
    let names = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some((true, format!("[{index}]"))),
        Segment::Map { key } => Some((false, key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    for (is_index, name) in names.chain(field.map(|name| (false, name.to_owned()))) {
        if !is_index && !place.is_empty() {
            place.push('.');
        }
        place.push_str(&name);
    }
    place.truncate(place.floor_char_boundary(PLACE_BYTES));
    place
}

/// Without the place in the text that `serde_json` adds: clients know names, not lines.
fn without_line(error: &str) -> &str {
    let place = error
        .rsplit_once(" at line ")
        .filter(|(_, place)| place.contains(" column "));
    place.map_or(error, |(error, _)| error)
}

/// What a value must be that an error is about, as the end of a sentence.
fn demand(error: &str) -> String {
    // What the client sent may hold any text: what is expected stands last.
    if let Some((_, expected)) = error.rsplit_once(", expected ") {
        return format!("must be {}", kind(expected));
    }
    let text = match error {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "must be a whole number"
        }
        "number too large to fit in target type" => "is too large a number",
        "number too small to fit in target type" => "is too small a number",
        "invalid float literal" | "cannot parse float from empty string" => "must be a number",
        "unsupported value" => "must be one value, not several",
        // One of a few names was expected, and the value is no name.
        "expected value" => "must be a string",
        "unexpected end of hex escape" | "lone leading surrogate in hex escape" => {
            "must be Unicode text: it has half of a surrogate pair"
        }
        "number out of range" => "has a number that is out of range",
        _ if error.starts_with("data did not match any variant") => "has a wrong shape",
        // Words of this program.
        other => return format!("is not valid: {other}"),
    };
    text.to_owned()
}

/// A kind of values, by what Serde calls it.
fn kind(expected: &str) -> &str {
    match expected {
        "a map" | "map" => "an object",
        "a sequence" => "an array",
        "a boolean" | "\"true\", \"on\" or \"false\"" => "true or false",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "unit" => "null",
        "string or map" => "a string",
        _ if expected.starts_with("struct ") => "an object",
        _ if expected.starts_with("enum ") => "a string",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use super::Misfit;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only what does not fit is looked at")]
    struct Body {
        name: String,
        count: Option<u8>,
        total: Option<u64>,
        ratio: Option<f64>,
        kind: Option<Kind>,
        #[serde(default)]
        children: Vec<Body>,
        #[serde(default)]
        by_name: HashMap<String, Vec<bool>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
        Two,
    }

    fn misfit<T: DeserializeOwned + std::fmt::Debug>(json: &str) -> Misfit {
        let mut json = serde_json::Deserializer::from_str(json);
        let error = serde_path_to_error::deserialize::<_, T>(&mut json).unwrap_err();
        Misfit::new(error.path(), &error.inner().to_string())
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (json, message) in [
            ("{}", "`name` is missing"),
            (r#"{"name":1}"#, "`name` must be a string"),
            (r#"{"name":["a"]}"#, "`name` must be a string"),
            (
                r#"{"name":"a","name":"b"}"#,
                "`name` is there more than once",
            ),
            (
                r#"{"name":"a","count":256}"#,
                "`count` must be a whole number from 0 to 255",
            ),
            (
                r#"{"name":"a","count":"x, expected rubbish"}"#,
                "`count` must be a whole number from 0 to 255",
            ),
            (
                r#"{"name":"a","total":-1}"#,
                "`total` must be a whole number that is not negative",
            ),
            (r#"{"name":"a","ratio":"1"}"#, "`ratio` must be a number"),
            (
                r#"{"name":"a","ratio":1e999}"#,
                "`ratio` has a number that is out of range",
            ),
            (
                r#"{"name":"a","kind":"three"}"#,
                "`kind` must be `one` or `two`",
            ),
            (
                r#"{"name":"\ud800"}"#,
                "`name` must be Unicode text: it has half of a surrogate pair",
            ),
            (r#"{"name":"a","kind":3}"#, "`kind` must be a string"),
            (
                r#"{"name":"a","children":{}}"#,
                "`children` must be an array",
            ),
            (
                r#"{"name":"a","children":[{"name":"b"},{}]}"#,
                "`children[1].name` is missing",
            ),
            (
                r#"{"name":"a","children":[7]}"#,
                "`children[0]` must be an object",
            ),
            (
                r#"{"name":"a","by_name":[]}"#,
                "`by_name` must be an object",
            ),
            (
                r#"{"name":"a","by_name":{"x":[true,null]}}"#,
                "`by_name.x[1]` must be true or false",
            ),
        ] {
            assert_eq!(misfit::<Body>(json).message, message, "{json}");
        }
        assert!(misfit::<Body>("{}").is_missing);
        assert!(!misfit::<Body>("[]").is_missing);
    }

    #[test]
    fn a_long_name_is_cut() {
        let key = "\u{e9}".repeat(300);
        let message = misfit::<HashMap<String, bool>>(&format!("{{\"{key}\":1}}")).message;
        assert_eq!(
            message,
            format!("`{}` must be true or false", "\u{e9}".repeat(127))
        );
    }
}
