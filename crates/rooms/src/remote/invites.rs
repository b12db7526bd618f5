//! Inviting users of other servers. <https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>

use std::time::Duration;

use ruma_common::{RoomId, ServerName};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use starling_events::{CanonicalObject, Pdu, RoomVersion};
use starling_outbound::{RemoteError, Request};

use super::Remote;
use super::request::{v1, v2};

/// How long the invited user's server may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct InviteAnswer {
    event: Box<RawValue>,
}

impl Remote {
    /// Shows the invited user's server an invite of this server, with events of the room's state. It answers with the
    /// invite, which it has signed too.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn invite(
        &self,
        server: &ServerName,
        invite: &Pdu,
        state: &[Pdu],
    ) -> Result<Box<RawValue>, RemoteError> {
        let parts = [invite.room_id().as_str(), invite.event_id().as_str()];
        let request = |path, body| Request::put(path, body).patience(PATIENCE).eager();
        let body = body(invite, state);
        let answer: Result<InviteAnswer, _> =
            self.ask(server, request(v2("invite", &parts), body)).await;
        match answer {
            Err(error) if error.may_be_older() && invite.version() <= RoomVersion::V2 => {
                let body = older_body(invite, state);
                let answer: Result<(IgnoredAny, InviteAnswer), _> =
                    self.ask(server, request(v1("invite", &parts), body)).await;
                match answer {
                    Ok((_, answer)) => Ok(answer.event),
                    // It is not older, and said what is wrong.
                    Err(older) if older.is_unknown_endpoint() => Err(error),
                    Err(older) => Err(older),
                }
            }
            answer => answer.map(|answer| answer.event),
        }
    }

    /// Has the server of who made a third-party invite turn it into an invite of a local user. `event` is the member
    /// event so far.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn exchange_third_party_invite(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event: &CanonicalObject,
    ) -> Result<(), RemoteError> {
        let path = v1("exchange_third_party_invite", &[room_id.as_str()]);
        let request = Request::put(path, event.as_bytes().to_vec());
        let request = request.patience(PATIENCE).eager();
        self.ask(server, request).await.map(|IgnoredAny| ())
    }
}

/// The body of the second version. Its parts are canonical by themselves, and events of old rooms may hold numbers that
/// nothing else could write.
fn body(invite: &Pdu, state: &[Pdu]) -> Vec<u8> {
    let mut body = b"{\"event\":".to_vec();
    body.extend_from_slice(invite.json());
    body.extend_from_slice(b",\"invite_room_state\":");
    write_state(&mut body, state);
    let version = format!(",\"room_version\":\"{}\"}}", invite.version());
    body.extend_from_slice(version.as_bytes());
    body
}

/// The body of the first version: the state is beside the event's own members, of which none comes later in the order.
fn older_body(invite: &Pdu, state: &[Pdu]) -> Vec<u8> {
    let mut body = invite.json().to_vec();
    body.pop();
    body.extend_from_slice(b",\"unsigned\":{\"invite_room_state\":");
    write_state(&mut body, state);
    body.extend_from_slice(b"}}");
    body
}

fn write_state(body: &mut Vec<u8>, state: &[Pdu]) {
    body.push(b'[');
    for (index, event) in state.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event.json());
    }
    body.push(b']');
}
