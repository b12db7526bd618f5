//! Aliases of rooms, and finding rooms by them. <https://spec.matrix.org/v1.19/client-server-api/#room-aliases>

use std::borrow::Cow;
use std::sync::Arc;

use ruma_common::{OwnedRoomAliasId, OwnedRoomId, OwnedServerName, RoomAliasId, RoomId};
use serde_json::{Map, Value as Json};
use starling_db::{Error, Write};
use starling_events::{CanonicalObject, Value};
use starling_stateres::RoomPower;
use starling_store::RoomNum;
use starling_store::aliases::{
    Alias, alias_delete, alias_insert, alias_list, alias_read, aliases_to,
};
use starling_store::events::Event;
use starling_store::memberships::Membership;
use starling_store::names::{EMPTY_KEY, types};

use crate::error::{ReadError, SendError};
use crate::pipeline::{Draft, Extras};
use crate::remote::{AliasAnswer, RemoteError};
use crate::rooms::{Actor, Rooms};

/// So many aliases of one event are asked of other servers.
const ASKED: usize = 10;

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
    /// The alias' server could not be asked.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The database failed.
    #[error("the alias could not be stored")]
    Db(#[from] Error),
}

/// Where an alias leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasTarget {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that are likely in it.
    pub servers: Vec<OwnedServerName>,
}

impl Rooms {
    /// Where an alias leads, of this server or of another.
    ///
    /// # Errors
    /// [`AliasError::Remote`] or [`AliasError::Db`] when that can't be found out.
    pub async fn resolve_alias(
        &self,
        alias: &RoomAliasId,
    ) -> Result<Option<AliasTarget>, AliasError> {
        if alias.server_name() != self.server_name() {
            return self.resolve_elsewhere(alias).await;
        }
        let (store, alias) = (self.store().clone(), alias.to_owned());
        let servers = vec![self.server_name().to_owned()];
        let read = move |tx: &mut starling_db::Tx<'_>| match alias_read(tx, &alias)? {
            None => Ok::<_, Error>(None),
            Some(found) => store.room_id(tx, found.room),
        };
        let room_id = self.store().db().read("alias", read).await?;
        Ok(room_id.map(|room_id| AliasTarget { room_id, servers }))
    }

    async fn resolve_elsewhere(
        &self,
        alias: &RoomAliasId,
    ) -> Result<Option<AliasTarget>, AliasError> {
        let Some(remote) = &self.parts.remote else {
            return Ok(None);
        };
        match remote.directory(alias).await {
            Ok(AliasAnswer {
                room_id,
                mut servers,
            }) => {
                let own = alias.server_name();
                if !servers.iter().any(|server| server == own) {
                    servers.push(own.to_owned());
                }
                Ok(Some(AliasTarget { room_id, servers }))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
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

    /// Removes an alias: its creator may, who may change the room's canonical alias, and whoever administrates the
    /// server. The canonical alias event names it no longer, if `actor` may change that.
    ///
    /// # Errors
    /// [`AliasError`]
    pub async fn delete_alias(
        &self,
        actor: &Actor,
        is_admin: bool,
        alias: &RoomAliasId,
    ) -> Result<(), AliasError> {
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
        let may_name = self.may_name(actor, found.room).await?;
        if found.creator != actor.user && !is_admin && !may_name {
            return Err(AliasError::Forbidden("you may not remove this alias"));
        }
        if may_name {
            // Before the alias goes: who repeats a request that was cut short finds it still there.
            self.unname(actor, found.room, alias).await?;
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

    /// Takes an alias out of the room's canonical alias event, if that names it.
    async fn unname(
        &self,
        actor: &Actor,
        room: RoomNum,
        alias: &RoomAliasId,
    ) -> Result<(), AliasError> {
        let Some(event) = self.canonical_alias(room).await? else {
            return Ok(());
        };
        let Some(content) = without_alias(event.pdu.content(), alias.as_str()) else {
            return Ok(());
        };
        let content = CanonicalObject::from_serialize(&content);
        let content = content.map_err(|error| Error::Damaged(error.to_string()))?;
        let draft = Draft::state(actor.user_id.clone(), "m.room.canonical_alias", "", content);
        match self.append_new(room, draft, Extras::default()).await {
            Err(SendError::Db(error)) => Err(AliasError::Db(error)),
            // Since the check, the user may have lost the power to; then the event stays as it is.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whether the user may change the room's canonical alias.
    pub(crate) async fn may_name(&self, actor: &Actor, room: RoomNum) -> Result<bool, Error> {
        if self.current_membership(room, &actor.user_id).await? != Some(Membership::Join) {
            return Ok(false);
        }
        let (store, user) = (self.store().clone(), actor.user_id.clone());
        let read = move |tx: &mut starling_db::Tx<'_>| {
            let Some(snapshot) = store.room_read(tx, room)? else {
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

    /// Every alias that a canonical alias event names, and the one before it did not, must lead to its room. Of other
    /// servers some are asked where theirs lead.
    /// <https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias>
    pub(crate) async fn check_canonical_alias(
        &self,
        room_id: &RoomId,
        content: &CanonicalObject,
    ) -> Result<(), SendError> {
        let room = self.room_num(room_id, SendError::UnknownRoom).await?;
        let named = aliases_of(content.value())?;
        let known = match self.canonical_alias(room).await? {
            // What an older version of the event says in another form is not known.
            Some(event) => aliases_of(Value::new(event.pdu.content())).unwrap_or_default(),
            None => Vec::new(),
        };
        let new: Vec<String> = named
            .into_iter()
            .filter(|alias| !known.contains(alias))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let wanted = new.clone();
        let read = move |tx: &mut starling_db::Tx<'_>| {
            let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
            aliases_to(tx, room, &wanted)
        };
        let here = self.store().db().read("aliases_to", read).await?;
        let elsewhere = new.into_iter().filter(|alias| !here.contains(alias));
        for (number, alias) in elsewhere.enumerate() {
            if number >= ASKED || !self.leads_to(&alias, room_id).await? {
                return Err(SendError::BadAlias(alias));
            }
        }
        Ok(())
    }

    /// Whether an alias of another server leads to the room.
    async fn leads_to(&self, alias: &str, room_id: &RoomId) -> Result<bool, Error> {
        let Ok(alias) = <&RoomAliasId>::try_from(alias) else {
            return Ok(false);
        };
        if alias.server_name() == self.server_name() {
            return Ok(false);
        }
        match self.resolve_elsewhere(alias).await {
            Ok(target) => Ok(target.is_some_and(|target| target.room_id == room_id)),
            Err(AliasError::Db(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    async fn canonical_alias(&self, room: RoomNum) -> Result<Option<Arc<Event>>, Error> {
        let Some(snapshot) = self.store().room(room).await? else {
            return Ok(None);
        };
        Ok(
            match snapshot.state_event(types::CANONICAL_ALIAS, EMPTY_KEY) {
                Some(number) => self.store().events_load(&[number]).await?.pop(),
                None => None,
            },
        )
    }
}

/// The aliases that the content of a canonical alias event names.
///
/// # Errors
/// [`SendError::Invalid`] when something is named that is no alias.
pub(crate) fn aliases_of(content: Value<'_>) -> Result<Vec<String>, SendError> {
    let mut named = Vec::new();
    // Null and the empty text mean that there is none.
    if let Some(alias) = content.get("alias")
        && !matches!(alias.as_bytes(), b"null" | b"\"\"")
    {
        named.push(alias_text(alias)?);
    }
    if let Some(more) = content.get("alt_aliases") {
        if !more.is_array() {
            return Err(SendError::Invalid("alt_aliases"));
        }
        for alias in more.elements() {
            named.push(alias_text(alias)?);
        }
    }
    Ok(named)
}

fn alias_text(alias: Value<'_>) -> Result<String, SendError> {
    let text = alias.as_str().map(Cow::into_owned);
    // No alias has a zero character, and no database looks one up.
    let text =
        text.filter(|text| !text.contains('\0') && <&RoomAliasId>::try_from(&**text).is_ok());
    text.ok_or(SendError::Invalid("alias"))
}

/// The content of a canonical alias event without an alias; `None` if it doesn't name it.
fn without_alias(content: &[u8], alias: &str) -> Option<Map<String, Json>> {
    let mut content: Map<String, Json> = serde_json::from_slice(content).ok()?;
    let before = content.clone();
    content.retain(|key, value| key != "alias" || value.as_str() != Some(alias));
    if let Some(Json::Array(more)) = content.get_mut("alt_aliases") {
        more.retain(|other| other.as_str() != Some(alias));
    }
    (content != before).then_some(content)
}
