//! Inviting users of other servers to a new room: the room is there first, and some of their servers take long to answer.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use ruma_common::{OwnedRoomId, OwnedUserId};
use starling_store::RoomNum;
use tokio::sync::Notify;

use crate::create::CreateRoom;
use crate::error::CreateError;
use crate::rooms::{Actor, Rooms};

/// So many users are invited to a new room at a time.
const AT_ONCE: usize = 10;

/// So long the creator of a room waits for servers that are slow to take invites, and a server that stops for those that are left.
const PATIENCE: Duration = Duration::from_secs(15);

/// Invites that are yet to be sent: who is invited to which new room.
#[derive(Debug, Default)]
pub(crate) struct Inviting {
    left: Mutex<BTreeSet<(OwnedRoomId, OwnedUserId)>>,
    is_less: Notify,
}

impl Inviting {
    fn ended(&self, invite: &(OwnedRoomId, OwnedUserId)) {
        self.left.lock().remove(invite);
        self.is_less.notify_waiters();
    }

    async fn all_ended(&self) {
        loop {
            let ended = self.is_less.notified();
            if self.left.lock().is_empty() {
                return;
            }
            ended.await;
        }
    }
}

impl Rooms {
    /// Invites those who are of other servers, some at a time. After a while this goes on without the creator.
    pub(crate) async fn invite_others(
        &self,
        actor: &Actor,
        room_id: &OwnedRoomId,
        wanted: &CreateRoom,
    ) -> Result<(), starling_db::Error> {
        let others = wanted.invites.iter().map(|invite| &invite.user);
        let others = others.filter(|user| self.is_invited_elsewhere(user));
        let others: BTreeSet<_> = others.map(|user| (room_id.clone(), user.clone())).collect();
        let Some(room) = self.store().room_num(room_id).await? else {
            return Ok(());
        };
        if others.is_empty() {
            return Ok(());
        }
        self.inviting.left.lock().extend(others.iter().cloned());
        let (rooms, actor, is_direct) = (self.clone(), actor.clone(), wanted.is_direct);
        let inviting = tokio::spawn(async move {
            let invites = stream::iter(others).map(|invite| {
                let (rooms, actor) = (&rooms, &actor);
                async move {
                    rooms.invite_other(actor, room, (&invite, is_direct)).await;
                    rooms.inviting.ended(&invite);
                }
            });
            invites.buffer_unordered(AT_ONCE).collect::<()>().await;
        });
        tokio::time::timeout(PATIENCE, inviting).await.ok();
        Ok(())
    }

    /// Invites a user of another server, if that takes the invite.
    async fn invite_other(
        &self,
        actor: &Actor,
        room: RoomNum,
        ((room_id, user), is_direct): (&(OwnedRoomId, OwnedUserId), bool),
    ) {
        let sent = match self.invite_draft(actor, user, is_direct).await {
            Ok(draft) => {
                let sent = self.send_invite(room, draft, user).await;
                sent.map_err(CreateError::Invite)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::info!(%user, room = %room_id, %error, "a user could not be invited to a new room");
        }
    }

    /// Waits for invites to new rooms that are yet to be sent, before the server stops: for a while. Those that are not sent then
    /// are logged.
    pub async fn finish_invites(&self) {
        if tokio::time::timeout(PATIENCE, self.inviting.all_ended())
            .await
            .is_ok()
        {
            return;
        }
        for (room, user) in self.inviting.left.lock().iter() {
            tracing::warn!(%user, %room, "an invite to a new room was not sent before the server stopped");
        }
    }
}
