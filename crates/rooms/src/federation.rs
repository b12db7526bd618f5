//! What other servers are told of rooms, and which servers may ask.
//! <https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events>

mod acl;
mod history;
mod servers;
mod space;
mod state;
mod visibility;

use std::collections::HashSet;
use std::sync::Arc;

use ruma_common::{OwnedEventId, OwnedServerName, RoomId, ServerName};
use starling_db::{Error, Tx};
use starling_store::room_details::{RoomDetails, details_by_id};
use starling_store::rooms::RoomSnapshot;
use starling_store::{EventNum, RoomNum, Store};

use crate::pipeline::is_closed;
use crate::rooms::Rooms;

pub(crate) use acl::{SERVER_ACL, ServerAcl};
pub use history::{MAX_BACKFILL, MAX_MISSING, MissingEvents};
pub(crate) use servers::ServersOfRooms;
pub use space::ServedSpace;
pub use state::ServedState;

/// The bytes of an event as other servers get it.
pub type PduBytes = Arc<[u8]>;

/// Of the events that a server asks about, so many are looked at to find out whether it was in the room then.
const MAX_UNTIL: usize = 20;

/// Why another server is told nothing.
#[derive(Debug, thiserror::Error)]
pub enum ServerReadError {
    /// None of its users is in the room, or the room isn't here.
    #[error("your server is not in the room")]
    NotInRoom,
    /// The room excludes it.
    #[error("the room's access control list excludes your server")]
    Denied,
    /// There is no such event, or nothing is known of the state at it.
    #[error("there is no such event here")]
    NotFound,
    /// The database failed.
    #[error("the room could not be read")]
    Db(#[from] Error),
}

/// Those of the rooms that users of other servers can't ever come into, as their create events say.
/// <https://spec.matrix.org/v1.19/client-server-api/#mroomcreate>
pub(crate) fn closed_to_servers(
    store: &Store,
    tx: &mut Tx<'_>,
    rooms: &[RoomDetails],
) -> Result<HashSet<RoomNum>, Error> {
    let created = rooms.iter().map(|room| EventNum(room.created));
    let created: Vec<EventNum> = created.filter(|event| event.0 != 0).collect();
    let events = store.events_read(tx, &created)?;
    let closed = events.iter().filter(|event| is_closed(&event.pdu));
    Ok(closed.map(|event| event.room).collect())
}

/// What a server may look at.
struct Until {
    room: RoomNum,
    /// The events that it may look at, with what led to them.
    events: Vec<OwnedEventId>,
    /// Whether it is in the room.
    is_member: bool,
}

impl Rooms {
    /// Whether users of other servers can't ever come into a room of this server.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_closed_to_servers(&self, room_id: &RoomId) -> Result<bool, Error> {
        let (store, room_id) = (self.store().clone(), room_id.to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let details = details_by_id(tx, &[room_id.as_str()])?;
            Ok(!closed_to_servers(&store, tx, &details)?.is_empty())
        };
        self.store().db().read("closed_to_servers", read).await
    }

    /// The room, for a server that has a joined member there and that the room doesn't exclude.
    pub(crate) async fn room_for(
        &self,
        server: &ServerName,
        room_id: &RoomId,
    ) -> Result<Arc<RoomSnapshot>, ServerReadError> {
        let room = self.room(room_id, ServerReadError::NotInRoom).await?;
        let (store, kept) = (self.store().clone(), Arc::clone(&self.servers));
        let (server, snapshot) = (server.to_owned(), Arc::clone(&room));
        let check = move |tx: &mut Tx<'_>| {
            // First, so that who isn't in the room learns nothing of whom it excludes.
            let servers = kept.of(&store, tx, &snapshot)?;
            if !servers.has_joined(&server) {
                return Err(ServerReadError::NotInRoom);
            }
            let acl = kept.acl(&store, tx, &snapshot)?;
            if acl.is_some_and(|acl| !acl.allows(&server)) {
                return Err(ServerReadError::Denied);
            }
            Ok(())
        };
        self.store().db().read("server_in_room", check).await?;
        Ok(room)
    }

    /// As [`Rooms::room_for`], to look at what led to some events: also for a server of which some of them put a user out of the
    /// room, which must be able to check that. Gives those that it may look at so.
    async fn room_until(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        events: Vec<OwnedEventId>,
    ) -> Result<Until, ServerReadError> {
        match self.room_for(server, room_id).await {
            Ok(room) => {
                return Ok(Until {
                    room: room.room,
                    events,
                    is_member: true,
                });
            }
            Err(ServerReadError::NotInRoom) => {}
            Err(other) => return Err(other),
        }
        let room = self.room(room_id, ServerReadError::NotInRoom).await?.room;
        let (store, asking) = (self.store().clone(), server.to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let ids = events.iter().take(MAX_UNTIL).map(|id| id.as_str());
            let mut events = store.events_by_id(tx, &ids.collect::<Vec<_>>())?;
            events.retain(|event| event.room == room);
            visibility::putting_out(&store, tx, &asking, &events)
        };
        let events = self.store().db().read("server_put_out", read).await?;
        if events.is_empty() {
            return Err(ServerReadError::NotInRoom);
        }
        if !self.is_server_allowed(room_id, server).await? {
            return Err(ServerReadError::Denied);
        }
        Ok(Until {
            room,
            events,
            is_member: false,
        })
    }

    /// Whether the room's access control list lets a server take part; so does a room that isn't here.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_server_allowed(
        &self,
        room_id: &RoomId,
        server: &ServerName,
    ) -> Result<bool, Error> {
        let Some(room) = self.snapshot(room_id).await? else {
            return Ok(true);
        };
        let (store, kept) = (self.store().clone(), Arc::clone(&self.servers));
        let read = move |tx: &mut Tx<'_>| kept.acl(&store, tx, &room);
        let acl: Option<Arc<ServerAcl>> = self.store().db().read("server_acl", read).await?;
        Ok(acl.is_none_or(|acl| acl.allows(server)))
    }

    /// The servers that have joined members in a room, sorted; none when it isn't here.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn servers_in(&self, room_id: &RoomId) -> Result<Vec<OwnedServerName>, Error> {
        let Some(room) = self.snapshot(room_id).await? else {
            return Ok(Vec::new());
        };
        let (store, kept) = (self.store().clone(), Arc::clone(&self.servers));
        let read = move |tx: &mut Tx<'_>| kept.of(&store, tx, &room);
        let servers = self.store().db().read("servers_in", read).await?;
        Ok::<_, Error>(servers.joined().cloned().collect())
    }

    async fn snapshot(&self, room_id: &RoomId) -> Result<Option<Arc<RoomSnapshot>>, Error> {
        match self.store().room_num(room_id).await? {
            Some(room) => self.store().room(room).await,
            None => Ok(None),
        }
    }
}
