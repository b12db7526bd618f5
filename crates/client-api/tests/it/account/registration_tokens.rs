//! Registration with a token. <https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration>

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use starling_accounts::{NewRegistrationToken, RegistrationTokenError};
use starling_config::RegistrationMode;
use starling_store::SCHEMA;
use starling_testkit::{TestAnswer, TestServer, on_each_engine};

use super::{anybody, on_servers};

const STAGE: &str = "m.login.registration_token";

async fn on_servers_with_tokens<F: AsyncFn(TestServer)>(test: F) {
    on_each_engine(&SCHEMA, async |db| {
        let mut config = TestServer::config();
        config.registration.mode = RegistrationMode::Token;
        test(TestServer::start_with(&db, config).await).await;
    })
    .await;
}

async fn register(server: &TestServer, name: &str, auth: Value) -> TestAnswer {
    let body = json!({ "username": name, "password": "secret", "auth": auth });
    anybody(server, Method::POST, "register", Some(body)).await
}

async fn make(server: &TestServer, new: NewRegistrationToken) -> String {
    let made = server.state.accounts.make_registration_token(new).await;
    made.unwrap().token
}

async fn is_valid(server: &TestServer, token: &str) -> Value {
    let path = format!("/_matrix/client/v1/register/{STAGE}/validity?token={token}");
    let answer = server.request(Method::GET, &path, None, None).await;
    answer.body["valid"].clone()
}

/// `POST /_matrix/client/v3/register`, `GET /_matrix/client/v1/register/m.login.registration_token/validity`
#[tokio::test]
async fn a_token_is_good_for_as_many_accounts_as_it_says() {
    on_servers_with_tokens(async |server| {
        let new = NewRegistrationToken {
            token: Some("Spring-2031".to_owned()),
            uses: Some(2),
            lifetime: None,
        };
        let token = make(&server, new.clone()).await;
        let twice = server.state.accounts.make_registration_token(new).await;
        assert!(matches!(twice, Err(RegistrationTokenError::Exists)));
        let asked = register(&server, "alice", Value::Null).await;
        assert_eq!(asked.body["flows"], json!([{ "stages": [STAGE] }]));
        let auth = |token: &str| json!({ "type": STAGE, "token": token });
        assert_eq!(is_valid(&server, &token).await, true);
        assert_eq!(register(&server, "alice", auth(&token)).await.status, 200);
        // A registration that fails uses nothing up.
        let again = register(&server, "alice", auth(&token)).await;
        assert_eq!(again.error(), (400, "M_USER_IN_USE"));
        assert_eq!(register(&server, "bob", auth(&token)).await.status, 200);
        assert_eq!(is_valid(&server, &token).await, false);
        for token in [&token, "spring-2031", "", "x x", &"x".repeat(100)] {
            let answer = register(&server, "carol", auth(token)).await;
            assert_eq!(answer.error(), (401, "M_UNAUTHORIZED"), "{token}");
            assert_eq!(answer.body["flows"], json!([{ "stages": [STAGE] }]));
        }
        let none = register(&server, "carol", json!({ "type": STAGE })).await;
        assert_eq!(none.error(), (400, "M_MISSING_PARAM"));
        let other = register(&server, "carol", json!({ "type": "m.login.dummy" })).await;
        assert_eq!(other.error(), (401, "M_UNRECOGNIZED"));
    })
    .await;
}

/// `POST /_matrix/client/v3/register`
#[tokio::test]
async fn the_last_use_is_had_by_one_of_many_at_once() {
    on_servers_with_tokens(async |server| {
        let new = NewRegistrationToken {
            uses: Some(1),
            ..NewRegistrationToken::default()
        };
        let token = make(&server, new).await;
        let tries = ["a1", "a2", "a3", "a4", "a5"].map(|name| {
            let auth = json!({ "type": STAGE, "token": token });
            register(&server, name, auth)
        });
        let answers = futures_util::future::join_all(tries).await;
        let made = answers.iter().filter(|answer| answer.status == 200);
        assert_eq!(made.count(), 1);
        let refused = answers.iter().filter(|answer| answer.status != 200);
        for answer in refused {
            assert_eq!(answer.error(), (401, "M_UNAUTHORIZED"));
        }
    })
    .await;
}

/// `GET /_matrix/client/v1/register/m.login.registration_token/validity`
#[tokio::test]
async fn a_token_expires_and_is_revoked() {
    on_servers_with_tokens(async |server| {
        let new = NewRegistrationToken {
            lifetime: Some(Duration::from_mins(1)),
            ..NewRegistrationToken::default()
        };
        let short = make(&server, new).await;
        let long = make(&server, NewRegistrationToken::default()).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_mins(1)).await;
        tokio::time::resume();
        assert_eq!(is_valid(&server, &short).await, false);
        assert_eq!(is_valid(&server, &long).await, true);
        let accounts = &server.state.accounts;
        let list = accounts
            .registration_tokens(String::new(), 10)
            .await
            .unwrap();
        assert_eq!(list.len(), 2);
        assert!(
            accounts
                .revoke_registration_token(long.clone())
                .await
                .unwrap()
        );
        assert!(
            !accounts
                .revoke_registration_token(long.clone())
                .await
                .unwrap()
        );
        assert_eq!(is_valid(&server, &long).await, false);
        assert_eq!(is_valid(&server, "%2F").await, false);
    })
    .await;
}

/// `POST /_matrix/client/v3/register`
#[tokio::test]
async fn where_anybody_may_register_no_token_is_asked_for() {
    on_servers(async |server| {
        let auth = json!({ "type": STAGE, "token": "x" });
        let answer = register(&server, "alice", auth).await;
        assert_eq!(answer.error(), (401, "M_UNRECOGNIZED"));
    })
    .await;
}
