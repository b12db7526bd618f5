//! Who can be asked about a room that this server is not in.

use std::sync::Arc;

use ruma_common::{OwnedServerName, RoomId, UserId};
use starling_db::{Error, Tx};
use starling_store::Store;
use starling_store::memberships::Membership;
use starling_store::remote_invites::remote_invite_read;
use starling_store::rooms::RoomSnapshot;

use super::Elsewhere;
use crate::rooms::{Actor, Rooms};

/// So many servers are tried.
const SERVERS: usize = 10;

/// So many members of a room as it was are looked at.
const MEMBERS: usize = 500;

impl Rooms {
    /// The servers to try, each once: those that the client names, the one that gave the invite, the inviter's, those of
    /// members when this server was last in the room, and the one whose name is in the room's id.
    pub(crate) async fn servers_of(
        &self,
        actor: &Actor,
        (room_id, elsewhere): (&RoomId, &Elsewhere),
        via: &[OwnedServerName],
    ) -> Result<Vec<OwnedServerName>, Error> {
        let mut servers: Vec<OwnedServerName> = via.to_vec();
        if let Some(snapshot) = &elsewhere.snapshot {
            let (store, user, snapshot) = (self.store().clone(), actor.user, Arc::clone(snapshot));
            let read = move |tx: &mut Tx<'_>| {
                let mut servers = Vec::new();
                if let Some(invite) = remote_invite_read(tx, user, snapshot.room)? {
                    let event = store.event_read(tx, invite.event)?;
                    servers.push(invite.server);
                    servers.extend(event.map(|event| event.pdu.sender().server_name().to_owned()));
                }
                servers.extend(members_servers(&store, tx, &snapshot)?);
                Ok(servers)
            };
            servers.extend(self.store().db().read("servers_of_room", read).await?);
        }
        servers.extend(room_id.server_name().map(ToOwned::to_owned));
        let mut tried = Vec::with_capacity(SERVERS);
        for server in servers {
            if server != self.server_name() && !tried.contains(&server) && tried.len() < SERVERS {
                tried.push(server);
            }
        }
        Ok(tried)
    }

    /// Whether other servers are in the room, as far as that shows among its first members.
    pub(super) async fn has_others(&self, snapshot: &Arc<RoomSnapshot>) -> Result<bool, Error> {
        let (store, snapshot) = (self.store().clone(), Arc::clone(snapshot));
        let read = move |tx: &mut Tx<'_>| members_servers(&store, tx, &snapshot);
        let servers = self.store().db().read("servers_of_members", read).await?;
        Ok(servers.iter().any(|server| server != self.server_name()))
    }
}

fn members_servers(
    store: &Store,
    tx: &mut Tx<'_>,
    snapshot: &RoomSnapshot,
) -> Result<Vec<OwnedServerName>, Error> {
    let joined = snapshot
        .state
        .members()
        .filter(|entry| entry.tag == Membership::Join.code());
    let keys: Vec<_> = joined.take(MEMBERS).map(|entry| entry.key).collect();
    let names = store.names().key_names(tx, keys.iter().copied())?;
    let mut servers: Vec<OwnedServerName> = Vec::new();
    for key in keys {
        let user = names
            .get(&key)
            .and_then(|name| <&UserId>::try_from(&**name).ok());
        servers.extend(user.map(|user| user.server_name().to_owned()));
    }
    servers.dedup();
    Ok(servers)
}
