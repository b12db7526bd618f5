//! Messages from device to device. <https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging>

use http::Method;
use serde_json::{Value, json};

use super::{User, anybody, on_servers};

/// What waits for a device, once it has said up to where it was told.
async fn told(user: &User<'_>, since: &mut String) -> Value {
    let path = match &**since {
        "" => "sync".to_owned(),
        since => format!("sync?since={since}"),
    };
    let mut answer = user.get(&path).await.body;
    *since = answer["next_batch"].as_str().unwrap().to_owned();
    answer["to_device"]["events"].take()
}

/// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`, `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn messages_come_to_devices_in_order_and_once() {
    on_servers(async |server| {
        let (alice, bob) = (
            User::register(&server, "alice").await,
            User::register(&server, "bob").await,
        );
        let mut since = String::new();
        assert_eq!(told(&bob, &mut since).await, Value::Null);
        let to = |content: Value| json!({ "messages": { &*bob.id: { &*bob.device_id: content } } });
        for (txn_id, content) in [("1", json!({ "n": 1 })), ("1", json!({ "n": 1 })), ("2", json!({}))] {
            let sent = alice.put(&format!("sendToDevice/m.a/{txn_id}"), to(content)).await;
            assert_eq!((sent.status.as_u16(), sent.body), (200, json!({})));
        }
        // The same id for another type is another request.
        let sent = alice.put("sendToDevice/m.b/1", to(json!({ "n": 3 })));
        assert_eq!(sent.await.status, 200);
        let event = |kind: &str, content: Value| json!({ "sender": alice.id, "type": kind, "content": content });
        let expected = json!([
            event("m.a", json!({ "n": 1 })),
            event("m.a", json!({})),
            event("m.b", json!({ "n": 3 })),
        ]);
        let first = since.clone();
        assert_eq!(told(&bob, &mut since).await, expected);
        assert_eq!(told(&bob, &mut since).await, Value::Null);
        // Acknowledged is gone.
        assert_eq!(told(&bob, &mut first.clone()).await, Value::Null);
        // To all of one's own devices, also the one that sends.
        let to_all = json!({ "messages": { &*alice.id: { "*": { "n": 4 } } } });
        assert_eq!(alice.put("sendToDevice/m.a/3", to_all).await.status, 200);
        let waiting = told(&alice, &mut String::new()).await;
        assert_eq!(waiting, json!([event("m.a", json!({ "n": 4 }))]));
    })
    .await;
}

/// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`
#[tokio::test]
async fn who_logs_out_takes_what_waits_with_them() {
    on_servers(async |server| {
        let (alice, bob) = (
            User::register(&server, "alice").await,
            User::register(&server, "bob").await,
        );
        let to = json!({ "messages": { &*bob.id: { "*": {} } } });
        assert_eq!(
            alice.put("sendToDevice/m.a/1", to.clone()).await.status,
            200
        );
        assert_eq!(bob.post("logout", json!({})).await.status, 200);
        assert_eq!(alice.put("sendToDevice/m.a/2", to).await.status, 200);
        let login = json!({
            "type": "m.login.password", "password": "bob", "device_id": bob.device_id,
            "identifier": { "type": "m.id.user", "user": "bob" },
        });
        let again = anybody(&server, Method::POST, "login", Some(login));
        let again = again.await.body;
        let path = "/_matrix/client/v3/sync";
        let token = again["access_token"].as_str();
        let answer = server.request(Method::GET, path, token, None).await;
        assert_eq!(answer.body.get("to_device"), None, "{}", answer.body);
    })
    .await;
}

/// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`
#[tokio::test]
async fn a_request_that_is_refused_sends_nothing() {
    on_servers(async |server| {
        let (alice, bob) = (
            User::register(&server, "alice").await,
            User::register(&server, "bob").await,
        );
        let to = |content: Value| json!({ "messages": { &*bob.id: { &*bob.device_id: content } } });
        let with = |other: Value| {
            let mut all = to(json!({}));
            all["messages"]["@z:localhost"] = other;
            all
        };
        let many: serde_json::Map<String, Value> =
            (0..5_001).map(|it| (it.to_string(), json!({}))).collect();
        let cases = [
            (json!({}), (400, "M_MISSING_PARAM")),
            (json!({ "messages": [] }), (400, "M_BAD_JSON")),
            (with(json!("text")), (400, "M_BAD_JSON")),
            (with(json!({ "D": "text" })), (400, "M_BAD_JSON")),
            (with(json!({ "D": { "n": 1.5 } })), (400, "M_BAD_JSON")),
            (
                with(json!({ "D": { "x": "x".repeat(65_536) } })),
                (413, "M_TOO_LARGE"),
            ),
            (with(json!(many)), (413, "M_TOO_LARGE")),
        ];
        for (body, expected) in cases {
            let refused = alice.put("sendToDevice/m.a/1", body).await;
            assert_eq!(refused.error(), expected, "{}", refused.body);
        }
        let long = format!("sendToDevice/{}/1", "x".repeat(256));
        let refused = alice.put(&long, to(json!({}))).await;
        assert_eq!(refused.error(), (400, "M_INVALID_PARAM"));
        assert_eq!(told(&bob, &mut String::new()).await, Value::Null);
        // The id was not used up.
        assert_eq!(
            alice.put("sendToDevice/m.a/1", to(json!({}))).await.status,
            200
        );
        assert!(told(&bob, &mut String::new()).await.is_array());
    })
    .await;
}
