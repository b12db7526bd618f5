//! Long polls: what ends them, and that they cost nothing meanwhile.

use std::time::Duration;

use futures_util::FutureExt;
use starling_bus::{Presence, PresenceState, Topic};
use starling_db::Dialect;
use starling_store::SCHEMA;
use starling_sync::SyncRequest;
use starling_testkit::{TestDb, on_each_engine};
use tokio::task::JoinHandle;

use crate::server::{Server, has_no_rooms, json, next_batch, request, room, timeline};

/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(2);

/// A poll that goes on by itself.
async fn start(server: &Server, who: &str, asked: SyncRequest) -> JoinHandle<serde_json::Value> {
    let (sync, reader) = (server.sync.clone(), server.reader(who).await);
    tokio::spawn(async move { json(&sync.sync(&reader, &asked).await.unwrap()) })
}

fn poll(since: &str, filter: &str) -> SyncRequest {
    SyncRequest {
        timeout: LONG,
        ..request(since, filter)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_ends_with_what_it_waited_for() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let since = server.token("alice").await;
        let waiting = start(&server, "alice", poll(&since, "{}")).await;
        server.say("alice", &room_id, "news").await;
        let answer = waiting.await.unwrap();
        assert_eq!(timeline(room(&answer, "join", &room_id)), ["news"]);
        // An invite, for one who is in no room yet.
        let since = server.token("bob").await;
        let waiting = start(&server, "bob", poll(&since, "{}")).await;
        server.member("alice", &room_id, "bob", "invite").await;
        assert!(room(&waiting.await.unwrap(), "invite", &room_id).is_object());
        // A room that the user joins while waiting is heard from then on.
        let since = server.token("bob").await;
        server.join("bob", &room_id).await;
        let joined = server.sync("bob", Some(&since)).await;
        let waiting = start(&server, "bob", poll(&next_batch(&joined), "{}")).await;
        server.say("alice", &room_id, "welcome").await;
        assert_eq!(
            timeline(room(&waiting.await.unwrap(), "join", &room_id)),
            ["welcome"]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_filter_leaves_out_ends_no_poll() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let since = server.token("alice").await;
        let filter = r#"{"room":{"timeline":{"not_types":["m.room.message"]}}}"#;
        let waiting = start(&server, "alice", poll(&since, filter)).await;
        server.say("alice", &room_id, "unwanted").await;
        server.topic("alice", &room_id, "wanted").await;
        let answer = waiting.await.unwrap();
        assert_eq!(timeline(room(&answer, "join", &room_id)), ["topic=wanted"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_ends_when_its_time_is_up() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        server.room("alice").await;
        let since = server.token("alice").await;
        let asked = SyncRequest {
            timeout: Duration::from_millis(1),
            ..request(&since, "{}")
        };
        let answer = server.sync_with("alice", &asked).await;
        assert!(has_no_rooms(&answer));
        assert_eq!(next_batch(&answer), since);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_ends_when_the_server_stops() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let since = server.token("alice").await;
        let waiting = start(&server, "alice", poll(&since, "{}")).await;
        server.stop.send(true).unwrap();
        assert_eq!(next_batch(&waiting.await.unwrap()), since);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_ends_when_its_session_does() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let since = server.token("alice").await;
        let device = server.reader("alice").await.device;
        let waiting = start(&server, "alice", poll(&since, "{}")).await;
        // As the accounts do after ending a session; here no row is needed to be told of.
        server
            .world
            .bus
            .advance(server.world.bus.head() + 1, &[Topic::Device(device.0)]);
        let answer = waiting.await.unwrap();
        assert!(has_no_rooms(&answer));
        assert_ne!(next_batch(&answer), since);
    })
    .await;
}

/// SQLite reads in place, so one look at the future takes it to where it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fruitless_poll_asks_the_database_nothing() {
    let db = TestDb::open(Dialect::Sqlite, &SCHEMA).await;
    let server = Server::start(&db).await;
    server.room("alice").await;
    let since = server.token("alice").await;
    let (alice, asked) = (server.reader("alice").await, poll(&since, "{}"));
    server.world.store.db().close().await;
    let mut waiting = Box::pin(server.sync.sync(&alice, &asked));
    assert!((&mut waiting).now_or_never().is_none(), "it waits");
    server.stop.send(true).unwrap();
    assert_eq!(next_batch(&json(&waiting.await.unwrap())), since);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_whose_maker_went_away_is_made_ready_by_the_next() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let alice = server.reader("alice").await;
        // What is left of a first request that ended before it had followed the rooms.
        let (listener, is_new) = server.world.bus.listen(alice.user.0, alice.device.0, 0);
        assert!(is_new && listener.changes_since(server.world.bus.head()).is_none());
        let since = server.token("alice").await;
        assert!(listener.changes_since(server.world.bus.head()).is_some());
        let waiting = start(&server, "alice", poll(&since, "{}")).await;
        server.say("alice", &room_id, "heard").await;
        assert_eq!(
            timeline(room(&waiting.await.unwrap(), "join", &room_id)),
            ["heard"]
        );
    })
    .await;
}

fn presence_of(name: &str, state: PresenceState) -> Presence {
    Presence {
        user_id: format!("@{name}:localhost").into(),
        state,
        currently_active: false,
        last_active_ms: None,
        status: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_tells_at_its_end_of_those_for_whom_it_was_not_woken() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server.join("bob", &room_id).await;
        let (bus, bob) = (&server.world.bus, server.reader("bob").await.user);
        let room = server
            .world
            .store
            .room_num(&room_id)
            .await
            .unwrap()
            .unwrap();
        bus.meet(bob.0, presence_of("bob", PresenceState::Offline));
        bus.introduce(bob.0, &[room.0]);
        let since = server.token("alice").await;
        let waiting = start(
            &server,
            "alice",
            SyncRequest {
                timeout: Duration::from_secs(1),
                ..request(&since, "{}")
            },
        )
        .await;
        tokio::task::yield_now().await;
        bus.set_presence(bob.0, presence_of("bob", PresenceState::Online));
        let answer = waiting.await.unwrap();
        let expected = serde_json::json!([{
            "content": { "currently_active": false, "presence": "online" },
            "sender": "@bob:localhost", "type": "m.presence",
        }]);
        assert_eq!(answer["presence"]["events"], expected);
        let next = server.sync("alice", Some(&next_batch(&answer))).await;
        assert_eq!(next["presence"]["events"], serde_json::json!([]));
        // Woken, it tells at once.
        let waiting = start(&server, "alice", poll(&next_batch(&answer), "{}")).await;
        bus.set_presence(bob.0, presence_of("bob", PresenceState::Unavailable));
        bus.wake_for_presence(&[bob.0]);
        let answer = waiting.await.unwrap();
        assert_eq!(
            answer["presence"]["events"][0]["content"]["presence"],
            "unavailable"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_wakes_nobody_is_told_at_the_end_of_a_poll_and_not_lost() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let (bus, bob) = (&server.world.bus, server.reader("bob").await.user);
        let number = server.world.store.room_num(&room_id).await.unwrap();
        let number = number.unwrap().0;
        bus.type_until(number, (bob.0, "@bob:localhost"), i64::MAX);
        let since = server.token("alice").await;
        let asked = SyncRequest {
            timeout: Duration::from_millis(200),
            ..request(&since, "{}")
        };
        let alice = server.reader("alice").await;
        let mut waiting = Box::pin(server.sync.sync(&alice, &asked));
        assert!((&mut waiting).now_or_never().is_none(), "it waits");
        // As before a message that ends it, of which nobody is told yet.
        bus.end_typing_with(number, bob.0);
        let answer = json(&waiting.await.unwrap());
        let typing = serde_json::json!([{ "content": { "user_ids": [] }, "type": "m.typing" }]);
        let told = &room(&answer, "join", &room_id)["ephemeral"]["events"];
        assert_eq!(*told, typing);
        let next = server.sync("alice", Some(&next_batch(&answer))).await;
        assert!(has_no_rooms(&next));
    })
    .await;
}
