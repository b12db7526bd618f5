//! Devices' keys, and what is told of their changes.

use std::collections::BTreeSet;

use ruma_common::user_id;
use serde_json::json;
use starling_db::{Error, Positions, Tx, Write};
use starling_store::device_keys::{device_keys_of_users, device_keys_set};
use starling_store::device_lists::{
    DeviceListChange, device_lists_changed, device_updates, stream_id,
};
use starling_store::devices::{Ended, device_delete, device_upsert};
use starling_store::one_time_keys::{OneTimeKey, one_time_keys_find};
use starling_store::outgoing::outgoing_after;
use starling_store::{CacheSizes, DeviceNum, SCHEMA, Store, UserNum};
use starling_testkit::{TestDb, on_each_engine};

use crate::timeline::{new_event, new_event_at, new_room};

const ALICE: UserNum = UserNum(1);

async fn write<T: Send + 'static>(
    store: &Store,
    mut write: impl FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
) -> T {
    let work = move |tx: &mut Tx<'_>| write(tx);
    let done = store.db().write(Write::new("test"), work).await;
    done.unwrap()
}

async fn read<T: Send + 'static>(
    store: &Store,
    read: impl FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
) -> T {
    store.db().read("test", read).await.unwrap()
}

async fn start(db: &TestDb) -> Store {
    let (_, epoch) = db.db().head().await.unwrap();
    Store::new(db.db().clone(), epoch, CacheSizes::new(1 << 20))
}

async fn device(store: &Store, id: &'static str) -> DeviceNum {
    write(store, move |tx| device_upsert(tx, ALICE, id, None, 0)).await
}

fn key(id: &str, digest: i64) -> OneTimeKey {
    OneTimeKey {
        algorithm: "x".to_owned(),
        key_id: id.to_owned(),
        digest,
        json: format!("\"{id}{digest}\""),
    }
}

async fn add(store: &Store, device: DeviceNum, keys: Vec<OneTimeKey>) {
    let adding = store.clone();
    let add = move |tx: &mut Tx<'_>| {
        let keys: Vec<&OneTimeKey> = keys.iter().collect();
        adding.one_time_keys_insert(tx, device, &keys)
    };
    write(store, add).await;
}

/// The keys that are given out, as they are.
async fn claim(store: &Store, devices: Vec<DeviceNum>) -> Vec<String> {
    let claiming = store.clone();
    let wanted: Vec<(DeviceNum, String)> =
        devices.into_iter().map(|it| (it, "x".to_owned())).collect();
    let claim = move |tx: &mut Tx<'_>| claiming.keys_claim(tx, &wanted);
    let claimed = write(store, claim).await;
    let mut claimed: Vec<String> = claimed.into_iter().map(|key| key.json).collect();
    claimed.sort_unstable();
    claimed
}

pub(crate) async fn change(store: &Store, user: UserNum, ids: &[&str]) -> DeviceListChange {
    let ids: BTreeSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let changing = store.clone();
    let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
        changing.device_list_change(tx, positions, user, &ids)
    };
    let db = store.db();
    let done = db.write_placed(Write::new("test"), |_| Ok(()), place).await;
    done.unwrap()
}

#[tokio::test]
async fn keys_are_given_out_once_each_device_its_oldest() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let store = start(&db).await;
        let (one, other) = (device(&store, "ONE").await, device(&store, "OTHER").await);
        add(&store, one, vec![key("b", 1), key("a", 1)]).await;
        add(&store, other, vec![key("o", 1)]).await;
        assert_eq!(claim(&store, vec![one, other]).await, ["\"b1\"", "\"o1\""]);
        assert_eq!(claim(&store, vec![one, other]).await, ["\"a1\""]);
        let counts = read(&store, {
            let store = store.clone();
            move |tx| store.key_counts(tx, one)
        });
        assert!(counts.await.one_time.is_empty());
        db.reopen().await;
        let store = start(&db).await;
        assert!(claim(&store, vec![one, other]).await.is_empty());
        let known = read(&store, move |tx| one_time_keys_find(tx, one, &["a", "z"])).await;
        let known: Vec<(String, bool)> = known
            .into_iter()
            .map(|((_, id), key)| (id, key.is_claimed))
            .collect();
        assert_eq!(known, [("a".to_owned(), true)], "it is remembered");
    })
    .await;
}

#[tokio::test]
async fn a_fallback_key_stays_and_is_used_once_it_was_given_out() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = start(&db).await;
        let one = device(&store, "ONE").await;
        let setting = store.clone();
        let set = move |tx: &mut Tx<'_>| setting.fallback_key_set(tx, one, &key("f", 1));
        write(&store, set.clone()).await;
        let unused = async || {
            let counting = store.clone();
            let counts = read(&store, move |tx| counting.key_counts(tx, one)).await;
            counts.unused_fallback.clone()
        };
        assert_eq!(unused().await, ["x"]);
        for _ in 0..2 {
            assert_eq!(claim(&store, vec![one]).await, ["\"f1\""]);
            assert!(unused().await.is_empty());
        }
        write(&store, set).await;
        assert_eq!(unused().await, ["x"]);
    })
    .await;
}

#[tokio::test]
async fn of_each_device_another_algorithm_can_be_wanted() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = start(&db).await;
        let (one, other) = (device(&store, "ONE").await, device(&store, "OTHER").await);
        let other_key = |id| OneTimeKey {
            algorithm: "y".to_owned(),
            ..key(id, 2)
        };
        add(&store, one, vec![key("a", 1), other_key("a")]).await;
        add(&store, other, vec![key("b", 1), other_key("b")]).await;
        let setting = store.clone();
        let set = move |tx: &mut Tx<'_>| setting.fallback_key_set(tx, one, &key("f", 1));
        write(&store, set).await;
        let claim = async || {
            let claiming = store.clone();
            let wanted = [(one, "x".to_owned()), (other, "y".to_owned())];
            let claim = move |tx: &mut Tx<'_>| claiming.keys_claim(tx, &wanted);
            let keys = write(&store, claim).await.into_iter();
            let mut keys: Vec<_> = keys.map(|it| (it.device, it.algorithm, it.json)).collect();
            keys.sort_unstable();
            keys
        };
        let given =
            |device, algorithm: &str, json: &str| (device, algorithm.to_owned(), json.to_owned());
        let (first, last) = (given(one, "x", "\"a1\""), given(other, "y", "\"b2\""));
        assert_eq!(claim().await, [first, last]);
        assert_eq!(claim().await, [given(one, "x", "\"f1\"")]);
        let counting = store.clone();
        let counts = read(&store, move |tx| counting.key_counts(tx, one)).await;
        assert_eq!(counts.one_time, [("y".to_owned(), 1)].into());
        assert!(counts.unused_fallback.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_device_takes_all_of_its_keys_with_it() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = start(&db).await;
        let (one, other) = (device(&store, "ONE").await, device(&store, "OTHER").await);
        add(&store, one, vec![key("a", 1)]).await;
        let set = move |tx: &mut Tx<'_>| device_keys_set(tx, one, b"{}");
        assert!(write(&store, set).await);
        let known = read(&store, |tx| device_keys_of_users(tx, &[ALICE])).await;
        assert_eq!(known.len(), 1);
        let Ended { devices, .. } = write(&store, move |tx| device_delete(tx, one)).await;
        assert_eq!(devices, ["ONE"]);
        let Ended { devices, .. } = write(&store, move |tx| device_delete(tx, other)).await;
        assert!(devices.is_empty(), "nobody knew it");
        assert!(claim(&store, vec![one]).await.is_empty());
        let known = read(&store, |tx| device_keys_of_users(tx, &[ALICE])).await;
        assert!(known.is_empty());
        let set = move |tx: &mut Tx<'_>| device_keys_set(tx, one, b"{}");
        assert!(!write(&store, set).await, "it is gone");
    })
    .await;
}

#[tokio::test]
async fn each_change_of_a_device_names_the_one_before_and_the_last_stays() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = new_room(&db).await;
        let join = json!({ "membership": "join" });
        let alice = user_id!("@alice:localhost");
        let user = {
            let names = store.names().clone();
            write(&store, move |tx| names.user_intern(tx, alice)).await
        };
        crate::destinations::append(
            &store,
            new_event(alice.as_str(), "m.room.member", Some(alice.as_str()), &join),
        )
        .await;
        let server = "@a:one.example";
        let joined = new_event_at(2, server, "m.room.member", Some(server), &join);
        crate::destinations::append(&store, joined).await;
        let first = change(&store, user, &["A", "B"]).await;
        assert_eq!(first.rooms.len(), 1);
        let second = change(&store, user, &["", "A"]).await;
        let all = [
            first.position - 1,
            first.position,
            second.position - 1,
            second.position,
        ];
        let updates = read(&store, move |tx| device_updates(tx, &all)).await;
        let updates: Vec<(String, i64, Option<i64>)> = updates
            .into_iter()
            .map(|it| (it.device_id, it.position, it.prev))
            .collect();
        let wanted = [
            ("B".to_owned(), first.position, Some(first.position - 1)),
            (String::new(), second.position - 1, None),
            ("A".to_owned(), second.position, Some(first.position)),
        ];
        assert_eq!(updates, wanted);
        let last = read(&store, move |tx| stream_id(tx, user)).await;
        assert_eq!(last, second.position);
        let changed = async |since, upto| {
            read(&store, move |tx| {
                device_lists_changed(tx, (user, alice), since, upto)
            })
            .await
        };
        assert_eq!(changed(first.position, second.position).await.len(), 1);
        assert!(changed(second.position, i64::MAX).await.is_empty());
        let page = read(&store, move |tx| outgoing_after(tx, first.position, 100)).await;
        let to_one = page.events.values().flatten().copied();
        let positions: Vec<i64> = to_one.collect();
        assert_eq!(positions, [second.position - 1, second.position]);
    })
    .await;
}
