//! Filters: the definitions that clients upload once and then name by number, counted for each user from 1.
//! <https://spec.matrix.org/v1.19/client-server-api/#filtering>

use starling_db::{Error, Row, Tx};

use crate::numbers::UserNum;
use crate::restored::numbers_floor;

starling_db::statements! {
    /// The number of a definition that was uploaded before.
    FILTER_FIND = "SELECT filter_num FROM filters WHERE user_num = ?1 AND hash = ?2";
    /// The last number given out, and how many there are.
    FILTER_LAST = "SELECT COALESCE(MAX(filter_num), 0), COUNT(*) FROM filters WHERE user_num = ?1";
    /// A new definition.
    FILTER_INSERT = "INSERT INTO filters (user_num, filter_num, hash, definition) VALUES (?1, ?2, ?3, ?4)";
    /// A definition by number.
    FILTER_READ = "SELECT definition FROM filters WHERE user_num = ?1 AND filter_num = ?2";
}

/// The number of the definition (JSON text) with this SHA-256 hash, stored now if it wasn't. `None` when `user` has
/// `most` others already. The write locks the user's key, so that two nodes don't give out the same number.
///
/// # Errors
/// When the database fails.
pub fn filter_store(
    tx: &mut Tx<'_>,
    user: UserNum,
    hash: &[u8; 32],
    definition: &str,
    most: i64,
) -> Result<Option<i64>, Error> {
    let number = |row: &dyn Row| row.int(0);
    let found = tx.query_one(&FILTER_FIND, &[user.into(), hash.as_slice().into()], number)?;
    if found.is_some() {
        return Ok(found);
    }
    let last = |row: &dyn Row| Ok((row.int(0)?, row.int(1)?));
    let (last, count) = tx
        .query_one(&FILTER_LAST, &[user.into()], last)?
        .unwrap_or_default();
    if count >= most {
        return Ok(None);
    }
    // Clients may know others by the numbers between.
    let next = last.max(numbers_floor(tx)?) + 1;
    let params = [
        user.into(),
        next.into(),
        hash.as_slice().into(),
        definition.as_bytes().into(),
    ];
    tx.execute_one(&FILTER_INSERT, &params)?;
    Ok(Some(next))
}

/// The definition (JSON text) with this number, if `user` has one.
///
/// # Errors
/// When the database cannot be read.
pub fn filter_read(tx: &mut Tx<'_>, user: UserNum, number: i64) -> Result<Option<String>, Error> {
    tx.query_one(&FILTER_READ, &[user.into(), number.into()], |row| {
        Ok(row.utf8(0)?.to_owned())
    })
}
