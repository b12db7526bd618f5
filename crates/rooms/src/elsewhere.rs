//! Rooms that this server is not in: its users join them, knock at them and decline invites to them through a server
//! that is in the room. <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>
//!
//! A resident server gives a template for the member event (`template.rs`), takes the event, and answers with what there
//! is to know of the room: all of it to who joins (`answer.rs`), a few events of its state to who knocks (`shown.rs`).
//! Whoever is invited or knocks has a row of their own (`note.rs`), since nothing else of the room is here.

mod answer;
mod attempts;
mod coming;
mod join;
mod knock;
mod leave;
mod note;
mod servers;
pub(crate) mod shown;
mod template;
mod untold;

use std::sync::Arc;

use ruma_common::{OwnedServerName, RoomId};
use starling_db::Error;
use starling_store::remote_invites::room_is_joined;
use starling_store::rooms::RoomSnapshot;

pub(crate) use coming::Coming;

use crate::error::SendError;
use crate::membership::MembershipAction;
use crate::remote::Remote;
use crate::rooms::{Actor, Rooms};

/// A room that this server is not in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Elsewhere {
    /// What is known of it: nothing, its id and version, or what it was when a user of this server was in it last.
    snapshot: Option<Arc<RoomSnapshot>>,
}

impl Rooms {
    /// Joins a room, which this server may not be in: then one of the servers `via` lets the user in, or one that is
    /// otherwise known to be in the room.
    ///
    /// # Errors
    /// [`SendError::UnknownRoom`] when there is nobody to ask, [`SendError::Remote`] when nobody lets the user in; else as
    /// [`Rooms::change_membership`].
    pub async fn join(
        &self,
        actor: &Actor,
        (room_id, via): (&RoomId, &[OwnedServerName]),
        reason: Option<String>,
    ) -> Result<(), SendError> {
        let elsewhere = match self.elsewhere(room_id).await? {
            Some(elsewhere) => elsewhere,
            None => match self.join_here(actor, room_id, reason.clone()).await? {
                Some(elsewhere) => elsewhere,
                None => return Ok(()),
            },
        };
        let servers = self.servers_of(actor, (room_id, &elsewhere), via).await?;
        let (rooms, actor, room_id) = (self.clone(), actor.clone(), room_id.to_owned());
        // A task of its own: if the request goes away, a join that others have taken is stored here all the same.
        let joining = tokio::spawn(async move {
            rooms
                .join_elsewhere(&actor, &room_id, (servers, reason))
                .await
        });
        joining.await.map_err(|_| SendError::Db(Error::Closed))?
    }

    /// Joins a room that this server is in. The room, if the user is not in it now and another server may let them in: it may
    /// know more of the room's conditions, or have somebody who may.
    async fn join_here(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<Option<Elsewhere>, SendError> {
        let (action, user) = (MembershipAction::Join, &actor.user_id);
        let joined = self.change_membership(actor, room_id, action, user, reason);
        let refused = match joined.await {
            Ok(()) => return Ok(None),
            Err(refused @ (SendError::ConditionsUnknown | SendError::NobodyToLetIn)) => refused,
            Err(refused) => return Err(refused),
        };
        let snapshot = self.room(room_id, SendError::UnknownRoom).await?;
        if self.parts.remote.is_none() || !self.has_others(&snapshot).await? {
            return Err(refused);
        }
        let snapshot = Some(snapshot);
        Ok(Some(Elsewhere { snapshot }))
    }

    /// Asks to be let into a room, as [`Rooms::join`] joins one.
    ///
    /// # Errors
    /// As [`Rooms::join`].
    pub async fn knock(
        &self,
        actor: &Actor,
        (room_id, via): (&RoomId, &[OwnedServerName]),
        reason: Option<String>,
    ) -> Result<(), SendError> {
        let Some(elsewhere) = self.elsewhere(room_id).await? else {
            let (action, user) = (MembershipAction::Knock, &actor.user_id);
            return self
                .change_membership(actor, room_id, action, user, reason)
                .await;
        };
        let servers = self.servers_of(actor, (room_id, &elsewhere), via).await?;
        let (rooms, actor, room_id) = (self.clone(), actor.clone(), room_id.to_owned());
        let knocking = tokio::spawn(async move {
            rooms
                .knock_elsewhere(&actor, &room_id, (servers, reason))
                .await
        });
        knocking.await.map_err(|_| SendError::Db(Error::Closed))?
    }

    /// The room, if this server is not in it. One that nobody is in any longer, as far as is known, is not elsewhere.
    pub(crate) async fn elsewhere(&self, room_id: &RoomId) -> Result<Option<Elsewhere>, Error> {
        let snapshot = match self.store().room_num(room_id).await? {
            Some(room) => self.store().room(room).await?,
            None => None,
        };
        let Some(snapshot) = snapshot else {
            return Ok(Some(Elsewhere::default()));
        };
        let room = snapshot.room;
        let is_elsewhere = if snapshot.append_count == 0 {
            true
        } else if self.parts.remote.is_none() || snapshot.joined == 0 {
            false
        } else {
            let read = move |tx: &mut starling_db::Tx<'_>| room_is_joined(tx, room);
            !self.store().db().read("room_is_joined", read).await?
        };
        let snapshot = Some(snapshot);
        Ok(is_elsewhere.then_some(Elsewhere { snapshot }))
    }

    /// What asks other servers, if this one speaks to any.
    #[must_use]
    pub fn other_servers(&self) -> Option<&Remote> {
        self.parts.remote.as_ref()
    }

    /// What asks other servers; an error where this one speaks to none.
    pub(crate) fn asking(&self) -> Result<&Remote, SendError> {
        self.other_servers().ok_or(SendError::UnknownRoom)
    }
}
