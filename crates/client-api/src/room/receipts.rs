//! `POST /rooms/{roomId}/receipt/{receiptType}/{eventId}` and `/rooms/{roomId}/read_markers`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid>
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers>

use axum::extract;
use serde::Deserialize;
use serde_json::Value;
use starling_accounts::Session;
use starling_ephemeral::{Mark, Marker, ReceiptError, ReceiptKey, ReceiptKind, ReceiptThread};
use starling_http::{
    Auth, Authenticated, Json, JsonBytes, MatrixError, OptionalJson, Path, Routes,
};

use super::path::{EventIdPart, RoomIdPart, event_named};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post(
            "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}",
            Auth::User,
            receipt,
        )
        .post(
            "/_matrix/client/v3/rooms/{roomId}/read_markers",
            Auth::User,
            read_markers,
        )
}

#[derive(Debug, Deserialize)]
struct ReceiptBody {
    /// Anything, so that what is no text gets the error that the specification names.
    #[serde(default, deserialize_with = "present")]
    thread_id: Option<Value>,
}

/// A field that is there, also if it is null.
fn present<'de, D: serde::Deserializer<'de>>(field: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(field).map(Some)
}

#[derive(Debug, Deserialize)]
struct ReadMarkersBody {
    #[serde(rename = "m.fully_read")]
    fully_read: Option<String>,
    #[serde(rename = "m.read")]
    read: Option<String>,
    #[serde(rename = "m.read.private")]
    read_private: Option<String>,
}

async fn receipt(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((RoomIdPart(room_id), kind, EventIdPart(event_id))): Path<(
        RoomIdPart,
        String,
        EventIdPart,
    )>,
    OptionalJson(ReceiptBody { thread_id }): OptionalJson<ReceiptBody>,
) -> Result<JsonBytes, MatrixError> {
    let mark = mark(&kind, thread_id)?;
    let marked = api
        .ephemeral
        .mark_read(session.user, &room_id, vec![Marker { mark, event_id }]);
    marked.await.map_err(refusal)?;
    Ok(JsonBytes::empty())
}

fn mark(kind: &str, thread_id: Option<Value>) -> Result<Mark, MatrixError> {
    let kind = match (kind, &thread_id) {
        ("m.read", _) => ReceiptKind::Read,
        ("m.read.private", _) => ReceiptKind::Private,
        ("m.fully_read", None) => return Ok(Mark::FullyRead),
        ("m.fully_read", Some(_)) => {
            return Err(MatrixError::invalid_param(
                "m.fully_read takes no thread_id",
            ));
        }
        _ => {
            return Err(MatrixError::invalid_param(
                "The type of a receipt is m.read, m.read.private or m.fully_read",
            ));
        }
    };
    let thread = match thread_id {
        None => ReceiptThread::Unthreaded,
        Some(Value::String(id)) if id == "main" => ReceiptThread::Main,
        Some(Value::String(id)) if !id.is_empty() => {
            ReceiptThread::Root(event_named("thread_id", &id)?)
        }
        Some(_) => {
            return Err(MatrixError::invalid_param(
                "thread_id must be a non-empty string",
            ));
        }
    };
    Ok(Mark::Receipt(ReceiptKey { kind, thread }))
}

async fn read_markers(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Json(body): Json<ReadMarkersBody>,
) -> Result<JsonBytes, MatrixError> {
    let unthreaded = |kind| {
        Mark::Receipt(ReceiptKey {
            kind,
            thread: ReceiptThread::Unthreaded,
        })
    };
    let fields = [
        ("m.fully_read", Mark::FullyRead, body.fully_read),
        ("m.read", unthreaded(ReceiptKind::Read), body.read),
        (
            "m.read.private",
            unthreaded(ReceiptKind::Private),
            body.read_private,
        ),
    ];
    let mut markers = Vec::new();
    for (name, mark, field) in fields {
        if let Some(text) = field {
            let event_id = event_named(name, &text)?;
            markers.push(Marker { mark, event_id });
        }
    }
    let marked = api
        .ephemeral
        .mark_read(session.user, &room_id, markers)
        .await;
    marked.map_err(refusal)?;
    Ok(JsonBytes::empty())
}

fn refusal(error: ReceiptError) -> MatrixError {
    let message = error.to_string();
    match error {
        ReceiptError::NotInRoom => MatrixError::forbidden("You are not in this room"),
        ReceiptError::UnknownEvent => MatrixError::not_found(message),
        ReceiptError::OtherThread => MatrixError::invalid_param(message),
        ReceiptError::Database(error) => MatrixError::internal(error),
    }
}
