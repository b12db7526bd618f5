//! Clients' transaction ids: what each led to, so that a retry gets the same answer, also after a restart.
//! <https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers>

use starling_db::{Error, Tx, Value};

use crate::numbers::{DeviceNum, EventNum};

starling_db::statements! {
    /// Notes what a transaction id led to.
    TRANSACTION_INSERT = "INSERT INTO transactions (device_num, path, txn_id, event_num, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    /// Notes that a transaction id was used for what is no event, unless it was used before.
    TRANSACTION_NOTE = "INSERT INTO transactions (device_num, path, txn_id, event_num, created_at)
        VALUES (?1, ?2, ?3, 0, ?4) ON CONFLICT DO NOTHING";
    /// What a transaction id led to.
    TRANSACTION_READ = "SELECT event_num FROM transactions WHERE device_num = ?1 AND path = ?2 AND txn_id = ?3";
    /// The end of a stretch of the table that begins after a key.
    TRANSACTIONS_END = "SELECT device_num, path, txn_id FROM transactions
        WHERE (device_num, path, txn_id) > (?1, ?2, ?3) ORDER BY device_num, path, txn_id LIMIT 1 OFFSET ?4";
    /// Forgets old transaction ids of a stretch of the table.
    TRANSACTIONS_SWEEP = "DELETE FROM transactions WHERE (device_num, path, txn_id) > (?1, ?2, ?3)
        AND (device_num, path, txn_id) <= (?4, ?5, ?6) AND created_at < ?7";
    /// Forgets old transaction ids of the rest of the table.
    TRANSACTIONS_SWEEP_REST = "DELETE FROM transactions WHERE (device_num, path, txn_id) > (?1, ?2, ?3)
        AND created_at < ?4";
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

impl Transaction {
    /// A key before those of all transactions.
    #[must_use]
    pub fn first() -> Self {
        Self {
            device: DeviceNum(0),
            path: 0,
            txn_id: "".into(),
        }
    }
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
    let [device, path, txn_id] = key(transaction);
    let params = [device, path, txn_id, event.into(), now_ms.into()];
    tx.execute_one(&TRANSACTION_INSERT, &params)
}

/// Notes that a transaction id was used for what is no event. False when it was used before.
///
/// # Errors
/// When the database fails.
pub fn transaction_note(
    tx: &mut Tx<'_>,
    transaction: &Transaction,
    now_ms: i64,
) -> Result<bool, Error> {
    let [device, path, txn_id] = key(transaction);
    let params = [device, path, txn_id, now_ms.into()];
    Ok(tx.execute(&TRANSACTION_NOTE, &params)? == 1)
}

/// The event that a transaction id led to.
///
/// # Errors
/// When the database cannot be read.
pub fn transaction_read(
    tx: &mut Tx<'_>,
    transaction: &Transaction,
) -> Result<Option<EventNum>, Error> {
    tx.query_one(&TRANSACTION_READ, &key(transaction), |row| {
        Ok(EventNum(row.int(0)?))
    })
}

/// Forgets the transaction ids from before `before_ms` among the next `stretch` after the key `after` (at first
/// [`Transaction::first`]); gives the key at which the next stretch begins, or `None` at the end of the table.
///
/// # Errors
/// When the database fails.
pub fn transactions_sweep(
    tx: &mut Tx<'_>,
    before_ms: i64,
    after: &Transaction,
    stretch: i64,
) -> Result<Option<Transaction>, Error> {
    let [device, path, txn_id] = key(after);
    let params = [device, path, txn_id, (stretch - 1).into()];
    let end = tx.query_one(&TRANSACTIONS_END, &params, |row| {
        Ok(Transaction {
            device: DeviceNum(row.int(0)?),
            path: row.int(1)?,
            txn_id: row.utf8(2)?.into(),
        })
    })?;
    let [device, path, txn_id] = key(after);
    if let Some(end) = &end {
        let [end_device, end_path, end_id] = key(end);
        let params = [
            device,
            path,
            txn_id,
            end_device,
            end_path,
            end_id,
            before_ms.into(),
        ];
        tx.execute(&TRANSACTIONS_SWEEP, &params)?;
    } else {
        let params = [device, path, txn_id, before_ms.into()];
        tx.execute(&TRANSACTIONS_SWEEP_REST, &params)?;
    }
    Ok(end)
}

/// The columns of the table's key.
fn key(transaction: &Transaction) -> [Value<'_>; 3] {
    [
        transaction.device.into(),
        transaction.path.into(),
        transaction.txn_id.as_bytes().into(),
    ]
}
