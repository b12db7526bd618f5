//! Lists of devices that servers are told of again, and members who come and go.

use ruma_common::{OwnedServerName, user_id};
use serde_json::json;
use starling_db::{Error, Sql, Tx, Write};
use starling_store::destinations::{Destinations, destinations_set};
use starling_store::device_lists::{DeviceUpdate, device_updates, members_changed};
use starling_store::outgoing::outgoing_after;
use starling_store::{KeyNum, RoomNum, SCHEMA, Store, UserNum};
use starling_testkit::{TestDb, on_each_engine};

use crate::destinations::{append, member};
use crate::keys::change;
use crate::timeline::{new_event_at, new_room};

const ROOM: RoomNum = RoomNum(1);
const ALICE: &str = "@alice:localhost";
const A: &str = "@a:one.example";

static FORGET_TAGS: Sql = Sql::new("forget_tags", "UPDATE state_deltas SET left_tag = -1");

fn one() -> OwnedServerName {
    "one.example".try_into().unwrap()
}

async fn read<T: Send + 'static>(
    store: &Store,
    read: impl FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
) -> T {
    store.db().read("test", read).await.unwrap()
}

/// Alice's room, and her number.
async fn alices_room(db: &TestDb) -> (Store, UserNum) {
    let store = new_room(db).await;
    store.outgoing().open();
    member(&store, ALICE, "join").await;
    let names = store.names().clone();
    let find = move |tx: &mut Tx<'_>| names.user(tx, user_id!("@alice:localhost"));
    let alice = read(&store, find).await.unwrap();
    (store, alice)
}

/// What waits for a server: the positions, and the changes of devices among them.
async fn waiting(store: &Store) -> (Vec<i64>, Vec<DeviceUpdate>) {
    read(store, |tx| {
        let page = outgoing_after(tx, 0, 100)?;
        let of_one = page.events.into_iter().find(|(server, _)| *server == one());
        let positions = of_one.map(|(_, positions)| positions.into_iter().collect());
        let positions: Vec<i64> = positions.unwrap_or_default();
        let updates = device_updates(tx, &positions)?;
        Ok((positions, updates))
    })
    .await
}

async fn note_progress(store: &Store, now: Destinations, caught_up: Vec<OwnedServerName>) {
    let set = move |tx: &mut Tx<'_>| destinations_set(tx, &now, &caught_up);
    let write = Write::new("destinations");
    store.db().write(write, set).await.unwrap();
}

#[tokio::test]
async fn however_often_a_server_comes_and_goes_one_note_of_a_list_waits_for_it() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let (store, alice) = alices_room(&db).await;
        let changed = change(&store, alice, &["A"]).await;
        member(&store, A, "join").await;
        let (first, told) = waiting(&store).await;
        // The change itself is told where she is now.
        assert_eq!((first.len(), told.len()), (2, 1), "{first:?} {told:?}");
        let mut kicks = Vec::new();
        for _ in 0..3 {
            kicks.push(member(&store, A, "leave").await);
            member(&store, A, "join").await;
        }
        let (positions, told) = waiting(&store).await;
        assert_eq!(positions.len(), 1 + kicks.len() + 1, "{positions:?}");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(positions[0], changed.position);
        let last = positions[positions.len() - 1];
        assert!(last > kicks[2], "told since it came last");

        // It stays until the server has it, whatever others have.
        let (upto, _) = store.db().head().await.unwrap();
        let now = |behind: &[(OwnedServerName, i64)], upto| Destinations {
            upto,
            behind: behind.iter().cloned().collect(),
        };
        note_progress(&store, now(&[(one(), last - 1)], upto), Vec::new()).await;
        note_progress(&store, now(&[], upto + 5), Vec::new()).await;
        let resent = async || read(&store, move |tx| device_updates(tx, &[last])).await;
        assert_eq!(resent().await.len(), 1);
        note_progress(&store, now(&[], upto + 9), vec![one()]).await;
        assert!(resent().await.is_empty());
    })
    .await;
}

/// A member changes their name.
async fn rename(store: &Store, user: &str, name: i64) {
    let content = json!({ "membership": "join", "displayname": name.to_string() });
    append(
        store,
        new_event_at(name, user, "m.room.member", Some(user), &content),
    )
    .await;
}

#[tokio::test]
async fn of_members_what_makes_them_something_else_is_told_and_no_name() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let (store, _) = alices_room(&db).await;
        let joined = member(&store, A, "join").await;
        let names = store.names().clone();
        let key = read(&store, move |tx| {
            names.keys(tx, [A].into_iter()).map(|it| it[A])
        })
        .await;
        let changed = async |since| -> Vec<(KeyNum, bool)> {
            let changed = read(&store, move |tx| {
                members_changed(tx, &[ROOM], since, i64::MAX)
            });
            let changed = changed.await.into_iter();
            changed.map(|((_, key), was)| (key, was)).collect()
        };
        let (before, _) = store.db().head().await.unwrap();
        for name in 100..103 {
            rename(&store, A, name).await;
        }
        assert_eq!(changed(before).await, []);
        assert_eq!(changed(joined - 1).await, [(key, false)]);
        member(&store, A, "leave").await;
        let (left, _) = store.db().head().await.unwrap();
        assert_eq!(changed(before).await, [(key, true)]);
        member(&store, A, "join").await;
        rename(&store, A, 200).await;
        assert_eq!(changed(before).await, [(key, true)]);
        assert_eq!(changed(left).await, [(key, false)]);
        // Of what an older program has stored it isn't known.
        let forget = |tx: &mut Tx<'_>| tx.execute(&FORGET_TAGS, &[]);
        let forgotten = store.db().write(Write::new("forget"), forget).await;
        forgotten.unwrap();
        assert_eq!(changed(left).await, [(key, true)]);
    })
    .await;
}
