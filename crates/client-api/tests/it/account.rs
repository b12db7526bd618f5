//! Endpoints of accounts and of the server itself.

mod account_data;
mod cross_signing;
mod deactivate;
mod dehydrated;
mod devices;
mod fallback;
mod filter;
mod guests;
mod interactive_auth;
mod keys;
mod login;
mod login_token;
mod moderation;
mod openid;
mod password;
mod presence;
mod profile;
mod push_rules;
mod pushers;
mod refresh;
mod register;
mod registration_tokens;
mod restored;
mod room_keys;
mod server;
mod tags;
mod third_party_networks;
mod to_device;
mod user_directory;
mod voip;

use http::Method;
use serde_json::{Value, json};
use starling_accounts::{AccountKind, NewAccount, NewDevice};
use starling_store::SCHEMA;
use starling_testkit::{TestAnswer, TestServer, on_each_engine};

/// Runs a test with a fresh server on each engine.
async fn on_servers<F: AsyncFn(TestServer)>(test: F) {
    on_each_engine(&SCHEMA, async |db| test(TestServer::start(&db).await).await).await;
}

/// A user with a session.
struct User<'a> {
    server: &'a TestServer,
    id: String,
    device_id: String,
    token: String,
}

impl<'a> User<'a> {
    async fn register(server: &'a TestServer, name: &str) -> Self {
        let text = |answer: &Value, field: &str| answer[field].as_str().unwrap().to_owned();
        let answer = server.register(name).await;
        Self {
            server,
            id: text(&answer, "user_id"),
            device_id: text(&answer, "device_id"),
            token: text(&answer, "access_token"),
        }
    }

    /// An administrator of the server.
    async fn admin(server: &'a TestServer, name: &str) -> Self {
        let account = NewAccount {
            localpart: Some(name.to_owned()),
            password: None,
            kind: AccountKind::User,
            is_admin: true,
            device: Some(NewDevice::default()),
            registration_token: None,
        };
        let registered = server.state.accounts.register(account).await.unwrap();
        let login = registered.login.unwrap();
        Self {
            server,
            id: registered.user_id.into(),
            device_id: login.device_id,
            token: login.access_token.as_str().to_owned(),
        }
    }

    /// Confirms an operation with the password, which is the name.
    fn auth(&self) -> Value {
        let password = self.id.trim_start_matches('@').split(':').next();
        json!({
            "type": "m.login.password", "identifier": { "type": "m.id.user", "user": self.id }, "password": password,
        })
    }

    async fn get(&self, path: &str) -> TestAnswer {
        self.call(Method::GET, path, None).await
    }

    async fn put(&self, path: &str, body: Value) -> TestAnswer {
        self.call(Method::PUT, path, Some(body)).await
    }

    async fn post(&self, path: &str, body: Value) -> TestAnswer {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> TestAnswer {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> TestAnswer {
        let path = format!("/_matrix/client/v3/{path}");
        self.server
            .request(method, &path, Some(&self.token), body)
            .await
    }
}

/// Calls an endpoint without a session.
async fn anybody(
    server: &TestServer,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> TestAnswer {
    let path = format!("/_matrix/client/v3/{path}");
    server.request(method, &path, None, body).await
}
