//! Lazily loaded members: who is told of, and who isn't told of again.
//! <https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members>

use ruma_common::OwnedRoomId;
use serde_json::{Value, json};
use starling_store::SCHEMA;
use starling_sync::SyncRequest;
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{Server, filter_of, next_batch, request, room, state, state_after, timeline};

const LAZY: &str = r#"{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":2}}}"#;

/// Alice's server, and a named room (so that nobody needs heroes) with Bob and Carol in it.
async fn room_of_three(db: &TestDb) -> (Server, OwnedRoomId) {
    let server = Server::start(db).await;
    let room_id = server.room("alice").await;
    server
        .set("alice", &room_id, "m.room.name", json!({"name": "n"}))
        .await;
    for who in ["bob", "carol"] {
        server.join(who, &room_id).await;
    }
    (server, room_id)
}

/// The members among the state of an answer.
fn members(answer: &Value, room_id: &OwnedRoomId) -> Vec<String> {
    let mut all = state(room(answer, "join", room_id));
    all.retain(|name| name.starts_with('@'));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_told_of_once() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let (server, room_id) = room_of_three(&db).await;
        server.say("bob", &room_id, "one").await;
        server.say("bob", &room_id, "two").await;
        let first = server.sync_by("alice", LAZY).await;
        assert_eq!(members(&first, &room_id), ["@alice:join", "@bob:join"]);

        server.say("bob", &room_id, "three").await;
        server.say("carol", &room_id, "four").await;
        let asked = request(&next_batch(&first), LAZY);
        let second = server.sync_with("alice", &asked).await;
        assert_eq!(timeline(room(&second, "join", &room_id)), ["three", "four"]);
        assert_eq!(members(&second, &room_id), ["@carol:join"], "bob is known");

        server.say("carol", &room_id, "five").await;
        let third = server
            .sync_with("alice", &request(&next_batch(&second), LAZY))
            .await;
        assert!(members(&third, &room_id).is_empty());

        // On request they are told all the same.
        let redundant = LAZY.replace("true", r#"true,"include_redundant_members":true"#);
        let again = server
            .sync_with("alice", &request(&next_batch(&second), &redundant))
            .await;
        assert_eq!(members(&again, &room_id), ["@carol:join"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_did_not_get_an_answer_is_told_again() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let (server, room_id) = room_of_three(&db).await;
        server.say("alice", &room_id, "one").await;
        server.say("alice", &room_id, "two").await;
        let first = server.sync_by("alice", LAZY).await;
        let asked = request(&next_batch(&first), LAZY);
        server.say("bob", &room_id, "three").await;
        for attempt in ["lost", "tried again"] {
            let answer = server.sync_with("alice", &asked).await;
            assert_eq!(members(&answer, &room_id), ["@bob:join"], "{attempt}");
        }
        // The next answer tells of somebody else: what the lost ones told is not taken to be known.
        for text in ["four", "five"] {
            server.say("carol", &room_id, text).await;
        }
        let answer = server.sync_with("alice", &asked).await;
        assert_eq!(members(&answer, &room_id), ["@carol:join"]);
        server.say("bob", &room_id, "six").await;
        let answer = server
            .sync_with("alice", &request(&next_batch(&answer), LAZY))
            .await;
        assert_eq!(members(&answer, &room_id), ["@bob:join"]);
        // A client that begins again, or asks with another filter, knows nobody.
        let anew = server.sync_by("alice", LAZY).await;
        assert_eq!(
            members(&anew, &room_id),
            ["@alice:join", "@bob:join", "@carol:join"]
        );
        let since = next_batch(&anew);
        server.say("bob", &room_id, "seven").await;
        let other = LAZY.replace("\"limit\":2", "\"limit\":3");
        let answer = server.sync_with("alice", &request(&since, &other)).await;
        assert_eq!(members(&answer, &room_id), ["@bob:join"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_in_a_gap_is_told_however_well_the_member_is_known() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let (server, room_id) = room_of_three(&db).await;
        server.say("bob", &room_id, "one").await;
        let first = server.sync_by("alice", LAZY).await;
        assert!(members(&first, &room_id).contains(&"@bob:join".to_owned()));
        server.leave("bob", &room_id).await;
        for text in ["two", "three"] {
            server.say("alice", &room_id, text).await;
        }
        let asked = request(&next_batch(&first), LAZY);
        let second = server.sync_with("alice", &asked).await;
        assert_eq!(timeline(room(&second, "join", &room_id)), ["two", "three"]);
        assert_eq!(members(&second, &room_id), ["@bob:leave"]);

        // What the timeline itself told is known, too, but not where the client takes no state from it.
        server.join("bob", &room_id).await;
        let asked = request(&next_batch(&second), LAZY);
        let third = server.sync_with("alice", &asked).await;
        assert_eq!(timeline(room(&third, "join", &room_id)), ["@bob:join"]);
        server.say("bob", &room_id, "back").await;
        let asked = request(&next_batch(&third), LAZY);
        let fourth = server.sync_with("alice", &asked).await;
        assert!(members(&fourth, &room_id).is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_after_the_timeline_has_the_members_who_speak() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let (server, room_id) = room_of_three(&db).await;
        let since = server.token("alice").await;
        server.say("bob", &room_id, "one").await;
        for (unstable, key) in [
            (false, "state_after"),
            (true, "org.matrix.msc4222.state_after"),
        ] {
            let asked = SyncRequest {
                filter: filter_of(LAZY),
                since: Some(since.clone()),
                use_state_after: !unstable,
                unstable_state_after: unstable,
                ..SyncRequest::default()
            };
            let answer = server.sync_with("alice", &asked).await;
            let told = room(&answer, "join", &room_id);
            assert!(told.get("state").is_none(), "{told}");
            let members = &told[key]["events"];
            assert_eq!(members[0]["state_key"], "@bob:localhost", "{told}");
            if !unstable {
                assert!(state_after(told).contains(&"@bob:join".to_owned()));
            }
        }
    })
    .await;
}
