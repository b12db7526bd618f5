//! Deactivated users who are still in rooms: somebody has to take them out of all.

use starling_db::{Error, Tx};

use crate::numbers::UserNum;

starling_db::statements! {
    /// A user who has to leave all rooms.
    DEPARTURE_INSERT = "INSERT INTO departures (user_num, created_at) VALUES (?1, ?2) ON CONFLICT (user_num) DO NOTHING";
    /// Users who have to leave all rooms.
    DEPARTURE_LIST = "SELECT user_num FROM departures WHERE user_num > ?1 ORDER BY user_num LIMIT ?2";
    /// A user who has left all rooms.
    DEPARTURE_DELETE = "DELETE FROM departures WHERE user_num = ?1";
}

/// Notes that `user` has to leave all rooms.
///
/// # Errors
/// When the database fails.
pub fn insert(tx: &mut Tx<'_>, user: UserNum, now_ms: i64) -> Result<(), Error> {
    tx.execute(&DEPARTURE_INSERT, &[user.into(), now_ms.into()])?;
    Ok(())
}

/// At most `limit` users who have to leave all rooms, those above `after` (`UserNum(0)`: from the first).
///
/// # Errors
/// When the database cannot be read.
pub fn list(tx: &mut Tx<'_>, after: UserNum, limit: u32) -> Result<Vec<UserNum>, Error> {
    let params = [after.into(), i64::from(limit).into()];
    tx.query_all(&DEPARTURE_LIST, &params, |row| Ok(UserNum(row.int(0)?)))
}

/// Notes that `user` has left all rooms.
///
/// # Errors
/// When the database fails.
pub fn delete(tx: &mut Tx<'_>, user: UserNum) -> Result<(), Error> {
    tx.execute(&DEPARTURE_DELETE, &[user.into()])?;
    Ok(())
}
