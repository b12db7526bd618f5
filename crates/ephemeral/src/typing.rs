//! Typing notifications: in memory only.
//! <https://spec.matrix.org/v1.19/client-server-api/#typing-notifications>

use std::time::Duration;

use ruma_common::RoomId;
use starling_db::{Error, Tx};
use starling_store::memberships::{Membership, membership_read};

use crate::{Client, Ephemeral, millis};

/// How long somebody is typing who doesn't say how long.
pub const DEFAULT_TYPING: Duration = Duration::from_secs(30);

/// Nobody types longer without saying so again.
pub const LONGEST_TYPING: Duration = Duration::from_mins(2);

/// Why somebody isn't typing.
#[derive(Debug, thiserror::Error)]
pub enum TypingError {
    /// The user isn't in the room, or there is none.
    #[error("you are not in this room")]
    NotInRoom,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

impl Ephemeral {
    /// `client`'s user types in a room for a while (at most [`LONGEST_TYPING`]), or no longer. It ends before that when
    /// they send a message or leave.
    ///
    /// # Errors
    /// [`TypingError`]
    pub async fn set_typing(
        &self,
        client: &Client,
        room_id: &RoomId,
        time: Option<Duration>,
    ) -> Result<(), TypingError> {
        let room = self.store().room_num(room_id).await?;
        let (user, room) = (client.user, room.ok_or(TypingError::NotInRoom)?);
        let read = move |tx: &mut Tx<'_>| membership_read(tx, user, room);
        let row = self.store().db().read("typing", read).await?;
        if row.is_none_or(|row| row.membership != Membership::Join) {
            return Err(TypingError::NotInRoom);
        }
        let Some(time) = time.filter(|time| !time.is_zero()) else {
            self.memory.bus.end_typing(room.0, user.0);
            return Ok(());
        };
        let until_ms = self.memory.now_ms() + millis(time.min(LONGEST_TYPING));
        let typist = (user.0, client.user_id.as_str());
        self.memory.bus.type_until(room.0, typist, until_ms);
        self.memory.look_again_at(until_ms);
        self.note_activity(user);
        Ok(())
    }
}
