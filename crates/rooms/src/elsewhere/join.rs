//! Joining a room through a server that is in it.

use ruma_common::{OwnedServerName, RoomId, ServerName};
use serde_json::Value;
use starling_db::Write;
use starling_store::memberships::Membership;
use starling_store::remote_invites::remote_invite_delete;

use super::answer::checked_room;
use super::template::Wish;
use crate::error::SendError;
use crate::import::ImportedRoom;
use crate::receive::Received;
use crate::remote::{Handshake, Remote, Template};
use crate::rooms::{Actor, Rooms};

impl Rooms {
    /// Joins a room through the first of `servers` that lets the user in.
    ///
    /// # Errors
    /// See [`Rooms::join`].
    pub(super) async fn join_elsewhere(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        (servers, reason): (Vec<OwnedServerName>, Option<String>),
    ) -> Result<(), SendError> {
        // Whether the room lets guests in is known when it is here, and then it's too late.
        if actor.is_guest {
            return Err(SendError::NoGuests);
        }
        let remote = self.asking()?;
        self.not_purged(room_id).await?;
        let content = self.member_content(Membership::Join, &actor.user_id).await;
        let mut content = content?;
        content.extend(reason.map(|reason| ("reason".to_owned(), Value::String(reason))));
        let wish = Wish {
            handshake: Handshake::Join,
            room_id,
            user: &actor.user_id,
            content,
        };
        let joining = self.coming.begin(room_id);
        let joined = self.join_through_some(remote, servers, &wish).await;
        drop(joining);
        // What came meanwhile is of the room now, or of none that this server is in.
        if let Some(room) = self.store().room_num(room_id).await? {
            self.work_on(room);
        }
        joined?;
        self.accepted_invite(actor, room_id).await
    }

    async fn join_through_some(
        &self,
        remote: &Remote,
        servers: Vec<OwnedServerName>,
        wish: &Wish<'_>,
    ) -> Result<(), SendError> {
        let mut attempts = self.attempts(remote, servers, wish);
        while let Some((server, template)) = attempts.next().await? {
            match self.join_through(remote, (&server, &template), wish).await {
                Ok(room) => return self.come_in(&server, room).await,
                Err(error) => attempts.failed(error)?,
            }
        }
        Err(attempts.told())
    }

    /// Has a server, which gave the template, let the user in: the room, checked.
    async fn join_through(
        &self,
        remote: &Remote,
        (server, template): (&ServerName, &Template),
        wish: &Wish<'_>,
    ) -> Result<ImportedRoom, SendError> {
        let join = self.fill_in(server, template, wish)?;
        self.expect_events(&join).await?;
        let answer = remote.send_join(server, &join).await?;
        checked_room(remote, server, join, answer).await
    }

    /// Stores the room with the join; only the join, if this server is in the room.
    async fn come_in(&self, server: &ServerName, room: ImportedRoom) -> Result<(), SendError> {
        if self.elsewhere(&room.room_id).await?.is_some() {
            return self.import(room).await.map(drop);
        }
        match self.receive(server, room.join).await? {
            Received::Accepted | Received::Known => Ok(()),
            Received::SoftFailed(why) | Received::Rejected(why) => Err(SendError::Forbidden(why)),
        }
    }

    /// The user's invite, if there was one, has led into the room, and its state is here.
    async fn accepted_invite(&self, actor: &Actor, room_id: &RoomId) -> Result<(), SendError> {
        let (user, room) = (
            actor.user,
            self.room_num(room_id, SendError::UnknownRoom).await?,
        );
        let write = Write::new("accepted_invite").relaxed();
        let delete = move |tx: &mut starling_db::Tx<'_>| remote_invite_delete(tx, user, room);
        Ok(self.store().db().write(write, delete).await?)
    }
}
