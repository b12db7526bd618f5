//! Messages to devices that other servers send on.
//! <https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging>

use http::Method;
use serde_json::{Value, json};

use crate::support::{Here, Peer, on_servers};

/// An `m.direct_to_device` of a user.
fn edu(sender: &str, id: &str, messages: &Value) -> Value {
    json!({ "edu_type": "m.direct_to_device", "content": {
        "sender": sender, "type": "m.test", "message_id": id, "messages": messages,
    } })
}

async fn send(server: &Here, peer: &Peer, txn_id: &str, edus: &[Value]) {
    let transaction = json!({
        "origin": peer.name, "origin_server_ts": server.now_ms(), "pdus": [], "edus": edus,
    });
    let path = format!("v1/send/{txn_id}");
    let answer = server.put(peer, &path, &transaction).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body),
        (200, json!({ "pdus": {} }))
    );
}

/// What a device is told, each time all that waits.
async fn told(server: &Here, token: &str) -> Vec<Value> {
    let answer = server
        .as_user(token, (Method::GET, "sync"), Value::Null)
        .await;
    let events = answer["to_device"]["events"].as_array().cloned();
    events.unwrap_or_default()
}

async fn device(server: &Here, token: &str) -> String {
    let whoami = server.as_user(token, (Method::GET, "account/whoami"), Value::Null);
    whoami.await["device_id"].as_str().unwrap().to_owned()
}

/// `PUT /_matrix/federation/v1/send/{txnId}`
#[tokio::test]
async fn a_message_comes_to_its_device_once_however_often_it_is_sent() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let device = device(&server, &alice).await;
        let (peer, other) = (
            server.peer("peer.example", 1),
            server.peer("other.example", 2),
        );
        let to = json!({ "@alice:localhost": { device: { "n": 1 } } });
        let first = edu("@bob:peer.example", "id", &to);
        send(&server, &peer, "1", std::slice::from_ref(&first)).await;
        // The answer was lost; and once more in another transaction.
        send(&server, &peer, "1", std::slice::from_ref(&first)).await;
        send(&server, &peer, "2", std::slice::from_ref(&first)).await;
        let expected =
            json!({ "content": { "n": 1 }, "sender": "@bob:peer.example", "type": "m.test" });
        assert_eq!(told(&server, &alice).await, std::slice::from_ref(&expected));
        // Another server may have the same ids.
        send(
            &server,
            &other,
            "1",
            &[edu("@eve:other.example", "id", &to)],
        )
        .await;
        // For all devices.
        let to_all = json!({ "@alice:localhost": { "*": { "n": 2 } } });
        send(
            &server,
            &peer,
            "3",
            &[edu("@bob:peer.example", "id2", &to_all)],
        )
        .await;
        let all = told(&server, &alice).await;
        let numbers: Vec<&Value> = all.iter().map(|event| &event["content"]["n"]).collect();
        assert_eq!(numbers, [1, 1, 2]);
        assert_eq!(all[1]["sender"], "@eve:other.example");
    })
    .await;
}

/// `PUT /_matrix/federation/v1/send/{txnId}`
#[tokio::test]
async fn what_makes_no_sense_or_is_not_the_servers_to_say_is_passed_over() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let device = device(&server, &alice).await;
        let peer = server.peer("peer.example", 1);
        let to = |content: Value| json!({ "@alice:localhost": { device.clone(): content } });
        let good = to(json!({}));
        let mut untyped = edu("@bob:peer.example", "b", &good);
        untyped["content"].as_object_mut().unwrap().remove("type");
        let edus = [
            edu("@bob:elsewhere.example", "a", &good),
            edu("@alice:localhost", "a", &good),
            edu("bob", "a", &good),
            untyped,
            edu("@bob:peer.example", &"x".repeat(300), &good),
            edu("@bob:peer.example", "c", &to(json!("text"))),
            edu(
                "@bob:peer.example",
                "d",
                &to(json!({ "x": "x".repeat(70_000) })),
            ),
            edu("@bob:peer.example", "e", &json!([])),
            edu(
                "@bob:peer.example",
                "f",
                &json!({ "@alice:localhost": [], "alice": {}, "@a:x.example": { "*": {} } }),
            ),
            edu(
                "@bob:peer.example",
                "g",
                &json!({ "@alice:localhost": { "NOWHERE": {} }, "@nobody:localhost": { "*": {} } }),
            ),
            json!({ "edu_type": "m.direct_to_device" }),
            edu("@bob:peer.example", "h", &to(json!({ "last": true }))),
        ];
        send(&server, &peer, "1", &edus).await;
        let all = told(&server, &alice).await;
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0]["content"], json!({ "last": true }));
    })
    .await;
}
