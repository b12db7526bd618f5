//! What is told of an event besides the event.

use serde_json::{Value, json};
use starling_store::SCHEMA;
use starling_store::timeline::Direction;
use starling_sync::{Reader, SyncRequest};
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{Server, json, page, room};

/// The last event of the room as `reader` is told it.
async fn last(server: &Server, reader: &Reader, room_id: &ruma_common::RoomId) -> Value {
    let answer = json(
        &server
            .sync
            .sync(reader, &SyncRequest::default())
            .await
            .unwrap(),
    );
    room(&answer, "join", room_id)["timeline"]["events"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_id_is_told_to_the_device_that_sent_it() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.join("bob", &room_id).await;
        let alice = server.world.user("alice").await;
        let phone = Reader {
            device: alice.device,
            ..server.reader("alice").await
        };
        let txn_id = "a \"quoted\" id";
        let sent = server.world.say_once(&alice, &room_id, "hello", txn_id);
        sent.await.unwrap();
        let laptop = Reader {
            device: starling_store::DeviceNum(phone.device.0 + 1000),
            ..phone.clone()
        };
        assert_eq!(
            last(&server, &phone, &room_id).await["unsigned"]["transaction_id"],
            "a \"quoted\" id"
        );
        for other in [laptop, server.reader("bob").await] {
            let event = last(&server, &other, &room_id).await;
            assert_eq!(event["content"]["body"], "hello");
            assert!(event["unsigned"].get("transaction_id").is_none());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_event_says_what_it_replaced_to_those_who_may_know() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.see_from("alice", &room_id, "joined").await;
        let old = server.topic("alice", &room_id, "old").await;
        server.join("bob", &room_id).await;
        server.topic("alice", &room_id, "new").await;
        let (alice, bob) = (server.reader("alice").await, server.reader("bob").await);
        let told = last(&server, &alice, &room_id).await;
        assert_eq!(told["unsigned"]["prev_content"], json!({"topic": "old"}));
        assert_eq!(told["unsigned"]["replaces_state"], old.as_str());
        assert_eq!(told["unsigned"]["membership"], "join");
        assert!(told["unsigned"]["age"].as_i64().unwrap() >= 0);
        assert!(told.get("room_id").is_none());
        let told = last(&server, &bob, &room_id).await;
        assert!(
            told["unsigned"].get("prev_content").is_none(),
            "bob was not there yet"
        );
        assert_eq!(told["unsigned"]["replaces_state"], old.as_str());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redacted_event_says_why() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let target = server.say("alice", &room_id, "regrettable").await;
        let redaction = server.redact("alice", &room_id, &target).await;
        let answer = server
            .messages("alice", page(&room_id, Direction::Backwards))
            .await
            .unwrap();
        let events = answer["chunk"].as_array().unwrap();
        let pruned = events
            .iter()
            .find(|event| event["event_id"] == target.as_str())
            .unwrap();
        assert_eq!(pruned["content"], json!({}));
        let because = &pruned["unsigned"]["redacted_because"];
        assert_eq!(because["event_id"], redaction.as_str());
        assert_eq!(because["redacts"], target.as_str());
        assert_eq!(because["content"]["reason"], "spam");
        assert!(because["unsigned"]["age"].is_i64());
        assert_eq!(pruned["room_id"], room_id.as_str());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_membership_is_the_readers_at_the_event() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.say("alice", &room_id, "before").await;
        server.member("alice", &room_id, "bob", "invite").await;
        server.say("alice", &room_id, "between").await;
        server.join("bob", &room_id).await;
        let answer = server
            .messages("bob", page(&room_id, Direction::Backwards))
            .await
            .unwrap();
        let memberships: Vec<&str> = answer["chunk"].as_array().unwrap()[..4]
            .iter()
            .map(|event| event["unsigned"]["membership"].as_str().unwrap())
            .collect();
        assert_eq!(memberships, ["join", "invite", "invite", "leave"]);
    })
    .await;
}
