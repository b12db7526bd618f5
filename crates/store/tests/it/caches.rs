//! The caches stay true beside readers whose transactions are older than what was committed meanwhile.

use std::sync::Arc;

use ruma_common::user_id;
use starling_db::{Error, Tx, Write};
use starling_store::accounts::{AccountInsert, AccountKind, account_erase, account_insert};
use starling_store::events::event_redact;
use starling_store::rooms::{RoomSnapshot, room_advance};
use starling_store::{EventNum, RoomNum, SCHEMA, Store, UserNum};
use starling_testkit::{TestDb, on_each_engine};
use tokio::runtime::Handle;

use crate::timeline::{event, pdu, room_with_backfill};

starling_db::statements! {
    COUNT_ROOMS = "SELECT count(*) FROM rooms";
}

/// Runs `late` in a reader's transaction, whose snapshot is from before `change`, which commits meanwhile.
async fn read_late<T: Send + 'static>(
    store: &Store,
    change: impl Future<Output = Result<(), Error>> + Send + 'static,
    late: impl FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
) -> T {
    let runtime = Handle::current();
    let read = move |tx: &mut Tx<'_>| {
        tx.query_one(&COUNT_ROOMS, &[], |row| row.int(0))?;
        runtime.block_on(change)?;
        late(tx)
    };
    store.db().scan("late", read).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_does_not_bring_a_redacted_event_back() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = room_with_backfill(&db).await;
        let event_id = pdu(10).event_id().to_owned();
        let pruned = Arc::new(event(10, (10, 0), pdu(10)).redacted_by(EventNum(20)));
        let (writer, reader) = (store.clone(), store.clone());
        let redact = async move {
            let cached = writer.clone();
            let body = move |tx: &mut Tx<'_>| {
                event_redact(tx, &pruned)?;
                let (cached, pruned) = (cached.clone(), Arc::clone(&pruned));
                tx.after_commit(move || cached.events().replace(pruned));
                Ok(())
            };
            writer.db().write(Write::new("redact"), body).await
        };
        let wanted = event_id.clone();
        let read = move |tx: &mut Tx<'_>| reader.event_by_id(tx, &wanted);
        let old = read_late(&store, redact, read).await.unwrap();
        assert!(old.redacted_by.is_none(), "its snapshot is older");
        let cached = store.events().get(EventNum(10)).unwrap();
        assert_eq!(cached.redacted_by, Some(EventNum(20)));
        // A reader that begins after it may fill the cache again.
        let reader = store.clone();
        let read = move |tx: &mut Tx<'_>| reader.event_by_id(tx, &event_id);
        let new = store.db().read("new", read).await.unwrap().unwrap();
        assert_eq!(new.redacted_by, Some(EventNum(20)));
        let cached = store.events().get(EventNum(10)).unwrap();
        assert!(Arc::ptr_eq(&cached, &new));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_does_not_bring_an_old_snapshot_of_a_room_back() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = room_with_backfill(&db).await;
        let before = store.room(RoomNum(1)).await.unwrap().unwrap();
        let after = Arc::new(RoomSnapshot {
            append_count: 1,
            last_position: 30,
            ..RoomSnapshot::clone(&before)
        });
        let (writer, reader) = (store.clone(), store.clone());
        let advance = async move {
            let cached = writer.clone();
            let body = move |tx: &mut Tx<'_>| {
                assert_eq!(room_advance(tx, &before, &after)?, Some(false));
                let (cached, after) = (cached.clone(), Arc::clone(&after));
                tx.after_commit(move || cached.rooms().replace(after));
                Ok(())
            };
            writer.db().write(Write::new("advance"), body).await?;
            // As when it is pushed out by others.
            writer.rooms().forget(RoomNum(1));
            Ok(())
        };
        let read = move |tx: &mut Tx<'_>| reader.room_read(tx, RoomNum(1));
        let old = read_late(&store, advance, read).await.unwrap();
        assert_eq!(old.append_count, 0, "its snapshot is older");
        assert!(store.rooms().get(RoomNum(1)).is_none());
        let new = store.room(RoomNum(1)).await.unwrap().unwrap();
        assert_eq!(new.append_count, 1);
        let cached = store.rooms().get(RoomNum(1)).unwrap();
        assert!(Arc::ptr_eq(&cached, &new));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_does_not_bring_an_erased_user_back() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = room_with_backfill(&db).await;
        let names = store.names().clone();
        let insert = move |tx: &mut Tx<'_>| {
            let user = names.user_intern(tx, user_id!("@alice:localhost"))?;
            assert_eq!(user, UserNum(1));
            let account = AccountInsert {
                user,
                kind: AccountKind::User,
                is_admin: false,
                password_hash: None,
                created_at: 1,
            };
            account_insert(tx, &account)
        };
        let is_new: Result<bool, Error> = db.db().write(Write::new("account"), insert).await;
        assert!(is_new.unwrap());
        let (writer, reader) = (store.clone(), store.clone());
        let erase = async move {
            let erased = writer.clone();
            let body = move |tx: &mut Tx<'_>| {
                account_erase(tx, UserNum(1), 2)?;
                let erased = erased.clone();
                tx.after_commit(move || erased.erased().changed());
                Ok(())
            };
            writer.db().write(Write::new("erase"), body).await
        };
        read_late(&store, erase, move |tx| reader.erased().users(tx)).await;
        let reader = store.clone();
        let read = move |tx: &mut Tx<'_>| reader.erased().users(tx);
        let users = store.db().read("new", read).await.unwrap();
        assert!(users.contains(&UserNum(1)));
        let reader = store.clone();
        let read = move |tx: &mut Tx<'_>| reader.erased().users(tx);
        let again = store.db().read("again", read).await.unwrap();
        assert!(Arc::ptr_eq(&users, &again), "they are kept");
    })
    .await;
}
