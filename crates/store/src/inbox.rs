//! Events of other servers that were taken in and wait for their turn: they are durable before the other server is told
//! that they came.

use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId, OwnedServerName, ServerName};
use starling_db::{Error, Sql, Tx, Value};

use crate::numbers::RoomNum;

starling_db::statements! {
    /// Takes an event in, unless it waits already.
    INBOX_INSERT = "INSERT INTO inbox (room_num, origin, event_id, json) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    /// The events that wait in a room.
    INBOX_READ = "SELECT inbox_num, origin, event_id, json, tries FROM inbox WHERE room_num = ?1
        ORDER BY tries, inbox_num LIMIT ?2";
    /// The events that wait in a room for their first turn.
    INBOX_NEW = "SELECT inbox_num, origin, event_id, json, tries FROM inbox WHERE room_num = ?1 AND tries = 0
        ORDER BY inbox_num LIMIT ?2";
    /// Of the events whose turn was in vain, the next one of each server.
    INBOX_TRIED = "SELECT inbox_num, origin, event_id, json, tries FROM inbox WHERE inbox_num IN (
            SELECT turns.inbox_num FROM (
                SELECT inbox_num, ROW_NUMBER() OVER (PARTITION BY origin ORDER BY tries, inbox_num) AS turn
                FROM inbox WHERE room_num = ?1 AND tries > 0
            ) AS turns WHERE turns.turn = 1
        ) ORDER BY tries, inbox_num LIMIT ?2";
    /// Whether anything waits in a room.
    INBOX_ANY = "SELECT 1 FROM inbox WHERE room_num = ?1 LIMIT 1";
    /// Forgets all that waits in a room.
    INBOX_CLEAR = "DELETE FROM inbox WHERE room_num = ?1";
    /// How many wait in a room, and how many of them one server sent.
    INBOX_COUNT = "SELECT COUNT(*), COUNT(CASE WHEN origin = ?2 THEN 1 END) FROM inbox WHERE room_num = ?1";
    /// How many wait in all rooms together, up to a number.
    INBOX_SIZE = "SELECT COUNT(*) FROM (SELECT 1 FROM inbox LIMIT ?1) AS waiting";
    /// Notes that an event's turn was in vain.
    INBOX_PUT_OFF = "UPDATE inbox SET tries = tries + 1 WHERE inbox_num IN {ints ?1}";
    /// Forgets events whose turn has been.
    INBOX_DELETE = "DELETE FROM inbox WHERE inbox_num IN {ints ?1}";
    /// The rooms in which events wait.
    INBOX_ROOMS = "SELECT DISTINCT room_num FROM inbox ORDER BY room_num";
}

/// An event that waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its number in the inbox.
    pub num: i64,
    /// The server that sent it here.
    pub origin: OwnedServerName,
    /// Its id.
    pub event_id: OwnedEventId,
    /// Its bytes, in canonical form.
    pub json: Arc<[u8]>,
    /// How often its turn was in vain.
    pub tries: i64,
}

/// Takes an event of a room in.
///
/// # Errors
/// When the database fails.
pub fn inbox_insert(
    tx: &mut Tx<'_>,
    room: RoomNum,
    origin: &ServerName,
    (event_id, json): (&EventId, &[u8]),
) -> Result<(), Error> {
    let params = [
        room.into(),
        origin.as_str().into(),
        event_id.as_str().into(),
        Value::Bytes(json),
    ];
    tx.execute(&INBOX_INSERT, &params).map(drop)
}

/// At most `limit` events that wait in a room, those whose turn was never in vain first.
///
/// # Errors
/// When the database cannot be read.
pub fn inbox_read(tx: &mut Tx<'_>, room: RoomNum, limit: i64) -> Result<Vec<Waiting>, Error> {
    read(tx, &INBOX_READ, room, limit)
}

/// At most `limit` events that wait in a room for their first turn, in the order in which they came.
///
/// # Errors
/// When the database cannot be read.
pub fn inbox_new(tx: &mut Tx<'_>, room: RoomNum, limit: i64) -> Result<Vec<Waiting>, Error> {
    read(tx, &INBOX_NEW, room, limit)
}

/// Of the events in a room whose turn was in vain, the next one of each of at most `limit` servers that sent them.
///
/// # Errors
/// When the database cannot be read.
pub fn inbox_tried(tx: &mut Tx<'_>, room: RoomNum, limit: i64) -> Result<Vec<Waiting>, Error> {
    read(tx, &INBOX_TRIED, room, limit)
}

/// Whether anything waits in a room.
///
/// # Errors
/// When the database cannot be read.
pub fn inbox_any(tx: &mut Tx<'_>, room: RoomNum) -> Result<bool, Error> {
    let found = tx.query_one(&INBOX_ANY, &[room.into()], |_| Ok(()))?;
    Ok(found.is_some())
}

/// Forgets all that waits in a room.
///
/// # Errors
/// When the database fails.
pub fn inbox_clear(tx: &mut Tx<'_>, room: RoomNum) -> Result<(), Error> {
    tx.execute(&INBOX_CLEAR, &[room.into()]).map(drop)
}

fn read(
    tx: &mut Tx<'_>,
    statement: &'static Sql,
    room: RoomNum,
    limit: i64,
) -> Result<Vec<Waiting>, Error> {
    tx.query_all(statement, &[room.into(), limit.into()], |row| {
        let num = row.int(0)?;
        let damaged = |what: &str| Error::Damaged(format!("inbox {num}: {what}"));
        Ok(Waiting {
            num,
            origin: OwnedServerName::try_from(row.text(1)?).map_err(|_| damaged("its origin"))?,
            event_id: OwnedEventId::try_from(row.text(2)?).map_err(|_| damaged("its event id"))?,
            json: Arc::from(row.bytes(3)?),
            tries: row.int(4)?,
        })
    })
}

/// How many events wait in all rooms together, `most` if they are more.
///
/// # Errors
/// When the database cannot be read.
pub fn inbox_size(tx: &mut Tx<'_>, most: u32) -> Result<u32, Error> {
    let size = tx.query_one(&INBOX_SIZE, &[i64::from(most).into()], |row| row.int(0))?;
    Ok(u32::try_from(size.unwrap_or(0)).unwrap_or(most))
}

/// How many events wait in a room, and how many of them `origin` sent.
///
/// # Errors
/// When the database cannot be read.
pub fn inbox_count(
    tx: &mut Tx<'_>,
    room: RoomNum,
    origin: &ServerName,
) -> Result<(i64, i64), Error> {
    let params = [room.into(), origin.as_str().into()];
    let counts = tx.query_one(&INBOX_COUNT, &params, |row| Ok((row.int(0)?, row.int(1)?)))?;
    Ok(counts.unwrap_or_default())
}

/// Notes that the turn of these events was in vain.
///
/// # Errors
/// When the database fails.
pub fn inbox_put_off(tx: &mut Tx<'_>, numbers: &[i64]) -> Result<(), Error> {
    tx.execute(&INBOX_PUT_OFF, &[Value::Ints(numbers)])
        .map(drop)
}

/// Forgets events whose turn has been.
///
/// # Errors
/// When the database fails.
pub fn inbox_delete(tx: &mut Tx<'_>, numbers: &[i64]) -> Result<(), Error> {
    tx.execute(&INBOX_DELETE, &[Value::Ints(numbers)]).map(drop)
}

/// The rooms in which events wait.
///
/// # Errors
/// When the database cannot be read.
pub fn inbox_rooms(tx: &mut Tx<'_>) -> Result<Vec<RoomNum>, Error> {
    tx.query_all(&INBOX_ROOMS, &[], |row| Ok(RoomNum(row.int(0)?)))
}
