//! Local aliases of rooms. <https://spec.matrix.org/v1.19/client-server-api/#room-aliases>

use std::borrow::Cow;
use std::sync::Arc;

use ruma_common::{OwnedRoomAliasId, OwnedRoomId, RoomAliasId, RoomId};
use starling_db::{Error, Write};
use starling_events::{CanonicalObject, Value};
use starling_stateres::RoomPower;
use starling_store::aliases::{Alias, alias_delete, alias_insert, alias_list, alias_read};
use starling_store::events::Event;
use starling_store::memberships::Membership;
use starling_store::names::{EMPTY_KEY, types};

use crate::error::{ReadError, SendError};
use crate::rooms::{Actor, Rooms};

/// Why an alias was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AliasError {
    /// There is no such room here.
    #[error("there is no such room")]
    UnknownRoom,
    /// There is no such alias.
    #[error("there is no such alias")]
    UnknownAlias,
    /// The alias belongs to another server.
    #[error("aliases of other servers cannot be changed here")]
    OtherServer,
    /// The alias is taken.
    #[error("the alias is taken")]
    Taken,
    /// The user may not do that.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The database failed.
    #[error("the alias could not be stored")]
    Db(#[from] Error),
}

/// Where an alias leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasTarget {
    /// The room.
    pub room_id: OwnedRoomId,
}

impl Rooms {
    /// Where a local alias leads.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn resolve_alias(&self, alias: &RoomAliasId) -> Result<Option<AliasTarget>, Error> {
        let (store, alias) = (self.store().clone(), alias.to_owned());
        let read = move |tx: &mut starling_db::Tx<'_>| match alias_read(tx, &alias)? {
            None => Ok(None),
            Some(found) => Ok(store
                .room_id(tx, found.room)?
                .map(|room_id| AliasTarget { room_id })),
        };
        self.store().db().read("alias", read).await
    }

    /// Gives a room that the user is joined to another name.
    ///
    /// # Errors
    /// [`AliasError`]
    pub async fn create_alias(
        &self,
        actor: &Actor,
        alias: &RoomAliasId,
        room_id: &RoomId,
    ) -> Result<(), AliasError> {
        if alias.server_name() != self.server_name() {
            return Err(AliasError::OtherServer);
        }
        let room = self.room_num(room_id, AliasError::UnknownRoom).await?;
        if self.current_membership(room, &actor.user_id).await? != Some(Membership::Join) {
            return Err(AliasError::Forbidden("only who is in the room may name it"));
        }
        let (alias, to) = (
            alias.to_owned(),
            Alias {
                room,
                creator: actor.user,
            },
        );
        let now_ms = self.parts.clock.now_ms();
        let write = Write::new("create_alias").locking([room.0]);
        let made = self
            .store()
            .db()
            .write(write, move |tx| alias_insert(tx, &alias, to, now_ms))
            .await?;
        if made { Ok(()) } else { Err(AliasError::Taken) }
    }

    /// Removes an alias: its creator may, and who may change the room's canonical alias.
    ///
    /// # Errors
    /// [`AliasError`]
    pub async fn delete_alias(&self, actor: &Actor, alias: &RoomAliasId) -> Result<(), AliasError> {
        if alias.server_name() != self.server_name() {
            return Err(AliasError::OtherServer);
        }
        let wanted = alias.to_owned();
        let found = self
            .store()
            .db()
            .read("alias", move |tx| alias_read(tx, &wanted))
            .await?;
        let found = found.ok_or(AliasError::UnknownAlias)?;
        if found.creator != actor.user && !self.may_name(actor, found).await? {
            return Err(AliasError::Forbidden("you may not remove this alias"));
        }
        let alias = alias.to_owned();
        let write = Write::new("delete_alias").locking([found.room.0]);
        let deleted = self
            .store()
            .db()
            .write(write, move |tx| alias_delete(tx, &alias))
            .await?;
        if deleted {
            Ok(())
        } else {
            Err(AliasError::UnknownAlias)
        }
    }

    async fn may_name(&self, actor: &Actor, alias: Alias) -> Result<bool, Error> {
        if self.current_membership(alias.room, &actor.user_id).await? != Some(Membership::Join) {
            return Ok(false);
        }
        let (store, user) = (self.store().clone(), actor.user_id.clone());
        let read = move |tx: &mut starling_db::Tx<'_>| {
            let Some(snapshot) = store.room_read(tx, alias.room)? else {
                return Ok(false);
            };
            let numbers = [types::CREATE, types::POWER_LEVELS]
                .map(|kind| snapshot.state_event(kind, EMPTY_KEY));
            let events =
                store.events_read(tx, &numbers.into_iter().flatten().collect::<Vec<_>>())?;
            let of = |kind| {
                events
                    .iter()
                    .find(|event| event.kind == kind)
                    .map(|event| &event.pdu)
            };
            let power = of(types::CREATE)
                .and_then(|create| RoomPower::new(create, of(types::POWER_LEVELS)).ok());
            Ok(power.is_some_and(|power| {
                power.user_level(&user) >= power.event_level("m.room.canonical_alias", true)
            }))
        };
        self.store().db().read("may_name", read).await
    }

    /// The local aliases of a room, for who is in it (or for anybody, where its history is world-readable).
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn aliases(
        &self,
        actor: &Actor,
        room_id: &RoomId,
    ) -> Result<Vec<OwnedRoomAliasId>, ReadError> {
        let snapshot = self.room(room_id, ReadError::UnknownRoom).await?;
        let room = snapshot.room;
        let is_open = snapshot.visibility == starling_store::events::Visibility::WorldReadable;
        if !is_open
            && self.current_membership(room, &actor.user_id).await? != Some(Membership::Join)
        {
            return Err(ReadError::NotAllowed);
        }
        Ok(self
            .store()
            .db()
            .read("aliases", move |tx| alias_list(tx, room))
            .await?)
    }

    /// Every alias that a canonical alias event names, and the one before it did not, must lead to its room.
    /// <https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias>
    pub(crate) async fn check_canonical_alias(
        &self,
        room_id: &RoomId,
        content: &CanonicalObject,
    ) -> Result<(), SendError> {
        let named = aliases_of(content.value());
        let known = match self.canonical_alias(room_id).await? {
            Some(event) => aliases_of(Value::new(event.pdu.content())),
            None => Vec::new(),
        };
        for alias in named.into_iter().filter(|alias| !known.contains(alias)) {
            let parsed = OwnedRoomAliasId::try_from(alias.as_str())
                .map_err(|_| SendError::Invalid("alias"))?;
            // Where aliases of other servers lead cannot be asked yet.
            if parsed.server_name() != self.server_name() {
                continue;
            }
            let target = self.resolve_alias(&parsed).await?;
            if target.is_none_or(|target| target.room_id != room_id) {
                return Err(SendError::BadAlias(alias));
            }
        }
        Ok(())
    }

    async fn canonical_alias(&self, room_id: &RoomId) -> Result<Option<Arc<Event>>, SendError> {
        let snapshot = self.room(room_id, SendError::UnknownRoom).await?;
        Ok(
            match snapshot.state_event(types::CANONICAL_ALIAS, EMPTY_KEY) {
                Some(number) => self.store().events_load(&[number]).await?.pop(),
                None => None,
            },
        )
    }
}

/// The aliases that the content of a canonical alias event names.
pub(crate) fn aliases_of(content: Value<'_>) -> Vec<String> {
    let more = content
        .get("alt_aliases")
        .filter(|aliases| aliases.is_array());
    let named = content
        .get("alias")
        .into_iter()
        .chain(more.into_iter().flat_map(Value::elements));
    named
        .filter_map(Value::as_str)
        .map(Cow::into_owned)
        .filter(|alias| !alias.is_empty())
        .collect()
}
