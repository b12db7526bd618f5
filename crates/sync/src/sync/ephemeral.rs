//! `ephemeral` of a joined room: what is told and not kept in its history.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_ephemeral>

use super::receipts;
use super::room::Part;

/// Appends `{"events":[…]}`.
pub(crate) fn write(out: &mut Vec<u8>, part: &Part<'_>) {
    out.extend_from_slice(b"{\"events\":[");
    let start = out.len();
    receipts::write(out, start, part.receipts);
    out.extend_from_slice(b"]}");
}
