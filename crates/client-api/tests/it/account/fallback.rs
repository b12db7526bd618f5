//! The pages on which stages are done in a browser. <https://spec.matrix.org/v1.19/client-server-api/#fallback>

use axum::body::Body;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use starling_accounts::NewRegistrationToken;
use starling_config::RegistrationMode;
use starling_store::SCHEMA;
use starling_testkit::{TestServer, on_each_engine};
use tower::ServiceExt as _;

use super::anybody;

async fn on_servers<F: AsyncFn(TestServer)>(test: F) {
    on_each_engine(&SCHEMA, async |db| {
        let mut config = TestServer::config();
        config.registration.mode = RegistrationMode::Token;
        test(TestServer::start_with(&db, config).await).await;
    })
    .await;
}

struct Page {
    status: u16,
    policy: String,
    html: String,
}

async fn browse(server: &TestServer, stage: &str, query: &str, form: Option<String>) -> Page {
    let path = format!("/_matrix/client/v3/auth/{stage}/fallback/web{query}");
    let request = match form {
        None => Request::get(path).body(Body::empty()),
        Some(form) => Request::post(path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form)),
    };
    let router = starling_client_api::routes().into_router(server.state.clone());
    let response: Response<Body> = router.oneshot(request.unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let policy = response.headers().get(CONTENT_SECURITY_POLICY);
    let policy = policy
        .map_or("", |policy| policy.to_str().unwrap())
        .to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    Page {
        status,
        policy,
        html: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

async fn register(server: &TestServer, auth: Value) -> starling_testkit::TestAnswer {
    let body = json!({ "username": "alice", "password": "secret", "auth": auth });
    anybody(server, Method::POST, "register", Some(body)).await
}

const TOKEN: &str = "m.login.registration_token";

/// `GET /_matrix/client/v3/auth/{authType}/fallback/web`, `POST /_matrix/client/v3/auth/{authType}/fallback/web`,
/// `POST /_matrix/client/v3/register`
#[tokio::test]
async fn a_stage_that_was_done_on_its_page_counts() {
    on_servers(async |server| {
        let new = NewRegistrationToken::default();
        let token = server.state.accounts.make_registration_token(new).await;
        let token = token.unwrap().token;
        let asked = register(&server, Value::Null).await;
        let session = asked.body["session"].as_str().unwrap();
        let query = format!("?session={session}");
        let page = browse(&server, TOKEN, &query, None).await;
        assert_eq!(page.status, 200);
        assert!(page.html.contains("name=\"token\"") && page.html.contains(session));
        assert!(page.policy.starts_with("default-src 'none';") && !page.policy.contains("script"));

        let wrong = format!("session={session}&token=%3Cwrong%3E");
        let page = browse(&server, TOKEN, "", Some(wrong)).await;
        assert_eq!(page.status, 401);
        assert!(page.html.contains("not good") && !page.html.contains("wrong"));
        let only_session = json!({ "session": session });
        let early = register(&server, only_session.clone()).await;
        assert_eq!((early.status.as_u16(), early.errcode()), (401, ""));

        let right = format!("session={session}&token={token}");
        let page = browse(&server, TOKEN, "", Some(right)).await;
        assert_eq!(page.status, 200);
        assert!(page.html.contains("window.onAuthDone();"));
        assert!(
            page.html
                .contains("window.opener.postMessage(\"authDone\", \"*\");")
        );
        let nonce = page
            .html
            .split("nonce=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next();
        assert!(
            page.policy
                .contains(&format!("script-src 'nonce-{}'", nonce.unwrap()))
        );

        let made = register(&server, only_session.clone()).await;
        assert_eq!(made.status, 200, "{}", made.body);
        // It was for that account; whoever sees the page's address has nothing of it.
        let body = json!({ "username": "bob", "password": "secret", "auth": only_session });
        let more = anybody(&server, Method::POST, "register", Some(body)).await;
        assert_eq!((more.status.as_u16(), more.errcode()), (401, ""));
        assert_eq!(more.body["completed"], Value::Null);
    })
    .await;
}

/// `GET /_matrix/client/v3/auth/{authType}/fallback/web`, `POST /_matrix/client/v3/auth/{authType}/fallback/web`
#[tokio::test]
async fn pages_of_nothing_are_refused() {
    on_servers(async |server| {
        let asked = register(&server, Value::Null).await;
        let session = asked.body["session"].as_str().unwrap();
        for (stage, query, status) in [
            (TOKEN, "?session=%3Cscript%3E".to_owned(), 400),
            (TOKEN, String::new(), 400),
            ("m.login.password", format!("?session={session}"), 404),
            ("org.example.x", format!("?session={session}"), 404),
        ] {
            let page = browse(&server, stage, &query, None).await;
            assert_eq!(page.status, status, "{stage} {query}");
            assert!(!page.html.contains("<script"), "{}", page.html);
        }
        for form in ["", "session=x", "token=x", "%", &"x".repeat(5_000)] {
            let page = browse(&server, TOKEN, "", Some(form.to_owned())).await;
            assert!((400..500).contains(&page.status), "{form}");
        }
    })
    .await;
}

/// `GET /_matrix/client/v3/auth/{authType}/fallback/web`, `POST /_matrix/client/v3/auth/{authType}/fallback/web`,
/// `POST /_matrix/client/v3/register`
#[tokio::test]
async fn a_stage_without_questions_has_a_page_too() {
    on_each_engine(&SCHEMA, async |db| {
        let server = TestServer::start(&db).await;
        let asked = register(&server, Value::Null).await;
        let session = asked.body["session"].as_str().unwrap();
        let query = format!("?session={session}");
        let page = browse(&server, "m.login.dummy", &query, None).await;
        assert_eq!(page.status, 200);
        assert!(!page.html.contains("name=\"token\""));
        let form = Some(format!("session={session}"));
        let page = browse(&server, "m.login.dummy", &query, form).await;
        assert_eq!(page.status, 200);
        assert!(page.html.contains("window.onAuthDone();"));
        let made = register(&server, json!({ "session": session })).await;
        assert_eq!(made.status, 200, "{}", made.body);
    })
    .await;
}
