//! What other servers are told of rooms, and which servers may ask.
//! <https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events>

mod acl;
mod history;
mod servers;
mod space;
mod state;
mod visibility;

use std::sync::Arc;

use ruma_common::{OwnedServerName, RoomId, ServerName};
use starling_db::{Error, Tx};
use starling_store::rooms::RoomSnapshot;

use self::acl::ServerAcl;
use crate::rooms::Rooms;

pub use history::{MAX_BACKFILL, MAX_MISSING, MissingEvents};
pub(crate) use servers::ServersOfRooms;
pub use space::ServedSpace;
pub use state::ServedState;

/// The bytes of an event as other servers get it.
pub type PduBytes = Arc<[u8]>;

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

impl Rooms {
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
