//! What answers cost: how many statements they take, and that this follows what changed.

use ruma_common::OwnedRoomId;
use serde_json::Value;
use starling_store::SCHEMA;
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{Server, next_batch, request, room, state, timeline};

/// More than are read in one step, fewer than in two.
const ROOMS: usize = 40;

/// How many statements it takes to answer `who` after a restart.
async fn cost(db: &mut TestDb, who: &str, since: Option<&str>) -> (Value, u64) {
    db.reopen().await;
    let server = Server::start(db).await;
    let reader = server.reader(who).await;
    let before = db.db().statements_read();
    let filter = r#"{"room":{"timeline":{"limit":2},"state":{"lazy_load_members":true}}}"#;
    let mut asked = request(since.unwrap_or_default(), filter);
    asked.since = since.map(str::to_owned);
    let answer = server.sync.sync(&reader, &asked).await.unwrap();
    let answer = crate::server::json(&answer);
    (answer, db.db().statements_read() - before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_initial_sync_asks_a_fixed_number_of_times_for_each_step_of_rooms() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let server = Server::start(&db).await;
        let mut rooms: Vec<OwnedRoomId> = Vec::new();
        for number in 0..ROOMS {
            let room_id = server.room("alice").await;
            // Everyone has somebody else to name the room after.
            server
                .member("alice", &room_id, &format!("guest{number}"), "invite")
                .await;
            if number < 2 {
                server.join("bob", &room_id).await;
            }
            rooms.push(room_id);
        }
        drop(server);
        let (few, for_two) = cost(&mut db, "bob", None).await;
        assert_eq!(few["rooms"]["join"].as_object().unwrap().len(), 2);
        let (many, for_all) = cost(&mut db, "alice", None).await;
        assert_eq!(many["rooms"]["join"].as_object().unwrap().len(), ROOMS);
        assert!(
            for_all <= 2 * for_two,
            "{for_two} for two rooms, {for_all} for {ROOMS}"
        );
        // A few are for what is no room: messages to the device, and its keys.
        assert!(for_all <= ROOMS as u64 + 4, "{for_all} for {ROOMS} rooms");

        // A client that was away for long: what it is told, and what that costs, follows the rooms that changed.
        let since = next_batch(&many);
        let server = Server::start(&db).await;
        let changed = &rooms[..ROOMS - 4];
        for room_id in changed {
            server.topic("alice", room_id, "in the gap").await;
            for text in ["one", "two"] {
                server.say("alice", room_id, text).await;
            }
        }
        drop(server);
        let (late, for_late) = cost(&mut db, "alice", Some(&since)).await;
        assert_eq!(
            late["rooms"]["join"].as_object().unwrap().len(),
            changed.len()
        );
        for room_id in changed {
            let told = room(&late, "join", room_id);
            assert_eq!(timeline(told), ["one", "two"]);
            assert_eq!(told["timeline"]["limited"], true);
            let state = state(told);
            assert!(state.contains(&"topic=in the gap".to_owned()), "{state:?}");
        }
        // Whose devices have changed takes a few, however many rooms there are.
        assert!(for_late < ROOMS as u64 + 10, "{for_late} for {ROOMS} rooms");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_of_many_threads_cost_what_those_of_few_do() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let mut costs = Vec::new();
        for threads in [1, 20] {
            // Each server makes the same ids by chance.
            let alice = format!("alice{threads}");
            let server = Server::start(&db).await;
            let room_id = server.room(&alice).await;
            server.join("bob", &room_id).await;
            for number in 0..threads {
                let first = server
                    .say(&alice, &room_id, &format!("root {number}"))
                    .await;
                server.reply(&alice, &room_id, &first).await;
                // What he has said himself he has read.
                server.reply("bob", &room_id, &first).await;
                server.reply(&alice, &room_id, &first).await;
            }
            drop(server);
            let (answer, cost) = cost(&mut db, "bob", None).await;
            let counts = &room(&answer, "join", &room_id)["unread_notifications"];
            assert_eq!(counts["notification_count"], 2 * threads);
            costs.push(cost);
            let server = Server::start(&db).await;
            server.leave("bob", &room_id).await;
        }
        assert_eq!(costs[0], costs[1]);
    })
    .await;
}
