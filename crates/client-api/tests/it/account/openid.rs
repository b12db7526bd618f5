//! Proving to others who somebody is. <https://spec.matrix.org/v1.19/client-server-api/#openid>

use std::time::Duration;

use http::Method;
use serde_json::json;
use starling_testkit::{TestAnswer, TestServer};

use super::{User, on_servers};

async fn user_info(server: &TestServer, token: &str) -> TestAnswer {
    let path = format!("/_matrix/federation/v1/openid/userinfo?access_token={token}");
    server.request(Method::GET, &path, None, None).await
}

/// `POST /_matrix/client/v3/user/{userId}/openid/request_token`, `GET /_matrix/federation/v1/openid/userinfo`
#[tokio::test]
async fn a_token_proves_who_somebody_is_for_an_hour() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let path = format!("user/{}/openid/request_token", alice.id);
        let answer = alice.post(&path, json!({})).await.body;
        assert_eq!(answer["token_type"], "Bearer");
        assert_eq!(answer["matrix_server_name"], "localhost");
        assert_eq!(answer["expires_in"], 3600);
        let token = answer["access_token"].as_str().unwrap();

        let info = user_info(&server, token).await;
        assert_eq!(
            (info.status.as_u16(), info.body),
            (200, json!({ "sub": alice.id }))
        );
        // It is good for nothing else, and an access token is none.
        let whoami = "/_matrix/client/v3/account/whoami";
        let other = server.request(Method::GET, whoami, Some(token), None).await;
        assert_eq!(other.error(), (401, "M_UNKNOWN_TOKEN"));
        assert_eq!(
            user_info(&server, &alice.token).await.error(),
            (401, "M_UNKNOWN_TOKEN")
        );

        tokio::time::pause();
        tokio::time::advance(Duration::from_hours(1)).await;
        tokio::time::resume();
        assert_eq!(
            user_info(&server, token).await.error(),
            (401, "M_UNKNOWN_TOKEN")
        );
        assert_eq!(
            server.state.accounts.sweep_openid_tokens(10).await.unwrap(),
            1
        );
    })
    .await;
}

/// `POST /_matrix/client/v3/user/{userId}/openid/request_token`, `GET /_matrix/federation/v1/openid/userinfo`
#[tokio::test]
async fn nobody_proves_to_be_somebody_else() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let path = "user/@bob:localhost/openid/request_token";
        let answer = alice.post(path, json!({})).await;
        assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
        let path = "/_matrix/federation/v1/openid/userinfo";
        let none = server.request(Method::GET, path, None, None).await;
        assert_eq!(none.error(), (401, "M_MISSING_TOKEN"));
        assert_eq!(
            user_info(&server, "x").await.error(),
            (401, "M_UNKNOWN_TOKEN")
        );
    })
    .await;
}
