//! What a user has set for a room and takes along into the one that replaces it: tags, whether it is a direct chat, and
//! push rules for it.
//! <https://spec.matrix.org/v1.19/client-server-api/#room-upgrades>

use ruma_common::{OwnedRoomId, RoomId};
use serde_json::{Map, Value as Json};
use starling_db::{Error, Positions, Tx};
use starling_events::Value;
use starling_store::account_data::{AccountData, GLOBAL, account_data_read, account_data_set};
use starling_store::memberships::{Membership, membership_read, was_ever_joined};
use starling_store::names::{EMPTY_KEY, types};
use starling_store::push_rules::push_rules_read;
use starling_store::{RoomNum, Store, UserNum};

use crate::create::TOMBSTONE;
use crate::error::SendError;
use crate::rooms::{Actor, Rooms};

/// <https://spec.matrix.org/v1.19/client-server-api/#mtag>
const TAGS: &str = "m.tag";

/// <https://spec.matrix.org/v1.19/client-server-api/#mdirect>
const DIRECT: &str = "m.direct";

/// A user whose settings for a room are carried over to another.
#[derive(Debug, Clone)]
pub(crate) struct Carry {
    pub(crate) user: UserNum,
    pub(crate) from: RoomNum,
    pub(crate) from_id: OwnedRoomId,
}

impl Carry {
    /// Carries them over to `to`, in the second step of a transaction. What the user has set there already stays.
    pub(crate) fn apply(
        &self,
        store: &Store,
        (tx, positions): (&mut Tx<'_>, &mut Positions),
        (to, to_id): (RoomNum, &RoomId),
    ) -> Result<(), Error> {
        let set = |tx: &mut Tx<'_>, position, room, kind: &str, content| {
            let kind = kind.to_owned();
            let data = AccountData {
                room,
                kind,
                content,
                position,
            };
            account_data_set(tx, self.user, &data)
        };
        if account_data_read(tx, self.user, to, TAGS)?.is_none()
            && let Some(tags) = account_data_read(tx, self.user, self.from, TAGS)?
        {
            set(tx, positions.give()?, to, TAGS, tags)?;
        }
        if let Some(direct) = account_data_read(tx, self.user, GLOBAL, DIRECT)?
            && let Some(direct) = with_room(&direct, &self.from_id, to_id)
        {
            set(tx, positions.give()?, GLOBAL, DIRECT, direct)?;
        }
        let rules = push_rules_read(tx, self.user)?;
        if let Some(rules) = rules.with_room(self.from_id.as_str(), to_id.as_str()) {
            let user_id = store.names().user_id(tx, self.user)?;
            let user = (self.user, user_id.as_str());
            store.push_rules_set(tx, user, &rules, positions.give()?)?;
        }
        Ok(())
    }
}

/// The direct chats with `to` wherever `from` is, or `None` if that changes nothing.
fn with_room(direct: &str, from: &RoomId, to: &RoomId) -> Option<String> {
    let mut chats: Map<String, Json> = serde_json::from_str(direct).ok()?;
    let (from, to) = (Json::from(from.as_str()), Json::from(to.as_str()));
    let mut is_changed = false;
    for rooms in chats.values_mut().filter_map(Json::as_array_mut) {
        if rooms.contains(&from) && !rooms.contains(&to) {
            rooms.push(to.clone());
            is_changed = true;
        }
    }
    is_changed.then(|| Json::Object(chats).to_string())
}

impl Rooms {
    /// What the actor takes along into a room that they join: nothing, unless they join it for the first time (what they
    /// have removed there since must not come back) and it replaces one where they were.
    pub(crate) async fn carry_into(
        &self,
        room: RoomNum,
        actor: &Actor,
    ) -> Result<Option<Carry>, SendError> {
        let (store, user) = (self.store().clone(), actor.user);
        let read = move |tx: &mut Tx<'_>| {
            if was_ever_joined(tx, user, room)? {
                return Ok(None);
            }
            predecessor(&store, tx, room)
        };
        let Some((room_id, from_id)) = self.store().db().read("predecessor", read).await? else {
            return Ok(None);
        };
        let Some(from) = self.store().room_num(&from_id).await? else {
            return Ok(None);
        };
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| {
            let row = membership_read(tx, user, from)?;
            let was_there = row.is_some_and(|row| {
                matches!(row.membership, Membership::Join | Membership::Leave) && !row.forgotten
            });
            // Anybody can say of a room that it replaces another.
            Ok::<_, Error>(was_there && replacement(&store, tx, from)? == Some(room_id))
        };
        let is_successor = self.store().db().read("replacement", read).await?;
        Ok(is_successor.then_some(Carry {
            user,
            from,
            from_id,
        }))
    }
}

/// A room's id, and that of the room which it says it replaces.
fn predecessor(
    store: &Store,
    tx: &mut Tx<'_>,
    room: RoomNum,
) -> Result<Option<(OwnedRoomId, OwnedRoomId)>, Error> {
    let Some(snapshot) = store.room_read(tx, room)? else {
        return Ok(None);
    };
    let create = snapshot.state_event(types::CREATE, EMPTY_KEY);
    let Some(create) = create.map_or(Ok(None), |create| store.event_read(tx, create))? else {
        return Ok(None);
    };
    let predecessor = Value::new(create.pdu.content()).get("predecessor");
    let from = predecessor.and_then(|predecessor| room_in(predecessor, "room_id"));
    Ok(from.map(|from| (snapshot.room_id.clone(), from)))
}

/// The room that has replaced this one.
fn replacement(
    store: &Store,
    tx: &mut Tx<'_>,
    room: RoomNum,
) -> Result<Option<OwnedRoomId>, Error> {
    let kind = store.names().kind(tx, TOMBSTONE)?;
    let (Some(snapshot), Some(kind)) = (store.room_read(tx, room)?, kind) else {
        return Ok(None);
    };
    let end = snapshot.state_event(kind, EMPTY_KEY);
    let end = end.map_or(Ok(None), |end| store.event_read(tx, end))?;
    Ok(end.and_then(|end| room_in(Value::new(end.pdu.content()), "replacement_room")))
}

/// The room that a property names. Ids that no database can hold are none.
fn room_in(content: Value<'_>, key: &str) -> Option<OwnedRoomId> {
    let id = content.get(key)?.as_str()?;
    let id = OwnedRoomId::try_from(id.as_ref()).ok()?;
    (!id.as_str().contains('\0')).then_some(id)
}
