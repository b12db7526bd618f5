//! What somebody may learn of a room without being in it.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>

use std::collections::{HashMap, HashSet};

use ruma_common::{OwnedRoomId, OwnedServerName, RoomId};
use starling_db::{Error, Tx};
use starling_events::RoomVersion;
use starling_store::memberships::{Membership, joined_of, membership_list, membership_read};
use starling_store::room_details::{RoomDetails, details_by_id};
use starling_store::{RoomNum, UserNum};

use crate::published::SummarisedRoom;
use crate::rooms::{Actor, Rooms};

/// So many servers are asked of a room that this one is not in.
const SERVERS: usize = 4;

/// So many conditions of a restricted room of another server are looked at.
const MAX_CONDITIONS: usize = 20;

/// What somebody may learn of a room.
#[derive(Debug, Clone)]
pub struct RoomSummary {
    /// What there is to say of it.
    pub summary: SummarisedRoom,
    /// What the asking user is there, if a user asks.
    pub membership: Option<Membership>,
}

impl Rooms {
    /// What `actor`, or somebody who isn't known, may learn of a room; `None` when there is no such room for them. For users,
    /// servers are asked for rooms that this one is not in: those of `via` and who else is likely in the room.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn summary(
        &self,
        actor: Option<&Actor>,
        (room_id, via): (&RoomId, &[OwnedServerName]),
    ) -> Result<Option<RoomSummary>, Error> {
        if let Some(actor) = actor.filter(|_| self.other_servers().is_some())
            && let Some(elsewhere) = self.elsewhere(room_id).await?
        {
            let servers = self.servers_of(actor, (room_id, &elsewhere), via).await?;
            return self.summary_elsewhere(actor, (room_id, servers)).await;
        }
        let (user, room_id) = (actor.map(|actor| actor.user), room_id.to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let Some(details) = details_by_id(tx, &[room_id.as_str()])?.pop() else {
                return Ok(None);
            };
            let Some(user) = user else {
                return Ok(is_open(&details).then(|| RoomSummary {
                    summary: details.into(),
                    membership: None,
                }));
            };
            let row = membership_read(tx, user, details.room)?;
            let membership = row.map_or(Membership::Leave, |row| row.membership);
            let known = HashMap::from([(details.room, membership)]);
            let visible = Visitor { user, known }.visible(tx, vec![details])?.pop();
            Ok(visible.map(|details| RoomSummary {
                summary: details.into(),
                membership: Some(membership),
            }))
        };
        self.store().db().read("room_summary", read).await
    }

    /// What others say of a room, if the user may learn of it.
    async fn summary_elsewhere(
        &self,
        actor: &Actor,
        (room_id, servers): (&RoomId, Vec<OwnedServerName>),
    ) -> Result<Option<RoomSummary>, Error> {
        let servers = servers.into_iter().take(SERVERS).collect();
        let Some(space) = self.room_elsewhere(room_id, servers).await else {
            return Ok(None);
        };
        let (user, summary) = (actor.user, space.summary().clone());
        let read = move |tx: &mut Tx<'_>| {
            let details = details_by_id(tx, &[summary.room_id().as_str()])?.pop();
            let row =
                details.map_or(Ok(None), |details| membership_read(tx, user, details.room))?;
            let known = row.iter().map(|row| (row.room, row.membership)).collect();
            let visitor = Visitor { user, known };
            let visible = visitor.visible_elsewhere(tx, std::iter::once(&summary))?;
            Ok(visible.contains(summary.room_id()).then(|| RoomSummary {
                summary,
                membership: Some(row.map_or(Membership::Leave, |row| row.membership)),
            }))
        };
        self.store().db().read("room_summary_elsewhere", read).await
    }
}

/// Whether anybody may learn of the room: who can come in, ask to come in, or read along.
pub(crate) fn is_open(room: &RoomDetails) -> bool {
    lets_anybody_in(&room.join_rule, Some(room.version)) || room.world_readable
}

/// Whether anybody may come in or ask to. Of a version that isn't known, what the rule says is believed.
fn lets_anybody_in(join_rule: &str, version: Option<RoomVersion>) -> bool {
    let rules = version.map(RoomVersion::rules);
    match join_rule {
        "public" => true,
        "knock" => rules.is_none_or(|rules| rules.knocking),
        "knock_restricted" => rules.is_none_or(|rules| rules.knock_restricted),
        _ => false,
    }
}

/// A user who looks at rooms, and what they are in them.
pub(crate) struct Visitor {
    user: UserNum,
    known: HashMap<RoomNum, Membership>,
}

impl Visitor {
    /// A user, with all their memberships.
    pub(crate) fn load(tx: &mut Tx<'_>, user: UserNum) -> Result<Self, Error> {
        let rows = membership_list(tx, user)?.into_iter();
        Ok(Self {
            user,
            known: rows.map(|row| (row.room, row.membership)).collect(),
        })
    }

    /// What the user is in a room.
    pub(crate) fn membership(&self, room: RoomNum) -> Option<Membership> {
        self.known.get(&room).copied()
    }

    /// Those of the rooms that the user may learn of: open ones, those that they are in or were asked into, and restricted
    /// ones that would let them in. One query, however many rooms.
    pub(crate) fn visible(
        &self,
        tx: &mut Tx<'_>,
        rooms: Vec<RoomDetails>,
    ) -> Result<Vec<RoomDetails>, Error> {
        let is_visible = |room: &RoomDetails| {
            let membership = self.membership(room.room);
            is_open(room) || matches!(membership, Some(Membership::Join | Membership::Invite))
        };
        let hidden = rooms.iter().filter(|room| !is_visible(room));
        let wanted: Vec<&str> = hidden
            .filter(|room| is_restricted(room))
            .flat_map(|room| &room.allowed)
            .map(|room| room.as_str())
            .collect();
        let joined = joined_of(tx, self.user, &wanted)?;
        let lets_in = |room: &RoomDetails| {
            let mut allowed = room.allowed.iter();
            is_restricted(room) && allowed.any(|room| joined.contains(room.as_str()))
        };
        let mut rooms = rooms;
        rooms.retain(|room| is_visible(room) || lets_in(room));
        Ok(rooms)
    }

    /// Those of these rooms of other servers that the user may learn of, by what the servers say of them.
    pub(crate) fn visible_elsewhere<'r>(
        &self,
        tx: &mut Tx<'_>,
        rooms: impl Iterator<Item = &'r SummarisedRoom>,
    ) -> Result<HashSet<OwnedRoomId>, Error> {
        let is_open = |room: &SummarisedRoom| {
            lets_anybody_in(room.admission().0, room.version()) || room.is_world_readable()
        };
        let (open, closed): (Vec<_>, Vec<_>) = rooms.partition(|room| is_open(room));
        let ids: Vec<&str> = closed.iter().map(|room| room.room_id().as_str()).collect();
        let known = details_by_id(tx, &ids)?.into_iter();
        let mine: HashSet<OwnedRoomId> = known
            .filter(|room| {
                let membership = self.membership(room.room);
                matches!(membership, Some(Membership::Join | Membership::Invite))
            })
            .map(|room| room.room_id)
            .collect();
        let wanted = closed.iter().flat_map(|room| conditions_of(room));
        let wanted: Vec<&str> = wanted.map(|room| room.as_str()).collect();
        let joined = joined_of(tx, self.user, &wanted)?;
        let lets_in = |room: &&SummarisedRoom| {
            let mut conditions = conditions_of(room);
            mine.contains(room.room_id()) || conditions.any(|room| joined.contains(room.as_str()))
        };
        let visible = open.into_iter().chain(closed.into_iter().filter(lets_in));
        Ok(visible.map(|room| room.room_id().to_owned()).collect())
    }
}

/// Whether the room lets members of other rooms in.
pub(crate) fn is_restricted(room: &RoomDetails) -> bool {
    room.join_rule == "restricted" && room.version.rules().restricted
}

/// The rooms whose members a restricted room of another server lets in, a few at most.
fn conditions_of(room: &SummarisedRoom) -> impl Iterator<Item = &OwnedRoomId> {
    let (rule, allowed) = room.admission();
    let is_restricted = rule == "restricted";
    let allowed = allowed.iter().take(MAX_CONDITIONS);
    allowed.filter(move |_| is_restricted)
}
