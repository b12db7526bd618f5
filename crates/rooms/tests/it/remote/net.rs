//! A network whose servers are functions, and a world that is on it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::StatusCode;
use parking_lot::Mutex;
use ruma_common::{OwnedServerName, ServerName};
use serde_json::{Value, json};
use starling_events::SigningKey;
use starling_events::server_keys::own_key_document;
use starling_outbound::{Answer, OutboundError, Request, Transport};
use starling_rooms::Remote;
use starling_testkit::{TestDb, World};

/// Longer than any test: 2100-01-01.
const FAR_MS: i64 = 4_102_444_800_000;

/// What a server says to a request: status and body. `None`: it doesn't know the endpoint.
pub(super) type Respond = Box<dyn Fn(&Asked) -> Option<(u16, Value)> + Send + Sync>;

/// What a server was asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) server: String,
    pub(super) method: &'static str,
    /// Path and query, percent-encoded.
    pub(super) uri: String,
    pub(super) body: Value,
}

/// The network.
#[derive(Default)]
pub(super) struct Net {
    servers: Mutex<HashMap<String, Arc<Respond>>>,
    keys: Mutex<HashMap<String, Value>>,
    asked: Mutex<Vec<Asked>>,
    silent: Mutex<HashSet<String>>,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Net")
    }
}

/// The key of the server of this name.
pub(super) fn key_of(server: &str) -> SigningKey {
    let seed = server.bytes().fold(0u8, u8::wrapping_add);
    SigningKey::generate([seed; 32], "k").unwrap()
}

pub(super) fn server(name: &str) -> OwnedServerName {
    name.try_into().unwrap()
}

/// A refusal.
pub(super) fn refusal(status: u16, errcode: &str) -> (u16, Value) {
    let words = format!("the words of {errcode}");
    (status, json!({ "errcode": errcode, "error": words }))
}

impl Net {
    /// Puts a server on the network, which also publishes its key.
    pub(super) fn add(
        &self,
        name: &str,
        respond: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) {
        self.publish(name, FAR_MS);
        let respond: Respond = Box::new(respond);
        self.servers
            .lock()
            .insert(name.to_owned(), Arc::new(respond));
    }

    /// The server's key is good until then.
    pub(super) fn publish(&self, name: &str, valid_until_ms: i64) {
        let document = own_key_document(&server(name), &key_of(name), &[], valid_until_ms).unwrap();
        let document = serde_json::from_slice(document.as_bytes()).unwrap();
        self.keys.lock().insert(name.to_owned(), document);
    }

    /// The server takes every request from now on, and answers none.
    pub(super) fn silence(&self, name: &str) {
        self.silent.lock().insert(name.to_owned());
    }

    /// All that servers were asked, but for keys.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// The paths that servers were asked for, without queries.
    pub(super) fn paths(&self) -> Vec<String> {
        let asked = self.asked.lock();
        let path = |asked: &Asked| {
            let path = asked.uri.split('?').next().unwrap();
            let endpoint = path.strip_prefix("/_matrix/federation/").unwrap();
            let endpoint: Vec<&str> = endpoint.split('/').take(2).collect();
            format!("{} {}", asked.server, endpoint.join("/"))
        };
        asked.iter().map(path).collect()
    }
}

impl Transport for Net {
    fn send<'a>(
        &'a self,
        destination: &'a ServerName,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, OutboundError>> {
        Box::pin(async move {
            let gone = || OutboundError::Connection("there is no such server".to_owned());
            let name = destination.as_str();
            if request.uri == "/_matrix/key/v2/server" {
                let document = self.keys.lock().get(name).cloned().ok_or_else(gone)?;
                return Ok(answer(200, &document));
            }
            let is_signed = request.authorization.is_some();
            assert_eq!(
                is_signed,
                request.uri.starts_with("/_matrix/"),
                "servers sign their requests"
            );
            let asked = Asked {
                server: name.to_owned(),
                method: request.method.as_str(),
                uri: request.uri.clone(),
                body: request
                    .body
                    .as_deref()
                    .map_or(Value::Null, |body| serde_json::from_slice(body).unwrap()),
            };
            self.asked.lock().push(asked.clone());
            if self.silent.lock().contains(name) {
                return std::future::pending().await;
            }
            let respond = self.servers.lock().get(name).cloned().ok_or_else(gone)?;
            let unknown = || (404, json!({ "errcode": "M_UNRECOGNIZED", "error": "?" }));
            let (status, body) = respond(&asked).unwrap_or_else(unknown);
            Ok(answer(status, &body))
        })
    }
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        body: serde_json::to_vec(body).unwrap().into(),
    }
}

/// A world on the network.
pub(super) struct Connected {
    pub(super) world: World,
    pub(super) net: Arc<Net>,
    pub(super) remote: Remote,
}

impl Connected {
    pub(super) async fn start(db: &TestDb) -> Self {
        let net = Arc::new(Net::default());
        let world = World::start_on(db, Arc::clone(&net) as Arc<dyn Transport>).await;
        let remote = world.rooms.other_servers().unwrap().clone();
        Self { world, net, remote }
    }
}
