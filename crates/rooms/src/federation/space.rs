//! A space and the rooms in it, for other servers.
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid>

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ruma_common::{OwnedRoomId, RoomId, ServerName};
use starling_db::{Error, Tx};
use starling_store::room_details::{RoomDetails, details_by_id};
use starling_store::{RoomNum, Store};

use super::servers::{RoomServers, ServersOfRooms};
use super::{ServerReadError, closed_to_servers};
use crate::hierarchy::{HierarchyRoom, children_of};
use crate::published::ChildEvent;
use crate::rooms::Rooms;
use crate::summary::{is_open, is_restricted};

/// The most children that are looked at.
const MAX_CHILDREN: usize = 100;

/// The most rooms whose members are let into others that are looked at.
const MAX_CONDITIONS: usize = 100;

/// A space, and what a server may learn of the rooms in it.
#[derive(Debug, Clone)]
pub struct ServedSpace {
    /// The room that was asked for, with the events that name its children.
    pub room: HierarchyRoom,
    /// Those of its children that users of the server could come into.
    pub children: Vec<RoomDetails>,
    /// The others that this server is in.
    pub inaccessible: Vec<OwnedRoomId>,
}

impl Rooms {
    /// A room and its children, as users of `server` might learn of them.
    ///
    /// # Errors
    /// [`ServerReadError::NotFound`] when this server isn't in the room, or nobody of the other one could come in; else
    /// [`ServerReadError::Db`].
    pub async fn space_for(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        suggested_only: bool,
    ) -> Result<ServedSpace, ServerReadError> {
        let (store, kept) = (self.store().clone(), Arc::clone(&self.servers));
        let (own, server) = (self.server_name().to_owned(), server.to_owned());
        let root = room_id.to_owned();
        let read = move |tx: &mut Tx<'_>| {
            let look = Look {
                store: &store,
                kept: &kept,
                own: &own,
                server: &server,
            };
            let mut root = look.rooms(tx, &[root.as_str()])?;
            let details = root.visible.pop().ok_or(ServerReadError::NotFound)?;
            let children = children_of(&store, tx, &details, suggested_only)?;
            let ids = children.iter().map(ChildEvent::state_key);
            let ids: Vec<&str> = ids.take(MAX_CHILDREN).collect();
            let found = look.rooms(tx, &ids)?;
            Ok(ServedSpace {
                room: HierarchyRoom {
                    summary: details.into(),
                    children,
                },
                children: found.visible,
                inaccessible: found.hidden,
            })
        };
        self.store().db().scan("served_space", read).await
    }
}

/// A server that looks at rooms of this one.
struct Look<'a> {
    store: &'a Store,
    kept: &'a ServersOfRooms,
    own: &'a ServerName,
    server: &'a ServerName,
}

/// Rooms that this server is in.
struct Found {
    visible: Vec<RoomDetails>,
    hidden: Vec<OwnedRoomId>,
}

impl Look<'_> {
    /// The rooms with these ids, in their order.
    fn rooms(&self, tx: &mut Tx<'_>, ids: &[&str]) -> Result<Found, Error> {
        let mut rooms = details_by_id(tx, ids)?;
        let closed = closed_to_servers(self.store, tx, &rooms)?;
        rooms.retain(|room| !closed.contains(&room.room));
        let servers = self.servers(tx, rooms.iter().map(|room| room.room))?;
        let is_here = |room: &RoomDetails| {
            let servers = servers.get(&room.room);
            servers.is_some_and(|servers| servers.has_joined(self.own))
        };
        let is_visible = |room: &RoomDetails| {
            let servers = servers.get(&room.room);
            is_open(room)
                || servers.is_some_and(|servers| {
                    servers.has_joined(self.server) || servers.is_invited(self.server)
                })
        };
        let hidden = rooms.iter().filter(|room| !is_visible(room));
        let conditions = hidden.filter(|room| is_restricted(room));
        let conditions = conditions.flat_map(|room| &room.allowed);
        let conditions: Vec<&str> = conditions
            .map(|room| room.as_str())
            .take(MAX_CONDITIONS)
            .collect();
        let joined = self.joined_of(tx, &conditions)?;
        let lets_in = |room: &RoomDetails| {
            let mut allowed = room.allowed.iter();
            is_restricted(room) && allowed.any(|room| joined.contains(room))
        };
        let mut by_id: HashMap<String, RoomDetails> = rooms
            .into_iter()
            .map(|room| (room.room_id.to_string(), room))
            .collect();
        let mut found = Found {
            visible: Vec::new(),
            hidden: Vec::new(),
        };
        let in_order = ids.iter().filter_map(|id| by_id.remove(*id));
        for room in in_order.filter(is_here) {
            if is_visible(&room) || lets_in(&room) {
                found.visible.push(room);
            } else {
                found.hidden.push(room.room_id);
            }
        }
        Ok(found)
    }

    /// Those of the rooms with these ids that users of the asking server have joined.
    fn joined_of(&self, tx: &mut Tx<'_>, ids: &[&str]) -> Result<HashSet<OwnedRoomId>, Error> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let rooms = details_by_id(tx, ids)?;
        let servers = self.servers(tx, rooms.iter().map(|room| room.room))?;
        let is_joined = |room: &RoomDetails| {
            let servers = servers.get(&room.room);
            servers.is_some_and(|servers| servers.has_joined(self.server))
        };
        let joined = rooms.into_iter().filter(is_joined);
        Ok(joined.map(|room| room.room_id).collect())
    }

    fn servers(
        &self,
        tx: &mut Tx<'_>,
        rooms: impl Iterator<Item = RoomNum>,
    ) -> Result<HashMap<RoomNum, Arc<RoomServers>>, Error> {
        let rooms: Vec<RoomNum> = rooms.collect();
        let mut servers = HashMap::with_capacity(rooms.len());
        for room in self.store.rooms_read(tx, &rooms)? {
            servers.insert(room.room, self.kept.of(self.store, tx, &room)?);
        }
        Ok(servers)
    }
}
