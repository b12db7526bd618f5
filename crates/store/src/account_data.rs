//! Account data: what clients keep for a user, of the whole account or of one room.
//! <https://spec.matrix.org/v1.19/client-server-api/#client-config>

use starling_db::{Error, Row, Tx};

use crate::numbers::{RoomNum, UserNum};

starling_db::statements! {
    /// One content.
    ACCOUNT_DATA_READ = "SELECT content FROM account_data WHERE user_num = ?1 AND room_num = ?2 AND type = ?3";
    /// Another content. One that equals the old one is a change all the same.
    ACCOUNT_DATA_SET = "INSERT INTO account_data (user_num, room_num, type, content, position) \
        VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (user_num, room_num, type) \
        DO UPDATE SET content = excluded.content, position = excluded.position";
    /// What changed, of the account and of all rooms.
    ACCOUNT_DATA_CHANGED = "SELECT room_num, type, content, position FROM account_data \
        WHERE user_num = ?1 AND position > ?2 AND position <= ?3 ORDER BY position";
    /// All of one room, or of the account itself. The plus keeps SQLite from the index by position, and so from reading
    /// all that the user has.
    ACCOUNT_DATA_OF_ROOM = "SELECT room_num, type, content, position FROM account_data \
        WHERE user_num = ?1 AND room_num = ?2 AND +position <= ?3 ORDER BY +position";
}

/// Stands in place of a room for what is of the whole account.
pub const GLOBAL: RoomNum = RoomNum(0);

/// One type of account data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountData {
    /// The room, or [`GLOBAL`].
    pub room: RoomNum,
    /// The event type.
    pub kind: String,
    /// A JSON object, as the client wrote it.
    pub content: String,
    /// Of the last change.
    pub position: i64,
}

/// The content (a JSON object) of one type, if there is any.
///
/// # Errors
/// When the database cannot be read.
pub fn account_data_read(
    tx: &mut Tx<'_>,
    user: UserNum,
    room: RoomNum,
    kind: &str,
) -> Result<Option<String>, Error> {
    let params = [user.into(), room.into(), kind.as_bytes().into()];
    tx.query_one(&ACCOUNT_DATA_READ, &params, |row| {
        Ok(row.utf8(0)?.to_owned())
    })
}

/// Stores what changed at `data.position`. A content that equals the old one is a change all the same.
///
/// # Errors
/// When the database fails.
pub fn account_data_set(tx: &mut Tx<'_>, user: UserNum, data: &AccountData) -> Result<(), Error> {
    let params = [
        user.into(),
        data.room.into(),
        data.kind.as_bytes().into(),
        data.content.as_bytes().into(),
        data.position.into(),
    ];
    tx.execute_one(&ACCOUNT_DATA_SET, &params)
}

/// What changed for `user` after `since` up to `upto`, of the account and of all rooms, in the order of the changes.
/// What has changed again since `upto` isn't among it.
///
/// # Errors
/// When the database cannot be read.
pub fn account_data_changed(
    tx: &mut Tx<'_>,
    user: UserNum,
    since: i64,
    upto: i64,
) -> Result<Vec<AccountData>, Error> {
    tx.query_all(
        &ACCOUNT_DATA_CHANGED,
        &[user.into(), since.into(), upto.into()],
        read,
    )
}

/// All that `user` has for one room (a room that is sent whole), as of `upto`.
///
/// # Errors
/// When the database cannot be read.
pub fn account_data_of_room(
    tx: &mut Tx<'_>,
    user: UserNum,
    room: RoomNum,
    upto: i64,
) -> Result<Vec<AccountData>, Error> {
    tx.query_all(
        &ACCOUNT_DATA_OF_ROOM,
        &[user.into(), room.into(), upto.into()],
        read,
    )
}

fn read(row: &dyn Row) -> Result<AccountData, Error> {
    Ok(AccountData {
        room: RoomNum(row.int(0)?),
        kind: row.utf8(1)?.to_owned(),
        content: row.utf8(2)?.to_owned(),
        position: row.int(3)?,
    })
}
