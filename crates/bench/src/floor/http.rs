//! The routes: just enough of the [client-server API](https://spec.matrix.org/v1.19/client-server-api/).

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use rustix::time::{ClockId, clock_gettime};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::event::Message;
use super::response::{self, Pieces, Refusal};
use super::rooms::{self, Room};
use super::users::User;
use super::writer::Entry;
use super::{Floor, SERVER_NAME};

/// The most bytes of a request's body: as many as an event may have.
const MAX_BODY: usize = 65_536;

type Answer = Result<Response<Pieces>, Refusal>;

/// Answers a request.
pub(super) async fn answer(
    floor: &Floor,
    request: Request<Incoming>,
) -> Result<Response<Pieces>, Infallible> {
    let (head, body) = request.into_parts();
    // Also when nobody needs it: otherwise the connection couldn't go on. The other reason for a failure is that the
    // connection has ended, when it doesn't matter what is answered.
    let answer = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => floor.route(&head, &body.to_bytes()).await,
        Err(_) => Err(Refusal::TooLarge),
    };
    Ok(answer.unwrap_or_else(Refusal::response))
}

impl Floor {
    async fn route(&self, head: &http::request::Parts, body: &Bytes) -> Answer {
        let path = head.uri.path().strip_prefix("/_matrix/client/");
        let path: Vec<&str> = path.unwrap_or_default().split('/').collect();
        match (head.method.as_str(), path.as_slice()) {
            ("GET", ["versions"]) => Ok(response::json(&json!({"versions": ["v1.11"]}))),
            ("POST", ["v3", "register" | "login"]) => self.log_in(body),
            ("POST", ["v3", "createRoom"]) => {
                let user = self.user(&head.headers)?;
                let room = self.rooms.create();
                user.join(room.clone());
                Ok(response::json(&json!({"room_id": room.id()})))
            }
            ("POST", ["v3", "join", room] | ["v3", "rooms", room, "join"]) => {
                let user = self.user(&head.headers)?;
                let room = self.rooms.get(&decoded(room)).ok_or(Refusal::NotFound)?;
                user.join(room.clone());
                Ok(response::json(&json!({"room_id": room.id()})))
            }
            ("PUT", ["v3", "rooms", room, "send", kind, _]) => {
                let user = self.user(&head.headers)?;
                let room = user.room(&decoded(room)).ok_or(Refusal::NotInRoom)?;
                self.send(&user, &room, &decoded(kind), body).await
            }
            ("GET", ["v3", "sync"]) => {
                let user = self.user(&head.headers)?;
                self.sync(&user, head.uri.query().unwrap_or_default()).await
            }
            _ => Err(Refusal::NotFound),
        }
    }

    /// Whose access token the request has.
    fn user(&self, headers: &HeaderMap) -> Result<Arc<User>, Refusal> {
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .ok_or(Refusal::MissingToken)?;
        self.users.by_token(token).ok_or(Refusal::UnknownToken)
    }

    fn log_in(&self, body: &[u8]) -> Answer {
        let body = object(body)?;
        let identifier = || body.get("identifier")?.get("user");
        let name = body.get("username").or_else(identifier);
        let session = self.users.log_in(name.and_then(Value::as_str));
        Ok(response::json(&json!({
            "user_id": session.user.id(),
            "access_token": session.token,
            "device_id": session.device_id,
            "home_server": SERVER_NAME,
        })))
    }

    async fn send(&self, user: &User, room: &Arc<Room>, kind: &str, body: &[u8]) -> Answer {
        let content = to_raw_value(&object(body)?).map_err(|_| Refusal::Failed)?;
        let message = Message {
            room_id: room.id(),
            sender: user.id(),
            kind,
            content: &content,
            origin_server_ts: now_ms(),
        };
        let written = self.append(room, &message)?;
        let event_id = written.await.map_err(|_| Refusal::Failed)?;
        Ok(response::json(&json!({"event_id": event_id})))
    }

    /// Makes an event of the message and queues it for the writer, in the room's order.
    fn append(
        &self,
        room: &Arc<Room>,
        message: &Message<'_>,
    ) -> Result<oneshot::Receiver<String>, Refusal> {
        let (answer, written) = oneshot::channel();
        let mut tip = room.tip();
        let event = self.signer.append(&mut tip, message);
        let entry = Entry {
            room: room.clone(),
            event: event.map_err(|_| Refusal::Failed)?,
            answer,
        };
        self.queue.send(entry).map_err(|_| Refusal::Failed)?;
        Ok(written)
    }

    async fn sync(&self, user: &User, query: &str) -> Answer {
        let Some(since) = number(query, "since")? else {
            return Ok(next_batch(self.rooms.position()));
        };
        let timeout = number(query, "timeout")?.unwrap_or_default();
        let rooms = user.rooms();
        let timeout = Duration::from_millis(timeout.try_into().unwrap_or_default());
        rooms::wait(&rooms, since, timeout).await;
        // Before the rooms: what comes into one of them meanwhile is for the next sync.
        let position = self.rooms.position();
        let news = rooms.iter().filter_map(|room| room.news(since, position));
        let mut pieces = Vec::new();
        for room in news {
            let separator = if pieces.is_empty() {
                format!("{{\"next_batch\":\"{position}\",\"rooms\":{{\"join\":{{").into()
            } else {
                Bytes::from_static(b",")
            };
            pieces.extend([separator, room]);
        }
        if pieces.is_empty() {
            return Ok(next_batch(position));
        }
        pieces.push(Bytes::from_static(b"}}}"));
        Ok(response::pieces(pieces))
    }
}

fn next_batch(position: i64) -> Response<Pieces> {
    response::json(&json!({"next_batch": position.to_string()}))
}

/// A part of the path.
fn decoded(part: &str) -> Cow<'_, str> {
    percent_decode_str(part).decode_utf8_lossy()
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::NotJson)
}

/// A parameter of the query. Numbers need no decoding.
fn number(query: &str, name: &str) -> Result<Option<i64>, Refusal> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.parse().map_err(|_| Refusal::NotANumber))
        .transpose()
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}
