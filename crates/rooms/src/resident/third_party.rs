//! Invites that were made out to third-party ids: other servers have them turned into invites of their users, and identity
//! servers tell of ids that are bound now.
//! <https://spec.matrix.org/v1.19/server-server-api/#third-party-invites>

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use starling_events::{CanonicalObject, Value};

use super::ResidentError;
use crate::error::SendError;
use crate::rooms::Rooms;

/// So many invites of one id are taken up.
const INVITES: usize = 20;

/// So many of them at the same time.
const AT_ONCE: usize = 5;

/// How long that may take, all together.
const PATIENCE: Duration = Duration::from_mins(1);

/// An invite that an identity server has signed over to a user.
#[derive(Debug, Clone)]
pub struct BoundInvite {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Who made the invite.
    pub sender: OwnedUserId,
    /// What the identity server signed.
    pub signed: CanonicalObject,
}

impl Rooms {
    /// Turns a third-party invite of a user of this server into one of another server's user. `event` is the member event
    /// so far.
    ///
    /// # Errors
    /// [`ResidentError`]
    pub async fn exchange(
        &self,
        room_id: &RoomId,
        event: &CanonicalObject,
    ) -> Result<(), ResidentError> {
        self.resident(room_id).await?;
        let field = |name| event.value().get(name).and_then(Value::as_str);
        let content = event.value().get("content");
        let membership = content.and_then(|content| content.get("membership")?.as_str());
        let is_invite = field("type").as_deref() == Some("m.room.member")
            && field("room_id").is_some_and(|id| *room_id == *id)
            && membership.as_deref() == Some("invite");
        let signed = content.and_then(|content| content.get("third_party_invite")?.get("signed"));
        let target = field("state_key").unwrap_or_default();
        let (true, Some(signed), Ok(target)) = (is_invite, signed, <&UserId>::try_from(&*target))
        else {
            return Err(ResidentError::Invalid("it is no third-party invite"));
        };
        let signed = CanonicalObject::parse(signed.as_bytes())
            .map_err(|_| ResidentError::Invalid("`signed` is no object"))?;
        Ok(self.take_up_invite(room_id, target, &signed).await?)
    }

    /// Takes up invites of a user of this server, whose third-party id they were made out to. What can't be done is logged:
    /// the identity server, which is told nothing of it, can't do anything either.
    pub async fn bound(&self, user: &UserId, invites: Vec<BoundInvite>) {
        if user.server_name() != self.server_name() {
            return;
        }
        let take_up = |invite: BoundInvite| async move {
            let taken = self.take_up_bound(user, &invite).await;
            if let Err(error) = taken {
                tracing::info!(%user, %error, "a third-party invite could not be taken up");
            }
        };
        let taken = stream::iter(invites.into_iter().take(INVITES))
            .map(take_up)
            .buffer_unordered(AT_ONCE)
            .collect::<()>();
        // Anybody may tell of bound ids, and so have this server ask others: few at the same time, and not for long.
        let waiting = async {
            let _turn = self.binding.acquire().await;
            taken.await;
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            tracing::info!(%user, "third-party invites could not be taken up in time");
        }
    }

    async fn take_up_bound(&self, user: &UserId, invite: &BoundInvite) -> Result<(), SendError> {
        let (room_id, signed) = (&invite.room_id, &invite.signed);
        if invite.sender.server_name() == self.server_name() {
            return self.take_up_invite(room_id, user, signed).await;
        }
        self.exchange_elsewhere(room_id, (user, &invite.sender), signed)
            .await
    }
}
