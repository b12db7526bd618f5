//! Invites of users of this server, and those that third parties have made.
//! <https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>,
//! <https://spec.matrix.org/v1.19/server-server-api/#third-party-invites>

use axum::extract;
use ruma_common::{OwnedRoomId, OwnedUserId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use starling_events::{CanonicalObject, Pdu};
use starling_http::{
    Auth, EventIdPart, Json, JsonBytes, MatrixError, Origin, Path, RoomIdPart, Routes, user_named,
};
use starling_rooms::{BoundInvite, ReceivedInvite};

use crate::membership::may_take_part;
use crate::{State, error};

/// At most so many invites are taken up of those that were bound to one third-party id.
const MAX_BOUND: usize = 100;

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .put(
            "/_matrix/federation/v1/invite/{roomId}/{eventId}",
            Auth::Server,
            invite_v1,
        )
        .put(
            "/_matrix/federation/v2/invite/{roomId}/{eventId}",
            Auth::Server,
            invite,
        )
        .put(
            "/_matrix/federation/v1/exchange_third_party_invite/{roomId}",
            Auth::Server,
            exchange,
        )
        .put("/_matrix/federation/v1/3pid/onbind", Auth::None, bound)
}

type InvitePath = Path<(RoomIdPart, EventIdPart)>;

#[derive(Deserialize)]
struct InviteBody {
    room_version: String,
    event: Box<RawValue>,
    #[serde(default)]
    invite_room_state: Vec<Box<RawValue>>,
}

async fn invite(
    extract::State(api): extract::State<State>,
    Origin(origin): Origin,
    path: InvitePath,
    Json(body): Json<InviteBody>,
) -> Result<JsonBytes, MatrixError> {
    let invite = ReceivedInvite {
        version: body.room_version,
        event: body.event,
        state: body.invite_room_state,
    };
    let signed = receive(&api, &origin, path, invite).await?;
    Ok(wrapped(b"{\"event\":", &signed, b"}"))
}

#[derive(Default, Deserialize)]
struct Unsigned {
    #[serde(default)]
    invite_room_state: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct WithUnsigned {
    #[serde(default)]
    unsigned: Unsigned,
}

/// The first version of the endpoint, which knows rooms of version 1 and 2 only: these don't differ in what an event is.
async fn invite_v1(
    extract::State(api): extract::State<State>,
    Origin(origin): Origin,
    path: InvitePath,
    Json(event): Json<Box<RawValue>>,
) -> Result<JsonBytes, MatrixError> {
    let parsed: Result<WithUnsigned, _> = serde_json::from_str(event.get());
    let state = parsed.map(|event| event.unsigned.invite_room_state);
    let invite = ReceivedInvite {
        version: "1".to_owned(),
        event,
        state: state.unwrap_or_default(),
    };
    let signed = receive(&api, &origin, path, invite).await?;
    Ok(wrapped(b"[200,{\"event\":", &signed, b"}]"))
}

fn wrapped(before: &[u8], pdu: &Pdu, after: &[u8]) -> JsonBytes {
    JsonBytes([before, pdu.json(), after].concat().into())
}

async fn receive(
    api: &State,
    origin: &ServerName,
    Path((RoomIdPart(room_id), EventIdPart(event_id))): InvitePath,
    invite: ReceivedInvite,
) -> Result<Pdu, MatrixError> {
    may_take_part(api, origin, &room_id).await?;
    let of = (&*room_id, &*event_id);
    let received = api.rooms.receive_invite(origin, of, invite).await;
    received.map_err(error::resident)
}

async fn exchange(
    extract::State(api): extract::State<State>,
    Origin(origin): Origin,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Json(event): Json<Box<RawValue>>,
) -> Result<JsonBytes, MatrixError> {
    may_take_part(&api, &origin, &room_id).await?;
    let event = CanonicalObject::parse(event.get().as_bytes())
        .map_err(|error| MatrixError::bad_json(error.to_string()))?;
    let exchanged = api.rooms.exchange(&room_id, &event).await;
    exchanged.map_err(error::resident)?;
    Ok(JsonBytes::empty())
}

#[derive(Deserialize)]
struct BoundBody {
    mxid: String,
    #[serde(default)]
    invites: Vec<BoundEntry>,
}

#[derive(Deserialize)]
struct BoundEntry {
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    signed: Box<RawValue>,
}

/// An identity server tells that a third-party id, to which invites were made out, is that of a user of this server. It signs
/// what it says of each, and not the request.
async fn bound(
    extract::State(api): extract::State<State>,
    Json(body): Json<BoundBody>,
) -> Result<JsonBytes, MatrixError> {
    let user = user_named("mxid", &body.mxid)?;
    let invite = |entry: BoundEntry| {
        let signed = CanonicalObject::parse(entry.signed.get().as_bytes()).ok()?;
        Some(BoundInvite {
            room_id: entry.room_id,
            sender: entry.sender,
            signed,
        })
    };
    let invites = body.invites.into_iter().take(MAX_BOUND);
    let invites = invites.filter_map(invite).collect();
    api.rooms.bound(&user, invites).await;
    Ok(JsonBytes::empty())
}
