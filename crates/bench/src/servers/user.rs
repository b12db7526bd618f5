//! A user of the measured server, and what users do.

use std::collections::HashMap;
use std::fmt::Write as _;

use bytes::Bytes;
use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Error;
use super::http::{Answer, Connection};
use super::target::Target;

/// What every user has for a password: its hash costs the same for any.
const PASSWORD: &str = "correct horse battery staple";
/// What a client asks of `/sync`: little of the past, members only where they spoke, no presence. The number, in a part
/// that says nothing, makes it another filter: then no server answers with what it has kept of an answer before.
fn filter(number: u64) -> String {
    format!(
        r#"{{"presence":{{"types":[],"not_senders":["@{number}:nowhere"]}},"room":{{"timeline":{{"limit":10}},"state":{{"lazy_load_members":true}}}}}}"#
    )
}

/// How many requests of interactive authentication may be needed for an account.
const STEPS: usize = 4;

/// A user with a session and one connection.
#[derive(Debug)]
pub struct User {
    name: String,
    id: String,
    token: String,
    connection: Connection,
}

#[derive(Deserialize)]
struct Session {
    user_id: String,
    access_token: String,
}

#[derive(Deserialize)]
struct LoginToken {
    login_token: String,
}

#[derive(Deserialize)]
struct RoomCreated {
    room_id: String,
}

#[derive(Deserialize)]
struct SyncToken {
    next_batch: String,
}

#[derive(Deserialize)]
struct Members {
    joined: HashMap<String, Box<RawValue>>,
}

#[derive(Deserialize)]
struct Page {
    end: Option<String>,
}

/// What a poll brought.
#[derive(Debug)]
pub struct Synced {
    /// From where the next one goes on.
    pub next_batch: String,
    /// When all of it was there.
    pub at: Instant,
    /// The whole answer.
    pub body: Bytes,
}

impl User {
    /// Makes an account.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn register(target: &Target, name: &str) -> Result<Self, Error> {
        let mut connection = Connection::new(target.address, name);
        let mut auth = Value::Null;
        for _ in 0..STEPS {
            let mut body = json!({
                "username": name,
                "password": PASSWORD,
                "initial_device_display_name": "benchmark",
            });
            if let (Value::Object(body), false) = (&mut body, auth.is_null()) {
                body.insert("auth".to_owned(), auth);
            }
            let path = "/_matrix/client/v3/register";
            let answer = post(&mut connection, path, None, &body).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                let session: Session = parsed(path, &answer)?;
                return Ok(Self::of_session(name, connection, session));
            }
            auth = next_stage(&answer, target.registration_token.as_deref());
        }
        Err(Error::Registration(name.to_owned()))
    }

    /// Logs in with the password: a further session.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn log_in(target: &Target, name: &str) -> Result<Self, Error> {
        Self::log_in_with(target, name, by_password(name)).await
    }

    /// A session of the user on a device of this id: with a login token, if the server gives one for the asking, and else
    /// with the password, whose hash costs more.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn another_device(
        &mut self,
        target: &Target,
        device_id: &str,
    ) -> Result<Self, Error> {
        let path = "/_matrix/client/v1/login/get_token";
        let answer = post(&mut self.connection, path, Some(&self.token), &json!({})).await?;
        let mut body = if answer.status.is_success() {
            let LoginToken { login_token } = parsed(path, &answer)?;
            json!({ "type": "m.login.token", "token": login_token })
        } else {
            by_password(&self.name)
        };
        if let Value::Object(body) = &mut body {
            body.insert("device_id".to_owned(), device_id.into());
        }
        Self::log_in_with(target, &self.name, body).await
    }

    async fn log_in_with(target: &Target, name: &str, body: Value) -> Result<Self, Error> {
        let mut connection = Connection::new(target.address, name);
        let path = "/_matrix/client/v3/login";
        let answer = post(&mut connection, path, None, &body).await?;
        let session: Session = parsed(path, &answer)?;
        Ok(Self::of_session(name, connection, session))
    }

    fn of_session(name: &str, connection: Connection, session: Session) -> Self {
        Self {
            name: name.to_owned(),
            id: session.user_id,
            token: session.access_token,
            connection,
        }
    }

    /// The user's name, without server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Asks for what no other method here does.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn ask(&mut self, method: &Method, path: &str, body: Bytes) -> Result<Bytes, Error> {
        let token = Some(self.token.as_str());
        let answer = self.connection.request(method, path, token, Some(body));
        let answer = answer.await?;
        expect_success(path, &answer)?;
        Ok(answer.body)
    }

    /// Creates a public room; gives its id.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_room(&mut self) -> Result<String, Error> {
        let path = "/_matrix/client/v3/createRoom";
        let body = json!({ "preset": "public_chat", "name": "Benchmark" });
        let answer = post(&mut self.connection, path, Some(&self.token), &body).await?;
        parsed::<RoomCreated>(path, &answer).map(|room| room.room_id)
    }

    /// Joins a room.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn join(&mut self, room: &str) -> Result<(), Error> {
        let path = format!("/_matrix/client/v3/rooms/{}/join", escaped(room));
        let answer = post(&mut self.connection, &path, Some(&self.token), &json!({})).await?;
        parsed::<RoomCreated>(&path, &answer).map(drop)
    }

    /// Joins a room of other servers through `via`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn join_via(&mut self, room: &str, via: &str) -> Result<(), Error> {
        let via = escaped(via);
        let path = format!(
            "/_matrix/client/v3/join/{}?via={via}&server_name={via}",
            escaped(room)
        );
        let answer = post(&mut self.connection, &path, Some(&self.token), &json!({})).await?;
        parsed::<RoomCreated>(&path, &answer).map(drop)
    }

    /// Checks that the server knows so many members of a room.
    ///
    /// # Errors
    /// When it refuses, or knows more or fewer.
    pub async fn check_members(&mut self, room: &str, wanted: usize) -> Result<(), Error> {
        let path = format!("/_matrix/client/v3/rooms/{}/joined_members", escaped(room));
        let token = Some(self.token.as_str());
        let answer = self.connection.request(&Method::GET, &path, token, None);
        let members: Members = parsed(&path, &answer.await?)?;
        let known = members.joined.len();
        if known == wanted {
            return Ok(());
        }
        let error = format!("{known} members instead of {wanted}");
        Err(Error::Malformed { path, error })
    }

    /// A page of a room's history, the newest event first, and where the next one begins.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn page_back(
        &mut self,
        room: &str,
        from: Option<&str>,
    ) -> Result<(Bytes, Option<String>), Error> {
        let room = escaped(room);
        let mut path = format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=100");
        if let Some(from) = from {
            write!(path, "&from={}", escaped(from)).ok();
        }
        let token = Some(self.token.as_str());
        let answer = self.connection.request(&Method::GET, &path, token, None);
        let answer = answer.await?;
        let page: Page = parsed(&path, &answer)?;
        Ok((answer.body, page.end))
    }

    /// Sends a message of about 80 letters that contains `text`; `transaction` must be new.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn send(&mut self, room: &str, transaction: &str, text: &str) -> Result<(), Error> {
        let mut path = format!("/_matrix/client/v3/rooms/{}/send/", escaped(room));
        write!(path, "m.room.message/{transaction}").ok();
        let body = format!(
            r#"{{"msgtype":"m.text","body":"{text}: as long as what people write to each other on a common day"}}"#
        );
        let token = Some(self.token.as_str());
        let answer = self
            .connection
            .request(&Method::PUT, &path, token, Some(body.into()))
            .await?;
        expect_success(&path, &answer)
    }

    /// Asks what is new after `since` (nothing: a first sync), waiting for it up to `wait_ms` milliseconds.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn sync(&mut self, since: Option<&str>, wait_ms: u32) -> Result<Synced, Error> {
        self.sync_filtered(since, wait_ms, 0).await
    }

    /// As [`User::sync`], with a filter that has another `number` and means the same.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn sync_filtered(
        &mut self,
        since: Option<&str>,
        wait_ms: u32,
        number: u64,
    ) -> Result<Synced, Error> {
        let mut path = format!(
            "/_matrix/client/v3/sync?timeout={wait_ms}&filter={}",
            escaped(&filter(number))
        );
        if let Some(since) = since {
            write!(path, "&since={}", escaped(since)).ok();
        }
        let token = Some(self.token.as_str());
        let answer = self
            .connection
            .request(&Method::GET, &path, token, None)
            .await?;
        let at = Instant::now();
        let SyncToken { next_batch } = parsed(&path, &answer)?;
        Ok(Synced {
            next_batch,
            at,
            body: answer.body,
        })
    }

    /// Closes the connection, also in the middle of a request.
    pub fn hang_up(&mut self) {
        self.connection.close();
    }
}

fn by_password(name: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": name },
        "password": PASSWORD,
    })
}

async fn post(
    connection: &mut Connection,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> Result<Answer, Error> {
    let body = Bytes::from(body.to_string());
    connection
        .request(&Method::POST, path, token, Some(body))
        .await
}

/// What to answer to a demand for authentication: the registration token if there is one and it is not accepted yet,
/// otherwise the stage that asks for nothing.
fn next_stage(answer: &Answer, registration_token: Option<&str>) -> Value {
    let asked: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let session = asked.get("session").cloned().unwrap_or_default();
    let is_token_accepted = asked
        .get("completed")
        .and_then(Value::as_array)
        .is_some_and(|done| {
            done.iter()
                .any(|stage| stage == "m.login.registration_token")
        });
    match registration_token {
        Some(token) if !is_token_accepted => {
            json!({ "type": "m.login.registration_token", "token": token, "session": session })
        }
        _ => json!({ "type": "m.login.dummy", "session": session }),
    }
}

fn escaped(part: &str) -> String {
    utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()
}

fn expect_success(path: &str, answer: &Answer) -> Result<(), Error> {
    if answer.status.is_success() {
        return Ok(());
    }
    Err(Error::Refused {
        path: path.to_owned(),
        status: answer.status,
        body: String::from_utf8_lossy(&answer.body).into_owned(),
    })
}

/// What an answer says, if it is no refusal.
pub(super) fn parsed<T: for<'a> Deserialize<'a>>(path: &str, answer: &Answer) -> Result<T, Error> {
    expect_success(path, answer)?;
    serde_json::from_slice(&answer.body).map_err(|error| Error::Malformed {
        path: path.to_owned(),
        error: error.to_string(),
    })
}
