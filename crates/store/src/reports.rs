//! What users have reported to the administrator: rooms, events and users.
//! <https://spec.matrix.org/v1.19/client-server-api/#reporting-content>

use ruma_common::OwnedUserId;
use starling_db::{Error, Tx, Value};

use crate::accounts::read_user_id;
use crate::numbers::UserNum;

starling_db::statements! {
    /// A report; the same user's older one of the same thing is replaced.
    REPORT_INSERT = "INSERT INTO reports (reporter, kind, target, room_id, reason, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (reporter, kind, target) DO UPDATE SET reason = excluded.reason, created_at = excluded.created_at";
    /// One page of the reports.
    REPORT_LIST = "SELECT reports.report_num, users.user_id, reports.kind, reports.target, reports.room_id,
            reports.reason, reports.created_at
        FROM reports JOIN users ON users.user_num = reports.reporter
        WHERE reports.report_num > ?1 ORDER BY reports.report_num LIMIT ?2";
    /// Removes a report.
    REPORT_DELETE = "DELETE FROM reports WHERE report_num = ?1";
}

/// What was reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// A room, by its id.
    Room(String),
    /// An event of a room.
    Event {
        /// The room's id.
        room_id: String,
        /// The event's id.
        event_id: String,
    },
    /// A user, by their id.
    User(String),
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its number.
    pub number: i64,
    /// Who reported.
    pub reporter: OwnedUserId,
    /// What.
    pub reported: Reported,
    /// Why, in the reporter's words; perhaps nothing.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub created_at: i64,
}

/// Keeps a report.
///
/// # Errors
/// When the database fails.
pub fn report_insert(
    tx: &mut Tx<'_>,
    by: UserNum,
    reported: &Reported,
    reason: &str,
    now_ms: i64,
) -> Result<(), Error> {
    let (kind, target, room_id) = match reported {
        Reported::Room(room_id) => (0, room_id.as_str(), ""),
        Reported::Event { room_id, event_id } => (1, event_id.as_str(), room_id.as_str()),
        Reported::User(user_id) => (2, user_id.as_str(), ""),
    };
    let params = [
        by.into(),
        i64::into(kind),
        target.into(),
        room_id.into(),
        Value::Bytes(reason.as_bytes()),
        now_ms.into(),
    ];
    tx.execute_one(&REPORT_INSERT, &params)
}

/// At most `limit` reports in the order of their numbers, those above `after` (0: from the first).
///
/// # Errors
/// When the database cannot be read.
pub fn report_list(tx: &mut Tx<'_>, after: i64, limit: u32) -> Result<Vec<Report>, Error> {
    let params = [after.into(), i64::from(limit).into()];
    tx.query_all(&REPORT_LIST, &params, |row| {
        let number = row.int(0)?;
        let (target, room_id) = (row.text(3)?.to_owned(), row.text(4)?.to_owned());
        let reported = match row.int(2)? {
            0 => Reported::Room(target),
            1 => Reported::Event {
                room_id,
                event_id: target,
            },
            2 => Reported::User(target),
            _ => return Err(Error::Damaged(format!("report {number}: its kind"))),
        };
        Ok(Report {
            number,
            reporter: read_user_id(row, 1)?,
            reported,
            reason: row.utf8(5)?.to_owned(),
            created_at: row.int(6)?,
        })
    })
}

/// Removes a report; false when there is none of this number.
///
/// # Errors
/// When the database fails.
pub fn report_delete(tx: &mut Tx<'_>, number: i64) -> Result<bool, Error> {
    Ok(tx.execute(&REPORT_DELETE, &[number.into()])? == 1)
}
