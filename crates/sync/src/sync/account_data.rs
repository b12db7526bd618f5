//! The user's own data in an answer: of the whole account, and of one room.
//! <https://spec.matrix.org/v1.19/client-server-api/#client-config>

use starling_store::account_data::AccountData;

use crate::filter::EventFilter;
use crate::json::{self, Object};

/// Those of `changed` that the filter lets through. Who sent them is the user, always.
pub(crate) fn wanted(
    changed: &[AccountData],
    filter: &EventFilter,
    user_id: &str,
) -> Vec<AccountData> {
    if !filter.allows_sender(user_id) {
        return Vec::new();
    }
    changed
        .iter()
        .filter(|data| filter.allows_type(&data.kind))
        .cloned()
        .collect()
}

/// Appends `{"events":[…]}`.
pub(crate) fn write(out: &mut Vec<u8>, changed: &[AccountData]) {
    out.extend_from_slice(b"{\"events\":");
    write_list(out, changed);
    out.push(b'}');
}

/// Appends `[…]`.
pub(crate) fn write_list(out: &mut Vec<u8>, changed: &[AccountData]) {
    out.push(b'[');
    let start = out.len();
    for data in changed {
        json::separate(out, start);
        let mut event = Object::begin(out);
        event.key(out, "content");
        out.extend_from_slice(data.content.as_bytes());
        event.string(out, "type", &data.kind);
        out.push(b'}');
    }
    out.push(b']');
}
