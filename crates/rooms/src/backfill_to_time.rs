//! Fetching a room's history at a time, when a client looks there.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>

use std::sync::Arc;
use std::time::Duration;

use ruma_common::{OwnedServerName, RoomId, UserId};
use starling_db::{Error, Tx};
use starling_store::events::Visibility;
use starling_store::gap_times::gap_at_time;
use starling_store::gaps::{Gap, gap_newest};
use starling_store::memberships::Membership;
use starling_store::rooms::RoomSnapshot;
use starling_store::timeline::{Direction, Stretch};

use crate::receive::ReceiveError;
use crate::rooms::Rooms;

/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// So many servers are asked for an event of that time.
const SERVERS: usize = 3;

/// So many pages of history are fetched, at most.
const PAGES: usize = 20;

/// So many of the events that are missing before a place are asked for at once.
const MISSING: i64 = 20;

/// A gap, as the room stands, and the room's history visibility at it.
type Found = (Arc<RoomSnapshot>, Gap, Visibility);

impl Rooms {
    /// Makes sure that the event closest to a time (milliseconds since 1970) is here, if that time falls into a gap of the
    /// room's history and another server has an event there that is closer than `closest`, the time of the one that was
    /// found. The history from the gap back to it is fetched, some 2,000 events at most, so that it can be shown with what
    /// is around it. `user` must be in the room.
    ///
    /// # Errors
    /// [`ReceiveError`]; what was fetched until then stays here.
    pub async fn backfill_to_time(
        &self,
        user: &UserId,
        room_id: &RoomId,
        (ts, direction): (i64, Direction),
        closest: Option<i64>,
    ) -> Result<(), ReceiveError> {
        let room = self.room_num(room_id, ReceiveError::UnknownRoom).await?;
        if self.parts.remote.is_none()
            || closest == Some(ts)
            || self.current_membership(room, user).await? != Some(Membership::Join)
        {
            return Ok(());
        }
        let Some((snapshot, ..)) = self.gap_at(room_id, ts).await? else {
            return Ok(());
        };
        let filling = async {
            let servers = self.other_servers_in(&snapshot).await?;
            let Some(there) = self
                .time_elsewhere(room_id, &servers, (ts, direction))
                .await
            else {
                return Ok(());
            };
            if closest.is_some_and(|closest| closest.abs_diff(ts) <= there.abs_diff(ts)) {
                return Ok(());
            }
            self.fill_to(room_id, there).await
        };
        let filled = tokio::time::timeout(PATIENCE, filling).await;
        filled.unwrap_or(Err(ReceiveError::Missing("events of that time, in time")))
    }

    /// Fills the gap that a time falls into, until it falls into none.
    async fn fill_to(&self, room_id: &RoomId, ts: i64) -> Result<(), ReceiveError> {
        for _ in 0..PAGES {
            let Some((snapshot, gap, visibility)) = self.gap_at(room_id, ts).await? else {
                return Ok(());
            };
            self.fill(&snapshot, &gap, visibility).await?;
        }
        Ok(())
    }

    /// The time of the event that another server finds.
    async fn time_elsewhere(
        &self,
        room_id: &RoomId,
        servers: &[OwnedServerName],
        when: (i64, Direction),
    ) -> Option<i64> {
        let remote = self.other_servers()?;
        let (ts, forwards) = (when.0, matches!(when.1, Direction::Forwards));
        for server in servers.iter().take(SERVERS) {
            let found = remote.timestamp_to_event(server, room_id, (ts, forwards));
            match found.await {
                Ok(found) => return Some(found.origin_server_ts),
                Err(error) => tracing::debug!(%error, "a server finds no event by its time"),
            }
        }
        None
    }

    async fn gap_at(&self, room_id: &RoomId, ts: i64) -> Result<Option<Found>, ReceiveError> {
        let snapshot = self.room(room_id, ReceiveError::UnknownRoom).await?;
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| {
            let room = snapshot.room;
            let Some(place) = gap_at_time(tx, room, ts)? else {
                return Ok(None);
            };
            let Some(gap) = gap_newest(tx, room, (place, place), MISSING)? else {
                return Ok(None);
            };
            let at = Stretch {
                from: place,
                to: Direction::Forwards.beyond(place),
            };
            let after = store.timeline_page(tx, room, at, Direction::Forwards, 1)?;
            let visibility = after
                .first()
                .map_or(Visibility::Joined, |event| event.visibility.0);
            Ok::<_, Error>(Some((snapshot, gap, visibility)))
        };
        Ok(self.store().db().read("gap_at_time", read).await?)
    }
}
