//! The words by which local users are found: those of the user's id, and those of the display name.
//! <https://spec.matrix.org/v1.19/client-server-api/#user-directory>
//!
//! They change in the transaction that makes the account, changes the name or ends the account, so a search never lags
//! behind. Finding users costs what the words with one beginning cost, however many users there are.

use ruma_common::OwnedUserId;
use starling_db::{Error, Tx, Value};

use crate::accounts::read_user_id;
use crate::numbers::UserNum;

starling_db::statements! {
    /// A word of a user.
    WORD_INSERT = "INSERT INTO user_words (word, user_num, source) VALUES (?1, ?2, ?3)
        ON CONFLICT (word, user_num, source) DO NOTHING";
    /// Removes the words of a user's display name.
    WORDS_DELETE_NAME = "DELETE FROM user_words WHERE user_num = ?1 AND source = 1";
    /// Removes all words of a user.
    WORDS_DELETE = "DELETE FROM user_words WHERE user_num = ?1";
    /// The users who have words in a stretch of the alphabet, and the words.
    WORDS_FROM = "SELECT word, user_num FROM user_words
        WHERE (word, user_num) > (?1, ?2) AND word < ?3 ORDER BY word, user_num LIMIT ?4";
    /// The id of a user.
    WORDS_USER_ID = "SELECT user_id FROM users WHERE user_num = ?1";
    /// Those of some users who share a room with another, or are in a room that is open to all.
    USERS_VISIBLE = "SELECT wanted.value FROM {ints ?1} AS wanted WHERE EXISTS (
            SELECT 1 FROM memberships AS theirs
            JOIN room_details ON room_details.room_num = theirs.room_num
            WHERE theirs.user_num = wanted.value AND theirs.membership = 2 AND (
                room_details.join_rule = ?3 OR room_details.world_readable = 1 OR EXISTS (
                    SELECT 1 FROM memberships AS own WHERE own.user_num = ?2
                        AND own.room_num = theirs.room_num AND own.membership = 2)))";
    /// What some users are called.
    USERS_NAMED = "SELECT users.user_num, users.user_id, name.value, avatar.value FROM users
        LEFT JOIN profiles AS name ON name.user_num = users.user_num AND name.field = ?2
        LEFT JOIN profiles AS avatar ON avatar.user_num = users.user_num AND avatar.field = ?3
        WHERE users.user_num IN {ints ?1}";
}

/// The most words of one name.
const WORDS: usize = 32;

/// The longest word, in bytes; what is longer is cut.
const WORD_BYTES: usize = 64;

/// The words of a name or of what is looked for, in lower case, each once, without punctuation.
#[must_use]
pub fn words_of(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let mut words: Vec<String> = Vec::new();
    let parts = lower.split(|letter: char| !letter.is_alphanumeric());
    for part in parts.filter(|part| !part.is_empty()) {
        let end = part.floor_char_boundary(WORD_BYTES);
        let word = part.get(..end).unwrap_or_default();
        if words.len() < WORDS && !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    words
}

/// Notes the words of the id of a user who has an account from now on.
///
/// # Errors
/// When the database fails, or there is no such user.
pub(crate) fn words_of_id_set(tx: &mut Tx<'_>, user: UserNum) -> Result<(), Error> {
    let id = tx.query_one(&WORDS_USER_ID, &[user.into()], |row| read_user_id(row, 0))?;
    let id = id.ok_or_else(|| Error::Damaged(format!("there is no user {}", user.0)))?;
    insert(tx, user, id.localpart(), 0)
}

/// Replaces the words of a user's display name by those of `name`.
///
/// # Errors
/// When the database fails.
pub(crate) fn words_of_name_set(
    tx: &mut Tx<'_>,
    user: UserNum,
    name: Option<&str>,
) -> Result<(), Error> {
    tx.execute(&WORDS_DELETE_NAME, &[user.into()])?;
    insert(tx, user, name.unwrap_or_default(), 1)
}

/// Forgets the words of a user whose account ends: nobody finds them any longer.
///
/// # Errors
/// When the database fails.
pub(crate) fn words_delete(tx: &mut Tx<'_>, user: UserNum) -> Result<(), Error> {
    tx.execute(&WORDS_DELETE, &[user.into()]).map(drop)
}

fn insert(tx: &mut Tx<'_>, user: UserNum, text: &str, source: i64) -> Result<(), Error> {
    for word in words_of(text) {
        let params = [word.as_bytes().into(), user.into(), source.into()];
        tx.execute(&WORD_INSERT, &params)?;
    }
    Ok(())
}

/// A word of a user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserWord {
    /// The word.
    pub word: Vec<u8>,
    /// The user.
    pub user: UserNum,
}

impl UserWord {
    /// Where the words with a beginning start.
    #[must_use]
    pub fn first(beginning: &str) -> Self {
        Self {
            word: beginning.as_bytes().to_vec(),
            user: UserNum(0),
        }
    }
}

/// At most `limit` words that begin with `beginning`, those after `after`, in alphabetical order.
///
/// # Errors
/// When the database cannot be read.
pub fn words_from(
    tx: &mut Tx<'_>,
    after: &UserWord,
    beginning: &str,
    limit: i64,
) -> Result<Vec<UserWord>, Error> {
    // No byte of UTF-8 is as large.
    let end = [beginning.as_bytes(), &[0xff]].concat();
    let params = [
        Value::Bytes(&after.word),
        after.user.into(),
        Value::Bytes(&end),
        limit.into(),
    ];
    tx.query_all(&WORDS_FROM, &params, |row| {
        Ok(UserWord {
            word: row.bytes(0)?.to_vec(),
            user: UserNum(row.int(1)?),
        })
    })
}

/// Those of `users` whom `asker` may see: who share a room with them, or are in a room that anybody may enter or read.
///
/// # Errors
/// When the database cannot be read.
pub fn users_visible(
    tx: &mut Tx<'_>,
    asker: UserNum,
    users: &[i64],
) -> Result<Vec<UserNum>, Error> {
    let params = [Value::Ints(users), asker.into(), Value::Bytes(b"public")];
    tx.query_all(&USERS_VISIBLE, &params, |row| Ok(UserNum(row.int(0)?)))
}

/// What a user is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedUser {
    /// The user.
    pub user: UserNum,
    /// The user's id.
    pub user_id: OwnedUserId,
    /// The display name, as JSON text.
    pub display_name: Option<String>,
    /// The picture, as JSON text.
    pub avatar_url: Option<String>,
}

/// What some users are called, in no order.
///
/// # Errors
/// When the database cannot be read.
pub fn users_named(tx: &mut Tx<'_>, users: &[i64]) -> Result<Vec<NamedUser>, Error> {
    let params = [
        Value::Ints(users),
        Value::Bytes(b"displayname"),
        Value::Bytes(b"avatar_url"),
    ];
    tx.query_all(&USERS_NAMED, &params, |row| {
        let field = |column| {
            let value = match row.opt_bytes(column)? {
                Some(_) => Some(row.utf8(column)?.to_owned()),
                None => None,
            };
            // A field that was removed has an empty value.
            Ok::<_, Error>(value.filter(|value| !value.is_empty()))
        };
        Ok(NamedUser {
            user: UserNum(row.int(0)?),
            user_id: read_user_id(row, 1)?,
            display_name: field(2)?,
            avatar_url: field(3)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{WORD_BYTES, WORDS, words_of};

    #[test]
    fn words_are_what_punctuation_parts_in_lower_case_and_few() {
        assert_eq!(
            words_of("Ann-Marie O'Hara, Ann"),
            ["ann", "marie", "o", "hara"]
        );
        assert_eq!(words_of("ÄRGER Straße"), ["ärger", "straße"]);
        assert_eq!(words_of("  ...\0 "), Vec::<String>::new());
        assert_eq!(words_of(&"é".repeat(100)), ["é".repeat(WORD_BYTES / 2)]);
        let many: Vec<String> = (0..100).map(|number| format!("w{number}")).collect();
        assert_eq!(words_of(&many.join(" ")).len(), WORDS);
    }
}
