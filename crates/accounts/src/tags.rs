//! Tags: labels that a user gives rooms, kept as the account data `m.tag` of each room.
//! <https://spec.matrix.org/v1.19/client-server-api/#room-tagging>

use serde_json::{Map, Value};
use starling_bus::Topic;
use starling_db::{Positions, Tx, Write};
use starling_store::account_data::{AccountData, account_data_read, account_data_set};
use starling_store::{RoomNum, UserNum};

use crate::Accounts;
use crate::account_data::{ACCOUNT_DATA_BYTES, AccountDataError};

/// The longest name of a tag, in bytes.
pub const TAG_BYTES: usize = 255;

/// The type of the account data.
const TAGS: &str = "m.tag";

impl Accounts {
    /// The tags that `user` has given `room`: their names, and what goes with each.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tags(
        &self,
        user: UserNum,
        room: RoomNum,
    ) -> Result<Map<String, Value>, starling_db::Error> {
        let read = move |tx: &mut Tx<'_>| tags_read(tx, user, room);
        self.store().db().read("tags", read).await
    }

    /// Gives `room` a tag, in place of one of the same name.
    ///
    /// # Errors
    /// [`AccountDataError::InvalidType`] for a name that is too long or empty; [`AccountDataError::TooLarge`] when all tags
    /// of the room together are.
    pub async fn set_tag(
        &self,
        user: UserNum,
        room: RoomNum,
        name: &str,
        tag: Map<String, Value>,
    ) -> Result<(), AccountDataError> {
        if name.is_empty() || name.len() > TAG_BYTES {
            return Err(AccountDataError::InvalidType);
        }
        let name = name.to_owned();
        let change = move |tags: &mut Map<String, Value>| {
            tags.insert(name.clone(), Value::Object(tag.clone()));
            true
        };
        self.change_tags(user, room, change).await
    }

    /// Takes a tag off `room`. Where there is none of this name, nothing changes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_tag(
        &self,
        user: UserNum,
        room: RoomNum,
        name: &str,
    ) -> Result<(), AccountDataError> {
        let name = name.to_owned();
        let change = move |tags: &mut Map<String, Value>| tags.remove(&name).is_some();
        self.change_tags(user, room, change).await
    }

    /// Reads, changes and writes the tags of a room: all in the second step of one write, in which nobody else writes
    /// account data, so that of two changes at once none is lost.
    async fn change_tags(
        &self,
        user: UserNum,
        room: RoomNum,
        change: impl Fn(&mut Map<String, Value>) -> bool + Send + 'static,
    ) -> Result<(), AccountDataError> {
        let bus = self.setup().bus.clone();
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
            let mut tags = tags_read(tx, user, room)?;
            if !change(&mut tags) {
                return Ok(());
            }
            let content = serde_json::json!({ "tags": tags }).to_string();
            if content.len() > ACCOUNT_DATA_BYTES {
                return Err(AccountDataError::TooLarge);
            }
            let position = positions.give()?;
            let data = AccountData {
                room,
                kind: TAGS.to_owned(),
                content,
                position,
            };
            account_data_set(tx, user, &data)?;
            let bus = bus.clone();
            tx.after_commit(move || bus.advance(position, &[Topic::User(user.0)]));
            Ok(())
        };
        let write = Write::new("tags");
        let db = self.store().db();
        db.write_placed(write, |_| Ok(()), place).await
    }
}

/// The tags of a room. What a client has written there that has not their form counts as none.
fn tags_read(
    tx: &mut Tx<'_>,
    user: UserNum,
    room: RoomNum,
) -> Result<Map<String, Value>, starling_db::Error> {
    let content = account_data_read(tx, user, room, TAGS)?;
    let content =
        content.and_then(|content| serde_json::from_str::<Map<String, Value>>(&content).ok());
    Ok(
        match content.and_then(|mut content| content.remove("tags")) {
            Some(Value::Object(tags)) => tags,
            _ => Map::new(),
        },
    )
}
