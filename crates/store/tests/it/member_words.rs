//! The words of members that were there before the words were.

use starling_db::{Error, Schema, Tx, Write};
use starling_store::jobs::{Task, jobs_due};
use starling_store::{RoomNum, SCHEMA};
use starling_testkit::{TestDb, on_each_engine};

starling_db::statements! {
    /// A room, as it was then.
    ROOM = "INSERT INTO rooms (room_id, room_version, append_count, head_hash, last_position, snapshot_num, extremities,
            is_shared)
        VALUES (?1, '12', 1, 0, 0, 0, CAST('' AS {bytes}), ?2) RETURNING room_num";
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_writes_those_of_each_room_that_others_are_in() {
    let before = Schema {
        migrations: &SCHEMA.migrations[..28],
        oldest_program: SCHEMA.oldest_program,
    };
    on_each_engine(Box::leak(Box::new(before)), async |test: TestDb| {
        let rooms = |tx: &mut Tx<'_>| {
            let mut room = |room_id: &str, is_shared: i64| {
                let params = [room_id.into(), is_shared.into()];
                tx.execute_returning(&ROOM, &params, |row| Ok(RoomNum(row.int(0)?)))
            };
            room("!own", 0)?;
            Ok::<_, Error>([room("!first", 1)?, room("!second", 1)?])
        };
        let shared = test.db().write(Write::new("test"), rooms).await.unwrap();
        test.db().close().await;
        let db = test.open_again(&SCHEMA).await.unwrap();
        let due = db.read("test", |tx| jobs_due(tx, 0, 10)).await.unwrap();
        let mut due: Vec<Task> = due.into_iter().map(|job| job.task).collect();
        due.sort_by_key(|task| format!("{task:?}"));
        assert_eq!(due, shared.map(|room| Task::MemberWords(room.unwrap())));
    })
    .await;
}
