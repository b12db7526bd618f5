//! Knocking at a room through a server that is in it.
//! <https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms>

use ruma_common::{OwnedServerName, RoomId, ServerName};
use serde_json::Value;
use starling_events::Pdu;
use starling_store::memberships::Membership;

use super::template::Wish;
use crate::error::SendError;
use crate::remote::{Handshake, Remote, Template, malformed};
use crate::rooms::{Actor, Rooms};

impl Rooms {
    /// Knocks at a room through the first of `servers` that takes it.
    ///
    /// # Errors
    /// See [`Rooms::knock`].
    pub(super) async fn knock_elsewhere(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        (servers, reason): (Vec<OwnedServerName>, Option<String>),
    ) -> Result<(), SendError> {
        let remote = self.asking()?;
        self.not_purged(room_id).await?;
        let content = self.member_content(Membership::Knock, &actor.user_id).await;
        let mut content = content?;
        content.extend(reason.map(|reason| ("reason".to_owned(), Value::String(reason))));
        let wish = Wish {
            handshake: Handshake::Knock,
            room_id,
            user: &actor.user_id,
            content,
        };
        let mut attempts = self.attempts(remote, servers, &wish);
        while let Some((server, template)) = attempts.next().await? {
            let through = (&*server, &template);
            match self.knock_through(remote, through, &wish).await {
                Ok((knock, state)) => {
                    let became = (actor.user, Membership::Knock);
                    let noted = self.note_elsewhere(became, knock, Some((server, state)));
                    return if noted.await? {
                        Ok(())
                    } else {
                        Err(SendError::Invalid("the room's version"))
                    };
                }
                Err(error) => attempts.failed(error)?,
            }
        }
        Err(attempts.told())
    }

    /// Has a server, which gave the template, take a knock: the event, and what is shown of the room.
    async fn knock_through(
        &self,
        remote: &Remote,
        (server, template): (&ServerName, &Template),
        wish: &Wish<'_>,
    ) -> Result<(Pdu, Box<[u8]>), SendError> {
        let knock = self.fill_in(server, template, wish)?;
        if !knock.version().rules().knocking {
            return Err(malformed(server, "one cannot knock at rooms of this version").into());
        }
        let answer = remote.send_knock(server, &knock).await?;
        let state = remote.shown_state(&knock, answer.knock_room_state).await?;
        Ok((knock, state.events))
    }
}
