//! Notes of what is to be done.

use starling_db::{Error, Tx, Write};
use starling_store::jobs::{Job, Progress, Task, job_proceed, jobs_due, jobs_next};
use starling_store::{CacheSizes, RoomNum, SCHEMA, Store, UserNum};
use starling_testkit::{TestDb, on_each_engine};

const ROOM: Task = Task::GuestDeparture(RoomNum(7));
const USER: Task = Task::Profile(UserNum(7));

async fn note(db: &TestDb, task: Task, now_ms: i64) {
    let store = Store::new(db.db().clone(), 1, CacheSizes::new(1 << 20));
    let noting = store.clone();
    let work = move |tx: &mut Tx<'_>| noting.job_note(tx, task, now_ms);
    db.db().write(Write::new("test"), work).await.unwrap();
    // Whoever waits for jobs is told.
    store.jobs().notified().await;
}

async fn due(db: &TestDb, now_ms: i64) -> Vec<Job> {
    let list = move |tx: &mut Tx<'_>| jobs_due(tx, now_ms, 10);
    db.db().read("test", list).await.unwrap()
}

async fn tasks(db: &TestDb, now_ms: i64) -> Vec<(Task, i64)> {
    let due = due(db, now_ms).await;
    due.iter().map(|job| (job.task, job.progress)).collect()
}

async fn next(db: &TestDb) -> Option<i64> {
    db.db().read("test", jobs_next).await.unwrap()
}

async fn proceed(db: &TestDb, job: Job, progress: Progress, now_ms: i64) {
    let work = move |tx: &mut Tx<'_>| job_proceed(tx, &job, progress, now_ms);
    let done = db.db().write(Write::new("test"), work).await;
    done.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_noted_during_the_work_is_not_lost_with_its_end() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        note(&db, ROOM, 5).await;
        let first = due(&db, 5).await[0];
        proceed(&db, first, Progress::At(3), 5).await;
        // Within the same millisecond, too.
        note(&db, ROOM, 5).await;
        for progress in [Progress::At(4), Progress::Again(9), Progress::Done] {
            proceed(&db, first, progress, 6).await;
        }
        let second = due(&db, 5).await;
        assert_eq!(second.len(), 1);
        let second = second[0];
        // It begins anew.
        assert_eq!((second.task, second.progress), (ROOM, 0));
        proceed(&db, second, Progress::Done, 6).await;
        assert_eq!((due(&db, 99).await, next(&db).await), (vec![], None));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_get_their_turn_when_they_are_due() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        note(&db, ROOM, 5).await;
        note(&db, USER, 6).await;
        assert_eq!(tasks(&db, 4).await, []);
        assert_eq!(tasks(&db, 5).await, [(ROOM, 0)]);
        // Who had a turn waits for the others.
        let room = due(&db, 6).await[0];
        proceed(&db, room, Progress::At(20), 7).await;
        assert_eq!(tasks(&db, 7).await, [(USER, 0), (ROOM, 20)]);
        let user = due(&db, 7).await[0];
        proceed(&db, user, Progress::Again(50), 8).await;
        let room = due(&db, 8).await[0];
        proceed(&db, room, Progress::PutOff(40), 8).await;
        assert_eq!((tasks(&db, 39).await, next(&db).await), (vec![], Some(40)));
        assert_eq!(tasks(&db, 50).await, [(ROOM, 20), (USER, 0)]);

        db.reopen().await;
        assert_eq!(due(&db, 50).await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_newer_program_knows_is_left_alone() {
    starling_db::statements! {
        /// A job of a newer program.
        NEWER = "INSERT INTO jobs (kind, subject, noted_at, due_at, progress) VALUES ('newer', 1, 1, 1, 0)";
    }
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let insert = |tx: &mut Tx<'_>| tx.execute(&NEWER, &[]).map(drop);
        let write = Write::new("test");
        db.db().write::<_, Error>(write, insert).await.unwrap();
        note(&db, USER, 5).await;
        assert_eq!(next(&db).await, Some(5));
        assert_eq!(due(&db, 9).await.len(), 1);
    })
    .await;
}
