//! Sessions. <https://spec.matrix.org/v1.19/client-server-api/#login>

use http::Method;
use serde_json::{Value, json};
use starling_testkit::{TestAnswer, TestServer};

use super::{User, anybody, on_servers};

async fn login(server: &TestServer, body: Value) -> TestAnswer {
    anybody(server, Method::POST, "login", Some(body)).await
}

fn by_identifier(user: &str, password: &str) -> Value {
    let identifier = json!({ "type": "m.id.user", "user": user });
    json!({ "type": "m.login.password", "identifier": identifier, "password": password })
}

/// `GET /_matrix/client/v3/login`, `POST /_matrix/client/v3/login`
#[tokio::test]
async fn a_user_is_named_in_several_ways() {
    on_servers(async |server| {
        let flows = anybody(&server, Method::GET, "login", None).await;
        assert_eq!(
            flows.body,
            json!({ "flows": [
                { "type": "m.login.password" },
                { "type": "m.login.token", "get_login_token": true },
            ] })
        );
        server.register("alice").await;
        let old = json!({ "type": "m.login.password", "user": "alice", "password": "alice" });
        for body in [
            by_identifier("alice", "alice"),
            by_identifier("@alice:localhost", "alice"),
            by_identifier("ALICE", "alice"),
            old,
        ] {
            let answer = login(&server, body.clone()).await;
            assert_eq!(answer.status, 200, "{body}: {}", answer.body);
            assert_eq!(answer.body["user_id"], "@alice:localhost");
            let token = answer.body["access_token"].as_str();
            let path = "/_matrix/client/v3/account/whoami";
            let whoami = server.request(Method::GET, path, token, None).await;
            assert_eq!(whoami.body["device_id"], answer.body["device_id"]);
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/login`
#[tokio::test]
async fn a_wrong_login_is_refused() {
    on_servers(async |server| {
        server.register("alice").await;
        let third_party = json!({ "type": "m.id.thirdparty", "medium": "email", "address": "a@example.org" });
        for (body, status, errcode) in [
            (by_identifier("alice", "wrong"), 403, "M_FORBIDDEN"),
            (by_identifier("nobody", "alice"), 403, "M_FORBIDDEN"),
            (by_identifier("@alice:elsewhere", "alice"), 403, "M_FORBIDDEN"),
            (json!({ "type": "m.login.password", "identifier": third_party, "password": "x" }), 403, "M_FORBIDDEN"),
            (json!({ "type": "m.login.password", "identifier": { "type": "org.x" }, "password": "x" }), 400, "M_UNKNOWN"),
            (json!({ "type": "m.login.token", "token": "x" }), 403, "M_FORBIDDEN"),
            (json!({ "type": "m.login.token" }), 400, "M_MISSING_PARAM"),
            (json!({ "type": "m.login.sso", "token": "x" }), 400, "M_UNKNOWN"),
            (json!({ "type": "m.login.password", "password": "x" }), 400, "M_MISSING_PARAM"),
            (json!({ "type": "m.login.password", "user": "alice" }), 400, "M_MISSING_PARAM"),
            (json!({ "user": "alice", "password": "alice" }), 400, "M_BAD_JSON"),
        ] {
            let answer = login(&server, body.clone()).await;
            assert_eq!(answer.error(), (status, errcode), "{body}");
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/login`
#[tokio::test]
async fn a_login_on_a_known_device_ends_its_session() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let mut body = by_identifier("alice", "alice");
        body["device_id"] = json!(alice.device_id);
        let answer = login(&server, body).await;
        assert_eq!(answer.body["device_id"], json!(alice.device_id));
        assert_eq!(
            alice.get("account/whoami").await.error(),
            (401, "M_UNKNOWN_TOKEN")
        );
    })
    .await;
}

/// `POST /_matrix/client/v3/logout`, `POST /_matrix/client/v3/logout/all`
#[tokio::test]
async fn logging_out_ends_one_session_or_all() {
    on_servers(async |server| {
        let phone = User::register(&server, "alice").await;
        let token = |answer: TestAnswer| answer.body["access_token"].as_str().unwrap().to_owned();
        let laptop = token(login(&server, by_identifier("alice", "alice")).await);
        let tablet = token(login(&server, by_identifier("alice", "alice")).await);
        let who = async |token: &str| {
            let path = "/_matrix/client/v3/account/whoami";
            server
                .request(Method::GET, path, Some(token), None)
                .await
                .status
                .as_u16()
        };
        let out = phone.post("logout", json!({})).await;
        assert_eq!((out.status.as_u16(), &out.body), (200, &json!({})));
        assert_eq!(
            phone.get("account/whoami").await.error(),
            (401, "M_UNKNOWN_TOKEN")
        );
        assert_eq!((who(&laptop).await, who(&tablet).await), (200, 200));

        // Without a body, as many clients do.
        let path = "/_matrix/client/v3/logout/all";
        let out = server
            .request(Method::POST, path, Some(&laptop), None)
            .await;
        assert_eq!(out.status, 200);
        assert_eq!((who(&laptop).await, who(&tablet).await), (401, 401));
    })
    .await;
}
