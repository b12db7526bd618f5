//! Rooms that two users have in common. <https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms>

use ruma_common::UserId;
use starling_db::{Error, Tx};
use starling_store::memberships::{MutualRooms, mutual_rooms};

use crate::rooms::{Actor, Rooms};

/// Rooms of one page.
pub const MUTUAL_ROOMS_PAGE: usize = 100;

impl Rooms {
    /// A page of the rooms that `actor` and `other` are both joined to, of those that `actor` joined after the position
    /// `after`. There are none with a user who doesn't exist.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn mutual_rooms(
        &self,
        actor: &Actor,
        other: &UserId,
        after: i64,
    ) -> Result<MutualRooms, Error> {
        let (names, user, other) = (self.store().names().clone(), actor.user, other.to_owned());
        let limit = i64::try_from(MUTUAL_ROOMS_PAGE).unwrap_or(i64::MAX);
        let read = move |tx: &mut Tx<'_>| match names.user(tx, &other)? {
            Some(other) => mutual_rooms(tx, (user, other), after, limit),
            None => Ok(MutualRooms {
                rooms: Vec::new(),
                count: 0,
            }),
        };
        self.store().db().scan("mutual_rooms", read).await
    }
}
