//! Which servers are in which rooms, and whom rooms exclude: kept in memory as of a room's state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use ruma_common::{OwnedServerName, ServerName, UserId};
use starling_db::{Error, Tx};
use starling_store::memberships::Membership;
use starling_store::names::EMPTY_KEY;
use starling_store::rooms::RoomSnapshot;
use starling_store::state_map::Entry;
use starling_store::{EventNum, RoomNum, SnapshotNum, Store};

use super::acl::{SERVER_ACL, ServerAcl};

/// So many access control lists are kept.
const ACLS: usize = 256;

/// The servers of one room.
#[derive(Debug, Default)]
pub(crate) struct RoomServers {
    /// Each with how many of its users have joined.
    joined: BTreeMap<OwnedServerName, usize>,
    invited: BTreeSet<OwnedServerName>,
}

/// The servers of rooms.
#[derive(Debug)]
pub(crate) struct ServersOfRooms {
    servers: Cache<RoomNum, Arc<AsOf>, ByServers>,
    /// By the event, and whether it is redacted.
    acls: Cache<(EventNum, bool), Arc<ServerAcl>>,
}

#[derive(Debug)]
struct AsOf {
    state: Option<SnapshotNum>,
    servers: Arc<RoomServers>,
}

#[derive(Debug, Clone)]
struct ByServers;

impl Weighter<RoomNum, Arc<AsOf>> for ByServers {
    fn weight(&self, _room: &RoomNum, kept: &Arc<AsOf>) -> u64 {
        let servers = kept.servers.joined.len() + kept.servers.invited.len();
        // A name, its allocation, and its place in the tree.
        servers as u64 * 100 + 200
    }
}

impl ServersOfRooms {
    /// Nothing yet, and never more than about this many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let estimate = usize::try_from(bytes / 1000).unwrap_or(usize::MAX).max(16);
        Self {
            servers: Cache::with_weighter(estimate, bytes, ByServers),
            acls: Cache::new(ACLS),
        }
    }

    /// The servers of a room.
    pub(crate) fn of(
        &self,
        store: &Store,
        tx: &mut Tx<'_>,
        room: &RoomSnapshot,
    ) -> Result<Arc<RoomServers>, Error> {
        let state = room.stored.map(|stored| stored.snapshot);
        if let Some(kept) = self.servers.get(&room.room)
            && kept.state == state
        {
            return Ok(Arc::clone(&kept.servers));
        }
        let servers = Arc::new(RoomServers::read(store, tx, room)?);
        let kept = AsOf {
            state,
            servers: Arc::clone(&servers),
        };
        self.servers.insert(room.room, Arc::new(kept));
        Ok(servers)
    }

    /// The access control list of a room, if it has one.
    pub(crate) fn acl(
        &self,
        store: &Store,
        tx: &mut Tx<'_>,
        room: &RoomSnapshot,
    ) -> Result<Option<Arc<ServerAcl>>, Error> {
        let kind = store.names().kind(tx, SERVER_ACL)?;
        let event = kind.and_then(|kind| room.state_event(kind, EMPTY_KEY));
        let Some(event) = event else { return Ok(None) };
        let Some(event) = store.event_read(tx, event)? else {
            return Ok(None);
        };
        let key = (event.num, event.redacted_by.is_some());
        let acl = self.acls.get(&key).unwrap_or_else(|| {
            let acl = Arc::new(ServerAcl::parse(event.pdu.content()));
            self.acls.insert(key, Arc::clone(&acl));
            acl
        });
        Ok(Some(acl))
    }
}

impl RoomServers {
    fn read(store: &Store, tx: &mut Tx<'_>, room: &RoomSnapshot) -> Result<Self, Error> {
        let membership = |entry: &Entry| Membership::from_code(entry.tag);
        let here = |entry: &&Entry| {
            matches!(
                membership(entry),
                Some(Membership::Join | Membership::Invite)
            )
        };
        let members: Vec<&Entry> = room.state.members().filter(here).collect();
        let keys = members.iter().map(|entry| entry.key);
        let names = store.names().key_names(tx, keys)?;
        let mut servers = Self::default();
        for entry in members {
            let user = names
                .get(&entry.key)
                .map(|name| <&UserId>::try_from(&**name));
            let Some(Ok(user)) = user else { continue };
            let server = user.server_name().to_owned();
            if membership(entry) == Some(Membership::Join) {
                *servers.joined.entry(server).or_default() += 1;
            } else {
                servers.invited.insert(server);
            }
        }
        Ok(servers)
    }

    /// Whether a user of the server has joined.
    pub(crate) fn has_joined(&self, server: &ServerName) -> bool {
        self.joined.contains_key(server)
    }

    /// Whether a user of the server is invited.
    pub(crate) fn is_invited(&self, server: &ServerName) -> bool {
        self.invited.contains(server)
    }

    /// The servers whose users have joined, sorted.
    pub(crate) fn joined(&self) -> impl Iterator<Item = &OwnedServerName> {
        self.joined.keys()
    }
}
