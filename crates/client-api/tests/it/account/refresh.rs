//! Renewing access tokens. <https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens>

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use starling_testkit::{TestAnswer, TestServer};

use super::{anybody, on_servers};

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

/// A pair of tokens.
struct Pair {
    access: String,
    refresh: String,
}

impl Pair {
    fn of(answer: &TestAnswer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["expires_in_ms"], 300_000);
        let text = |field: &str| answer.body[field].as_str().unwrap().to_owned();
        Self {
            access: text("access_token"),
            refresh: text("refresh_token"),
        }
    }
}

/// A session whose client renews its access token.
async fn login(server: &TestServer, name: &str) -> Pair {
    let body = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name }, "password": name,
        "refresh_token": true,
    });
    Pair::of(&anybody(server, Method::POST, "login", Some(body)).await)
}

async fn refresh(server: &TestServer, token: &str) -> TestAnswer {
    let body = json!({ "refresh_token": token });
    anybody(server, Method::POST, "refresh", Some(body)).await
}

async fn whoami(server: &TestServer, token: &str) -> TestAnswer {
    server.request(Method::GET, WHOAMI, Some(token), None).await
}

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// `POST /_matrix/client/v3/refresh`, `POST /_matrix/client/v3/login`, `GET /_matrix/client/v3/account/whoami`
#[tokio::test]
async fn an_expired_token_is_renewed() {
    on_servers(async |server| {
        server.register("alice").await;
        let first = login(&server, "alice").await;
        pass(Duration::from_secs(299)).await;
        let device = whoami(&server, &first.access).await.body["device_id"].clone();
        pass(Duration::from_secs(1)).await;
        let late = whoami(&server, &first.access).await;
        assert_eq!(late.error(), (401, "M_UNKNOWN_TOKEN"));
        assert_eq!(late.body["soft_logout"], true);

        let second = Pair::of(&refresh(&server, &first.refresh).await);
        assert_ne!(second.refresh, first.refresh);
        let renewed = whoami(&server, &second.access).await;
        assert_eq!(renewed.body["device_id"], device, "{}", renewed.body);
    })
    .await;
}

/// `POST /_matrix/client/v3/refresh`
#[tokio::test]
async fn the_old_pair_ends_when_the_new_access_token_is_used() {
    on_servers(async |server| {
        server.register("alice").await;
        let first = login(&server, "alice").await;
        // The first answer was lost on its way: the client asks again.
        let lost = Pair::of(&refresh(&server, &first.refresh).await);
        let second = Pair::of(&refresh(&server, &first.refresh).await);
        assert_eq!(whoami(&server, &first.access).await.status, 200);
        let unknown = (401, "M_UNKNOWN_TOKEN");
        assert_eq!(whoami(&server, &lost.access).await.error(), unknown);
        assert_eq!(refresh(&server, &lost.refresh).await.error(), unknown);

        assert_eq!(whoami(&server, &second.access).await.status, 200);
        // A request that was on its way with it is no sign that the session is over.
        let late = whoami(&server, &first.access).await;
        assert_eq!(late.error(), unknown);
        assert_eq!(late.body["soft_logout"], true);
        let old = refresh(&server, &first.refresh).await;
        assert_eq!(old.error(), unknown);
        assert_eq!(old.body["soft_logout"], Value::Null);
        assert_eq!(whoami(&server, &second.access).await.status, 200);

        // Of the one before there is nothing left.
        let third = Pair::of(&refresh(&server, &second.refresh).await);
        assert_eq!(whoami(&server, &third.access).await.status, 200);
        let oldest = whoami(&server, &first.access).await;
        assert_eq!(oldest.body["soft_logout"], Value::Null);
        let logout = "/_matrix/client/v3/logout";
        let out = server.request(Method::POST, logout, Some(&third.access), None);
        assert_eq!(out.await.status, 200);
        let ended = whoami(&server, &second.access).await;
        assert_eq!(ended.error(), unknown);
        assert_eq!(ended.body["soft_logout"], Value::Null);
    })
    .await;
}

/// `POST /_matrix/client/v3/refresh`
#[tokio::test]
async fn the_old_pair_ends_when_the_new_refresh_token_is_used() {
    on_servers(async |server| {
        server.register("alice").await;
        let first = login(&server, "alice").await;
        let second = Pair::of(&refresh(&server, &first.refresh).await);
        let third = Pair::of(&refresh(&server, &second.refresh).await);
        let unknown = (401, "M_UNKNOWN_TOKEN");
        assert_eq!(whoami(&server, &first.access).await.error(), unknown);
        assert_eq!(refresh(&server, &first.refresh).await.error(), unknown);
        assert_eq!(whoami(&server, &second.access).await.status, 200);
        assert_eq!(whoami(&server, &third.access).await.status, 200);
    })
    .await;
}

/// `POST /_matrix/client/v3/refresh`, `POST /_matrix/client/v3/logout`
#[tokio::test]
async fn refresh_tokens_end_with_their_session() {
    on_servers(async |server| {
        server.register("alice").await;
        let phone = login(&server, "alice").await;
        let laptop = login(&server, "alice").await;
        let logout = "/_matrix/client/v3/logout";
        let out = server
            .request(Method::POST, logout, Some(&phone.access), None)
            .await;
        assert_eq!(out.status, 200);
        let unknown = (401, "M_UNKNOWN_TOKEN");
        assert_eq!(refresh(&server, &phone.refresh).await.error(), unknown);
        Pair::of(&refresh(&server, &laptop.refresh).await);

        let all = "/_matrix/client/v3/logout/all";
        let out = server
            .request(Method::POST, all, Some(&laptop.access), None)
            .await;
        assert_eq!(out.status, 200);
        assert_eq!(refresh(&server, &laptop.refresh).await.error(), unknown);
    })
    .await;
}

/// `POST /_matrix/client/v3/refresh`
#[tokio::test]
async fn other_texts_refresh_nothing() {
    on_servers(async |server| {
        server.register("alice").await;
        let pair = login(&server, "alice").await;
        for token in ["", "x", &pair.access, &"x".repeat(10_000)] {
            let answer = refresh(&server, token).await;
            assert_eq!(answer.error(), (401, "M_UNKNOWN_TOKEN"), "{token:?}");
            let message = "The refresh token is unknown or was used already";
            assert_eq!(answer.body["error"], message);
        }
        let none = anybody(&server, Method::POST, "refresh", Some(json!({}))).await;
        assert_eq!(none.error(), (400, "M_BAD_JSON"));
        // A refresh token is no access token.
        let answer = whoami(&server, &pair.refresh).await;
        assert_eq!(answer.error(), (401, "M_UNKNOWN_TOKEN"));
    })
    .await;
}

/// `POST /_matrix/client/v3/login`, `POST /_matrix/client/v3/register`
#[tokio::test]
async fn a_token_that_nobody_renews_does_not_expire() {
    on_servers(async |server| {
        let alice = server.register("alice").await;
        assert_eq!(alice["refresh_token"], Value::Null);
        assert_eq!(alice["expires_in_ms"], Value::Null);
        pass(Duration::from_hours(24 * 365)).await;
        let token = alice["access_token"].as_str().unwrap();
        assert_eq!(whoami(&server, token).await.status, 200);

        let body = json!({
            "username": "bob", "password": "bob", "refresh_token": true, "auth": { "type": "m.login.dummy" },
        });
        Pair::of(&anybody(&server, Method::POST, "register", Some(body)).await);
    })
    .await;
}
