//! Local aliases of rooms.

use std::collections::HashSet;

use ruma_common::{OwnedRoomAliasId, RoomAliasId};
use starling_db::{Error, Tx, Value};

use crate::numbers::{RoomNum, UserNum};

starling_db::statements! {
    /// A new alias, unless it is taken.
    ALIAS_INSERT = "INSERT INTO aliases (alias, room_num, creator, created_at) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (alias) DO NOTHING";
    /// Where an alias leads.
    ALIAS_READ = "SELECT room_num, creator FROM aliases WHERE alias = ?1";
    /// Those of some aliases that lead to a room.
    ALIASES_TO = "SELECT alias FROM aliases WHERE room_num = ?1 AND alias IN {texts ?2}";
    /// Removes an alias.
    ALIAS_DELETE = "DELETE FROM aliases WHERE alias = ?1";
    /// Leads all aliases of a room to another.
    ALIASES_MOVE = "UPDATE aliases SET room_num = ?2 WHERE room_num = ?1";
    /// All aliases of a room.
    ALIAS_LIST = "SELECT alias FROM aliases WHERE room_num = ?1 ORDER BY created_at, alias";
}

/// Where an alias leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias {
    /// The room.
    pub room: RoomNum,
    /// Who made the alias.
    pub creator: UserNum,
}

/// Makes an alias; false when it is taken.
///
/// # Errors
/// When the database fails.
pub fn alias_insert(
    tx: &mut Tx<'_>,
    alias: &RoomAliasId,
    to: Alias,
    now_ms: i64,
) -> Result<bool, Error> {
    let params = [
        alias.as_str().into(),
        to.room.into(),
        to.creator.into(),
        now_ms.into(),
    ];
    Ok(tx.execute(&ALIAS_INSERT, &params)? == 1)
}

/// Where an alias leads, if it exists.
///
/// # Errors
/// When the database cannot be read.
pub fn alias_read(tx: &mut Tx<'_>, alias: &RoomAliasId) -> Result<Option<Alias>, Error> {
    tx.query_one(&ALIAS_READ, &[alias.as_str().into()], |row| {
        Ok(Alias {
            room: RoomNum(row.int(0)?),
            creator: UserNum(row.int(1)?),
        })
    })
}

/// Removes an alias; false when there was none.
///
/// # Errors
/// When the database fails.
pub fn alias_delete(tx: &mut Tx<'_>, alias: &RoomAliasId) -> Result<bool, Error> {
    Ok(tx.execute(&ALIAS_DELETE, &[alias.as_str().into()])? == 1)
}

/// Leads all aliases of `from` to `to`.
///
/// # Errors
/// When the database fails.
pub fn aliases_move(tx: &mut Tx<'_>, from: RoomNum, to: RoomNum) -> Result<(), Error> {
    tx.execute(&ALIASES_MOVE, &[from.into(), to.into()])?;
    Ok(())
}

/// The aliases of a room, oldest first.
///
/// # Errors
/// When the database cannot be read.
pub fn alias_list(tx: &mut Tx<'_>, room: RoomNum) -> Result<Vec<OwnedRoomAliasId>, Error> {
    let texts = tx.query_all(&ALIAS_LIST, &[room.into()], |row| {
        Ok(row.text(0)?.to_owned())
    })?;
    Ok(texts
        .into_iter()
        .filter_map(|text| OwnedRoomAliasId::try_from(text).ok())
        .collect())
}

/// Those of `aliases` that lead to `room`.
///
/// # Errors
/// When the database cannot be read.
pub fn aliases_to(
    tx: &mut Tx<'_>,
    room: RoomNum,
    aliases: &[&str],
) -> Result<HashSet<String>, Error> {
    let params = [room.into(), Value::Texts(aliases)];
    let found = tx.query_all(&ALIASES_TO, &params, |row| Ok(row.text(0)?.to_owned()))?;
    Ok(found.into_iter().collect())
}
