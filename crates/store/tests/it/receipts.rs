//! Receipts: what is kept of them, and those that wait for their event.

use ruma_common::{EventId, RoomId, owned_event_id, owned_user_id};
use starling_db::{Positions, Tx, Write};
use starling_events::RoomVersion;
use starling_store::append::AppendError;
use starling_store::receipts::{
    ReceiptKey, ReceiptKind, ReceiptThread, Sent, receipt_wait, receipts_changed, receipts_of,
    waiting_receipts_old_rooms, waiting_receipts_sweep,
};
use starling_store::rooms::room_insert;
use starling_store::tokens::Place;
use starling_store::unread::marks_of_rooms;
use starling_store::{RoomNum, SCHEMA, Store, UserNum};
use starling_testkit::{TestDb, on_each_engine};

use crate::timeline::{alone, pdu, room_with_backfill};

const ROOM: RoomNum = RoomNum(1);

fn key(kind: ReceiptKind, thread: ReceiptThread) -> ReceiptKey {
    ReceiptKey { kind, thread }
}

fn unthreaded() -> ReceiptKey {
    key(ReceiptKind::Read, ReceiptThread::Unthreaded)
}

async fn user(store: &Store) -> UserNum {
    let names = store.names().clone();
    let intern = move |tx: &mut Tx<'_>| names.user_intern(tx, &owned_user_id!("@bob:localhost"));
    store.db().write(Write::new("user"), intern).await.unwrap()
}

fn sent(user: UserNum, at_ms: i64) -> Sent {
    Sent {
        user,
        room: ROOM,
        at_ms,
    }
}

async fn advance(
    store: &Store,
    user: UserNum,
    key: ReceiptKey,
    (event, place): (&EventId, (i64, i64)),
) -> Option<i64> {
    let event = event.to_owned();
    let place = Place {
        major: place.0,
        minor: place.1,
    };
    let cloned = store.clone();
    let set = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
        cloned.receipt_advance(tx, positions, sent(user, 5), &key, (&event, place))
    };
    let write = Write::new("receipt");
    store
        .db()
        .write_placed(write, |_| Ok(()), set)
        .await
        .unwrap()
}

async fn wait(store: &Store, sent: Sent, key: ReceiptKey, event: &EventId) {
    let event = event.to_owned();
    let wait = move |tx: &mut Tx<'_>| receipt_wait(tx, sent, &key, &event);
    let write = Write::new("wait").locking([ROOM.0]);
    store.db().write(write, wait).await.unwrap();
}

/// Appends an event of the tests; whose receipts had waited for it.
async fn append(store: &Store, number: i64) -> Vec<UserNum> {
    let before = store.room(ROOM).await.unwrap().unwrap();
    let new = alone(pdu(number));
    let appending = store.clone();
    let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
        let server = "localhost".try_into().unwrap();
        let appended = appending.append(tx, positions, &before, &new, server)?;
        Ok::<_, AppendError>(appended.readers)
    };
    let write = Write::new("append").locking([ROOM.0]);
    let db = store.db();
    db.write_placed(write, |_| Ok(()), place).await.unwrap()
}

/// A user's receipts: kind, thread and event of each, sorted.
async fn kept(store: &Store, user: UserNum) -> Vec<String> {
    let read = move |tx: &mut Tx<'_>| receipts_of(tx, user, ROOM);
    let mut kept: Vec<String> = store
        .db()
        .read("receipts", read)
        .await
        .unwrap()
        .into_iter()
        .map(|read| {
            let (kind, thread) = (read.key.kind.as_str(), read.key.thread);
            format!("{kind} {} {}", thread.id().unwrap_or("-"), read.event_id)
        })
        .collect();
    kept.sort();
    kept
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_receipt_is_kept_of_each_kind_and_thread_and_none_goes_back() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = room_with_backfill(&db).await;
        let bob = user(&store).await;
        let [ten, backfilled, twenty] =
            [10, 31, 20].map(|number| pdu(number).event_id().to_owned());
        let first = advance(&store, bob, unthreaded(), (&backfilled, (20, -2))).await;
        // Backfilled events lie before the one that they were put before, whatever their number.
        assert_eq!(
            advance(&store, bob, unthreaded(), (&ten, (10, 0))).await,
            None
        );
        assert_eq!(
            advance(&store, bob, unthreaded(), (&backfilled, (20, -2))).await,
            None
        );
        let second = advance(&store, bob, unthreaded(), (&twenty, (20, 0))).await;
        assert!(second > first && first.is_some());
        let root = ReceiptThread::Root(twenty.clone());
        for other in [
            key(ReceiptKind::Private, ReceiptThread::Unthreaded),
            key(ReceiptKind::Read, ReceiptThread::Main),
            key(ReceiptKind::Read, root),
        ] {
            let moved = advance(&store, bob, other, (&ten, (10, 0))).await;
            assert!(moved.is_some());
        }
        let expected = [
            format!("m.read {twenty} {ten}"),
            format!("m.read - {twenty}"),
            format!("m.read main {ten}"),
            format!("m.read.private - {ten}"),
        ];
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(kept(&store, bob).await, expected);
        // What is told: with a stretch of the log, and of what is private only one's own.
        let changed = |user: UserNum, since: i64| {
            let read =
                move |tx: &mut Tx<'_>| receipts_changed(tx, user, &[ROOM], (since, i64::MAX));
            store.db().read("changed", read)
        };
        assert_eq!(changed(bob, 0).await.unwrap().len(), 4);
        assert_eq!(changed(bob, second.unwrap()).await.unwrap().len(), 3);
        assert_eq!(changed(UserNum(99), 0).await.unwrap().len(), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_waits_for_its_event() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = room_with_backfill(&db).await;
        let bob = user(&store).await;
        let later = pdu(50).event_id().to_owned();
        wait(&store, sent(bob, 1), unthreaded(), &later).await;
        let private = key(ReceiptKind::Private, ReceiptThread::Main);
        wait(&store, sent(bob, 2), private, &later).await;
        // One for a thread in which the event turns out not to be.
        let thread = ReceiptThread::Root(owned_event_id!("$root"));
        wait(&store, sent(bob, 3), key(ReceiptKind::Read, thread), &later).await;
        assert_eq!(append(&store, 40).await, []);
        assert!(kept(&store, bob).await.is_empty());
        assert_eq!(append(&store, 50).await, [bob, bob]);
        let expected = [
            format!("m.read - {later}"),
            format!("m.read.private main {later}"),
        ];
        assert_eq!(kept(&store, bob).await, expected);
        // Nothing waits any longer; what waits next is found all the same.
        assert_eq!(append(&store, 60).await, []);
        let last = pdu(70).event_id().to_owned();
        wait(&store, sent(bob, 4), unthreaded(), &last).await;
        assert_eq!(append(&store, 70).await, [bob]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_receipts_wait_and_not_for_ever() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = room_with_backfill(&db).await;
        let bob = user(&store).await;
        let later = pdu(50).event_id().to_owned();
        for number in 1..=20 {
            let root = EventId::parse(format!("$root{number:02}")).unwrap();
            let thread = key(ReceiptKind::Read, ReceiptThread::Root(root));
            wait(&store, sent(bob, number), thread, &later).await;
        }
        let sweep = |rooms: Vec<RoomNum>, before_ms: i64| {
            let sweep = move |tx: &mut Tx<'_>| waiting_receipts_sweep(tx, &rooms, before_ms, 100);
            store.db().write(Write::new("sweep"), sweep)
        };
        let old = |before_ms: i64| {
            let old = move |tx: &mut Tx<'_>| waiting_receipts_old_rooms(tx, before_ms, 100);
            store.db().read("old", old)
        };
        assert_eq!(old(5).await.unwrap(), [], "all before the fifth are gone");
        assert_eq!(old(6).await.unwrap(), [ROOM]);
        let others = vec![RoomNum(2)];
        assert_eq!(sweep(others, 21).await.unwrap(), 0, "of locked rooms alone");
        assert_eq!(sweep(vec![ROOM], 6).await.unwrap(), 1);
        assert_eq!(sweep(vec![ROOM], 21).await.unwrap(), 15);
        assert_eq!(append(&store, 50).await, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_room_and_no_user_has_many_that_wait() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = room_with_backfill(&db).await;
        let later = pdu(50).event_id().to_owned();
        let waiting = async |receipts: Vec<Sent>, before_ms: i64| {
            let later = later.clone();
            let wait = move |tx: &mut Tx<'_>| {
                for sent in &receipts {
                    receipt_wait(tx, *sent, &unthreaded(), &later)?;
                }
                let rooms = waiting_receipts_old_rooms(tx, before_ms, 10_000)?;
                waiting_receipts_sweep(tx, &rooms, before_ms, 10_000)
            };
            let write = Write::new("wait").locking([ROOM.0]);
            store.db().write(write, wait).await.unwrap()
        };
        let of_many_users = |number| sent(UserNum(1_000 + number), number);
        let of_many_users = (1..=1_010).map(of_many_users).collect();
        assert_eq!(waiting(of_many_users, i64::MAX).await, 1_000);
        let rooms = |tx: &mut Tx<'_>| {
            for number in 2..=111 {
                let id = RoomId::parse(format!("!{number}:localhost")).unwrap();
                room_insert(tx, &id, RoomVersion::V11, false)?;
            }
            Ok::<_, starling_db::Error>(())
        };
        store.db().write(Write::new("rooms"), rooms).await.unwrap();
        let in_many_rooms = |number| Sent {
            room: RoomNum(1 + number),
            ..sent(UserNum(7), number)
        };
        // The first ones: an append in another room may be about to take one.
        let in_many_rooms: Vec<Sent> = (1..=110).map(in_many_rooms).collect();
        assert_eq!(waiting(in_many_rooms, 101).await, 100);
        assert_eq!(waiting(Vec::new(), i64::MAX).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_threads_the_receipts_that_lie_furthest_are_kept() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = room_with_backfill(&db).await;
        let bob = user(&store).await;
        let event = pdu(10).event_id().to_owned();
        let set = move |tx: &mut Tx<'_>, positions: &mut Positions, store: Store| {
            for number in (1..=510).rev() {
                let root = EventId::parse(format!("$root{number}")).unwrap();
                let thread = key(ReceiptKind::Read, ReceiptThread::Root(root));
                let place = Place {
                    major: number,
                    minor: 0,
                };
                store.receipt_advance(tx, positions, sent(bob, 5), &thread, (&event, place))?;
            }
            let (event, place) = (&*event, Place { major: 1, minor: 0 });
            store.receipt_advance(tx, positions, sent(bob, 5), &unthreaded(), (event, place))
        };
        let (writing, write) = (store.clone(), Write::new("receipts"));
        let work = move |_: &mut Tx<'_>| Ok(writing.clone());
        store.db().write_placed(write, work, set).await.unwrap();
        let kept = kept(&store, bob).await;
        assert_eq!(kept.len(), 501);
        let has = |number: i64| {
            kept.iter()
                .any(|it| it.contains(&format!("$root{number} ")))
        };
        assert!(has(510) && has(11) && !has(10));
        // The others are read up to there, since theirs may have lain no further.
        let read = move |tx: &mut Tx<'_>| marks_of_rooms(tx, bob, &[(ROOM, 2)]);
        let marks = store.db().read("marks", read).await.unwrap();
        let thread = |root: &str| marks[&ROOM].thread(&EventId::parse(root).unwrap());
        assert_eq!([thread("$root510"), thread("$root10")], [510, 11]);
    })
    .await;
}
