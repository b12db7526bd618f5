//! Changing the password. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword>

use http::Method;
use serde_json::{Value, json};
use starling_testkit::{TestAnswer, TestServer};

use super::{User, anybody, on_servers};

const PATH: &str = "account/password";

async fn login(server: &TestServer, password: &str) -> TestAnswer {
    let body = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" }, "password": password,
    });
    anybody(server, Method::POST, "login", Some(body)).await
}

async fn whoami(server: &TestServer, login: &TestAnswer) -> u16 {
    let path = "/_matrix/client/v3/account/whoami";
    let token = login.body["access_token"].as_str();
    let answer = server.request(Method::GET, path, token, None).await;
    answer.status.as_u16()
}

/// `POST /_matrix/client/v3/account/password`, `POST /_matrix/client/v3/login`
#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let other = login(&server, "alice").await;
        let body = json!({ "new_password": "better", "auth": alice.auth() });
        let set = alice.post(PATH, body).await;
        assert_eq!((set.status.as_u16(), &set.body), (200, &json!({})));
        assert_eq!(alice.get("account/whoami").await.status, 200);
        assert_eq!(whoami(&server, &other).await, 401);
        assert_eq!(login(&server, "alice").await.error(), (403, "M_FORBIDDEN"));
        assert_eq!(login(&server, "better").await.status, 200);
    })
    .await;
}

/// `POST /_matrix/client/v3/account/password`
#[tokio::test]
async fn other_sessions_may_be_kept() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let other = login(&server, "alice").await;
        let body =
            json!({ "new_password": "better", "logout_devices": false, "auth": alice.auth() });
        assert_eq!(alice.post(PATH, body).await.status, 200);
        assert_eq!(whoami(&server, &other).await, 200);
    })
    .await;
}

/// `POST /_matrix/client/v3/account/password`
#[tokio::test]
async fn what_cannot_be_changes_nothing() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let long = "x".repeat(600);
        for (password, status, errcode) in [
            (Value::Null, 400, "M_MISSING_PARAM"),
            (json!(""), 400, "M_WEAK_PASSWORD"),
            (json!(long), 400, "M_WEAK_PASSWORD"),
            (json!(7), 400, "M_BAD_JSON"),
        ] {
            let body = json!({ "new_password": password, "auth": alice.auth() });
            let answer = alice.post(PATH, body).await;
            assert_eq!(answer.error(), (status, errcode), "{password}");
        }
        let nobody = anybody(&server, Method::POST, PATH, Some(json!({}))).await;
        assert_eq!(nobody.error(), (401, "M_MISSING_TOKEN"));
        assert_eq!(login(&server, "alice").await.status, 200);
    })
    .await;
}
