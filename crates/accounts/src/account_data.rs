//! Account data: reading it, and setting and deleting what isn't the server's to set.
//! <https://spec.matrix.org/v1.19/client-server-api/#client-config>

use starling_bus::Topic;
use starling_db::{Error, Positions, Tx, Write};
use starling_store::account_data::{self, AccountData, DELETED, GLOBAL};
use starling_store::{RoomNum, UserNum};

use crate::Accounts;
use crate::json::{self, Refusal};

/// The largest content, in bytes. The specification names no limit; this is an event's.
pub const ACCOUNT_DATA_BYTES: usize = 65_536;

/// The longest type, in bytes: that of an event's.
const TYPE_BYTES: usize = 255;

/// Computed from the user's rules, not stored.
const PUSH_RULES: &str = "m.push_rules";

/// Set by the server when the user moves the read marker.
const FULLY_READ: &str = "m.fully_read";

/// Why account data was not set or deleted.
#[derive(Debug, thiserror::Error)]
pub enum AccountDataError {
    /// The type is one that only the server sets.
    #[error("this type of account data is set by the server")]
    ServerControlled,
    /// The type has more than 255 bytes, or none.
    #[error("the type has more than {TYPE_BYTES} bytes, or none")]
    InvalidType,
    /// The content has more than [`ACCOUNT_DATA_BYTES`] bytes.
    #[error("the content has more than {ACCOUNT_DATA_BYTES} bytes")]
    TooLarge,
    /// The content is no JSON object, or is nested too deeply.
    #[error("the content is not a JSON object")]
    NotAnObject,
    /// The database failed.
    #[error("the account data could not be changed")]
    Database(#[from] Error),
}

impl From<Refusal> for AccountDataError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLarge => Self::TooLarge,
            Refusal::NotAnObject => Self::NotAnObject,
        }
    }
}

impl Accounts {
    /// The content (a JSON object) of one type that `user` has for `room`, or for the whole account.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn account_data(
        &self,
        user: UserNum,
        room: Option<RoomNum>,
        kind: &str,
    ) -> Result<Option<String>, Error> {
        let (kind, room) = (kind.to_owned(), room.unwrap_or(GLOBAL));
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| {
            if kind == PUSH_RULES && room == GLOBAL {
                let user_id = store.names().user_id(tx, user)?;
                let ruleset = store.push_rules(tx, user)?;
                return Ok(Some(ruleset.to_content(user_id.as_str())));
            }
            account_data::account_data_read(tx, user, room, &kind)
        };
        self.store().db().read("account_data", read).await
    }

    /// Sets the content of one type that `user` has for `room`, or for the whole account. It is kept as it is written.
    /// The same content again is a change, too. An empty object deletes it, for clients that know no other way; also
    /// where there is nothing: such a client waits until it is told what it set.
    ///
    /// # Errors
    /// Why it was not set.
    pub async fn set_account_data(
        &self,
        user: UserNum,
        room: Option<RoomNum>,
        kind: &str,
        content: String,
    ) -> Result<(), AccountDataError> {
        check_kind(kind)?;
        let is_empty = json::check_object(&content, ACCOUNT_DATA_BYTES)?;
        let content = if is_empty {
            DELETED.to_owned()
        } else {
            content
        };
        let data = AccountData {
            room: room.unwrap_or(GLOBAL),
            kind: kind.to_owned(),
            content,
            position: 0,
        };
        self.write_account_data(user, data, |_| Ok(true)).await
    }

    /// Deletes the content of one type that `user` has for `room`, or for the whole account. Where there is none,
    /// nothing changes.
    ///
    /// # Errors
    /// Why it was not deleted.
    pub async fn delete_account_data(
        &self,
        user: UserNum,
        room: Option<RoomNum>,
        kind: &str,
    ) -> Result<(), AccountDataError> {
        check_kind(kind)?;
        let data = AccountData {
            room: room.unwrap_or(GLOBAL),
            kind: kind.to_owned(),
            content: DELETED.to_owned(),
            position: 0,
        };
        let (room, kind) = (data.room, kind.to_owned());
        let is_there = move |tx: &mut Tx<'_>| {
            Ok(account_data::account_data_read(tx, user, room, &kind)?.is_some())
        };
        self.write_account_data(user, data, is_there).await
    }

    /// Writes `data` at a position of its own, if that `is_change`.
    async fn write_account_data(
        &self,
        user: UserNum,
        data: AccountData,
        is_change: impl FnMut(&mut Tx<'_>) -> Result<bool, AccountDataError> + Send + 'static,
    ) -> Result<(), AccountDataError> {
        let (store, bus) = (self.store().clone(), self.setup().bus.clone());
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, is_change: bool| {
            if !is_change {
                return Ok(());
            }
            let position = positions.give()?;
            let data = AccountData {
                position,
                ..data.clone()
            };
            store.ignored_change(tx, user, &data)?;
            account_data::account_data_set(tx, user, &data)?;
            let bus = bus.clone();
            tx.after_commit(move || bus.advance(position, &[Topic::User(user.0)]));
            Ok(())
        };
        let write = Write::new("account_data");
        self.store()
            .db()
            .write_placed(write, is_change, place)
            .await
    }
}

/// Lets pass the types that are the client's to set.
fn check_kind(kind: &str) -> Result<(), AccountDataError> {
    if [PUSH_RULES, FULLY_READ].contains(&kind) {
        return Err(AccountDataError::ServerControlled);
    }
    if kind.is_empty() || kind.len() > TYPE_BYTES {
        return Err(AccountDataError::InvalidType);
    }
    Ok(())
}
