//! Rooms that are purged: nobody is told of them any longer, and no sync fails meanwhile.

use serde_json::json;
use starling_db::{Tx, Write};
use starling_store::SCHEMA;
use starling_store::jobs::{Job, Progress, Task};
use starling_store::purge::{PURGE_BEGUN, PurgeAnswer};
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{Server, has_no_rooms, room, timeline};

const INCLUDE_LEAVE: &str = r#"{"room":{"include_leave":true}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_from_before_a_purge_stay_good() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let (room_id, kept) = (server.room("alice").await, server.room("alice").await);
        server.join("bob", &room_id).await;
        server.say("bob", &room_id, "hello").await;
        let content = json!({ "name": "to be gone" });
        server.set("alice", &room_id, "m.room.name", content).await;
        let joined = server.token("bob").await;
        server.leave("bob", &room_id).await;
        let (left, alice) = (server.token("bob").await, server.token("alice").await);

        let (store, wanted) = (server.world.store.clone(), room_id.clone());
        let number = store.room_num(&room_id).await.unwrap().unwrap();
        let note = move |tx: &mut Tx<'_>| store.purge_note(tx, &wanted, true, 1);
        let db = server.world.store.db();
        let noted = db.write(Write::new("purge_note"), note).await.unwrap();
        assert_eq!(noted, PurgeAnswer::Leaving(1));
        let mut job = Job {
            task: Task::Purge(number),
            noted_at: 1,
            progress: 0,
        };
        loop {
            let progress = server.world.rooms.work(&job).await.unwrap();
            let Progress::At(at) = progress else {
                break;
            };
            job.progress = at;
            let told = server.sync("alice", Some(&alice)).await;
            let told = room(&told, "leave", &room_id);
            if at < PURGE_BEGUN {
                assert_eq!(timeline(told), ["@alice:leave"]);
                continue;
            }
            assert!(told.is_null(), "{told}");
            for since in [&joined, &left] {
                assert!(has_no_rooms(&server.sync("bob", Some(since)).await));
            }
            assert!(has_no_rooms(&server.sync_by("bob", INCLUDE_LEAVE).await));
        }
        server.say("alice", &kept, "still here").await;
        let told = server.sync("alice", Some(&alice)).await;
        assert_eq!(timeline(room(&told, "join", &kept)), ["still here"]);
        assert!(room(&told, "leave", &room_id).is_null());
    })
    .await;
}
