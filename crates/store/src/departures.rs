//! Who has to leave rooms: deactivated users all of them, guests those that no longer let guests in. Somebody has to take
//! them out.

use starling_db::{Error, Tx};

use crate::memberships::Membership;
use crate::numbers::{RoomNum, UserNum};

starling_db::statements! {
    /// A user who has to leave all rooms.
    DEPARTURE_INSERT = "INSERT INTO departures (user_num, created_at) VALUES (?1, ?2) ON CONFLICT (user_num) DO NOTHING";
    /// Users who have to leave all rooms.
    DEPARTURE_LIST = "SELECT user_num FROM departures WHERE user_num > ?1 ORDER BY user_num LIMIT ?2";
    /// A user who has left all rooms, and had long enough to.
    DEPARTURE_DELETE = "DELETE FROM departures WHERE user_num = ?1 AND created_at <= ?2";
    /// A room that guests have to leave. Noted once more, it is another note: whoever works on the older one may have read
    /// the room's state as it was before.
    GUEST_DEPARTURE_INSERT = "INSERT INTO guest_departures (room_num, created_at) VALUES (?1, ?2) \
        ON CONFLICT (room_num) DO UPDATE SET created_at = guest_departures.created_at + 1";
    /// Rooms that guests have to leave.
    GUEST_DEPARTURE_LIST = "SELECT room_num, created_at FROM guest_departures WHERE room_num > ?1 ORDER BY room_num LIMIT ?2";
    /// A room that guests have left.
    GUEST_DEPARTURE_DELETE = "DELETE FROM guest_departures WHERE room_num = ?1 AND created_at = ?2";
    /// The guests in a room.
    GUESTS_IN_ROOM = "SELECT m.user_num FROM accounts a JOIN memberships m ON m.user_num = a.user_num \
        WHERE a.kind = 1 AND m.room_num = ?1 AND m.membership = ?2 ORDER BY m.user_num";
}

/// A note that guests have to leave a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestDeparture {
    /// The room.
    pub room: RoomNum,
    /// Parts it from other notes of the room.
    created_at: i64,
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

/// Notes that `user` has left all rooms, if that had to be since `upto` (milliseconds since 1970) or longer.
///
/// # Errors
/// When the database fails.
pub fn delete(tx: &mut Tx<'_>, user: UserNum, upto: i64) -> Result<(), Error> {
    tx.execute(&DEPARTURE_DELETE, &[user.into(), upto.into()])?;
    Ok(())
}

/// Notes that guests have to leave `room`, if it lets none in now.
///
/// # Errors
/// When the database fails.
pub fn guests_insert(tx: &mut Tx<'_>, room: RoomNum, now_ms: i64) -> Result<(), Error> {
    tx.execute(&GUEST_DEPARTURE_INSERT, &[room.into(), now_ms.into()])?;
    Ok(())
}

/// At most `limit` rooms that guests have to leave, those above `after` (`RoomNum(0)`: from the first).
///
/// # Errors
/// When the database cannot be read.
pub fn guests_list(
    tx: &mut Tx<'_>,
    after: RoomNum,
    limit: u32,
) -> Result<Vec<GuestDeparture>, Error> {
    let params = [after.into(), i64::from(limit).into()];
    tx.query_all(&GUEST_DEPARTURE_LIST, &params, |row| {
        Ok(GuestDeparture {
            room: RoomNum(row.int(0)?),
            created_at: row.int(1)?,
        })
    })
}

/// Notes that guests have left the room, unless it was noted once more meanwhile that they have to.
///
/// # Errors
/// When the database fails.
pub fn guests_delete(tx: &mut Tx<'_>, done: GuestDeparture) -> Result<(), Error> {
    let params = [done.room.into(), done.created_at.into()];
    tx.execute(&GUEST_DEPARTURE_DELETE, &params)?;
    Ok(())
}

/// The guests who are in `room`.
///
/// # Errors
/// When the database cannot be read.
pub fn guests_in(tx: &mut Tx<'_>, room: RoomNum) -> Result<Vec<UserNum>, Error> {
    let params = [room.into(), Membership::Join.code().into()];
    tx.query_all(&GUESTS_IN_ROOM, &params, |row| Ok(UserNum(row.int(0)?)))
}
