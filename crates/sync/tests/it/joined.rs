//! Rooms that the reader is in: timelines, gaps, what is new and what is not told again.

use starling_store::SCHEMA;
use starling_store::timeline::Direction;
use starling_sync::SyncRequest;
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{
    Server, has_no_rooms, json, names, next_batch, page, request, room, state, timeline,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_initial_sync_tells_the_room_and_a_later_one_the_news() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.say("alice", &room_id, "one").await;
        let first = server.sync("alice", None).await;
        let told = room(&first, "join", &room_id);
        assert_eq!(timeline(told).last().unwrap(), "one");
        assert_eq!(told["summary"]["m.joined_member_count"], 1);
        assert_eq!(told["timeline"]["limited"], false);
        assert_eq!(told["timeline"]["events"][0]["type"], "m.room.create");
        assert_eq!(
            state(told),
            Vec::<String>::new(),
            "all of it is in the timeline"
        );

        let since = next_batch(&first);
        let nothing = server.sync("alice", Some(&since)).await;
        assert!(has_no_rooms(&nothing));
        server.say("alice", &room_id, "two").await;
        let news = server.sync("alice", Some(&since)).await;
        let told = room(&news, "join", &room_id);
        assert_eq!(timeline(told), ["two"]);
        // The same position; of what is not stored it says nothing.
        let before = told["timeline"]["prev_batch"].as_str().unwrap();
        assert!(since.starts_with(&format!("{before}_")), "{before} {since}");
        assert_eq!(
            told["summary"],
            serde_json::Value::Null,
            "the members are the same"
        );
        assert!(has_no_rooms(
            &server.sync("alice", Some(&next_batch(&news))).await
        ));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_limited_and_can_be_filled() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let since = server.token("alice").await;
        server
            .say_all("alice", &room_id, (0..15).map(|number| number.to_string()))
            .await;
        let answer = server.sync("alice", Some(&since)).await;
        let told = room(&answer, "join", &room_id);
        assert_eq!(told["timeline"]["limited"], true);
        assert_eq!(
            timeline(told),
            ["5", "6", "7", "8", "9", "10", "11", "12", "13", "14"]
        );
        let prev_batch = told["timeline"]["prev_batch"].as_str().unwrap();
        let mut gap = page(&room_id, Direction::Backwards);
        gap.from = Some(prev_batch.to_owned());
        gap.to = Some(since.clone());
        let filled = server.messages("alice", gap).await.unwrap();
        assert_eq!(names(&filled["chunk"]), ["4", "3", "2", "1", "0"]);
        assert_eq!(filled["end"], serde_json::Value::Null);

        // As many as asked for, and not one more, are no gap.
        let exact = server
            .sync_with(
                "alice",
                &request(&since, r#"{"room":{"timeline":{"limit":15}}}"#),
            )
            .await;
        assert_eq!(room(&exact, "join", &room_id)["timeline"]["limited"], false);
        let one = server
            .sync_with(
                "alice",
                &request(&since, r#"{"room":{"timeline":{"limit":1}}}"#),
            )
            .await;
        assert_eq!(timeline(room(&one, "join", &room_id)), ["14"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_longer_than_what_is_at_hand_is_read_from_the_database() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.join("bob", &room_id).await;
        let since = server.token("alice").await;
        server.say("bob", &room_id, "needle").await;
        server
            .say_all("alice", &room_id, (0..70).map(|number| number.to_string()))
            .await;
        let filter = r#"{"room":{"timeline":{"senders":["@bob:localhost"]}}}"#;
        let answer = server.sync_with("alice", &request(&since, filter)).await;
        let told = room(&answer, "join", &room_id);
        assert_eq!(timeline(told), ["needle"]);
        assert_eq!(
            told["timeline"]["limited"], false,
            "all of the gap was looked through"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newly_joined_room_is_told_whole() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.topic("alice", &room_id, "old").await;
        server
            .say_all("alice", &room_id, (0..8).map(|number| number.to_string()))
            .await;
        let since = server.token("bob").await;
        server.join("bob", &room_id).await;
        server.say("alice", &room_id, "welcome").await;
        let answer = server.sync("bob", Some(&since)).await;
        let told = room(&answer, "join", &room_id);
        assert_eq!(
            timeline(told),
            [
                "0",
                "1",
                "2",
                "3",
                "4",
                "5",
                "6",
                "7",
                "@bob:join",
                "welcome"
            ]
        );
        assert_eq!(told["timeline"]["limited"], true);
        let state = state(told);
        assert!(
            state.contains(&"topic=old".to_owned()) && state.contains(&"create".to_owned()),
            "{state:?}"
        );
        assert!(
            !state.contains(&"@bob:join".to_owned()),
            "it is in the timeline"
        );
        assert_eq!(told["summary"]["m.joined_member_count"], 2);
        let next = server.sync("bob", Some(&next_batch(&answer))).await;
        assert!(has_no_rooms(&next));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_before_a_join_is_told_only_where_it_may_be_seen() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.see_from("alice", &room_id, "joined").await;
        server.say("alice", &room_id, "secret").await;
        server.join("bob", &room_id).await;
        server.say("alice", &room_id, "hello").await;
        let answer = server.sync("bob", None).await;
        let seen = timeline(room(&answer, "join", &room_id));
        assert!(!seen.contains(&"secret".to_owned()), "{seen:?}");
        assert_eq!(seen[seen.len() - 2..], ["@bob:join", "hello"]);
        assert!(
            timeline(room(&server.sync("alice", None).await, "join", &room_id))
                .contains(&"secret".to_owned())
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_choose_rooms_fields_and_format() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let (one, other) = (server.room("alice").await, server.room("alice").await);
        let with = async |filter: &str| server.sync_by("alice", filter).await;
        let answer = with(&format!(r#"{{"room":{{"not_rooms":["{one}"]}}}}"#)).await;
        assert!(room(&answer, "join", &one).is_null() && room(&answer, "join", &other).is_object());
        let answer = with(r#"{"event_fields":["content.creator","type"],"room":{"timeline":{"types":["m.room.create"]}}}"#);
        let events = &room(&answer.await, "join", &one)["timeline"]["events"].clone();
        assert_eq!(events, &serde_json::json!([{"content": {}, "type": "m.room.create"}]));
        let answer = with(r#"{"event_format":"federation","room":{"timeline":{"types":["m.room.member"]}}}"#).await;
        let event = &room(&answer, "join", &one)["timeline"]["events"][0];
        assert!(event["signatures"].is_object() && event["prev_events"].is_array(), "{event}");
        let answer = with(&format!(r#"{{"room":{{"timeline":{{"not_rooms":["{one}"]}}}}}}"#)).await;
        assert!(timeline(room(&answer, "join", &one)).is_empty());
        assert!(state(room(&answer, "join", &one)).contains(&"create".to_owned()), "told as state instead");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_above_the_head_is_told() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let (room_id, other) = (server.room("alice").await, server.room("alice").await);
        let since = server.token("bob").await;
        for who in ["bob", "carol"] {
            server.join(who, &room_id).await;
        }
        let joined = server.token("bob").await;
        server.topic("alice", &room_id, "before").await;
        let (whole, news) = (SyncRequest::default(), request(&since, "{}"));
        let more = request(&joined, "{}");
        let full = SyncRequest {
            full_state: true,
            ..news.clone()
        };
        let head = server.world.bus.head();
        let mut then = Vec::new();
        for asked in [&whole, &news, &more, &full] {
            then.push(server.sync_with("bob", asked).await);
        }

        server.topic("alice", &room_id, "after").await;
        server.topic("alice", &room_id, "long after").await;
        server
            .set(
                "alice",
                &room_id,
                "m.room.name",
                serde_json::json!({ "name": "new" }),
            )
            .await;
        server.member("alice", &room_id, "carol", "leave").await;
        server.leave("bob", &room_id).await;
        server.member("alice", &other, "bob", "invite").await;
        let (late, bob) = (server.as_of(head), server.reader("bob").await);
        for (asked, expected) in [whole, news, more, full].iter().zip(then) {
            let answer = json(&late.sync(&bob, asked).await.unwrap());
            // Whose devices to ask for may be told sooner: it is told again then.
            let without_lists = |mut answer: serde_json::Value| {
                answer.as_object_mut().unwrap().remove("device_lists");
                without_ages(answer)
            };
            assert_eq!(without_lists(answer), without_lists(expected));
        }
    })
    .await;
}

/// The answer, its rooms' state in a fixed order, without what the time alone changes.
fn without_ages(mut answer: serde_json::Value) -> serde_json::Value {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                members.remove("age");
                members.values_mut().for_each(strip);
            }
            serde_json::Value::Array(elements) => elements.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut answer);
    let rooms = answer["rooms"]["join"].as_object_mut().unwrap();
    for room in rooms.values_mut() {
        room["state"]["events"]
            .as_array_mut()
            .unwrap()
            .sort_by_key(ToString::to_string);
    }
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_none_tells_no_events_but_that_there_are_some() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.topic("alice", &room_id, "now").await;
        let none = r#"{"room":{"timeline":{"limit":0}}}"#;
        let answer = server.sync_by("alice", none).await;
        let told = room(&answer, "join", &room_id);
        assert!(timeline(told).is_empty(), "{told}");
        assert_eq!(told["timeline"]["limited"], true);
        assert!(state(told).contains(&"topic=now".to_owned()), "{told}");
        let before = told["timeline"]["prev_batch"].as_str().unwrap();
        let mut asked = page(&room_id, Direction::Backwards);
        asked.from = Some(before.to_owned());
        let history = server.messages("alice", asked).await.unwrap();
        assert_eq!(names(&history["chunk"])[0], "topic=now");
        let since = next_batch(&answer);
        let answer = server.sync_with("alice", &request(&since, none)).await;
        assert!(room(&answer, "join", &room_id).is_null(), "nothing is new");
        server.say("alice", &room_id, "news").await;
        let answer = server.sync_with("alice", &request(&since, none)).await;
        let told = room(&answer, "join", &room_id);
        assert_eq!(told["timeline"]["limited"], true);
        assert!(state(told).is_empty(), "{told}");
        // As many as there may be, and no more.
        server
            .say_all("alice", &room_id, (0..120).map(|n| n.to_string()))
            .await;
        let huge = r#"{"room":{"timeline":{"limit":18446744073709551615}}}"#;
        let answer = server.sync_by("alice", huge).await;
        assert_eq!(timeline(room(&answer, "join", &room_id)).len(), 100);
    })
    .await;
}
