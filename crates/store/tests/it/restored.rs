//! What happens once a copy of the database was put back.

use starling_db::{Error, Positions, Simulation, Tx, Write};
use starling_runtime::Chance;
use starling_store::dehydrated::dehydrated_set;
use starling_store::destinations::{Destinations, KEPT_POSITIONS, destinations, destinations_set};
use starling_store::devices::device_upsert;
use starling_store::filters::filter_store;
use starling_store::key_backup::{backup_doubt, backup_insert, backup_read, backup_refuse};
use starling_store::one_time_keys::{OneTimeKey, fallback_keys, one_time_keys_find};
use starling_store::restored::{FIRST_EPOCH, restored};
use starling_store::{CacheSizes, SCHEMA, Store, UserNum};
use starling_testkit::{TestDb, on_each_engine};

const ALICE: UserNum = UserNum(1);

async fn write<T: Send + 'static>(
    db: &TestDb,
    mut write: impl FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
) -> T {
    let work = move |tx: &mut Tx<'_>| write(tx);
    db.db().write(Write::new("test"), work).await.unwrap()
}

async fn give_position(db: &TestDb) -> i64 {
    let place = |_: &mut Tx<'_>, positions: &mut Positions, ()| positions.give();
    let placed = db.db().write_placed(Write::new("test"), |_| Ok(()), place);
    let given: Result<i64, Error> = placed.await;
    given.unwrap()
}

fn key(id: &str) -> OneTimeKey {
    OneTimeKey {
        algorithm: "x".to_owned(),
        key_id: id.to_owned(),
        digest: 7,
        json: format!("\"{id}\""),
    }
}

#[tokio::test]
async fn another_epoch_begins_and_positions_go_on_far_beyond() {
    on_each_engine(&SCHEMA, |db| async move {
        let before = give_position(&db).await;
        // By a clock that is behind.
        let first = restored(db.db(), 0, (0, 0)).await.unwrap();
        assert_eq!(
            (first.epoch, first.position_before),
            (FIRST_EPOCH + 1, before)
        );
        // What a busy server gives out in three years.
        assert!(first.position_after - before >= 10_000 * 3 * 365 * 86_400);
        assert_eq!(
            db.db().head().await.unwrap(),
            (first.position_after, first.epoch)
        );
        assert_eq!(give_position(&db).await, first.position_after + 1);
        let second = restored(db.db(), 0, (0, 0)).await.unwrap();
        assert_eq!(second.epoch, first.epoch + 1);
        assert!(second.position_after > first.position_after + (1 << 39));
        // However often, there are positions left for as long again.
        for _ in 0..200 {
            restored(db.db(), 0, (0, 0)).await.unwrap();
        }
        let (head, _) = db.db().head().await.unwrap();
        assert!(head < 1 << 48, "{head}");
    })
    .await;
}

/// Milliseconds since 1970, in 2027.
const TODAY_MS: i64 = 1_800_000_000_000;

#[tokio::test]
async fn nothing_is_given_out_again_however_often_the_same_copy_is_put_back() {
    let calm = Simulation::calm(Chance::seeded(1));
    let mut db = TestDb::simulated(&SCHEMA, calm).await;
    // The copy is of a server that had one put back already.
    restored(db.db(), TODAY_MS, (0, 0)).await.unwrap();
    db.copy();
    let mut known = (0, 0);
    for again in 1..=5 {
        db.put_back().await;
        let is_clock_lost = again > 3;
        let done = if is_clock_lost {
            restored(db.db(), 5, known).await.unwrap()
        } else {
            let now_ms = TODAY_MS + again * 1_000;
            restored(db.db(), now_ms, (0, 0)).await.unwrap()
        };
        let begun = (done.epoch, done.position_after);
        assert!(
            begun.0 > known.0 && begun.1 > known.1,
            "{begun:?} after {known:?}"
        );
        // Then as much is given out as a server does in the second.
        known = (begun.0, begun.1 + 30_000);
    }
}

#[tokio::test]
async fn one_time_keys_go_and_are_not_taken_again_and_fallback_keys_stay() {
    on_each_engine(&SCHEMA, |db| async move {
        let store = Store::new(db.db().clone(), FIRST_EPOCH, CacheSizes::new(1 << 20));
        let adding = store.clone();
        let device = write(&db, move |tx| {
            let device = device_upsert(tx, ALICE, "PHONE", None, 0)?;
            adding.one_time_keys_insert(tx, device, &[&key("one"), &key("two")])?;
            adding.fallback_key_set(tx, device, &key("last"))?;
            Ok(device)
        })
        .await;
        let done = restored(db.db(), 5, (0, 0)).await.unwrap();
        assert_eq!(done.one_time_keys, 2);
        let store = Store::new(db.db().clone(), done.epoch, CacheSizes::new(1 << 20));
        let (counts, known, fallback) = write(&db, move |tx| {
            let counts = store.key_counts(tx, device)?;
            let known = one_time_keys_find(tx, device, &["one", "two"])?;
            Ok((counts, known, fallback_keys(tx, device)?))
        })
        .await;
        assert!(counts.one_time.is_empty() && counts.unused_fallback.is_empty());
        assert!(known.len() == 2 && known.values().all(|key| key.is_claimed));
        let fallback: Vec<(&str, bool)> = fallback
            .iter()
            .map(|(key, is_used)| (&*key.key_id, *is_used))
            .collect();
        assert_eq!(fallback, [("last", true)]);
    })
    .await;
}

#[tokio::test]
async fn numbers_that_clients_know_are_not_given_out_again() {
    on_each_engine(&SCHEMA, |db| async move {
        let filter =
            |hash: u8| move |tx: &mut Tx<'_>| filter_store(tx, ALICE, &[hash; 32], "{}", 3);
        let backup = |tx: &mut Tx<'_>| backup_insert(tx, ALICE, ("x", "{}"), 100);
        assert_eq!(write(&db, filter(1)).await, Some(1));
        assert_eq!(write(&db, backup).await, 1);
        let done = restored(db.db(), 5, (0, 0)).await.unwrap();
        assert_eq!(write(&db, filter(2)).await, Some(done.position_after + 1));
        assert_eq!(write(&db, filter(3)).await, Some(done.position_after + 2));
        assert_eq!(write(&db, filter(4)).await, None);
        let old = write(&db, |tx| backup_read(tx, ALICE, 1)).await.unwrap();
        assert_eq!(old.etag, done.position_after);
        assert_eq!(write(&db, backup).await, done.position_after + 1);
    })
    .await;
}

#[tokio::test]
async fn each_device_of_who_backs_keys_up_is_told_to_look_again() {
    on_each_engine(&SCHEMA, |db| async move {
        let devices = write(&db, |tx| {
            backup_insert(tx, ALICE, ("x", "{}"), 100)?;
            let dehydrated = device_upsert(tx, ALICE, "DEHYDRATED", None, 0)?;
            dehydrated_set(tx, dehydrated, "{}")?;
            let device = |tx: &mut Tx<'_>, user, id| device_upsert(tx, user, id, None, 0);
            Ok([
                device(tx, ALICE, "PHONE")?,
                device(tx, ALICE, "TABLET")?,
                device(tx, UserNum(2), "OTHER")?,
            ])
        })
        .await;
        let [phone, ..] = devices;
        let refuse = |upload| move |tx: &mut Tx<'_>| backup_refuse(tx, phone, upload, 3);
        let doubts = async || {
            write(&db, move |tx| {
                let new = device_upsert(tx, ALICE, "NEW", None, 0)?;
                let [phone, tablet, other] = devices;
                let mut doubt = |device| backup_doubt(tx, device);
                Ok([doubt(phone)?, doubt(tablet)?, doubt(other)?, doubt(new)?])
            })
            .await
        };
        // Each time that a copy is put back.
        for now_ms in [5, 6] {
            let done = restored(db.db(), now_ms, (0, 0)).await.unwrap();
            assert_eq!(done.backups, 2 + u64::from(now_ms == 6));
            assert!(write(&db, refuse(7)).await && write(&db, refuse(7)).await);
            assert_eq!(doubts().await, [true, true, false, now_ms == 6]);
            assert!(!write(&db, refuse(8)).await);
            assert!(!write(&db, refuse(7)).await);
            assert_eq!(doubts().await, [false, true, false, now_ms == 6]);
        }
        // The same for ever.
        restored(db.db(), 7, (0, 0)).await.unwrap();
        for expected in [true, true, true, false] {
            assert_eq!(write(&db, refuse(9)).await, expected);
        }
        write(&db, |tx| backup_insert(tx, ALICE, ("x", "{}"), 100)).await;
        assert_eq!(doubts().await, [false; 4]);
    })
    .await;
}

#[tokio::test]
async fn who_lags_behind_keeps_their_place_over_the_jump() {
    on_each_engine(&SCHEMA, |db| async move {
        let place = |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
            for _ in 0..100 {
                positions.give()?;
            }
            let behind = [("slow.example".try_into().expect("a name"), 60)].into();
            let all = Destinations { upto: 100, behind };
            destinations_set(tx, &all, &[])
        };
        let placed = db.db().write_placed(Write::new("test"), |_| Ok(()), place);
        let placed: Result<(), Error> = placed.await;
        placed.unwrap();
        let done = restored(db.db(), 5, (0, 0)).await.unwrap();
        let set = |upto: i64| {
            move |tx: &mut Tx<'_>| {
                let all = Destinations {
                    upto,
                    ..Destinations::default()
                };
                destinations_set(tx, &all, &[])?;
                let place = destinations(tx)?.behind.into_values().next();
                Ok(place.unwrap_or_default())
            }
        };
        // As many positions are kept as without it.
        let counted = done.position_after - 100;
        assert_eq!(write(&db, set(done.position_after + 10)).await, 60);
        let far = counted + KEPT_POSITIONS + 80;
        assert_eq!(write(&db, set(far)).await, 80);
        let beyond = done.position_after + KEPT_POSITIONS + 9;
        assert_eq!(write(&db, set(beyond)).await, done.position_after + 9);
    })
    .await;
}
