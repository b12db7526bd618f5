//! Events of a room's history that are not here: each is noted before the place of an event that follows it.

use ruma_common::{EventId, OwnedEventId};
use starling_db::{Error, Tx};

use crate::events::Event;
use crate::numbers::RoomNum;
use crate::tokens::Place;

starling_db::statements! {
    /// Notes a missing event.
    GAP_INSERT = "INSERT INTO gaps (room_num, place_major, place_minor, event_id) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO NOTHING";
    /// The gaps before places within a stretch, newest first.
    GAPS_WITHIN = "SELECT place_major, place_minor, event_id FROM gaps
        WHERE room_num = ?1 AND (place_major, place_minor) >= (?2, ?3) AND (place_major, place_minor) <= (?4, ?5)
        ORDER BY place_major DESC, place_minor DESC LIMIT ?6";
    /// Whether an event is missing before another.
    GAP_OF = "SELECT 1 FROM gaps WHERE event_id = ?2 AND room_num = ?1 LIMIT 1";
    /// An event that was missing is here.
    GAPS_CLOSE = "DELETE FROM gaps WHERE event_id = ?2 AND room_num = ?1";
    /// Takes a gap off.
    GAPS_DELETE = "DELETE FROM gaps WHERE room_num = ?1 AND place_major = ?2 AND place_minor = ?3";
}

/// Events that are missing before a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The place of the event that follows them.
    pub place: Place,
    /// Their ids.
    pub missing: Vec<OwnedEventId>,
}

/// Notes that `event`, which is in the timeline, follows one that isn't here.
///
/// # Errors
/// When the database fails.
pub(crate) fn gap_insert(tx: &mut Tx<'_>, event: &Event, missing: &EventId) -> Result<(), Error> {
    let Some(place) = event.place else {
        return Ok(());
    };
    let params = [
        event.room.into(),
        place.major.into(),
        place.minor.into(),
        missing.as_str().into(),
    ];
    tx.execute(&GAP_INSERT, &params).map(drop)
}

/// The newest gap before an event whose place is from `from` up to `to`, both included, with at most `most` of what is missing.
///
/// # Errors
/// When the database cannot be read.
pub fn gap_newest(
    tx: &mut Tx<'_>,
    room: RoomNum,
    (from, to): (Place, Place),
    most: i64,
) -> Result<Option<Gap>, Error> {
    let params = [
        room.into(),
        from.major.into(),
        from.minor.into(),
        to.major.into(),
        to.minor.into(),
        most.into(),
    ];
    let rows = tx.query_all(&GAPS_WITHIN, &params, |row| {
        let place = Place {
            major: row.int(0)?,
            minor: row.int(1)?,
        };
        let event_id = OwnedEventId::try_from(row.text(2)?)
            .map_err(|_| Error::Damaged(format!("room {}: a gap's event id", room.0)))?;
        Ok((place, event_id))
    })?;
    let Some(place) = rows.first().map(|(place, _)| *place) else {
        return Ok(None);
    };
    let of_place = rows.into_iter().filter(|(at, _)| *at == place);
    Ok(Some(Gap {
        place,
        missing: of_place.map(|(_, event_id)| event_id).collect(),
    }))
}

/// Whether an event that isn't in the timeline is followed by one that is.
///
/// # Errors
/// When the database cannot be read.
pub fn gap_is_before(tx: &mut Tx<'_>, room: RoomNum, event_id: &EventId) -> Result<bool, Error> {
    let params = [room.into(), event_id.as_str().into()];
    let found = tx.query_one(&GAP_OF, &params, |_| Ok(()))?;
    Ok(found.is_some())
}

/// An event that was missing has come.
///
/// # Errors
/// When the database fails.
pub(crate) fn gaps_close(tx: &mut Tx<'_>, room: RoomNum, event_id: &EventId) -> Result<(), Error> {
    let params = [room.into(), event_id.as_str().into()];
    tx.execute(&GAPS_CLOSE, &params).map(drop)
}

/// Forgets the gap before a place: it was filled, or nobody can fill it.
///
/// # Errors
/// When the database fails.
pub fn gap_delete(tx: &mut Tx<'_>, room: RoomNum, place: Place) -> Result<(), Error> {
    let params = [room.into(), place.major.into(), place.minor.into()];
    tx.execute(&GAPS_DELETE, &params).map(drop)
}
