//! `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid>

use axum::extract;
use starling_accounts::Session;
use starling_e2ee::{Messages, MessagesError, Sending};
use starling_events::CanonicalObject;
use starling_http::{
    Auth, Authenticated, Caller, JsonBytes, Limited, MatrixError, Path, RawBody, Routes,
    TO_DEVICE_BYTES, TxnIdPart,
};

use crate::State;
use crate::room::content_refusal;

/// The largest body, in bytes.
const BODY_BYTES: usize = 8 << 20;

/// The longest type, in bytes: that of an event's.
const TYPE_BYTES: usize = 255;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .put(
            "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}",
            Auth::Guest,
            send,
        )
        .body_limit(BODY_BYTES)
}

async fn send(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((kind, TxnIdPart(txn_id))): Path<(String, TxnIdPart)>,
    RawBody(body): RawBody,
) -> Result<JsonBytes, MatrixError> {
    if kind.is_empty() || kind.len() > TYPE_BYTES {
        return Err(MatrixError::invalid_param(format!(
            "The event type has more than {TYPE_BYTES} bytes, or none"
        )));
    }
    let times = body.len().div_ceil(TO_DEVICE_BYTES);
    let times = u64::try_from(times).unwrap_or(u64::MAX);
    let caller = Caller::User(session.user.0);
    state.limiter.take_many(Limited::ToDevice, caller, times)?;
    // Other servers sign what they are sent: it must be what canonical JSON can say.
    let body = CanonicalObject::parse(&body).map_err(content_refusal)?;
    let messages = Messages::of_body(&body).map_err(|error| refusal(&error))?;
    let sending = Sending {
        sender: session.user_id.clone(),
        kind,
    };
    let sender = (session.device, &sending);
    let sent = state.to_device.send(sender, &txn_id, &messages).await;
    sent.map_err(MatrixError::internal)?;
    Ok(JsonBytes::empty())
}

fn refusal(error: &MessagesError) -> MatrixError {
    let message = error.to_string();
    match error {
        MessagesError::Missing => MatrixError::missing_param(message),
        MessagesError::DeviceTooLong => MatrixError::invalid_param(message),
        MessagesError::NotAnObject(_) => MatrixError::bad_json(message),
        MessagesError::MessageTooLarge | MessagesError::TooMany => MatrixError::too_large(message),
    }
}
