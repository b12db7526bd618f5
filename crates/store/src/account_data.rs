//! Account data: what clients keep for a user, of the whole account or of one room.
//! <https://spec.matrix.org/v1.19/client-server-api/#client-config>
//!
//! What was deleted keeps its row, with [`DELETED`] as its content, and takes a position: other devices must be told. It
//! stays, since a device may come back at any time; who deletes a type seldom makes up new ones.

use starling_db::{Error, Row, Tx, Value};

use crate::numbers::{RoomNum, UserNum};

starling_db::statements! {
    /// One type.
    ACCOUNT_DATA_READ = "SELECT room_num, type, content, position FROM account_data WHERE user_num = ?1 AND room_num = ?2 AND type = ?3";
    /// Another content. One that equals the old one is a change all the same.
    ACCOUNT_DATA_SET = "INSERT INTO account_data (user_num, room_num, type, content, position) \
        VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (user_num, room_num, type) \
        DO UPDATE SET content = excluded.content, position = excluded.position";
    /// What changed, of the account and of all rooms.
    ACCOUNT_DATA_CHANGED = "SELECT room_num, type, content, position FROM account_data \
        WHERE user_num = ?1 AND position > ?2 AND position <= ?3 ORDER BY position";
    /// All of some rooms. The plus keeps SQLite from the index by position, and so from reading all that the user has.
    ACCOUNT_DATA_OF_ROOMS = "SELECT data.room_num, data.type, data.content, data.position \
        FROM {ints ?2} AS wanted CROSS JOIN account_data AS data \
        WHERE data.user_num = ?1 AND data.room_num = wanted.value AND +data.position <= ?3 ORDER BY +data.position";
}

/// Stands in place of a room for what is of the whole account.
pub const GLOBAL: RoomNum = RoomNum(0);

/// The content of what was deleted, as clients are told of it.
pub const DELETED: &str = "{}";

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

impl AccountData {
    /// Whether it was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.content == DELETED
    }
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
    let data = account_data_current(tx, user, room, kind)?;
    Ok(data
        .filter(|data| !data.is_deleted())
        .map(|data| data.content))
}

/// One type with its position, also if it was deleted.
///
/// # Errors
/// When the database cannot be read.
pub fn account_data_current(
    tx: &mut Tx<'_>,
    user: UserNum,
    room: RoomNum,
    kind: &str,
) -> Result<Option<AccountData>, Error> {
    let params = [user.into(), room.into(), kind.as_bytes().into()];
    tx.query_one(&ACCOUNT_DATA_READ, &params, read)
}

/// The type that says who may invite the user:
/// <https://spec.matrix.org/v1.19/client-server-api/#minvite_permission_config>
const INVITE_PERMISSION: &str = "m.invite_permission_config";

/// Whether the user wants no invites at all. What the server doesn't understand blocks nothing.
///
/// # Errors
/// When the database cannot be read.
pub fn blocks_invites(tx: &mut Tx<'_>, user: UserNum) -> Result<bool, Error> {
    let content = account_data_read(tx, user, GLOBAL, INVITE_PERMISSION)?;
    Ok(content.is_some_and(|content| is_block(&content)))
}

fn is_block(content: &str) -> bool {
    let content: Result<serde_json::Value, _> = serde_json::from_str(content);
    content.is_ok_and(|content| {
        content
            .get("default_action")
            .and_then(serde_json::Value::as_str)
            == Some("block")
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

/// What changed for `user` after `since` up to `upto`, deletions too, of the account and of all rooms, in the order of
/// the changes. What has changed again since `upto` isn't among it.
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

/// All that `user` has, of the account and of all rooms, as of `upto`. What was deleted isn't among it.
///
/// # Errors
/// When the database cannot be read.
pub fn account_data_all(
    tx: &mut Tx<'_>,
    user: UserNum,
    upto: i64,
) -> Result<Vec<AccountData>, Error> {
    let mut all = account_data_changed(tx, user, 0, upto)?;
    all.retain(|data| !data.is_deleted());
    Ok(all)
}

/// All that `user` has for each of `rooms` (rooms that are sent whole), as of `upto`; of what was deleted, what a client that
/// was told all up to `since` doesn't know to be.
///
/// # Errors
/// When the database cannot be read.
pub fn account_data_of_rooms(
    tx: &mut Tx<'_>,
    user: UserNum,
    rooms: &[RoomNum],
    (since, upto): (i64, i64),
) -> Result<Vec<AccountData>, Error> {
    if rooms.is_empty() {
        return Ok(Vec::new());
    }
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let params = [user.into(), Value::Ints(&rooms), upto.into()];
    let mut all = tx.query_all(&ACCOUNT_DATA_OF_ROOMS, &params, read)?;
    all.retain(|data| !data.is_deleted() || data.position > since);
    Ok(all)
}

fn read(row: &dyn Row) -> Result<AccountData, Error> {
    Ok(AccountData {
        room: RoomNum(row.int(0)?),
        kind: row.utf8(1)?.to_owned(),
        content: row.utf8(2)?.to_owned(),
        position: row.int(3)?,
    })
}
