//! Rooms: their last events in memory, and the syncs that wait for more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{pending, select_all};
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::{mpsc, watch};

use super::SERVER_NAME;
use super::event::Tip;
use super::recent::Recent;
use super::writer::Stored;

/// All rooms, and how far their events can be seen.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    by_id: RwLock<HashMap<String, Arc<Room>>>,
    /// The events up to this position are in their rooms.
    position: AtomicI64,
}

impl Rooms {
    pub(super) fn create(&self) -> Arc<Room> {
        let mut by_id = self.by_id.write();
        let id = format!("!{}:{SERVER_NAME}", by_id.len());
        let room = Arc::new(Room {
            id: id.clone(),
            tip: Mutex::default(),
            recent: Mutex::default(),
            last: watch::Sender::default(),
        });
        by_id.insert(id, room.clone());
        room
    }

    pub(super) fn get(&self, room_id: &str) -> Option<Arc<Room>> {
        self.by_id.read().get(room_id).cloned()
    }

    /// A sync that starts after this position misses nothing and gets nothing twice.
    pub(super) fn position(&self) -> i64 {
        self.position.load(Ordering::Acquire)
    }

    /// Puts events into their rooms, lets all of them be seen at once, and wakes who waits for them.
    fn publish(&self, batch: &[Stored]) {
        for stored in batch {
            let event = (stored.position, stored.client_json.clone());
            stored.room.recent.lock().push(event);
        }
        if let Some(last) = batch.last() {
            self.position.store(last.position, Ordering::Release);
        }
        for stored in batch {
            stored.room.last.send_replace(stored.position);
        }
    }
}

/// Publishes what the writer has stored, until it ends.
pub(super) async fn publish(rooms: Arc<Rooms>, mut batches: mpsc::UnboundedReceiver<Vec<Stored>>) {
    while let Some(batch) = batches.recv().await {
        rooms.publish(&batch);
    }
}

/// Waits until one of the rooms has an event after `since`, or for `timeout`.
pub(super) async fn wait(rooms: &[Arc<Room>], since: i64, timeout: Duration) {
    let any = async {
        if rooms.is_empty() {
            pending::<()>().await;
        }
        select_all(rooms.iter().map(|room| Box::pin(room.wait(since)))).await;
    };
    // The answer tells which of the two it was.
    tokio::time::timeout(timeout, any).await.ok();
}

/// A room.
#[derive(Debug)]
pub(super) struct Room {
    id: String,
    tip: Mutex<Tip>,
    recent: Mutex<Recent>,
    /// The position of its last event.
    last: watch::Sender<i64>,
}

impl Room {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whoever holds this appends the next event.
    pub(super) fn tip(&self) -> MutexGuard<'_, Tip> {
        self.tip.lock()
    }

    async fn wait(&self, since: i64) {
        let mut last = self.last.subscribe();
        // The sender is in the room, which is still there.
        last.wait_for(|last| *last > since).await.ok();
    }

    /// The room's entry in the answer of a sync: the events after `since` up to `until`, if there are any. All who have
    /// seen as much of the room get the same bytes.
    pub(super) fn news(&self, since: i64, until: i64) -> Option<Bytes> {
        self.recent.lock().news(&self.id, since, until)
    }
}
