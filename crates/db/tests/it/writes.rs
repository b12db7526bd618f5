//! Group commit: who shares a transaction, who fails alone, what runs after the commit, in which order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use starling_db::{Db, Error, Positions, Receipt, Tx, Write};
use starling_testkit::on_each_engine;

use crate::gate::hold;
use crate::schema::{
    Answer, PAIR_ADD, PAIR_ADD_RETURNING, SCHEMA, add_note, add_pair, note_positions, pair_ids,
};
use crate::schema::{write_note, write_pair};

/// An error of the caller's own.
#[derive(Debug)]
enum Mine {
    Refused,
    #[expect(dead_code, reason = "shown when a test fails")]
    Db(Error),
}

/// Refuses unless `good`.
fn only_if(good: bool) -> Result<(), Mine> {
    if good { Ok(()) } else { Err(Mine::Refused) }
}

impl From<Error> for Mine {
    fn from(error: Error) -> Self {
        Self::Db(error)
    }
}

/// Queues a write of one step, at once.
async fn queue<T: Send + 'static, E: From<Error> + Send + 'static>(
    db: &Db,
    mut body: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
) -> Receipt<T, E> {
    let work = move |tx: &mut Tx<'_>| body(tx);
    db.slot()
        .await
        .unwrap()
        .submit(Write::new("test"), work, |_, _, done| Ok(done), || {})
}

#[tokio::test]
async fn queued_writes_share_one_commit() {
    on_each_engine(&SCHEMA, |test| async move {
        let held = hold(test.db()).await;
        let mut receipts = Vec::new();
        for id in 0..99 {
            receipts.push(queue(test.db(), move |tx| add_pair(tx, id)).await);
        }
        let (open, opened) = mpsc::channel::<()>();
        let (enter, mut entered) = tokio::sync::mpsc::unbounded_channel();
        let last = move |tx: &mut Tx<'_>| {
            enter.send(()).ok();
            opened.recv().ok();
            add_pair(tx, 99)
        };
        receipts.push(queue(test.db(), last).await);
        held.let_go().await;
        entered.recv().await.unwrap();
        // All bodies but the last have run, and nothing of them is committed.
        assert_eq!(pair_ids(test.db()).await, Vec::<i64>::new());
        drop(open);
        for receipt in receipts {
            receipt.await.unwrap();
        }
        assert_eq!(pair_ids(test.db()).await, (0..100).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_failing_body_takes_nothing_of_its_neighbours_with_it() {
    on_each_engine(&SCHEMA, |test| async move {
        let held = hold(test.db()).await;
        let first = queue(test.db(), |tx| add_pair(tx, 1)).await;
        let partial = queue(test.db(), |tx| -> Result<(), Mine> {
            add_pair(tx, 2)?;
            tx.execute_returning(&PAIR_ADD_RETURNING, &[3.into(), "three".into()], |row| {
                row.int(0)
            })?;
            Err(Mine::Refused)
        });
        let partial = partial.await;
        // An INSERT that is run by `query` counts as a change too.
        let returning = queue(test.db(), |tx| -> Result<(), Mine> {
            tx.query_all(&PAIR_ADD_RETURNING, &[4.into(), "four".into()], |row| {
                row.int(0)
            })?;
            Err(Mine::Refused)
        });
        let returning = returning.await;
        let twice = queue(test.db(), |tx| add_pair(tx, 1)).await;
        let clean = queue(test.db(), |_| -> Result<(), Mine> { Err(Mine::Refused) }).await;
        let last = queue(test.db(), |tx| add_pair(tx, 5)).await;
        held.let_go().await;
        first.await.unwrap();
        assert!(matches!(partial.await, Err(Mine::Refused)));
        assert!(matches!(returning.await, Err(Mine::Refused)));
        assert!(matches!(clean.await, Err(Mine::Refused)));
        let Err(Error::Constraint { statement, .. }) = twice.await else {
            panic!("a key was used twice")
        };
        assert_eq!(statement, PAIR_ADD.name());
        last.await.unwrap();
        assert_eq!(pair_ids(test.db()).await, [1, 5]);
    })
    .await;
}

#[tokio::test]
async fn a_failed_statement_fails_its_body_even_if_it_says_ok() {
    on_each_engine(&SCHEMA, |test| async move {
        write_pair(test.db(), 1).await.unwrap();
        let held = hold(test.db()).await;
        let first = queue(test.db(), |tx| add_pair(tx, 2)).await;
        let ignoring = queue(test.db(), |tx| -> Answer<()> {
            add_pair(tx, 1).ok();
            add_pair(tx, 3).ok();
            Ok(())
        });
        let ignoring = ignoring.await;
        let last = queue(test.db(), |tx| add_pair(tx, 4)).await;
        held.let_go().await;
        assert!(matches!(ignoring.await, Err(Error::Constraint { .. })));
        first.await.unwrap();
        last.await.unwrap();
        assert_eq!(pair_ids(test.db()).await, [1, 2, 4]);
    })
    .await;
}

#[tokio::test]
async fn a_body_fails_on_what_is_stored_not_on_a_neighbour_that_failed() {
    on_each_engine(&SCHEMA, |test| async move {
        let held = hold(test.db()).await;
        // The first takes the key and fails in its second step; the second wants the key too.
        let slot = test.db().slot().await.unwrap();
        let taker = slot.submit(
            Write::new("taker"),
            |tx| add_pair(tx, 1).map_err(Mine::Db),
            |_, _, ()| -> Result<(), Mine> { Err(Mine::Refused) },
            || {},
        );
        let other = queue(test.db(), |tx| add_pair(tx, 1)).await;
        held.let_go().await;
        assert!(matches!(taker.await, Err(Mine::Refused)));
        other.await.unwrap();
        assert_eq!(pair_ids(test.db()).await, [1]);
    })
    .await;
}

/// Queues a write that has a second step; it fails for an odd `id`. Some write in their first step, some don't.
async fn two_steps(db: &Db, id: i64, failed: &Arc<AtomicUsize>) -> Receipt<i64, Mine> {
    let failed = Arc::clone(failed);
    let work = move |tx: &mut Tx<'_>| match id % 4 {
        0 | 1 => Ok(add_pair(tx, id)?),
        _ => Ok(()),
    };
    let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
        let position = add_note(tx, positions, &format!("author {id}"))?;
        only_if(id % 2 == 0).map(|()| position)
    };
    let tell = move || {
        failed.fetch_add(1, Ordering::SeqCst);
    };
    db.slot()
        .await
        .unwrap()
        .submit(Write::new("two steps"), work, place, tell)
}

#[tokio::test]
async fn a_failing_second_step_takes_back_the_first_and_its_positions() {
    on_each_engine(&SCHEMA, |test| async move {
        let held = hold(test.db()).await;
        let failed = Arc::new(AtomicUsize::new(0));
        let mut receipts = Vec::new();
        for id in 0..10 {
            receipts.push((id, two_steps(test.db(), id, &failed).await));
        }
        held.let_go().await;
        let mut positions = Vec::new();
        for (id, receipt) in receipts {
            match receipt.await {
                Ok(position) => positions.push(position),
                Err(error) => assert!(
                    id % 2 == 1 && matches!(error, Mine::Refused),
                    "{id}: {error:?}"
                ),
            }
        }
        assert_eq!(
            positions,
            [1, 2, 3, 4, 5],
            "positions are dense, in the order of the queue"
        );
        assert_eq!(note_positions(test.db()).await, positions);
        assert_eq!(pair_ids(test.db()).await, [0, 4, 8]);
        assert_eq!(
            failed.load(Ordering::SeqCst),
            5,
            "each failure was told once"
        );
        assert_eq!(write_note(test.db(), "next").await.unwrap(), 6);
    })
    .await;
}

/// Notes that it ran; the last one waits.
fn hook(
    id: i64,
    ran: &Arc<Mutex<Vec<i64>>>,
    wait: &Arc<dyn Fn() + Send + Sync>,
) -> impl FnOnce() + Clone + Send + 'static {
    let (ran, wait) = (Arc::clone(ran), Arc::clone(wait));
    move || {
        ran.lock().unwrap().push(id);
        if id == 4 {
            wait();
        }
    }
}

#[tokio::test]
async fn hooks_run_once_in_order_and_before_any_answer() {
    on_each_engine(&SCHEMA, |test| async move {
        let held = hold(test.db()).await;
        let ran = Arc::new(Mutex::new(Vec::new()));
        let (open, opened) = mpsc::channel::<()>();
        let (enter, mut entered) = tokio::sync::mpsc::unbounded_channel();
        let opened = Mutex::new(opened);
        // What the last hook does: it waits.
        let wait: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            enter.send(()).ok();
            opened.lock().unwrap().recv().ok();
        });
        let mut receipts = Vec::new();
        for id in 0..5_i64 {
            let hook = hook(id, &ran, &wait);
            let body = move |tx: &mut Tx<'_>| {
                tx.after_commit(hook.clone());
                add_pair(tx, id)?;
                // This one fails after a write, so on PostgreSQL all others run twice.
                only_if(id != 2)
            };
            receipts.push(queue(test.db(), body).await);
        }
        held.let_go().await;
        entered.recv().await.unwrap();
        assert_eq!(
            *ran.lock().unwrap(),
            [0, 1, 3, 4],
            "each once, in the order of the writes, none of the failed one"
        );
        assert_eq!(pair_ids(test.db()).await, [0, 1, 3, 4], "after the commit");
        let mut first = receipts.remove(0);
        tokio::select! {
            biased;
            _ = &mut first => panic!("answered before the last hook was done"),
            () = std::future::ready(()) => {}
        }
        drop(open);
        first.await.unwrap();
        for (index, receipt) in receipts.into_iter().enumerate() {
            assert_eq!(receipt.await.is_err(), index == 1);
        }
    })
    .await;
}

#[tokio::test]
async fn a_panicking_body_or_hook_harms_nobody_else() {
    on_each_engine(&SCHEMA, |test| async move {
        let held = hold(test.db()).await;
        let first = queue(test.db(), |tx| add_pair(tx, 1)).await;
        let panicking = queue(test.db(), |tx| -> Answer<()> {
            add_pair(tx, 2)?;
            panic!("meant by the test")
        });
        let panicking = panicking.await;
        let hooked = queue(test.db(), |tx| {
            tx.after_commit(|| panic!("meant by the test"));
            add_pair(tx, 3)
        });
        let hooked = hooked.await;
        let last = queue(test.db(), |tx| add_pair(tx, 4)).await;
        held.let_go().await;
        assert!(matches!(panicking.await, Err(Error::Panicked)));
        first.await.unwrap();
        hooked.await.unwrap();
        last.await.unwrap();
        write_pair(test.db(), 5).await.unwrap();
        assert_eq!(pair_ids(test.db()).await, [1, 3, 4, 5]);
    })
    .await;
}

#[tokio::test]
async fn a_dropped_receipt_takes_nothing_back_and_tells_no_failure() {
    on_each_engine(&SCHEMA, |test| async move {
        let failed = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&failed);
        let slot = test.db().slot().await.unwrap();
        let tell = move || told.store(true, Ordering::SeqCst);
        drop(slot.submit(
            Write::new("dropped"),
            |tx| add_pair(tx, 1),
            |_, _, ()| Ok(()),
            tell,
        ));
        write_pair(test.db(), 2).await.unwrap();
        assert_eq!(pair_ids(test.db()).await, [1, 2]);
        assert!(!failed.load(Ordering::SeqCst));
    })
    .await;
}

#[tokio::test]
async fn relaxed_writes_are_stored_and_share_batches_with_durable_ones() {
    on_each_engine(&SCHEMA, |mut test| async move {
        test.db()
            .write(Write::new("relaxed").relaxed(), |tx| add_pair(tx, 1))
            .await
            .unwrap();
        let held = hold(test.db()).await;
        let durable = queue(test.db(), |tx| add_pair(tx, 2)).await;
        let slot = test.db().slot().await.unwrap();
        let relaxed = Write::new("relaxed").relaxed();
        let relaxed = slot.submit(relaxed, |tx| add_pair(tx, 3), |_, _, ()| Ok(()), || {});
        held.let_go().await;
        durable.await.unwrap();
        relaxed.await.unwrap();
        test.reopen().await;
        assert_eq!(pair_ids(test.db()).await, [1, 2, 3]);
    })
    .await;
}
