//! Lists of devices that servers are told of again.

use ruma_common::{OwnedServerName, user_id};
use starling_db::{Error, Tx, Write};
use starling_store::destinations::{Destinations, destinations_set};
use starling_store::device_lists::{DeviceUpdate, device_updates};
use starling_store::outgoing::outgoing_after;
use starling_store::{SCHEMA, Store, UserNum};
use starling_testkit::{TestDb, on_each_engine};

use crate::destinations::member;
use crate::keys::change;
use crate::timeline::new_room;

const ALICE: &str = "@alice:localhost";
const A: &str = "@a:one.example";

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
