//! Registration by tools that know the shared secret.

use axum::Router;
use axum::body::Body;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sha1::Sha1;
use starling_accounts::Authentication;
use starling_admin_api::State;
use starling_config::{RegistrationMode, Secret};
use starling_store::SCHEMA;
use starling_testkit::{TestServer, on_each_engine};
use tower::ServiceExt as _;

const PATH: &str = "/_synapse/admin/v1/register";
const SECRET: &str = "known to tools";

struct Server {
    client: TestServer,
    admin: Router,
}

/// Runs a test with a server on each engine whose registration is closed and which has this shared secret.
async fn on_servers<F: AsyncFn(Server)>(secret: &str, test: F) {
    on_each_engine(&SCHEMA, async |db| {
        let mut config = TestServer::config();
        config.registration.mode = RegistrationMode::Closed;
        config.registration.shared_secret = Secret::new(secret);
        let client = TestServer::start_with(&db, config.clone()).await;
        let (clock, chance) = (client.state.clock.clone(), client.state.chance.clone());
        let (accounts, limiter) = (client.state.accounts.clone(), client.state.limiter.clone());
        let state = State::new(&config, accounts, limiter, clock, chance);
        let admin = starling_admin_api::routes().into_router(state);
        test(Server { client, admin }).await;
    })
    .await;
}

impl Server {
    async fn call(&self, method: Method, body: String) -> (u16, Value) {
        let request = Request::builder().method(method).uri(PATH);
        let request = request.body(Body::from(body)).unwrap();
        let response = self.admin.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn nonce(&self) -> String {
        let (status, answer) = self.call(Method::GET, String::new()).await;
        assert_eq!(status, 200, "{answer}");
        answer["nonce"].as_str().unwrap().to_owned()
    }

    async fn register(&self, request: &Value) -> (u16, Value) {
        self.call(Method::POST, request.to_string()).await
    }
}

/// The HMAC-SHA1 over these fields, in hexadecimal digits.
fn mac(fields: &[&str]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(fields.join("\0").as_bytes());
    let bytes = mac.finalize().into_bytes();
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap();
    let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    bytes.iter().flat_map(digits).collect()
}

/// A request that a tool makes.
fn request(nonce: &str, user: &str, admin: bool) -> Value {
    let word = if admin { "admin" } else { "notadmin" };
    let mac = mac(&[nonce, user, "secret", word]);
    json!({ "nonce": nonce, "username": user, "password": "secret", "admin": admin, "mac": mac })
}

/// `GET /_synapse/admin/v1/register`, `POST /_synapse/admin/v1/register`
#[tokio::test]
async fn a_tool_that_knows_the_secret_makes_accounts() {
    on_servers(SECRET, async |server| {
        for (user, admin) in [("ann", true), ("bob", false)] {
            let (status, answer) = server
                .register(&request(&server.nonce().await, user, admin))
                .await;
            assert_eq!(status, 200, "{answer}");
            assert_eq!(answer["user_id"], format!("@{user}:localhost"));
            assert_eq!(answer["home_server"], "localhost");
            let token = answer["access_token"].as_str().unwrap();
            let accounts = &server.client.state.accounts;
            let Authentication::Granted(session) = accounts.authenticate(token).await.unwrap()
            else {
                panic!("the token is not good");
            };
            assert_eq!(session.is_admin, admin);
            assert_eq!(answer["device_id"], session.device_id.as_ref());
        }
    })
    .await;
}

/// `POST /_synapse/admin/v1/register`
#[tokio::test]
async fn further_fields_count() {
    on_servers(SECRET, async |server| {
        let nonce = server.nonce().await;
        let mac = mac(&[&nonce, "eve", "secret", "notadmin", "support"]);
        let request = json!({ "nonce": nonce, "username": "eve", "password": "secret", "displayname": "Eve",
            "user_type": "support", "mac": mac });
        let (status, answer) = server.register(&request).await;
        assert_eq!(status, 200, "{answer}");
        let path = "/_matrix/client/v3/profile/@eve:localhost";
        let profile = server.client.request(Method::GET, path, None, None).await;
        assert_eq!(profile.body, json!({ "displayname": "Eve" }));
    })
    .await;
}

/// `POST /_synapse/admin/v1/register`
#[tokio::test]
async fn whoever_does_not_know_it_is_refused() {
    on_servers(SECRET, async |server| {
        let nonce = server.nonce().await;
        let good = request(&nonce, "ann", false);
        let mut raised = good.clone();
        raised["admin"] = json!(true);
        let (status, answer) = server.register(&raised).await;
        assert_eq!((status, &answer["errcode"]), (403, &json!("M_FORBIDDEN")));
        // The nonce is used up, and one that was never given out is none.
        for request in [&good, &request("made up", "ann", false)] {
            let (status, answer) = server.register(request).await;
            assert_eq!((status, &answer["errcode"]), (400, &json!("M_UNKNOWN")));
        }
        let (status, answer) = server.register(&json!({ "nonce": "x" })).await;
        assert_eq!((status, &answer["errcode"]), (400, &json!("M_BAD_JSON")));
        let path = "/_matrix/client/v3/profile/@ann:localhost";
        let profile = server.client.request(Method::GET, path, None, None).await;
        assert_eq!(profile.error(), (404, "M_NOT_FOUND"));
    })
    .await;
}

/// `POST /_synapse/admin/v1/register`
#[tokio::test]
async fn what_cannot_be_is_refused() {
    on_servers(SECRET, async |server| {
        server
            .register(&request(&server.nonce().await, "ann", false))
            .await;
        let again = server
            .register(&request(&server.nonce().await, "ann", false))
            .await;
        assert_eq!(
            (again.0, &again.1["errcode"]),
            (400, &json!("M_USER_IN_USE"))
        );
        let name = server
            .register(&request(&server.nonce().await, "no name", false))
            .await;
        assert_eq!(
            (name.0, &name.1["errcode"]),
            (400, &json!("M_INVALID_USERNAME"))
        );
    })
    .await;
}

/// `GET /_synapse/admin/v1/register`, `POST /_synapse/admin/v1/register`
#[tokio::test]
async fn without_a_secret_there_is_no_such_endpoint() {
    on_servers("", async |server| {
        assert_eq!(server.call(Method::GET, String::new()).await.0, 404);
        assert_eq!(server.register(&request("x", "ann", true)).await.0, 404);
        assert_eq!(server.call(Method::POST, "{".to_owned()).await.0, 404);
    })
    .await;
}
