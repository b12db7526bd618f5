//! Users of a server, as the tests speak of them.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use starling_accounts::{AccountKind, NewAccount, NewDevice, Report};
use starling_config::Config;
use starling_store::{SCHEMA, Store, UserNum};
use starling_testkit::{TestAnswer, TestServer, on_each_engine};
use tower::ServiceExt as _;

const PREFIX: &str = "/_matrix/client/v3/";

/// A server in process. Cheap to clone.
#[derive(Clone)]
pub(super) struct Server(Arc<TestServer>);

/// Who calls a server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Caller {
    server: Arc<TestServer>,
    token: Option<String>,
    pub(super) user_id: String,
}

/// What the server answered, and to what.
pub(super) struct Answer {
    pub(super) status: u16,
    inner: TestAnswer,
    request: String,
}

/// Runs a test with a fresh server on each engine.
pub(super) async fn on_servers<F: AsyncFn(Server)>(test: F) {
    on_servers_with(TestServer::config(), test).await;
}

/// As [`on_servers`], with this configuration.
pub(super) async fn on_servers_with<F: AsyncFn(Server)>(config: Config, test: F) {
    on_each_engine(&SCHEMA, async |db| {
        let server = TestServer::start_with(&db, config.clone()).await;
        test(Server::new(server)).await;
    })
    .await;
}

/// One segment of a path, or one value of a query.
pub(super) fn segment(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// The ids of a list of events.
pub(super) fn event_ids(events: &Value) -> Vec<String> {
    let events = events
        .as_array()
        .unwrap_or_else(|| panic!("no list of events: {events}"));
    events
        .iter()
        .map(|event| event["event_id"].as_str().unwrap().to_owned())
        .collect()
}

impl Server {
    pub(super) fn new(server: TestServer) -> Self {
        Self(Arc::new(server))
    }

    /// A new user.
    pub(super) async fn user(&self, name: &str) -> Caller {
        self.caller(&self.0.register(name).await)
    }

    /// Another device of a user.
    pub(super) async fn device(&self, name: &str) -> Caller {
        self.caller(&self.login(name).await.ok())
    }

    /// Alice, Bob, and an open room of hers that both are in.
    pub(super) async fn two_in_a_room(&self) -> (Caller, Caller, String) {
        let (alice, bob) = (self.user("alice").await, self.user("bob").await);
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        bob.join(&room).await.ok();
        (alice, bob, room)
    }

    /// The answer to a user who logs in.
    pub(super) async fn login(&self, name: &str) -> Answer {
        let login = json!({
            "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name }, "password": name,
        });
        self.anonymous().post("login", &login).await
    }

    /// A new guest.
    pub(super) async fn guest(&self) -> Caller {
        let anonymous = self.anonymous();
        let answer = anonymous.post("register?kind=guest", &json!({})).await;
        self.caller(&answer.ok())
    }

    /// A new administrator of the server, without a password.
    pub(super) async fn admin(&self, name: &str) -> Caller {
        let account = NewAccount {
            localpart: Some(name.to_owned()),
            password: None,
            kind: AccountKind::User,
            is_admin: true,
            device: Some(NewDevice::default()),
            registration_token: None,
        };
        let registered = self.0.state.accounts.register(account).await.unwrap();
        let login = registered.login.unwrap();
        Caller {
            user_id: registered.user_id.into(),
            ..self.with_token(login.access_token.as_str())
        }
    }

    /// All accounts, for comparing.
    pub(super) async fn accounts(&self) -> String {
        let accounts = self.0.state.accounts.list(UserNum(0), 1000).await;
        format!("{:?}", accounts.unwrap())
    }

    /// What users have reported.
    pub(super) async fn reports(&self) -> Vec<Report> {
        self.0.state.accounts.reports(0, 1000).await.unwrap()
    }

    fn caller(&self, session: &Value) -> Caller {
        let text = |key: &str| session[key].as_str().unwrap().to_owned();
        Caller {
            server: Arc::clone(&self.0),
            token: Some(text("access_token")),
            user_id: text("user_id"),
        }
    }

    /// What it has stored.
    pub(super) fn store(&self) -> &Store {
        &self.0.state.store
    }

    /// The server after a restart: nothing is left but what is stored.
    pub(super) async fn restarted(&self) -> Self {
        let db = self.0.state.store.db().clone();
        Self::new(self.0.second_node(db).await)
    }

    /// The same user's session, of a server that was started again.
    pub(super) fn again(&self, caller: &Caller) -> Caller {
        Caller {
            server: Arc::clone(&self.0),
            ..caller.clone()
        }
    }

    /// Somebody without a token.
    pub(super) fn anonymous(&self) -> Caller {
        Caller {
            server: Arc::clone(&self.0),
            token: None,
            user_id: String::new(),
        }
    }

    /// Somebody with this token.
    pub(super) fn with_token(&self, token: &str) -> Caller {
        Caller {
            token: Some(token.to_owned()),
            ..self.anonymous()
        }
    }
}

impl Caller {
    async fn request(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let method: Method = method.parse().unwrap();
        let request = format!("{method} {}", path.chars().take(120).collect::<String>());
        let answer = self
            .server
            .raw(method, path, self.token.as_deref(), body.to_vec())
            .await;
        Answer {
            status: answer.status.as_u16(),
            inner: answer,
            request,
        }
    }

    /// The same, with the server that has started again.
    pub(super) fn at(&self, server: &Server) -> Self {
        Self {
            server: Arc::clone(&server.0),
            ..self.clone()
        }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.request("GET", &format!("{PREFIX}{path}"), b"").await
    }

    /// As older clients spell it.
    pub(super) async fn get_r0(&self, path: &str) -> Answer {
        self.request("GET", &format!("/_matrix/client/r0/{path}"), b"")
            .await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_raw("POST", path, body.to_string().as_bytes())
            .await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send_raw("PUT", path, body.to_string().as_bytes())
            .await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.send_raw("DELETE", path, b"").await
    }

    /// A path that begins with a slash is the whole path.
    pub(super) async fn send_raw(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let path = match path.strip_prefix('/') {
            Some(_) => path.to_owned(),
            None => format!("{PREFIX}{path}"),
        };
        self.request(method, &path, body).await
    }

    /// Status and body of any answer. The path is whole.
    pub(super) async fn any(&self, method: &Method, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let token = self.token.as_deref();
        let answer = self
            .server
            .answer(method.clone(), path, token, body.to_vec());
        let (status, body) = answer.await;
        (status.as_u16(), body.to_vec())
    }

    /// The bytes of a good answer.
    pub(super) async fn bytes(&self, path: &str) -> Vec<u8> {
        let body = self.response(path).await.into_body().collect().await;
        body.unwrap().to_bytes().to_vec()
    }

    /// A good answer, with its headers.
    pub(super) async fn response(&self, path: &str) -> Response<Body> {
        let token = self.token.as_deref().unwrap_or_default();
        let request = Request::get(format!("{PREFIX}{path}"))
            .header("authorization", format!("Bearer {token}"));
        let router = starling_client_api::routes().into_router(self.server.state.clone());
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response
    }

    /// A new room's id.
    pub(super) async fn create(&self, wanted: Value) -> String {
        self.post("createRoom", &wanted).await.ok()["room_id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(super) async fn join(&self, room: &str) -> Answer {
        self.post(&format!("rooms/{}/join", segment(room)), &json!({}))
            .await
    }

    pub(super) async fn leave(&self, room: &str) -> Answer {
        self.post(&format!("rooms/{}/leave", segment(room)), &json!({}))
            .await
    }

    /// Invites, kicks, bans or unbans.
    pub(super) async fn act(&self, room: &str, action: &str, target: &Caller) -> Answer {
        self.post(
            &format!("rooms/{}/{action}", segment(room)),
            &json!({ "user_id": target.user_id }),
        )
        .await
    }

    pub(super) async fn send(
        &self,
        room: &str,
        kind: &str,
        txn_id: &str,
        content: &Value,
    ) -> Answer {
        self.put(
            &format!("rooms/{}/send/{kind}/{}", segment(room), segment(txn_id)),
            content,
        )
        .await
    }

    /// Sends a text, which is its transaction id, too; the event's id.
    pub(super) async fn say(&self, room: &str, text: &str) -> String {
        let content = json!({ "msgtype": "m.text", "body": text });
        let sent = self.send(room, "m.room.message", text, &content);
        sent.await.event_id()
    }

    /// The answer to a sync, and its token.
    pub(super) async fn sync(&self, query: &str) -> (Value, String) {
        let answer = self.get(&format!("sync?{query}")).await.ok();
        let token = answer["next_batch"].as_str().unwrap().to_owned();
        (answer, token)
    }

    /// The content of a state event.
    pub(super) async fn state(&self, room: &str, kind: &str, key: &str) -> Answer {
        self.get(&format!(
            "rooms/{}/state/{kind}/{}",
            segment(room),
            segment(key)
        ))
        .await
    }

    /// The ids of the events of all pages of a room's history, in the order in which they come.
    pub(super) async fn page_all(
        &self,
        room: &str,
        query: &str,
        from: Option<&str>,
    ) -> Vec<String> {
        let (mut from, mut all) = (from.map(str::to_owned), Vec::new());
        for _ in 0..100 {
            let start = from
                .as_ref()
                .map(|from| format!("&from={from}"))
                .unwrap_or_default();
            let page = self
                .get(&format!("rooms/{}/messages?{query}{start}", segment(room)))
                .await
                .ok();
            all.extend(event_ids(&page["chunk"]));
            let Some(end) = page["end"].as_str() else {
                return all;
            };
            from = Some(end.to_owned());
        }
        panic!("history never ends");
    }
}

/// Whether a message says something, and in no words that are for programmers.
pub(super) fn is_for_people(message: &str) -> bool {
    let words = [
        "expected",
        "struct ",
        "enum ",
        "variant",
        "sequence",
        "Deserialize",
        "Cannot parse",
        "Failed to",
        "at line ",
        "column ",
        "u8",
        "u16",
        "u32",
        "u64",
        "usize",
        "i64",
        "Some(",
        "None",
    ];
    !message.is_empty() && !words.iter().any(|word| message.contains(word))
}

impl Answer {
    /// The body of a good answer.
    pub(super) fn ok(self) -> Value {
        self.ok_for("")
    }

    /// The body, whether it is an error or not.
    pub(super) fn body(self) -> Value {
        self.inner.body
    }

    /// As [`Answer::ok`], of a case that a failure names.
    pub(super) fn ok_for(self, case: &str) -> Value {
        assert_eq!(
            self.status, 200,
            "{}: {} ({case})",
            self.request, self.inner.body
        );
        self.inner.body
    }

    /// The id of the event that was sent.
    pub(super) fn event_id(self) -> String {
        self.ok()["event_id"].as_str().unwrap().to_owned()
    }

    /// Status and `errcode`.
    pub(super) fn error(&self) -> (u16, &str) {
        self.inner.error()
    }

    /// What it tells people.
    pub(super) fn message(&self) -> &str {
        self.inner.body["error"].as_str().unwrap_or_default()
    }

    /// Whether it tells people what is wrong.
    pub(super) fn has_message(&self) -> bool {
        is_for_people(self.message())
    }

    pub(super) fn fails(self, status: u16, errcode: &str) {
        self.fails_for("", status, errcode);
    }

    /// As [`Answer::fails`], of a case that a failure names.
    pub(super) fn fails_for(self, case: &str, status: u16, errcode: &str) {
        assert_eq!(
            self.inner.error(),
            (status, errcode),
            "{}: {} ({case})",
            self.request,
            self.inner.body
        );
        assert!(self.has_message(), "{}", self.request);
    }
}
