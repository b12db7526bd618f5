//! What users say of themselves: the only part of their presence that is stored.
//! <https://spec.matrix.org/v1.19/client-server-api/#presence>

use starling_db::{Error, Tx};

use crate::numbers::UserNum;

starling_db::statements! {
    /// One user's text.
    PRESENCE_STATUS_READ = "SELECT status FROM presence_status WHERE user_num = ?1";
    /// Another text.
    PRESENCE_STATUS_SET = "INSERT INTO presence_status (user_num, status) VALUES (?1, ?2)
        ON CONFLICT (user_num) DO UPDATE SET status = excluded.status";
    /// No text any longer.
    PRESENCE_STATUS_DELETE = "DELETE FROM presence_status WHERE user_num = ?1";
    /// Whether two users are in one room.
    SHARE_ROOM = "SELECT 1 FROM memberships AS own JOIN memberships AS other ON other.room_num = own.room_num
        WHERE own.user_num = ?1 AND other.user_num = ?2 AND own.membership = 2 AND other.membership = 2 LIMIT 1";
}

/// What `user` says.
///
/// # Errors
/// When the database cannot be read.
pub fn presence_status_read(tx: &mut Tx<'_>, user: UserNum) -> Result<Option<String>, Error> {
    tx.query_one(&PRESENCE_STATUS_READ, &[user.into()], |row| {
        Ok(row.utf8(0)?.to_owned())
    })
}

/// Sets or removes what `user` says.
///
/// # Errors
/// When the database fails.
pub fn presence_status_set(
    tx: &mut Tx<'_>,
    user: UserNum,
    status: Option<&str>,
) -> Result<(), Error> {
    match status {
        Some(status) => {
            let params = [user.into(), status.as_bytes().into()];
            tx.execute_one(&PRESENCE_STATUS_SET, &params)
        }
        None => tx
            .execute(&PRESENCE_STATUS_DELETE, &[user.into()])
            .map(drop),
    }
}

/// Whether two local users are in one room.
///
/// # Errors
/// When the database cannot be read.
pub fn share_room(tx: &mut Tx<'_>, one: UserNum, other: UserNum) -> Result<bool, Error> {
    let found = tx.query_one(&SHARE_ROOM, &[one.into(), other.into()], |_| Ok(()))?;
    Ok(found.is_some())
}
