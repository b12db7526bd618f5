//! What `/sync` says of devices' keys.
//! <https://spec.matrix.org/v1.19/client-server-api/#e2e-extensions-to-sync>

use std::sync::Arc;

use starling_db::Tx;
use starling_store::one_time_keys::KeyCounts;

use super::Scope;
use crate::Error;
use crate::device_lists::DeviceLists;
use crate::json::{self, Object};

/// The algorithm whose count is always said: some clients take its absence for no news.
const USUAL: &str = "signed_curve25519";

/// Clients keep so many one-time keys on the server, and upload others when there are fewer.
const USUAL_COUNT: i64 = 50;

/// Which keys the device has now: these are no news as of a position.
pub(crate) async fn counts(scope: &Scope) -> Result<Arc<KeyCounts>, Error> {
    let (store, device) = (scope.store.clone(), scope.reader.device);
    if let Some(counts) = store.key_counts_at_hand(device) {
        return Ok(counts);
    }
    let db = store.db().clone();
    let read = move |tx: &mut Tx<'_>| store.key_counts(tx, device);
    Ok(db.read("sync_key_counts", read).await?)
}

/// Whether the device is to upload keys, as far as anybody can tell.
pub(crate) async fn are_few(scope: &Scope) -> Result<bool, Error> {
    let counts = counts(scope).await?;
    let count = counts.one_time.get(USUAL).copied().unwrap_or(0);
    Ok(count < USUAL_COUNT || counts.unused_fallback.is_empty())
}

/// Writes the counts into an answer.
pub(crate) fn write_counts(answer: &mut Object, out: &mut Vec<u8>, counts: &KeyCounts) {
    answer.key(out, "device_one_time_keys_count");
    let mut one_time = Object::begin(out);
    if !counts.one_time.contains_key(USUAL) {
        one_time.key(out, USUAL);
        out.push(b'0');
    }
    for (algorithm, count) in &counts.one_time {
        one_time.key(out, algorithm);
        out.extend_from_slice(count.to_string().as_bytes());
    }
    out.push(b'}');
    answer.key(out, "device_unused_fallback_key_types");
    write_list(out, &counts.unused_fallback);
}

/// Writes whose devices have changed into an answer, if somebody's have.
pub(crate) fn write_lists(answer: &mut Object, out: &mut Vec<u8>, lists: &DeviceLists) {
    if lists.is_empty() {
        return;
    }
    answer.key(out, "device_lists");
    let mut written = Object::begin(out);
    written.key(out, "changed");
    write_list(out, &lists.changed);
    written.key(out, "left");
    write_list(out, &lists.left);
    out.push(b'}');
}

fn write_list<'a>(out: &mut Vec<u8>, texts: impl IntoIterator<Item = &'a String>) {
    out.push(b'[');
    let start = out.len();
    for text in texts {
        json::separate(out, start);
        json::string(out, text);
    }
    out.push(b']');
}
