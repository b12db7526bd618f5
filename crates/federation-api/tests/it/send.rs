//! What other servers tell. <https://spec.matrix.org/v1.19/server-server-api/#transactions>

use http::Method;
use serde_json::{Value, json};
use starling_testkit::TestAnswer;

use crate::support::{Here, Peer, on_servers, segment, value};

const BOB: &str = "@bob:peer.example";

/// A peer, Alice's token, and a room of hers that Bob is in.
async fn shared(server: &Here) -> (Peer, String, String) {
    let alice = server.user("alice").await;
    let peer = server.peer("peer.example", 1);
    let room = server
        .room(&alice, json!({ "preset": "public_chat" }))
        .await;
    server.member(&peer, &room, BOB, "join").await;
    (peer, alice, room)
}

async fn send(server: &Here, peer: &Peer, pdus: &[Value], edus: &[Value]) -> TestAnswer {
    let transaction = json!({
        "origin": peer.name, "origin_server_ts": server.now_ms(), "pdus": pdus, "edus": edus,
    });
    server.put(peer, "v1/send/1", &transaction).await
}

/// What a peer's Bob says in a room.
async fn said(server: &Here, peer: &Peer, room: &str, text: &str) -> (String, Value) {
    let content = json!({ "msgtype": "m.text", "body": text });
    let kind = ("m.room.message", None);
    let event = server.event(peer, (room, BOB), kind, &content).await;
    (event.event_id().to_string(), value(&event))
}

async fn sync(server: &Here, token: &str, since: &Value) -> Value {
    let since = since
        .as_str()
        .map(|since| format!("?timeout=30000&since={since}"));
    let path = format!("sync{}", since.unwrap_or_default());
    server
        .as_user(token, (Method::GET, &path), Value::Null)
        .await
}

async fn deny(server: &Here, alice: &str, room: &str) {
    let acl = json!({ "allow": ["*"], "deny": ["peer.example"] });
    server
        .set(alice, room, ("m.room.server_acl", ""), acl)
        .await;
}

/// `PUT /_matrix/federation/v1/send/{txnId}`
#[tokio::test]
async fn events_of_another_server_come_to_those_in_the_room() {
    on_servers(async |server| {
        let (peer, alice, room) = shared(&server).await;
        server.say(&alice, &room, "hi").await;
        let since = sync(&server, &alice, &Value::Null).await["next_batch"].clone();
        let (id, event) = said(&server, &peer, &room, "hello").await;
        let mut forged = event.clone();
        forged["origin_server_ts"] = json!(5);
        let mut elsewhere = event.clone();
        elsewhere["room_id"] = json!("!nowhere:peer.example");
        let pdus = [forged, elsewhere, json!({}), event];
        let answer = send(&server, &peer, &pdus, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body, json!({ "pdus": { &*id: {} } }));
        let told = sync(&server, &alice, &since).await;
        let events = &told["rooms"]["join"][&room]["timeline"]["events"];
        assert_eq!(events[0]["event_id"], id, "{told}");
        assert_eq!(events[0]["content"]["body"], "hello");
        assert_eq!(events.as_array().unwrap().len(), 1);
    })
    .await;
}

/// `PUT /_matrix/federation/v1/send/{txnId}`
#[tokio::test]
async fn a_server_that_the_room_excludes_is_not_heard() {
    on_servers(async |server| {
        let (peer, alice, room) = shared(&server).await;
        let event = server.say(&alice, &room, "hi").await;
        deny(&server, &alice, &room).await;
        let since = sync(&server, &alice, &Value::Null).await["next_batch"].clone();
        let (id, pdu) = said(&server, &peer, &room, "hello").await;
        let answer = send(&server, &peer, &[pdu], &edus(&room, BOB, &event)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let error = answer.body["pdus"][&id]["error"].as_str().unwrap();
        assert!(error.contains("access control"), "{error}");
        let path = format!("rooms/{}/event/{}", segment(&room), segment(&id));
        let path = format!("/_matrix/client/v3/{path}");
        let found = server
            .server
            .request(Method::GET, &path, Some(&alice), None);
        assert_eq!(found.await.error(), (404, "M_NOT_FOUND"));
        // The next thing that Alice is told of is her own.
        let next = server.say(&alice, &room, "still here").await;
        let told = sync(&server, &alice, &since).await;
        let told = &told["rooms"]["join"][&room];
        assert_eq!(told["timeline"]["events"][0]["event_id"], next, "{told}");
        assert_eq!(heard(told), Vec::<&str>::new());
    })
    .await;
}

/// `PUT /_matrix/federation/v1/send/{txnId}`
#[tokio::test]
async fn a_transaction_holds_so_much_and_no_more() {
    on_servers(async |server| {
        let peer = server.peer("peer.example", 1);
        let edu = json!({ "edu_type": "org.example.unknown", "content": {} });
        for (pdus, edus, expected) in [(50, 100, 200), (51, 0, 413), (0, 101, 413)] {
            let (pdus, edus) = (vec![json!({}); pdus], vec![edu.clone(); edus]);
            let answer = send(&server, &peer, &pdus, &edus).await;
            assert_eq!(answer.status, expected, "{}", answer.body);
            if expected == 413 {
                assert_eq!(answer.errcode(), "M_TOO_LARGE");
            } else {
                assert_eq!(answer.body, json!({ "pdus": {} }));
            }
        }
    })
    .await;
}

/// `PUT /_matrix/federation/v1/send/{txnId}`
#[tokio::test]
async fn what_makes_no_sense_keeps_nothing_else_from_being_received() {
    on_servers(async |server| {
        let (peer, alice, room) = shared(&server).await;
        let event = server.say(&alice, &room, "hi").await;
        let since = sync(&server, &alice, &Value::Null).await["next_batch"].clone();
        let (id, pdu) = said(&server, &peer, &room, "hello").await;
        let mut all = vec![json!(5), json!({ "edu_type": 5 }), json!([]), json!(null)];
        all.extend(edus(&room, BOB, &event));
        let pdus = [json!(5), json!({}), pdu];
        let answer = send(&server, &peer, &pdus, &all).await;
        assert_eq!(answer.body, json!({ "pdus": { id.as_str(): {} } }));
        let told = sync(&server, &alice, &since).await;
        assert!(!heard(&told["rooms"]["join"][&room]).is_empty(), "{told}");
    })
    .await;
}

/// A user types, and has read an event.
fn edus(room: &str, user: &str, event: &str) -> [Value; 2] {
    let receipt = json!({ "data": { "ts": 1_700_000_000_000_i64 }, "event_ids": [event] });
    [
        json!({ "edu_type": "m.typing", "content": { "room_id": room, "user_id": user, "typing": true } }),
        json!({ "edu_type": "m.receipt", "content": { room: { "m.read": { user: receipt } } } }),
    ]
}

/// What a sync tells of a room beside its events.
fn heard(room: &Value) -> Vec<&str> {
    let events = room["ephemeral"]["events"].as_array();
    let kinds = events.into_iter().flatten();
    let mut kinds: Vec<&str> = kinds.map(|it| it["type"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds
}

/// `PUT /_matrix/federation/v1/send/{txnId}`
#[tokio::test]
async fn who_types_and_has_read_is_told_by_their_own_server_only() {
    on_servers(async |server| {
        let (peer, alice, room) = shared(&server).await;
        let other = server.peer("a.example", 2);
        let event = server.say(&alice, &room, "hi").await;
        let since = sync(&server, &alice, &Value::Null).await["next_batch"].clone();
        let said = edus(&room, BOB, &event);
        let answer = send(&server, &other, &[], &said).await;
        assert_eq!(answer.body, json!({ "pdus": {} }));
        server.say(&alice, &room, "nothing but this").await;
        let told = sync(&server, &alice, &since).await;
        assert_eq!(heard(&told["rooms"]["join"][&room]), Vec::<&str>::new());
        let answer = send(&server, &peer, &[], &said).await;
        assert_eq!(answer.body, json!({ "pdus": {} }));
        let told = sync(&server, &alice, &told["next_batch"]).await;
        let told = &told["rooms"]["join"][&room];
        assert_eq!(heard(told), ["m.receipt", "m.typing"], "{told}");
        let events = told["ephemeral"]["events"].as_array().unwrap();
        for it in events {
            let content = &it["content"];
            if it["type"] == "m.typing" {
                assert_eq!(content["user_ids"], json!([BOB]));
            } else {
                assert!(content[&event]["m.read"][BOB].is_object(), "{content}");
            }
        }
    })
    .await;
}
