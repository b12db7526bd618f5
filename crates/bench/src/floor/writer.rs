//! The one writer: what is queued goes into SQLite in one transaction, which is on the disk when it is answered.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};

use super::event::Event;
use super::rooms::Room;

const SCHEMA: &str = "
    CREATE TABLE events (
        position INTEGER PRIMARY KEY,
        event_id TEXT NOT NULL UNIQUE,
        room_id TEXT NOT NULL,
        json BLOB NOT NULL
    ) STRICT";
const INSERT: &str = "INSERT INTO events (event_id, room_id, json) VALUES (?1, ?2, ?3)";

/// An event that waits to be written.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) room: Arc<Room>,
    pub(super) event: Event,
    /// Told the event id when it is on the disk; dropped when it can't be written.
    pub(super) answer: oneshot::Sender<String>,
}

/// An event that is on the disk.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) room: Arc<Room>,
    /// From 1, in the order of all rooms.
    pub(super) position: i64,
    pub(super) client_json: Bytes,
}

/// Makes the database in a new file.
///
/// # Errors
/// When there is one already, or the file can't be written.
pub(super) fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // As the server sets it, which is compared with this.
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.pragma_update(None, "wal_autocheckpoint", 2000)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Writes until all senders of the queue are gone. What was written goes to `stored`, one message for a transaction.
///
/// # Errors
/// When the database fails. What is queued then, or later, is dropped.
pub(super) fn run(
    connection: &Connection,
    mut queue: mpsc::UnboundedReceiver<Entry>,
    stored: &mpsc::UnboundedSender<Vec<Stored>>,
) -> Result<(), rusqlite::Error> {
    let mut insert = connection.prepare(INSERT)?;
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while let Ok(next) = queue.try_recv() {
            batch.push(next);
        }
        let transaction = connection.unchecked_transaction()?;
        let mut positions = Vec::with_capacity(batch.len());
        for Entry { room, event, .. } in &batch {
            positions.push(insert.insert(params![event.id, room.id(), event.json])?);
        }
        transaction.commit()?;
        let mut published = Vec::with_capacity(batch.len());
        for (entry, position) in batch.into_iter().zip(positions) {
            // A client that doesn't wait for its answer any more isn't told.
            entry.answer.send(entry.event.id).ok();
            published.push(Stored {
                room: entry.room,
                position,
                client_json: entry.event.client_json,
            });
        }
        // When the server ends nobody takes it.
        stored.send(published).ok();
    }
    Ok(())
}
