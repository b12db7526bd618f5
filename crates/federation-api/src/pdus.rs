//! Events as answers hold them: their bytes as they are kept, one after the other.

use std::collections::VecDeque;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Map, Value, json};
use starling_db::Error;
use starling_events::Pdu;
use starling_http::JsonBytes;
use starling_rooms::{PduBytes, Rooms, ServedState};
use starling_store::EventNum;

use crate::State;

/// Events that are read at once while a long answer is written.
const CHUNK: usize = 500;

/// `{"name":[…]}`
pub(crate) fn list(name: &str, pdus: &[PduBytes]) -> JsonBytes {
    let mut out = format!("{{\"{name}\":[").into_bytes();
    write(&mut out, pdus, true);
    out.extend_from_slice(b"]}");
    JsonBytes(out.into())
}

/// A transaction with these events:
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid>
pub(crate) fn transaction(api: &State, pdus: &[PduBytes]) -> JsonBytes {
    let origin = json!(api.rooms.server_name());
    let now_ms = api.clock.now_ms();
    let mut out =
        format!("{{\"origin\":{origin},\"origin_server_ts\":{now_ms},\"pdus\":[").into_bytes();
    write(&mut out, pdus, true);
    out.extend_from_slice(b"]}");
    JsonBytes(out.into())
}

fn write(out: &mut Vec<u8>, pdus: &[PduBytes], mut is_first: bool) {
    for pdu in pdus {
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        out.extend_from_slice(pdu);
    }
}

/// What is still to be written of a long answer.
struct Rest {
    rooms: Rooms,
    ahead: VecDeque<Piece>,
    /// Whether the next event is the first of its list.
    is_first: bool,
}

enum Piece {
    /// What stands between lists.
    Text(String),
    /// Events of a list.
    Events(Vec<EventNum>),
}

/// `{"name":[…],…}`, read and written piece by piece.
pub(crate) fn lists(
    rooms: Rooms,
    lists: impl IntoIterator<Item = (&'static str, Vec<EventNum>)>,
) -> Response {
    let mut ahead = VecDeque::new();
    for (name, events) in lists {
        let before = if ahead.is_empty() { "{" } else { "]," };
        ahead.push_back(Piece::Text(format!("{before}\"{name}\":[")));
        let chunks = events.chunks(CHUNK);
        ahead.extend(chunks.map(|chunk| Piece::Events(chunk.to_vec())));
    }
    ahead.push_back(Piece::Text("]}".to_owned()));
    written(rooms, ahead)
}

/// What is told of a room to a server that has just joined it: `head`, the event by which it did, and its state.
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>
pub(crate) fn room(
    rooms: Rooms,
    head: Map<String, Value>,
    join: &Pdu,
    (served, is_first_version): (ServedState, bool),
) -> Response {
    let mut before = if is_first_version { "[200,{" } else { "{" }.to_owned();
    let member = |(name, value): (String, Value)| format!("{}:{value},", Value::from(name));
    before.extend(head.into_iter().map(member));
    before.push_str("\"event\":");
    before.push_str(&String::from_utf8_lossy(join.json()));
    before.push_str(",\"auth_chain\":[");
    let after = if is_first_version { "]}]" } else { "]}" };
    let mut ahead = VecDeque::from([Piece::Text(before)]);
    ahead.extend(
        served
            .auth_chain
            .chunks(CHUNK)
            .map(|chunk| Piece::Events(chunk.to_vec())),
    );
    ahead.push_back(Piece::Text("],\"state\":[".to_owned()));
    ahead.extend(
        served
            .state
            .chunks(CHUNK)
            .map(|chunk| Piece::Events(chunk.to_vec())),
    );
    ahead.push_back(Piece::Text(after.to_owned()));
    written(rooms, ahead)
}

fn written(rooms: Rooms, ahead: VecDeque<Piece>) -> Response {
    let rest = Rest {
        rooms,
        ahead,
        is_first: true,
    };
    let body = Body::from_stream(stream::try_unfold(rest, next));
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}

async fn next(mut rest: Rest) -> Result<Option<(Bytes, Rest)>, Error> {
    let written = match rest.ahead.pop_front() {
        None => return Ok(None),
        Some(Piece::Text(text)) => {
            rest.is_first = true;
            text.into_bytes()
        }
        Some(Piece::Events(events)) => {
            let pdus = rest.rooms.served_pdus(events).await?;
            let mut out = Vec::new();
            write(&mut out, &pdus, rest.is_first);
            rest.is_first &= pdus.is_empty();
            out
        }
    };
    Ok(Some((written.into(), rest)))
}
