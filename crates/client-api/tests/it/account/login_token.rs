//! Letting another client log in. <https://spec.matrix.org/v1.19/client-server-api/#token-based-user-login>

use std::time::Duration;

use http::Method;
use serde_json::json;
use starling_testkit::{TestAnswer, TestServer};

use super::{User, anybody, on_servers};

async fn get_token(user: &User<'_>) -> String {
    let path = "/_matrix/client/v1/login/get_token";
    let token = Some(user.token.as_str());
    let asked = user.server.request(Method::POST, path, token, None).await;
    assert_eq!((asked.status.as_u16(), asked.errcode()), (401, ""));
    let body = Some(json!({ "auth": user.auth() }));
    let answer = user.server.request(Method::POST, path, token, body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["expires_in_ms"], 120_000);
    answer.body["login_token"].as_str().unwrap().to_owned()
}

async fn login(server: &TestServer, token: &str) -> TestAnswer {
    let body = json!({ "type": "m.login.token", "token": token });
    anybody(server, Method::POST, "login", Some(body)).await
}

/// `POST /_matrix/client/v1/login/get_token`, `POST /_matrix/client/v3/login`
#[tokio::test]
async fn a_login_token_is_good_once() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let token = get_token(&alice).await;
        let answer = login(&server, &token).await;
        assert_eq!(answer.body["user_id"], json!(alice.id), "{}", answer.body);
        assert_ne!(answer.body["device_id"], json!(alice.device_id));
        let again = login(&server, &token).await;
        assert_eq!(again.error(), (403, "M_FORBIDDEN"));
        let message = "the login token is unknown, was used already, or has expired";
        assert_eq!(again.body["error"], message);
        assert_eq!(alice.get("account/whoami").await.status, 200);
    })
    .await;
}

/// `POST /_matrix/client/v1/login/get_token`, `POST /_matrix/client/v3/login`
#[tokio::test]
async fn a_login_token_is_good_for_two_minutes_and_while_the_account_is() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let token = get_token(&alice).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_mins(2)).await;
        tokio::time::resume();
        assert_eq!(login(&server, &token).await.error(), (403, "M_FORBIDDEN"));
        assert_eq!(
            server.state.accounts.sweep_login_tokens(10).await.unwrap(),
            1
        );

        let token = get_token(&alice).await;
        let body = json!({ "auth": alice.auth() });
        let gone = alice.post("account/deactivate", body).await;
        assert_eq!(gone.status, 200, "{}", gone.body);
        assert_eq!(login(&server, &token).await.error(), (403, "M_FORBIDDEN"));
    })
    .await;
}
