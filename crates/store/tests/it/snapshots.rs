//! Stored states: what is read back is what was stored, key by key and whole, at any depth.

use std::collections::BTreeMap;

use starling_db::{Error, Write};
use starling_runtime::Chance;
use starling_store::snapshots::{
    MAX_HOPS, Stored, snapshot_get, snapshot_insert, snapshot_load, snapshot_store,
};
use starling_store::state_map::{Entry, StateMap};
use starling_store::{EventNum, KeyNum, RoomNum, SCHEMA, TypeNum};
use starling_testkit::{TestDb, on_each_engine};

type Model = BTreeMap<(i64, i64), (i64, i64)>;

/// A chain of random changes: after each, the state as stored, and what it must hold.
async fn grow(db: &TestDb, seed: u64, changes: i64) -> Vec<(Stored, Model)> {
    let insert = move |tx: &mut starling_db::Tx<'_>| {
        let chance = Chance::seeded(seed);
        let number = |most: u64| i64::try_from(chance.within(0..most)).unwrap();
        let (mut map, mut model, mut parent) = (StateMap::default(), Model::new(), None);
        let mut all = Vec::new();
        for event in 1..=changes {
            let (kind, key, tag) = (1 + number(4), 1 + number(300), number(6));
            let entry = Entry {
                kind: TypeNum(kind),
                key: KeyNum(key),
                event: EventNum(event),
                tag,
            };
            map = map.with(entry);
            model.insert((kind, key), (event, tag));
            let stored = snapshot_insert(tx, RoomNum(1), parent, &entry, &map)?;
            parent = Some(stored);
            all.push((stored, model.clone()));
        }
        Ok::<_, Error>(all)
    };
    db.db().write(Write::new("grow"), insert).await.unwrap()
}

fn some_keys() -> impl Iterator<Item = (i64, i64)> {
    (1..=4).flat_map(|kind| (1..=300).step_by(59).map(move |key| (kind, key)))
}

fn content(map: &StateMap) -> Model {
    map.iter()
        .map(|entry| ((entry.kind.0, entry.key.0), (entry.event.0, entry.tag)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_come_back_whole_and_key_by_key() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let all = grow(&db, 11, 450).await;
        assert!(
            all.iter().all(|(stored, _)| stored.hops <= MAX_HOPS),
            "never too far from a whole one"
        );
        assert!(all.iter().any(|(stored, _)| stored.hops == MAX_HOPS));
        db.reopen().await;
        for (stored, model) in all.into_iter().step_by(37) {
            let read = move |tx: &mut starling_db::Tx<'_>| {
                let (map, again) = snapshot_load(tx, stored.snapshot)?;
                assert_eq!(again, stored);
                assert_eq!(content(&map), model);
                assert_eq!(map.len(), model.len());
                some_keys().try_for_each(|(kind, key)| {
                    let found = snapshot_get(tx, stored.snapshot, TypeNum(kind), KeyNum(key))?;
                    let found = found.map(|entry| (entry.event.0, entry.tag));
                    assert_eq!(found, model.get(&(kind, key)).copied(), "key {kind}, {key}");
                    assert_eq!(
                        map.get(TypeNum(kind), KeyNum(key))
                            .map(|entry| (entry.event.0, entry.tag)),
                        found
                    );
                    Ok::<_, Error>(())
                })
            };
            db.db().read("states", read).await.unwrap();
        }
    })
    .await;
}

#[test]
fn a_map_shares_what_did_not_change() {
    let mut map = StateMap::default();
    let entry = |key, event| Entry {
        kind: TypeNum(2),
        key: KeyNum(key),
        event: EventNum(event),
        tag: 2,
    };
    for key in 1..=10_000 {
        map = map.with(entry(key, key));
    }
    let changed = map.with(entry(77, 20_000));
    assert_eq!(
        map.get(TypeNum(2), KeyNum(77)).unwrap().event,
        EventNum(77),
        "the old map stays as it is"
    );
    assert_eq!(
        changed.get(TypeNum(2), KeyNum(77)).unwrap().event,
        EventNum(20_000)
    );
    assert_eq!((map.len(), changed.len()), (10_000, 10_000));
    assert_eq!(map.members().count(), 10_000);
    assert_eq!(map.others().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_far_apart_come_back_with_what_was_removed() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let chance = Chance::seeded(5);
        let number = move |most: u64| i64::try_from(chance.within(0..most)).unwrap();
        let write = move |tx: &mut starling_db::Tx<'_>| {
            let mut states: Vec<(StateMap, Stored)> = Vec::new();
            for round in 0..120 {
                let base = states.get(usize::try_from(number(120)).unwrap()).cloned();
                let mut map = base
                    .as_ref()
                    .map_or_else(StateMap::default, |base| base.0.clone());
                for _ in 0..[1, 5, 200][round % 3] {
                    let (kind, key) = (TypeNum(1 + number(4)), KeyNum(1 + number(80)));
                    let entry = Entry {
                        kind,
                        key,
                        event: EventNum(1 + number(1_000)),
                        tag: number(6),
                    };
                    map = map.set(kind, key, (number(3) > 0).then_some(entry));
                }
                let base = base.as_ref().map(|(map, stored)| (map, *stored));
                let stored = snapshot_store(tx, RoomNum(1), base, &map)?;
                states.push((map, stored));
            }
            Ok::<_, Error>(states)
        };
        let states = db.db().write(Write::new("states"), write).await.unwrap();
        let read = move |tx: &mut starling_db::Tx<'_>| {
            for (map, stored) in states {
                let (again, _) = snapshot_load(tx, stored.snapshot)?;
                assert_eq!(content(&again), content(&map));
                for key in 1..=80 {
                    let found = snapshot_get(tx, stored.snapshot, TypeNum(1), KeyNum(key))?;
                    assert_eq!(found, map.get(TypeNum(1), KeyNum(key)).copied());
                }
            }
            Ok::<_, Error>(())
        };
        db.db().read("states", read).await.unwrap();
    })
    .await;
}
