//! `/initialSync`, `/rooms/{roomId}/initialSync` and `/events`, which were there before `/sync`.

use std::time::Duration;

use ruma_common::OwnedRoomId;
use serde_json::{Value, json};
use starling_store::SCHEMA;
use starling_sync::{Error, EventsRequest};
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{Server, json, names, page};

async fn initial(server: &Server, who: &str, limit: Option<u64>, archived: bool) -> Value {
    let reader = server.reader(who).await;
    json(
        &server
            .sync
            .initial_sync(&reader, limit, archived)
            .await
            .unwrap(),
    )
}

async fn of_room(server: &Server, who: &str, room_id: &OwnedRoomId) -> Result<Value, Error> {
    let reader = server.reader(who).await;
    let answer = server.sync.room_initial_sync(&reader, room_id, Some(2));
    answer.await.map(|bytes| json(&bytes))
}

async fn events(server: &Server, who: &str, request: EventsRequest) -> Result<Value, Error> {
    let reader = server.reader(who).await;
    let answer = server.sync.events(&reader, &request);
    answer.await.map(|bytes| json(&bytes))
}

fn since(from: &str) -> EventsRequest {
    EventsRequest {
        from: Some(from.to_owned()),
        ..EventsRequest::default()
    }
}

fn end(answer: &Value) -> String {
    answer["end"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_rooms_as_they_are() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let (mine, left) = (server.room("alice").await, server.room("alice").await);
        server.topic("alice", &mine, "now").await;
        server.say("alice", &mine, "hello").await;
        server.leave("alice", &left).await;
        let invited = server.room("bob").await;
        server.member("bob", &invited, "alice", "invite").await;
        let answer = initial(&server, "alice", Some(1), false).await;
        let rooms = answer["rooms"].as_array().unwrap();
        let find = |room_id: &OwnedRoomId| {
            let mut found = rooms.iter();
            found.find(|room| room["room_id"] == room_id.as_str())
        };
        assert_eq!(rooms.len(), 2, "{answer}");
        let room = find(&mine).unwrap();
        assert_eq!(room["membership"], "join");
        assert_eq!(room["visibility"], "private");
        assert_eq!(names(&room["messages"]["chunk"]), ["hello"]);
        assert_eq!(room["messages"]["chunk"][0]["room_id"], mine.as_str());
        let state = names(&room["state"]);
        assert!(
            state.contains(&"topic=now".to_owned()) && state.contains(&"@alice:join".to_owned()),
            "the state is the current one: {state:?}"
        );
        // What comes before is found from `start`.
        let mut before = page(&mine, starling_store::timeline::Direction::Backwards);
        before.from = Some(room["messages"]["start"].as_str().unwrap().to_owned());
        let before = server.messages("alice", before).await.unwrap();
        assert_eq!(names(&before["chunk"])[0], "topic=now");
        let room = find(&invited).unwrap();
        assert_eq!(room["membership"], "invite");
        assert_eq!(names(&json!([room["invite"]])), ["@alice:invite"]);
        assert!(room.get("messages").is_none() && room.get("state").is_none());
        assert_eq!(answer["presence"], json!([]));
        assert!(
            answer["account_data"][0]["type"] == "m.push_rules",
            "{answer}"
        );

        let answer = initial(&server, "alice", None, true).await;
        let rooms = answer["rooms"].as_array().unwrap();
        let room = rooms.iter().find(|room| room["room_id"] == left.as_str());
        assert_eq!(room.unwrap()["membership"], "leave");
        // `/events` goes on from there.
        server.say("alice", &mine, "news").await;
        let news = events(&server, "alice", since(&end(&answer)))
            .await
            .unwrap();
        assert_eq!(names(&news["chunk"]), ["news"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_shown_to_who_is_in_it_was_in_it_or_may_look_in() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.join("bob", &room_id).await;
        server.topic("alice", &room_id, "old").await;
        server.leave("bob", &room_id).await;
        server.topic("alice", &room_id, "new").await;
        let room = of_room(&server, "alice", &room_id).await.unwrap();
        assert_eq!(room["membership"], "join");
        assert_eq!(
            names(&room["messages"]["chunk"]),
            ["@bob:leave", "topic=new"]
        );
        assert!(names(&room["state"]).contains(&"topic=new".to_owned()));
        let room = of_room(&server, "bob", &room_id).await.unwrap();
        assert_eq!(room["membership"], "leave");
        assert_eq!(
            names(&room["messages"]["chunk"]),
            ["topic=old", "@bob:leave"]
        );
        assert!(names(&room["state"]).contains(&"topic=old".to_owned()));
        let refused = of_room(&server, "carol", &room_id).await;
        assert!(matches!(refused, Err(Error::NotAllowed)), "{refused:?}");
        server.member("alice", &room_id, "dave", "invite").await;
        let refused = of_room(&server, "dave", &room_id).await;
        assert!(matches!(refused, Err(Error::NotAllowed)), "{refused:?}");
        server.forget("bob", &room_id).await;
        let refused = of_room(&server, "bob", &room_id).await;
        assert!(matches!(refused, Err(Error::NotAllowed)), "{refused:?}");

        server.say("alice", &room_id, "hidden").await;
        server.see_from("alice", &room_id, "world_readable").await;
        server.say("alice", &room_id, "public").await;
        for stranger in ["carol", "bob", "dave"] {
            let room = of_room(&server, stranger, &room_id).await.unwrap();
            assert!(room.get("membership").is_none(), "{stranger}: {room}");
            assert_eq!(
                names(&room["messages"]["chunk"]),
                ["history_visibility", "public"]
            );
            assert!(names(&room["state"]).contains(&"topic=new".to_owned()));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_in_order_and_in_pieces() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let (first, second) = (server.room("alice").await, server.room("alice").await);
        let mut from = end(&initial(&server, "alice", Some(1), false).await);
        let mut sent = Vec::new();
        for number in 0..130 {
            let text = number.to_string();
            let room_id = if number % 7 == 0 { &second } else { &first };
            server.say("alice", room_id, &text).await;
            sent.push(text);
        }
        let mut told = Vec::new();
        for _ in 0..3 {
            let answer = events(&server, "alice", since(&from)).await.unwrap();
            assert_eq!(answer["start"], from.as_str());
            told.extend(names(&answer["chunk"]));
            from = end(&answer);
        }
        assert_eq!(told, sent);
        let nothing = events(&server, "alice", EventsRequest::default())
            .await
            .unwrap();
        assert_eq!(nothing["chunk"], json!([]));
        // Of a room that the user comes into and leaves: what they were there for.
        let other = server.room("bob").await;
        server.say("bob", &other, "before").await;
        server.join("alice", &other).await;
        server.say("bob", &other, "meanwhile").await;
        server.leave("alice", &other).await;
        server.say("bob", &other, "after").await;
        let answer = events(&server, "alice", since(&from)).await.unwrap();
        assert_eq!(
            names(&answer["chunk"]),
            ["@alice:join", "meanwhile", "@alice:leave"]
        );
        for text in ["nonsense", "s1_999999999"] {
            let refused = events(&server, "alice", since(text)).await;
            assert!(matches!(refused, Err(Error::NotAToken(_))), "{text}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_into_a_room_hears_what_happens_there() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let (room_id, other) = (server.room("alice").await, server.room("bob").await);
        let peek = |room_id: &OwnedRoomId, timeout| EventsRequest {
            from: None,
            room_id: Some(room_id.clone()),
            timeout,
        };
        let refused = events(&server, "bob", peek(&room_id, Duration::ZERO)).await;
        assert!(matches!(refused, Err(Error::NotAllowed)), "{refused:?}");
        server.see_from("alice", &room_id, "world_readable").await;
        let shown = of_room(&server, "bob", &room_id).await.unwrap();
        let listeners = server.world.bus.listeners();
        let (sync, reader) = (server.sync.clone(), server.reader("bob").await);
        let asked = EventsRequest {
            from: shown["messages"]["end"].as_str().map(str::to_owned),
            ..peek(&room_id, Duration::from_mins(2))
        };
        let waiting = tokio::spawn(async move { sync.events(&reader, &asked).await });
        server.say("bob", &other, "elsewhere").await;
        server.say("alice", &room_id, "heard").await;
        let answer = json(&waiting.await.unwrap().unwrap());
        assert_eq!(names(&answer["chunk"]), ["heard"]);
        assert_eq!(answer["chunk"][0]["room_id"], room_id.as_str());
        assert_eq!(
            server.world.bus.listeners(),
            listeners,
            "nothing is left of it"
        );
        // One of the rooms that the user is in.
        let mut asked = peek(&other, Duration::ZERO);
        asked.from = Some(end(&shown["messages"]));
        let answer = events(&server, "bob", asked).await.unwrap();
        assert_eq!(names(&answer["chunk"]), ["elsewhere"]);
        // Closed again, it ends there.
        server.see_from("alice", &room_id, "joined").await;
        let refused = events(&server, "bob", peek(&room_id, Duration::ZERO)).await;
        assert!(matches!(refused, Err(Error::NotAllowed)), "{refused:?}");
    })
    .await;
}
