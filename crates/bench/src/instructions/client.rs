//! A server within this process, and its clients.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use starling_config::Config;
use starling_db::Simulation;
use starling_runtime::Chance;
use starling_store::SCHEMA;
use starling_testkit::{TestDb, TestServer};

/// Of which ids, tokens and what else is random are made.
const SEED: u64 = 1;
/// More than any client asks for.
const NO_LIMIT: u32 = 1_000_000;

/// A server with its database.
pub(super) struct Server {
    http: TestServer,
    _db: TestDb,
}

impl Server {
    /// An empty server.
    pub(super) async fn start() -> Self {
        let simulation = Simulation {
            delay_ms: 0..0,
            ..Simulation::calm(Chance::seeded(SEED))
        };
        let db = TestDb::simulated(&SCHEMA, simulation).await;
        Self {
            http: TestServer::start_seeded(&db, config(), SEED).await,
            _db: db,
        }
    }

    /// A new user.
    pub(super) async fn client(&self, name: &str) -> Client<'_> {
        let registered = self.http.register(name).await;
        Client {
            server: self,
            token: text(&registered, "access_token"),
            user_id: text(&registered, "user_id"),
        }
    }
}

/// As the program's, but that nobody reaches a limit: to count requests is part of the work.
fn config() -> Config {
    let mut config = TestServer::config();
    let limits = &mut config.rate_limits;
    limits.enabled = true;
    limits.requests_burst = NO_LIMIT;
    limits.messages_burst = NO_LIMIT;
    limits.joins_burst = NO_LIMIT;
    limits.rooms_burst = NO_LIMIT;
    limits.registrations_burst = NO_LIMIT;
    limits.anonymous_requests_burst = NO_LIMIT;
    config
}

/// Somebody who is logged in.
pub(super) struct Client<'a> {
    server: &'a Server,
    token: String,
    pub(super) user_id: String,
}

impl Client<'_> {
    /// A new room, open to all.
    pub(super) async fn create_room(&self) -> String {
        let body = json!({ "preset": "public_chat" });
        let path = "/_matrix/client/v3/createRoom";
        text(&self.post(path, &body).await, "room_id")
    }

    pub(super) async fn join(&self, room: &str) {
        let path = format!("/_matrix/client/v3/join/{room}");
        self.post(&path, &json!({})).await;
    }

    /// Sends a text message. The id of the transaction is `number`.
    pub(super) async fn say(&self, room: &str, number: u64) {
        let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{number}");
        let body = format!(
            r#"{{"msgtype":"m.text","body":"Message {number}: are you coming to the meeting at ten o'clock tomorrow?"}}"#
        );
        self.call(Method::PUT, &path, body.into_bytes()).await;
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string().into_bytes();
        parsed(&self.call(Method::POST, path, body).await)
    }

    /// `GET` of a path with query.
    pub(super) async fn get(&self, path: &str) -> Vec<u8> {
        self.call(Method::GET, path, Vec::new()).await
    }

    /// The body of the answer, which must be 200.
    async fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Vec<u8> {
        let token = Some(self.token.as_str());
        let (status, answer) = self.server.http.answer(method, path, token, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {}", answer.escape_ascii());
        answer.into()
    }
}

pub(super) fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

/// The text at a key of an answer.
pub(super) fn text(answer: &Value, key: &str) -> String {
    let text = answer.get(key).and_then(Value::as_str);
    text.expect("an answer has what the API says").to_owned()
}
