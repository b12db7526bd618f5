//! The paths of requests.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands for itself in a path and in a query: RFC 3986, "unreserved".
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The path of an endpoint of the first version, with `parts` after it.
pub(super) fn v1(endpoint: &str, parts: &[&str]) -> String {
    path("v1", endpoint, parts)
}

/// The path of an endpoint of the second version, with `parts` after it.
pub(super) fn v2(endpoint: &str, parts: &[&str]) -> String {
    path("v2", endpoint, parts)
}

fn path(version: &str, endpoint: &str, parts: &[&str]) -> String {
    let mut path = format!("/_matrix/federation/{version}/{endpoint}");
    for part in parts {
        path.push('/');
        path.extend(utf8_percent_encode(part, ESCAPED));
    }
    path
}

/// The path with a query.
pub(super) fn with_query(mut path: String, pairs: &[(&str, &str)]) -> String {
    for (index, (key, value)) in pairs.iter().enumerate() {
        path.push(if index == 0 { '?' } else { '&' });
        path.push_str(key);
        path.push('=');
        path.extend(utf8_percent_encode(value, ESCAPED));
    }
    path
}

/// A text as part of a query.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}
