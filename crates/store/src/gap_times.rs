//! Where in a room's history a time falls into what is not here.

use starling_db::{Error, Tx};

use crate::numbers::RoomNum;
use crate::tokens::Place;

starling_db::statements! {
    /// The oldest gap before an event from a time on.
    GAP_BEFORE_TIME = "SELECT gaps.place_major, gaps.place_minor FROM gaps
            JOIN events ON events.room_num = gaps.room_num AND events.place_major = gaps.place_major
                AND events.place_minor = gaps.place_minor
        WHERE gaps.room_num = ?1 AND events.origin_server_ts >= ?2
        ORDER BY gaps.place_major, gaps.place_minor LIMIT 1";
    /// The time of the event before a place.
    TIME_BEFORE = "SELECT origin_server_ts FROM events
        WHERE room_num = ?1 AND (place_major, place_minor) < (?2, ?3)
        ORDER BY place_major DESC, place_minor DESC LIMIT 1";
}

/// The place of the event before which a time (milliseconds since 1970) falls into a gap, by the times of the events around
/// it.
///
/// # Errors
/// When the database cannot be read.
pub fn gap_at_time(tx: &mut Tx<'_>, room: RoomNum, ts: i64) -> Result<Option<Place>, Error> {
    let place = tx.query_one(&GAP_BEFORE_TIME, &[room.into(), ts.into()], |row| {
        Ok(Place {
            major: row.int(0)?,
            minor: row.int(1)?,
        })
    })?;
    let Some(place) = place else { return Ok(None) };
    let params = [room.into(), place.major.into(), place.minor.into()];
    let before = tx.query_one(&TIME_BEFORE, &params, |row| row.int(0))?;
    Ok(before.is_none_or(|before| before <= ts).then_some(place))
}
