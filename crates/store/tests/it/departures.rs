//! Notes of who has to leave rooms.

use starling_db::{Error, Tx, Write};
use starling_store::departures::{GuestDeparture, guests_delete, guests_insert, guests_list};
use starling_store::{RoomNum, SCHEMA};
use starling_testkit::{TestDb, on_each_engine};

const ROOM: RoomNum = RoomNum(7);

async fn write(db: &TestDb, work: impl FnMut(&mut Tx<'_>) -> Result<(), Error> + Send + 'static) {
    let done = db.db().write(Write::new("test"), work).await;
    done.unwrap();
}

async fn noted(db: &TestDb) -> Vec<GuestDeparture> {
    let list = |tx: &mut Tx<'_>| guests_list(tx, RoomNum(0), 10);
    db.db().read("test", list).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_noted_during_the_work_is_not_lost_with_its_end() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        write(&db, |tx| guests_insert(tx, ROOM, 5)).await;
        let first = noted(&db).await[0];
        // Within the same millisecond, too.
        write(&db, |tx| guests_insert(tx, ROOM, 5)).await;
        write(&db, move |tx| guests_delete(tx, first)).await;
        let second = noted(&db).await;
        assert_eq!(second.len(), 1);
        let second = second[0];
        assert_eq!(second.room, ROOM);
        write(&db, move |tx| guests_delete(tx, second)).await;
        assert_eq!(noted(&db).await, []);
    })
    .await;
}
