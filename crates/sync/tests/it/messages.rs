//! Pages of a room's history: every event once, each reader what they may see.

use ruma_common::{RoomId, owned_room_id};
use serde_json::{Value, json};
use starling_store::SCHEMA;
use starling_store::timeline::Direction::{self, Backwards, Forwards};
use starling_sync::{Error, MessagesRequest, RoomEventFilter};
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{Server, names, page};

/// All events of a room, page by page, and how many pages it took.
async fn all(server: &Server, who: &str, first: MessagesRequest) -> (Vec<String>, usize) {
    let (mut request, mut seen, mut pages) = (first, Vec::new(), 0);
    loop {
        let answer = server.messages(who, request.clone()).await.unwrap();
        seen.extend(names(&answer["chunk"]));
        pages += 1;
        let Some(end) = answer["end"].as_str() else {
            return (seen, pages);
        };
        assert!(pages < 100, "it goes on for ever");
        request.from = Some(end.to_owned());
    }
}

async fn seen(server: &Server, who: &str, room: &RoomId, direction: Direction) -> Vec<String> {
    all(server, who, page(room, direction)).await.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_on_one_page_in_either_direction() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server
            .say_all("alice", &room_id, (0..7).map(|number| number.to_string()))
            .await;
        for limit in [1, 3, 50] {
            let request = |direction| MessagesRequest {
                limit: Some(limit),
                ..page(&room_id, direction)
            };
            let (mut backwards, _) = all(&server, "alice", request(Backwards)).await;
            let (forwards, pages) = all(&server, "alice", request(Forwards)).await;
            backwards.reverse();
            assert_eq!(backwards, forwards, "{limit}");
            assert_eq!(forwards.first().map(String::as_str), Some("create"));
            assert_eq!(
                forwards[forwards.len() - 7..],
                ["0", "1", "2", "3", "4", "5", "6"]
            );
            assert_eq!(
                pages,
                forwards.len().div_ceil(usize::try_from(limit).unwrap()),
                "no empty page at the end"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_stops_at_the_given_token() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let start = server.token("alice").await;
        server
            .say_all("alice", &room_id, ["one", "two"].map(str::to_owned))
            .await;
        let end = server.token("alice").await;
        server.say("alice", &room_id, "three").await;
        let between = |direction, from: &str, to: &str| MessagesRequest {
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            ..page(&room_id, direction)
        };
        assert_eq!(
            all(&server, "alice", between(Forwards, &start, &end))
                .await
                .0,
            ["one", "two"]
        );
        assert_eq!(
            all(&server, "alice", between(Backwards, &end, &start))
                .await
                .0,
            ["two", "one"]
        );
        assert!(
            all(&server, "alice", between(Forwards, &end, &start))
                .await
                .0
                .is_empty()
        );
        // The `start` of a page leads to the same page again.
        let first = server
            .messages("alice", page(&room_id, Backwards))
            .await
            .unwrap();
        let again = MessagesRequest {
            from: first["start"].as_str().map(str::to_owned),
            ..page(&room_id, Backwards)
        };
        assert_eq!(
            names(&server.messages("alice", again).await.unwrap()["chunk"]),
            names(&first["chunk"])
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_shown_as_its_visibility_says() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        for (visibility, sees_before, sees_invited) in [
            ("shared", true, true),
            ("invited", false, true),
            ("joined", false, false),
            ("world_readable", true, true),
        ] {
            let room_id = server.room("alice").await;
            server.see_from("alice", &room_id, visibility).await;
            server.say("alice", &room_id, "before").await;
            server.member("alice", &room_id, "bob", "invite").await;
            server.say("alice", &room_id, "invited").await;
            server.join("bob", &room_id).await;
            server.say("alice", &room_id, "joined").await;
            let told = seen(&server, "bob", &room_id, Backwards).await;
            let sees = |name: &str| told.iter().any(|told| told == name);
            assert_eq!(
                (sees("before"), sees("invited")),
                (sees_before, sees_invited),
                "{visibility}: {told:?}"
            );
            assert!(
                sees("joined") && sees("@bob:join"),
                "{visibility}: {told:?}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_left_sees_up_to_the_leave() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.join("bob", &room_id).await;
        server.say("alice", &room_id, "with bob").await;
        server.leave("bob", &room_id).await;
        server.say("alice", &room_id, "without bob").await;
        for direction in [Backwards, Forwards] {
            let told = seen(&server, "bob", &room_id, direction).await;
            assert!(
                told.contains(&"with bob".to_owned()) && told.contains(&"@bob:leave".to_owned()),
                "{told:?}"
            );
            assert!(!told.contains(&"without bob".to_owned()), "{told:?}");
        }
        // A token from behind the leave changes nothing.
        let late = MessagesRequest {
            from: Some(server.token("alice").await),
            ..page(&room_id, Backwards)
        };
        assert_eq!(
            all(&server, "bob", late)
                .await
                .0
                .first()
                .map(String::as_str),
            Some("@bob:leave")
        );
        server.forget("bob", &room_id).await;
        assert!(matches!(
            server.messages("bob", page(&room_id, Backwards)).await,
            Err(Error::NotAllowed)
        ));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_read_only_what_everyone_may() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.say("alice", &room_id, "for members").await;
        assert!(matches!(
            server.messages("bob", page(&room_id, Backwards)).await,
            Err(Error::NotAllowed)
        ));
        server.member("alice", &room_id, "bob", "invite").await;
        assert!(matches!(
            server.messages("bob", page(&room_id, Backwards)).await,
            Err(Error::NotAllowed)
        ));
        server.see_from("alice", &room_id, "world_readable").await;
        server.say("alice", &room_id, "for all").await;
        assert_eq!(
            seen(&server, "carol", &room_id, Backwards).await,
            ["for all", "history_visibility"]
        );
        let nowhere = owned_room_id!("!nowhere:localhost");
        assert!(matches!(
            server.messages("bob", page(&nowhere, Backwards)).await,
            Err(Error::UnknownRoom)
        ));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_and_lazily_loaded_members() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.join("bob", &room_id).await;
        server.say("bob", &room_id, "one").await;
        let middle = server.token("alice").await;
        server.leave("bob", &room_id).await;
        server.say("alice", &room_id, "two").await;
        let filtered = |filter: &str| MessagesRequest {
            filter: RoomEventFilter::parse(filter).unwrap(),
            ..page(&room_id, Backwards)
        };
        assert_eq!(
            all(
                &server,
                "alice",
                filtered(r#"{"types":["m.room.message"],"limit":1}"#)
            )
            .await
            .0,
            ["two", "one"]
        );
        let of_bob =
            r#"{"types":["m.room.message"],"senders":["@bob:localhost"],"lazy_load_members":true}"#;
        let old = MessagesRequest {
            from: Some(middle),
            ..filtered(of_bob)
        };
        let answer = server.messages("alice", old).await.unwrap();
        assert_eq!(names(&answer["chunk"]), ["one"]);
        assert_eq!(names(&answer["state"]), ["@bob:join"], "as it was then");
        let plain = server.messages("alice", filtered("{}")).await.unwrap();
        assert_eq!(plain["state"], Value::Null);
        let elsewhere = format!(r#"{{"not_rooms":["{room_id}"]}}"#);
        let answer = server
            .messages("alice", filtered(&elsewhere))
            .await
            .unwrap();
        assert_eq!(
            (&answer["chunk"], &answer["end"]),
            (&json!([]), &Value::Null)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_matches_nothing_reads_the_room_in_steps() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let since = server.token("alice").await;
        let alice = server.world.user("alice").await;
        let sends = (0..1_100).map(|number: i32| {
            let (world, alice, room_id) = (server.world.clone(), alice.clone(), room_id.clone());
            async move {
                world
                    .say(&alice, &room_id, &number.to_string())
                    .await
                    .map(drop)
            }
        });
        futures_util::future::try_join_all(sends).await.unwrap();
        let nothing = RoomEventFilter::parse(r#"{"types":["org.example.none"]}"#).unwrap();
        let asked = MessagesRequest {
            filter: nothing,
            ..page(&room_id, Backwards)
        };
        assert_eq!(all(&server, "alice", asked).await, (Vec::new(), 2));
        let create = RoomEventFilter::parse(r#"{"types":["m.room.create"]}"#).unwrap();
        let asked = MessagesRequest {
            filter: create,
            ..page(&room_id, Backwards)
        };
        assert_eq!(
            all(&server, "alice", asked).await.0,
            ["create"],
            "what lies behind the first step is found"
        );

        // A sync's timeline ends likewise: as a gap, which is told although nothing of it is.
        let filter = r#"{"room":{"timeline":{"types":["org.example.none"]}}}"#;
        let answer = server
            .sync_with("alice", &crate::server::request(&since, filter))
            .await;
        let timeline = &crate::server::room(&answer, "join", &room_id)["timeline"];
        assert_eq!(
            (&timeline["limited"], &timeline["events"]),
            (&json!(true), &json!([]))
        );
    })
    .await;
}
