//! Clients' transaction ids: what each led to, so that a retry gets the same answer, also after a restart.
//! <https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers>

use starling_db::{Error, Tx};

use crate::numbers::{DeviceNum, EventNum};

starling_db::statements! {
    /// Notes what a transaction id led to.
    TRANSACTION_INSERT = "INSERT INTO transactions (device_num, path, txn_id, event_num, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    /// What a transaction id led to.
    TRANSACTION_READ = "SELECT event_num FROM transactions WHERE device_num = ?1 AND path = ?2 AND txn_id = ?3";
    /// The transaction ids with which a device sent these events.
    TRANSACTIONS_OF_EVENTS = "SELECT event_num, txn_id FROM transactions
        WHERE device_num = ?1 AND event_num IN {ints ?2}";
    /// Forgets old transaction ids.
    TRANSACTIONS_SWEEP = "DELETE FROM transactions WHERE (device_num, path, txn_id) IN (
        SELECT device_num, path, txn_id FROM transactions WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";
}

/// A transaction id in the scope in which it is unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// The device that sent it.
    pub device: DeviceNum,
    /// A hash of the path that it was sent to, without the id itself.
    pub path: i64,
    /// The id as the client chose it.
    pub txn_id: Box<str>,
}

/// Notes what a transaction id led to.
///
/// # Errors
/// [`Error::Constraint`] when it led to something before.
pub fn transaction_insert(
    tx: &mut Tx<'_>,
    transaction: &Transaction,
    event: EventNum,
    now_ms: i64,
) -> Result<(), Error> {
    let Transaction {
        device,
        path,
        txn_id,
    } = transaction;
    let params = [
        (*device).into(),
        (*path).into(),
        txn_id.as_bytes().into(),
        event.into(),
        now_ms.into(),
    ];
    tx.execute_one(&TRANSACTION_INSERT, &params)
}

/// The event that a transaction id led to.
///
/// # Errors
/// When the database cannot be read.
pub fn transaction_read(
    tx: &mut Tx<'_>,
    transaction: &Transaction,
) -> Result<Option<EventNum>, Error> {
    let Transaction {
        device,
        path,
        txn_id,
    } = transaction;
    let params = [(*device).into(), (*path).into(), txn_id.as_bytes().into()];
    tx.query_one(&TRANSACTION_READ, &params, |row| Ok(EventNum(row.int(0)?)))
}

/// With which transaction ids `device` sent those of `events` that it sent.
///
/// # Errors
/// When the database cannot be read.
pub fn transactions_of_events(
    tx: &mut Tx<'_>,
    device: DeviceNum,
    events: &[i64],
) -> Result<Vec<(EventNum, String)>, Error> {
    tx.query_all(
        &TRANSACTIONS_OF_EVENTS,
        &[device.into(), events.into()],
        |row| Ok((EventNum(row.int(0)?), row.utf8(1)?.to_owned())),
    )
}

/// Forgets at most `most` transaction ids from before `before_ms`; how many it forgot.
///
/// # Errors
/// When the database fails.
pub fn transactions_sweep(tx: &mut Tx<'_>, before_ms: i64, most: i64) -> Result<u64, Error> {
    tx.execute(&TRANSACTIONS_SWEEP, &[before_ms.into(), most.into()])
}
