//! Rooms that the reader is invited to, has left, or was sent away from.

use serde_json::json;
use starling_store::SCHEMA;
use starling_sync::SyncRequest;
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{
    Server, has_no_rooms, names, next_batch, request, room, state, state_after, timeline,
};

const INCLUDE_LEAVE: &str = r#"{"room":{"include_leave":true}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_comes_with_stripped_state() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server
            .set("alice", &room_id, "m.room.name", json!({"name": "party"}))
            .await;
        server
            .set(
                "alice",
                &room_id,
                "m.room.guest_access",
                json!({"guest_access": "can_join"}),
            )
            .await;
        let since = server.token("bob").await;
        server.member("alice", &room_id, "bob", "invite").await;
        for answer in [
            server.sync("bob", Some(&since)).await,
            server.sync("bob", None).await,
        ] {
            let events = &room(&answer, "invite", &room_id)["invite_state"]["events"];
            let told = names(events);
            assert_eq!(
                told,
                [
                    "create",
                    "join_rules",
                    "name=party",
                    "@alice:join",
                    "@bob:invite"
                ]
            );
            for event in events.as_array().unwrap() {
                let fields: Vec<&String> = event.as_object().unwrap().keys().collect();
                assert_eq!(fields, ["content", "sender", "state_key", "type"]);
            }
            assert!(room(&answer, "join", &room_id).is_null());
            assert!(
                has_no_rooms(&server.sync("bob", Some(&next_batch(&answer))).await),
                "told once"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_that_came_to_nothing_is_a_room_that_was_left() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        for (who, how) in [("bob", "rejected"), ("alice", "withdrawn")] {
            server.member("alice", &room_id, "bob", "invite").await;
            let since = server.token("bob").await;
            server.topic("alice", &room_id, "not for bob").await;
            server.member(who, &room_id, "bob", "leave").await;
            let answer = server.sync("bob", Some(&since)).await;
            let told = room(&answer, "leave", &room_id);
            assert_eq!(timeline(told), ["@bob:leave"], "{how}");
            assert!(state(told).is_empty(), "{how}");
            assert!(room(&answer, "invite", &room_id).is_null(), "{how}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_left_room_ends_at_the_leave_and_is_told_once() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        for (how, by, membership) in [
            ("left", "bob", "leave"),
            ("kicked", "alice", "leave"),
            ("banned", "alice", "ban"),
        ] {
            let room_id = server.room("alice").await;
            server.join("bob", &room_id).await;
            let since = server.token("bob").await;
            server.say("alice", &room_id, "last words").await;
            server.member(by, &room_id, "bob", membership).await;
            server.topic("alice", &room_id, "behind his back").await;
            server.say("alice", &room_id, "he is gone").await;
            let answer = server.sync("bob", Some(&since)).await;
            let told = room(&answer, "leave", &room_id);
            assert_eq!(
                timeline(told),
                ["last words", &format!("@bob:{membership}")],
                "{how}"
            );
            assert!(state(told).is_empty(), "{how}");
            assert!(room(&answer, "join", &room_id).is_null(), "{how}");
            server.say("alice", &room_id, "still gone").await;
            assert!(
                has_no_rooms(&server.sync("bob", Some(&next_batch(&answer))).await),
                "{how}"
            );
            server.member("alice", &room_id, "bob", "leave").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn left_rooms_are_in_an_initial_sync_if_asked_for_and_not_forgotten() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.join("bob", &room_id).await;
        server.topic("alice", &room_id, "while he was here").await;
        server.leave("bob", &room_id).await;
        server.topic("alice", &room_id, "behind his back").await;
        assert!(has_no_rooms(&server.sync("bob", None).await));
        let answer = server.sync_by("bob", INCLUDE_LEAVE).await;
        let told = room(&answer, "leave", &room_id);
        assert_eq!(
            timeline(told)[timeline(told).len() - 2..],
            ["topic=while he was here", "@bob:leave"]
        );
        let small = r#"{"room":{"include_leave":true,"timeline":{"limit":1}}}"#;
        let answer = server.sync_by("bob", small).await;
        let told = room(&answer, "leave", &room_id);
        assert_eq!(timeline(told), ["@bob:leave"]);
        let state = state(told);
        assert!(
            state.contains(&"topic=while he was here".to_owned()),
            "{state:?}"
        );
        assert!(
            state.contains(&"@bob:join".to_owned()),
            "as it was before the timeline: {state:?}"
        );
        server.forget("bob", &room_id).await;
        assert!(has_no_rooms(&server.sync_by("bob", INCLUDE_LEAVE).await));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coming_and_going_between_two_syncs() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.topic("alice", &room_id, "old").await;
        let since = server.token("bob").await;
        server.join("bob", &room_id).await;
        server.say("alice", &room_id, "hello").await;
        server.leave("bob", &room_id).await;
        let filter = r#"{"room":{"timeline":{"limit":3}}}"#;
        let answer = server.sync_with("bob", &request(&since, filter)).await;
        let told = room(&answer, "leave", &room_id);
        assert_eq!(timeline(told), ["@bob:join", "hello", "@bob:leave"]);
        assert!(
            state(told).contains(&"topic=old".to_owned()),
            "a room that the client doesn't know is told whole"
        );

        let since = next_batch(&answer);
        server.topic("alice", &room_id, "new").await;
        server.join("bob", &room_id).await;
        let answer = server.sync_with("bob", &request(&since, filter)).await;
        let told = room(&answer, "join", &room_id);
        assert_eq!(timeline(told), ["@bob:leave", "topic=new", "@bob:join"]);
        assert!(
            state(told).contains(&"create".to_owned())
                && state(told).contains(&"topic=old".to_owned())
        );

        // Left and back again since the last sync: whole, since what happened between is not known.
        let since = next_batch(&answer);
        server.leave("bob", &room_id).await;
        server.join("bob", &room_id).await;
        let answer = server.sync_with("bob", &request(&since, filter)).await;
        assert!(state(room(&answer, "join", &room_id)).contains(&"create".to_owned()));
        assert!(room(&answer, "leave", &room_id).is_null());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_before_a_leave_is_told_also_when_a_ban_follows() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        for (how, by) in [("left", "bob"), ("kicked", "alice")] {
            let room_id = server.room("alice").await;
            server.topic("alice", &room_id, "old").await;
            server.join("bob", &room_id).await;
            let since = server.token("bob").await;
            server.say("alice", &room_id, "last words").await;
            server.member(by, &room_id, "bob", "leave").await;
            server.topic("alice", &room_id, "behind his back").await;
            server.member("alice", &room_id, "bob", "ban").await;
            server.say("alice", &room_id, "he is gone").await;
            let filter = r#"{"room":{"timeline":{"limit":3}}}"#;
            let asked = request(&since, filter);
            let answer = server.sync_with("bob", &asked).await;
            let told = room(&answer, "leave", &room_id);
            assert_eq!(
                timeline(told),
                ["last words", "@bob:leave", "@bob:ban"],
                "{how}"
            );
            assert!(state(told).is_empty(), "{how}: {told}");
            let after = server
                .sync_with(
                    "bob",
                    &SyncRequest {
                        use_state_after: true,
                        ..asked
                    },
                )
                .await;
            let told = state_after(room(&after, "leave", &room_id));
            assert_eq!(told, ["@bob:ban"], "{how}");
            let whole = r#"{"room":{"include_leave":true,"timeline":{"limit":2}}}"#;
            let answer = server.sync_by("bob", whole).await;
            let told = room(&answer, "leave", &room_id);
            assert_eq!(timeline(told), ["@bob:leave", "@bob:ban"], "{how}");
            assert!(
                state(told).contains(&"topic=old".to_owned()),
                "{how}: {told}"
            );
            server.member("alice", &room_id, "bob", "leave").await;
            let answer = server
                .sync_with("bob", &request(&next_batch(&answer), filter))
                .await;
            assert_eq!(
                timeline(room(&answer, "leave", &room_id)),
                ["@bob:leave"],
                "{how}: the rest was told"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_knock_comes_with_stripped_state_until_it_is_answered_or_taken_back() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        for (by, end) in [("bob", "leave"), ("alice", "leave"), ("alice", "invite")] {
            let room_id = server.room("alice").await;
            server
                .set(
                    "alice",
                    &room_id,
                    "m.room.join_rules",
                    json!({"join_rule": "knock"}),
                )
                .await;
            let since = server.token("bob").await;
            server.member("bob", &room_id, "bob", "knock").await;
            for since in [Some(since.as_str()), None] {
                let answer = server.sync("bob", since).await;
                let told = names(&room(&answer, "knock", &room_id)["knock_state"]["events"]);
                assert!(told.contains(&"create".to_owned()), "{told:?}");
                assert_eq!(told.last().unwrap(), "@bob:knock");
                assert!(room(&answer, "invite", &room_id).is_null());
            }
            let since = server.token("bob").await;
            server.member(by, &room_id, "bob", end).await;
            let answer = server.sync("bob", Some(&since)).await;
            assert!(room(&answer, "knock", &room_id).is_null(), "{by} {end}");
            if end == "invite" {
                assert!(room(&answer, "invite", &room_id).is_object());
            } else {
                let told = room(&answer, "leave", &room_id);
                assert_eq!(timeline(told), ["@bob:leave"], "{by}");
                assert!(state(told).is_empty(), "{by}");
            }
            server.member("alice", &room_id, "bob", "ban").await;
        }
    })
    .await;
}
