//! Interactive authentication, by the example of changing a password and of deleting devices.
//! <https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api>

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use starling_config::RateLimits;
use starling_store::SCHEMA;
use starling_testkit::{TestServer, on_each_engine};

use super::{User, on_servers};

/// `DELETE /_matrix/client/v3/devices/{deviceId}`, `POST /_matrix/client/v3/delete_devices`
#[tokio::test]
async fn devices_are_deleted_with_the_password() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let login = async |device: &str| {
            let body = json!({
                "type": "m.login.password", "user": "alice", "password": "alice", "device_id": device,
            });
            alice.post("login", body).await.body["access_token"].clone()
        };
        let (phone, tablet, laptop) =
            (login("PHONE").await, login("TABLET").await, login("LAPTOP").await);
        let is_in = async |token: &Value| {
            let path = "/_matrix/client/v3/account/whoami";
            let answer = server.request(Method::GET, path, token.as_str(), None);
            answer.await.status == 200
        };
        // Without a body, as some clients ask for the flows.
        let asked = alice.delete("devices/PHONE").await;
        assert_eq!((asked.status.as_u16(), asked.errcode()), (401, ""));
        assert_eq!(asked.body["flows"], json!([{ "stages": ["m.login.password"] }]));
        assert!(is_in(&phone).await);
        let mut auth = alice.auth();
        auth["session"] = asked.body["session"].clone();
        let call = |body| alice.call(Method::DELETE, "devices/PHONE", Some(body));
        let deleted = call(json!({ "auth": auth })).await;
        assert_eq!((deleted.status.as_u16(), deleted.body), (200, json!({})));
        assert!(!is_in(&phone).await);
        // Once more is no error.
        assert_eq!(call(json!({ "auth": alice.auth() })).await.status, 200);

        let body = json!({ "devices": ["TABLET", "LAPTOP", "NOTHING"], "auth": alice.auth() });
        assert_eq!(alice.post("delete_devices", body).await.body, json!({}));
        assert!(!is_in(&tablet).await && !is_in(&laptop).await);
        let left = alice.get("devices").await.body;
        assert_eq!(left["devices"].as_array().unwrap().len(), 1);
    })
    .await;
}

/// `POST /_matrix/client/v3/delete_devices`
#[tokio::test]
async fn nobody_deletes_devices_of_others() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let other = User::register(&server, "bob").await;
        let body = json!({ "devices": [alice.device_id], "auth": other.auth() });
        assert_eq!(other.post("delete_devices", body).await.status, 200);
        assert_eq!(alice.get("account/whoami").await.status, 200);
        let missing = json!({ "auth": other.auth() });
        let missing = other.post("delete_devices", missing).await;
        assert_eq!(missing.error(), (400, "M_BAD_JSON"));
    })
    .await;
}

/// `POST /_matrix/client/v3/account/password`
#[tokio::test]
async fn what_is_wrong_is_asked_for_again() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let other = User::register(&server, "bob").await;
        let ask = async |user: &User<'_>, auth: Value| {
            let body = json!({ "new_password": "better", "auth": auth });
            user.post("account/password", body).await
        };
        let first = ask(&alice, Value::Null).await;
        assert_eq!((first.status.as_u16(), first.errcode()), (401, ""));
        let session = first.body["session"].clone();
        let foreign = ask(&other, Value::Null).await.body["session"].clone();
        let devices = alice.delete("devices/X").await.body["session"].clone();
        let wrong = |password: &str| {
            let identifier = json!({ "type": "m.id.user", "user": "alice" });
            json!({
                "type": "m.login.password", "identifier": identifier, "password": password, "session": session,
            })
        };
        let with_session = |session: &Value| {
            let mut auth = alice.auth();
            auth["session"] = session.clone();
            auth
        };
        for (auth, errcode) in [
            (wrong("wrong"), "M_FORBIDDEN"),
            // Whose password it is counts.
            (other.auth(), "M_FORBIDDEN"),
            (json!({ "type": "m.login.dummy", "session": session }), "M_UNRECOGNIZED"),
            (json!({ "type": "org.example.x", "session": session }), "M_UNRECOGNIZED"),
            (json!({ "session": session }), ""),
            (json!({}), ""),
            (with_session(&json!("nonsense")), "M_UNKNOWN"),
            (with_session(&json!("x".repeat(10_000))), "M_UNKNOWN"),
            // One of another user, and one for another operation.
            (with_session(&foreign), "M_UNKNOWN"),
            (with_session(&devices), "M_UNKNOWN"),
        ] {
            let answer = ask(&alice, auth.clone()).await;
            assert_eq!(answer.error(), (401, errcode), "{auth}");
            assert_eq!(answer.body["flows"], first.body["flows"], "{auth}");
            assert!(answer.body["session"].is_string(), "{auth}");
        }
        for (auth, errcode) in [
            (json!({ "type": "m.login.password", "session": session }), "M_MISSING_PARAM"),
            (json!({ "type": 7 }), "M_BAD_JSON"),
            (json!("x"), "M_BAD_JSON"),
        ] {
            let answer = ask(&alice, auth.clone()).await;
            assert_eq!(answer.error(), (400, errcode), "{auth}");
        }
        assert_eq!(ask(&alice, wrong("alice")).await.status, 200);
    })
    .await;
}

/// `POST /_matrix/client/v3/account/password`
#[tokio::test]
async fn a_session_is_good_for_an_hour_and_on_every_node() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let asked = alice.post("account/password", json!({})).await;
        let mut auth = alice.auth();
        auth["session"] = asked.body["session"].clone();
        let node = server.second_node(server.state.store.db().clone()).await;
        let body = json!({ "new_password": "alice", "auth": auth });
        let path = "/_matrix/client/v3/account/password";
        let token = Some(alice.token.as_str());
        let set = node.request(Method::POST, path, token, Some(body.clone()));
        assert_eq!(set.await.status, 200);

        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(3601)).await;
        tokio::time::resume();
        let late = alice.post("account/password", body).await;
        assert_eq!(late.error(), (401, "M_UNKNOWN"));
    })
    .await;
}

/// `POST /_matrix/client/v3/account/password`, `POST /_matrix/client/v3/login`
#[tokio::test]
async fn passwords_cannot_be_guessed_at_speed_with_a_token_either() {
    on_each_engine(&SCHEMA, async |db| {
        let mut config = TestServer::config();
        config.rate_limits = RateLimits {
            login_failures_burst: 3,
            ..RateLimits::default()
        };
        let server = TestServer::start_with(&db, config).await;
        let alice = User::register(&server, "alice").await;
        let change = async |password: &str| {
            let mut auth = alice.auth();
            auth["password"] = json!(password);
            let body = json!({ "new_password": "alice", "auth": auth });
            alice.post("account/password", body).await
        };
        // What is right is no failure, however often.
        for _ in 0..5 {
            assert_eq!(change("alice").await.status, 200);
        }
        for _ in 0..3 {
            assert_eq!(change("wrong").await.error(), (401, "M_FORBIDDEN"));
        }
        let limited = (429, "M_LIMIT_EXCEEDED");
        assert_eq!(change("alice").await.error(), limited);
        let body = json!({ "type": "m.login.password", "user": "alice", "password": "alice" });
        // Logging in has failures of its own.
        assert_eq!(alice.post("login", body).await.status, 200);
    })
    .await;
}

/// `DELETE /_matrix/client/v3/devices/{deviceId}`, `POST /_matrix/client/v3/delete_devices`,
/// `POST /_matrix/client/v3/account/deactivate`, `POST /_matrix/client/v3/account/password`
#[tokio::test]
async fn a_suspended_user_may_go_and_a_locked_one_may_not() {
    on_servers(async |server| {
        let admin = User::admin(&server, "admin").await;
        let alice = User::register(&server, "alice").await;
        let set = async |kind: &str, body: Value| {
            let path = format!("/_matrix/client/v1/admin/{kind}/{}", alice.id);
            let token = Some(admin.token.as_str());
            let answer = server.request(Method::PUT, &path, token, Some(body)).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
        };
        let calls = || {
            [
                (Method::DELETE, "devices/X", json!({ "auth": alice.auth() })),
                (
                    Method::POST,
                    "delete_devices",
                    json!({ "devices": ["X"], "auth": alice.auth() }),
                ),
                (
                    Method::POST,
                    "account/password",
                    json!({ "new_password": "alice", "auth": alice.auth() }),
                ),
                (
                    Method::POST,
                    "account/deactivate",
                    json!({ "auth": alice.auth() }),
                ),
            ]
        };
        set("lock", json!({ "locked": true })).await;
        for (method, path, body) in calls() {
            let answer = alice.call(method, path, Some(body)).await;
            assert_eq!(answer.error(), (401, "M_USER_LOCKED"), "{path}");
        }
        set("lock", json!({ "locked": false })).await;
        set("suspend", json!({ "suspended": true })).await;
        for (method, path, body) in calls() {
            let answer = alice.call(method, path, Some(body)).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        }
    })
    .await;
}
