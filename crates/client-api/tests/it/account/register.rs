//! Registration. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register>

use http::Method;
use serde_json::{Value, json};
use starling_config::RegistrationMode;
use starling_db::Dialect;
use starling_store::SCHEMA;
use starling_testkit::{TestAnswer, TestDb, TestServer};

use super::{anybody, on_servers};

async fn register(server: &TestServer, body: Value) -> TestAnswer {
    anybody(server, Method::POST, "register", Some(body)).await
}

/// A request that lacks nothing, with changes.
fn whole(changes: &Value) -> Value {
    let mut body =
        json!({ "username": "alice", "password": "secret", "auth": { "type": "m.login.dummy" } });
    for (field, value) in changes.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

/// `POST /_matrix/client/v3/register`
#[tokio::test]
async fn one_request_makes_an_account_and_a_session() {
    on_servers(async |server| {
        let device = json!({ "device_id": "PHONE", "initial_device_display_name": "Phone" });
        let answer = register(&server, whole(&device)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["user_id"], "@alice:localhost");
        assert_eq!(answer.body["device_id"], "PHONE");
        let token = answer.body["access_token"].as_str();
        let path = "/_matrix/client/v3/account/whoami";
        let whoami = server.request(Method::GET, path, token, None).await;
        let expected =
            json!({ "user_id": "@alice:localhost", "device_id": "PHONE", "is_guest": false });
        assert_eq!(whoami.body, expected);
    })
    .await;
}

/// `POST /_matrix/client/v3/register`
#[tokio::test]
async fn without_the_stage_the_answer_asks_for_it() {
    on_servers(async |server| {
        let first = register(&server, json!({})).await;
        assert_eq!(first.status, 401);
        assert_eq!(
            first.body["flows"],
            json!([{ "stages": ["m.login.dummy"] }])
        );
        assert_eq!(first.errcode(), "");
        let session = first.body["session"].as_str().unwrap();

        let wrong =
            whole(&json!({ "auth": { "type": "m.login.email.identity", "session": session } }));
        let wrong = register(&server, wrong).await;
        assert_eq!(wrong.error(), (401, "M_UNRECOGNIZED"));
        assert_eq!(wrong.body["flows"], first.body["flows"]);

        let right = whole(&json!({ "auth": { "type": "m.login.dummy", "session": session } }));
        assert_eq!(register(&server, right).await.status, 200);
    })
    .await;
}

/// `POST /_matrix/client/v3/register`
#[tokio::test]
async fn no_session_begins_when_none_is_wanted() {
    on_servers(async |server| {
        let answer = register(&server, whole(&json!({ "inhibit_login": true }))).await;
        let expected = json!({ "user_id": "@alice:localhost", "home_server": "localhost" });
        assert_eq!(answer.body, expected);
    })
    .await;
}

/// `POST /_matrix/client/v3/register`
#[tokio::test]
async fn a_name_is_made_up_when_there_is_none() {
    on_servers(async |server| {
        let body = json!({ "password": "secret", "auth": { "type": "m.login.dummy" } });
        let one = register(&server, body.clone()).await.body["user_id"].take();
        let two = register(&server, body).await.body["user_id"].take();
        assert!(one.as_str().unwrap().ends_with(":localhost"), "{one}");
        assert_ne!(one, two);
    })
    .await;
}

/// `POST /_matrix/client/v3/register`
#[tokio::test]
async fn what_cannot_be_is_refused() {
    on_servers(async |server| {
        server.register("bob").await;
        let long = "x".repeat(300);
        for (changes, status, errcode) in [
            (json!({ "username": "bob" }), 400, "M_USER_IN_USE"),
            (json!({ "username": "BOB" }), 400, "M_USER_IN_USE"),
            (json!({ "username": "" }), 400, "M_INVALID_USERNAME"),
            (json!({ "username": "sm:ile" }), 400, "M_INVALID_USERNAME"),
            (json!({ "username": "ümlaut" }), 400, "M_INVALID_USERNAME"),
            (json!({ "username": long }), 400, "M_INVALID_USERNAME"),
            // The name is checked before the stage.
            (
                json!({ "username": "bob", "auth": null }),
                400,
                "M_USER_IN_USE",
            ),
            (json!({ "username": 7 }), 400, "M_BAD_JSON"),
            (json!({ "password": null }), 400, "M_MISSING_PARAM"),
            (json!({ "password": "" }), 400, "M_WEAK_PASSWORD"),
            (
                json!({ "password": "x".repeat(600) }),
                400,
                "M_WEAK_PASSWORD",
            ),
            (json!({ "device_id": long }), 400, "M_INVALID_PARAM"),
        ] {
            let answer = register(&server, whole(&changes)).await;
            assert_eq!(answer.error(), (status, errcode), "{changes}");
        }
        let path = "/_matrix/client/v3/register";
        let broken = server.raw(Method::POST, path, None, b"{".to_vec()).await;
        assert_eq!(broken.error(), (400, "M_NOT_JSON"));
        // None of them made an account.
        assert_eq!(register(&server, whole(&json!({}))).await.status, 200);
    })
    .await;
}

/// `GET /_matrix/client/v3/register/available`
#[tokio::test]
async fn a_name_is_available_until_it_is_taken() {
    on_servers(async |server| {
        let ask = async |query: &str| {
            let path = format!("register/available{query}");
            anybody(&server, Method::GET, &path, None).await
        };
        assert_eq!(
            ask("?username=carol").await.body,
            json!({ "available": true })
        );
        server.register("carol").await;
        assert_eq!(ask("?username=carol").await.error(), (400, "M_USER_IN_USE"));
        assert_eq!(
            ask("?username=a%20b").await.error(),
            (400, "M_INVALID_USERNAME")
        );
        assert_eq!(ask("").await.error(), (400, "M_MISSING_PARAM"));
    })
    .await;
}

/// `POST /_matrix/client/v3/register`
#[tokio::test]
async fn only_open_registration_takes_anybody() {
    let db = TestDb::open(Dialect::Sqlite, &SCHEMA).await;
    let mut config = TestServer::config();
    config.registration.mode = RegistrationMode::Closed;
    let server = TestServer::start_with(&db, config).await;
    let answer = register(&server, whole(&json!({}))).await;
    assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
    let server = TestServer::start(&db).await;
    let guest = anybody(
        &server,
        Method::POST,
        "register?kind=guest",
        Some(json!({})),
    )
    .await;
    assert_eq!(guest.error(), (403, "M_GUEST_ACCESS_FORBIDDEN"));
    let other = anybody(
        &server,
        Method::POST,
        "register?kind=robot",
        Some(json!({})),
    )
    .await;
    assert_eq!(other.error(), (400, "M_INVALID_PARAM"));
}
