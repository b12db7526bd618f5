//! Limits that the API's routes declare: <https://spec.matrix.org/v1.19/client-server-api/#rate-limiting>

use http::Method;
use serde_json::{Value, json};
use starling_config::RateLimits;
use starling_store::SCHEMA;
use starling_testkit::{TestAnswer, TestDevice, TestServer, on_each_engine};

/// Runs a test with a server on each engine that has these limits and on which no time passes.
async fn on_limited(limits: RateLimits, test: impl AsyncFn(TestServer)) {
    on_each_engine(&SCHEMA, async |db| {
        let mut config = TestServer::config();
        config.rate_limits = limits;
        test(TestServer::start_timeless(&db, config).await).await;
    })
    .await;
}

async fn login(server: &TestServer, user: &str, password: &str) -> TestAnswer {
    let identifier = json!({ "type": "m.id.user", "user": user });
    let body =
        json!({ "type": "m.login.password", "identifier": identifier, "password": password });
    let path = "/_matrix/client/v3/login";
    server.request(Method::POST, path, None, Some(body)).await
}

/// `POST /_matrix/client/v3/login`
#[tokio::test]
async fn passwords_of_an_account_cannot_be_guessed_at_speed() {
    let limits = RateLimits {
        login_failures_burst: 3,
        ..RateLimits::default()
    };
    on_limited(limits, async |server| {
        for name in ["alice", "bob"] {
            server.register(name).await;
        }
        // What succeeds is no failure, however often.
        for _ in 0..5 {
            assert_eq!(login(&server, "alice", "alice").await.status, 200);
        }
        // However the name is written, and whether there is such an account or not.
        for name in ["alice", "nobody"] {
            let whole = format!("@{name}:localhost");
            for user in [name, &name.to_uppercase(), &whole] {
                let wrong = login(&server, user, "wrong").await;
                assert_eq!(wrong.error(), (403, "M_FORBIDDEN"), "{user}");
            }
            let refused = login(&server, name, name).await;
            assert_eq!(refused.error(), (429, "M_LIMIT_EXCEEDED"), "{name}");
            let wait = refused.body["retry_after_ms"].as_u64().unwrap();
            assert!(wait > 30_000 && wait <= 60_000, "{wait}");
        }
        assert_eq!(login(&server, "bob", "bob").await.status, 200);
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`,
/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`,
/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}` and
/// `POST /_matrix/client/v3/rooms/{roomId}/leave`
#[tokio::test]
async fn what_one_user_does_in_rooms_is_one_limit() {
    let limits = RateLimits {
        messages_burst: 3,
        ..RateLimits::default()
    };
    on_limited(limits, async |server| {
        let alice = server.register("alice").await;
        let token = alice["access_token"].as_str();
        let call = async |method, path: &str, body: Value| {
            let path = format!("/_matrix/client/v3/{path}");
            server.request(method, &path, token, Some(body)).await
        };
        let room = call(Method::POST, "createRoom", json!({})).await;
        let room = format!("rooms/{}", room.body["room_id"].as_str().unwrap());
        let message = json!({ "msgtype": "m.text", "body": "hello" });
        let message_path = format!("{room}/send/m.room.message/1");
        let sent = call(Method::PUT, &message_path, message.clone()).await;
        assert_eq!(sent.status, 200, "{}", sent.body);
        let event = sent.body["event_id"].as_str().unwrap();
        let redact = format!("{room}/redact/{event}/2");
        assert_eq!(call(Method::PUT, &redact, json!({})).await.status, 200);
        let state = format!("{room}/state/m.room.topic/");
        let topic = json!({ "topic": "limits" });
        assert_eq!(call(Method::PUT, &state, topic.clone()).await.status, 200);
        for (method, path, body) in [
            (Method::PUT, &message_path, &message),
            (Method::PUT, &redact, &json!({})),
            (Method::PUT, &state, &topic),
            (Method::POST, &format!("{room}/leave"), &json!({})),
        ] {
            let refused = call(method, path, body.clone()).await;
            assert_eq!(refused.error(), (429, "M_LIMIT_EXCEEDED"), "{path}");
        }
        let read = call(Method::GET, &format!("{room}/state"), Value::Null).await;
        assert_eq!(read.status, 200, "{}", read.body);
    })
    .await;
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`,
/// `DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`,
/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`,
/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
#[tokio::test]
async fn push_rules_change_as_seldom_as_other_things_of_the_account() {
    let limits = RateLimits {
        account_changes_burst: 2,
        ..RateLimits::default()
    };
    on_limited(limits, async |server| {
        let alice = server.register("alice").await;
        let token = alice["access_token"].as_str();
        let call = async |method, path: &str, body: Value| {
            let path = format!("/_matrix/client/v3/pushrules/{path}");
            server.request(method, &path, token, Some(body)).await
        };
        let rule = json!({ "pattern": "cake", "actions": ["notify"] });
        let cake = "global/content/cake";
        for _ in 0..2 {
            let put = call(Method::PUT, cake, rule.clone()).await;
            assert_eq!(put.status, 200, "{}", put.body);
        }
        for (method, path, body) in [
            (Method::PUT, cake.to_owned(), rule),
            (
                Method::PUT,
                format!("{cake}/enabled"),
                json!({ "enabled": true }),
            ),
            (
                Method::PUT,
                format!("{cake}/actions"),
                json!({ "actions": [] }),
            ),
            (Method::DELETE, cake.to_owned(), json!({})),
        ] {
            let refused = call(method, &path, body).await;
            assert_eq!(refused.error(), (429, "M_LIMIT_EXCEEDED"), "{path}");
        }
        let read = call(Method::GET, "", Value::Null).await;
        assert_eq!(read.status, 200, "{}", read.body);
    })
    .await;
}

/// `POST /_matrix/client/v3/keys/upload`
#[tokio::test]
async fn other_keys_of_a_device_are_a_change_of_the_account() {
    let limits = RateLimits {
        account_changes_burst: 2,
        ..RateLimits::default()
    };
    on_limited(limits, async |server| {
        let alice = server.register("alice").await;
        let text = |field: &str| alice[field].as_str().unwrap();
        let upload = async |seed: u8| {
            let device = TestDevice::new(text("user_id"), text("device_id"), seed);
            let body = json!({ "device_keys": device.keys() });
            let path = "/_matrix/client/v3/keys/upload";
            let token = Some(text("access_token"));
            server.request(Method::POST, path, token, Some(body)).await
        };
        for seed in [1, 1, 1, 2] {
            assert_eq!(upload(seed).await.status, 200, "{seed}");
        }
        assert_eq!(upload(3).await.error(), (429, "M_LIMIT_EXCEEDED"));
        assert_eq!(upload(2).await.status, 200, "it has these");
    })
    .await;
}

/// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`
#[tokio::test]
async fn messages_to_devices_are_limited_by_their_bytes() {
    on_limited(RateLimits::default(), async |server| {
        let users = [server.register("alice").await, server.register("bob").await];
        let content = json!({ "body": "x".repeat(64_000) });
        let devices = (0..125).map(|number| (format!("D{number}"), content.clone()));
        let devices: serde_json::Map<String, Value> = devices.collect();
        let body = json!({ "messages": { "@nobody:localhost": devices } });
        let body = body.to_string().into_bytes();
        let send = async |user: &Value, number: usize| {
            let path = format!("/_matrix/client/v3/sendToDevice/m.test/{number}");
            let token = user["access_token"].as_str();
            server.raw(Method::PUT, &path, token, body.clone()).await
        };
        // 8 MB each.
        for number in 0..4 {
            assert_eq!(send(&users[0], number).await.status, 200);
        }
        let refused = send(&users[0], 4).await;
        assert_eq!(refused.error(), (429, "M_LIMIT_EXCEEDED"));
        assert_eq!(send(&users[1], 0).await.status, 200);
    })
    .await;
}
