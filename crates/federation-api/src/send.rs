//! `PUT /_matrix/federation/v1/send/{txnId}`: what other servers tell.
//! <https://spec.matrix.org/v1.19/server-server-api/#transactions>

use std::collections::BTreeMap;

use axum::extract;
use ruma_common::{OwnedEventId, RoomId, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use starling_db::Error;
use starling_e2ee::ListUpdate;
use starling_ephemeral::{RemoteTyping, read_presences, read_receipts};
use starling_http::{Auth, Json, MatrixError, Origin, Routes};
use starling_rooms::ReceiveError;

use crate::State;

/// A transaction holds at most so many events.
const MAX_PDUS: usize = 50;

/// And at most so much else.
const MAX_EDUS: usize = 100;

/// The largest transaction: each event may come in other than canonical form.
const BODY_BYTES: usize = 8 << 20;

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .put("/_matrix/federation/v1/send/{txnId}", Auth::Server, send)
        .body_limit(BODY_BYTES)
}

#[derive(Deserialize)]
struct Transaction {
    #[serde(default)]
    pdus: Vec<Box<RawValue>>,
    #[serde(default)]
    edus: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Edu {
    #[serde(alias = "type")]
    edu_type: Option<String>,
    #[serde(default)]
    content: Value,
}

#[derive(Serialize)]
struct Answer {
    pdus: BTreeMap<OwnedEventId, Verdict>,
}

#[derive(Serialize)]
struct Verdict {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A transaction that comes twice changes nothing the second time: its events are known, and what else it says holds already.
async fn send(
    extract::State(api): extract::State<State>,
    Origin(origin): Origin,
    Json(transaction): Json<Transaction>,
) -> Result<Json<Answer>, MatrixError> {
    let Transaction { pdus, edus } = transaction;
    if pdus.len() > MAX_PDUS || edus.len() > MAX_EDUS {
        return Err(MatrixError::too_large(format!(
            "A transaction has at most {MAX_PDUS} PDUs and {MAX_EDUS} EDUs"
        )));
    }
    let verdicts = api.rooms.receive_events(&origin, pdus).await;
    let verdicts = verdicts.map_err(|error| match error {
        ReceiveError::Db(error) => MatrixError::internal(error),
        other => MatrixError::internal(other.to_string()),
    })?;
    let mut changed = Vec::new();
    // One that can't be read is passed over, and keeps nothing else from being received.
    let readable = edus
        .iter()
        .filter_map(|edu| serde_json::from_str::<Edu>(edu.get()).ok());
    for edu in readable {
        let kind = edu.edu_type.as_deref();
        changed.extend(kind.and_then(|kind| ListUpdate::read(kind, &edu.content)));
        receive_edu(&api, &origin, edu)
            .await
            .map_err(MatrixError::internal)?;
    }
    let received = api.device_keys.receive_changes(&origin, changed).await;
    received.map_err(MatrixError::internal)?;
    let pdus = verdicts.into_iter();
    let pdus = pdus.map(|(id, error)| (id, Verdict { error })).collect();
    Ok(Json(Answer { pdus }))
}

/// Takes what else the server says. What isn't understood is passed over, as the specification wants.
async fn receive_edu(api: &State, origin: &ServerName, edu: Edu) -> Result<(), Error> {
    match edu.edu_type.as_deref() {
        Some("m.typing") => {
            if let Some(typing) = RemoteTyping::read(&edu.content)
                && may_speak(api, origin, &typing.room_id).await?
            {
                api.ephemeral.receive_typing(origin, typing).await?;
            }
        }
        Some("m.receipt") => {
            for (room_id, receipts) in read_receipts(&edu.content) {
                if may_speak(api, origin, &room_id).await? {
                    let ephemeral = &api.ephemeral;
                    ephemeral
                        .receive_receipts(origin, &room_id, receipts)
                        .await?;
                }
            }
        }
        Some("m.presence") => {
            let presences = read_presences(&edu.content);
            api.ephemeral.receive_presences(origin, presences).await?;
        }
        Some("m.direct_to_device") => api.to_device.receive(origin, &edu.content).await?,
        _ => {}
    }
    Ok(())
}

async fn may_speak(api: &State, origin: &ServerName, room_id: &RoomId) -> Result<bool, Error> {
    api.rooms.is_server_allowed(room_id, origin).await
}
