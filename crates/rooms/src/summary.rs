//! What somebody may learn of a room without being in it.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>

use std::collections::HashMap;

use ruma_common::RoomId;
use starling_db::{Error, Tx};
use starling_store::memberships::{Membership, joined_of, membership_list, membership_read};
use starling_store::room_details::{RoomDetails, details_by_id};
use starling_store::{RoomNum, UserNum};

use crate::rooms::{Actor, Rooms};

/// What somebody may learn of a room.
#[derive(Debug, Clone)]
pub struct RoomSummary {
    /// The room.
    pub details: RoomDetails,
    /// What the asking user is there, if a user asks.
    pub membership: Option<Membership>,
}

impl Rooms {
    /// What `actor`, or somebody who isn't known, may learn of a room; `None` when there is no such room for them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn summary(
        &self,
        actor: Option<&Actor>,
        room_id: &RoomId,
    ) -> Result<Option<RoomSummary>, Error> {
        let (user, room_id) = (actor.map(|actor| actor.user), room_id.to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let Some(details) = details_by_id(tx, &[room_id.as_str()])?.pop() else {
                return Ok(None);
            };
            let Some(user) = user else {
                return Ok(is_open(&details).then_some(RoomSummary {
                    details,
                    membership: None,
                }));
            };
            let row = membership_read(tx, user, details.room)?;
            let membership = row.map_or(Membership::Leave, |row| row.membership);
            let known = HashMap::from([(details.room, membership)]);
            let visible = Visitor { user, known }.visible(tx, vec![details])?.pop();
            Ok(visible.map(|details| RoomSummary {
                details,
                membership: Some(membership),
            }))
        };
        self.store().db().read("room_summary", read).await
    }
}

/// Whether anybody may learn of the room: who can come in, ask to come in, or read along.
pub(crate) fn is_open(room: &RoomDetails) -> bool {
    let rules = room.version.rules();
    let lets_in = match room.join_rule.as_str() {
        "public" => true,
        "knock" => rules.knocking,
        "knock_restricted" => rules.knock_restricted,
        _ => false,
    };
    lets_in || room.world_readable
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
}

/// Whether the room lets members of other rooms in.
pub(crate) fn is_restricted(room: &RoomDetails) -> bool {
    room.join_rule == "restricted" && room.version.rules().restricted
}
