//! Events as other servers are served them: by the integers of the room's graph, without parsing what isn't looked at.

use std::collections::HashMap;
use std::sync::Arc;

use ruma_common::OwnedEventId;
use starling_db::{Error, Tx, Value};

use crate::numbers::{EventNum, RoomNum};
use crate::timeline::Direction;
use crate::varint;

/// What [`served_closest_in_time`] reads of a room's timeline.
macro_rules! in_time {
    ($rest:literal) => {
        concat!(
            "SELECT event_id, origin_server_ts FROM events
            WHERE room_num = ?1 AND place_major IS NOT NULL AND origin_server_ts IS NOT NULL AND status = 0 ",
            $rest
        )
    };
}

starling_db::statements! {
    /// The auth events of some events.
    SERVED_AUTH = "SELECT auth FROM events WHERE event_num IN {ints ?1}";
    /// The ids of some events.
    SERVED_IDS = "SELECT event_num, event_id FROM events WHERE event_num IN {ints ?1}";
    /// The bytes of some events.
    SERVED_JSON = "SELECT event_num, json FROM events WHERE event_num IN {ints ?1}";
    /// The first event of a room from a time on.
    SERVED_FROM_TIME = in_time!("AND origin_server_ts >= ?2 ORDER BY origin_server_ts, event_num LIMIT 1");
    /// The last event of a room up to a time.
    SERVED_UP_TO_TIME = in_time!("AND origin_server_ts <= ?2 ORDER BY origin_server_ts DESC, event_num DESC LIMIT 1");
}

/// All that the auth events of any of `events` are, one or more of them names. What isn't here is not among them.
///
/// # Errors
/// When the database cannot be read.
pub fn served_auth(tx: &mut Tx<'_>, events: &[EventNum]) -> Result<Vec<EventNum>, Error> {
    let numbers: Vec<i64> = events.iter().map(|event| event.0).collect();
    let mut auth = Vec::new();
    tx.query(&SERVED_AUTH, &[Value::Ints(&numbers)], &mut |row| {
        let named = varint::read_list(row.bytes(0)?);
        let named = named.ok_or_else(|| Error::Damaged("auth events cannot be read".to_owned()))?;
        auth.extend(named.into_iter().map(EventNum));
        Ok(())
    })?;
    auth.sort_unstable();
    auth.dedup();
    Ok(auth)
}

/// The ids of `events`, in their order, without those that aren't here.
///
/// # Errors
/// When the database cannot be read.
pub fn served_ids(tx: &mut Tx<'_>, events: &[EventNum]) -> Result<Vec<OwnedEventId>, Error> {
    let numbers: Vec<i64> = events.iter().map(|event| event.0).collect();
    let ids = tx.query_all(&SERVED_IDS, &[Value::Ints(&numbers)], |row| {
        let num = EventNum(row.int(0)?);
        let id = OwnedEventId::try_from(row.text(1)?)
            .map_err(|_| Error::Damaged(format!("event {}: its id", num.0)))?;
        Ok((num, id))
    })?;
    Ok(in_order(events, ids))
}

/// The bytes of `events`, in their order, without those that aren't here.
///
/// # Errors
/// When the database cannot be read.
pub fn served_json(tx: &mut Tx<'_>, events: &[EventNum]) -> Result<Vec<Arc<[u8]>>, Error> {
    let numbers: Vec<i64> = events.iter().map(|event| event.0).collect();
    let read = tx.query_all(&SERVED_JSON, &[Value::Ints(&numbers)], |row| {
        Ok((EventNum(row.int(0)?), Arc::from(row.bytes(1)?)))
    })?;
    Ok(in_order(events, read))
}

fn in_order<T>(events: &[EventNum], found: Vec<(EventNum, T)>) -> Vec<T> {
    let mut found: HashMap<EventNum, T> = found.into_iter().collect();
    events
        .iter()
        .filter_map(|event| found.remove(event))
        .collect()
}

/// The event of a room's timeline whose time, in milliseconds since 1970, is the closest to `ts` in this direction, and that
/// time.
///
/// # Errors
/// When the database cannot be read.
pub fn served_closest_in_time(
    tx: &mut Tx<'_>,
    room: RoomNum,
    (ts, direction): (i64, Direction),
) -> Result<Option<(OwnedEventId, i64)>, Error> {
    let statement = match direction {
        Direction::Forwards => &SERVED_FROM_TIME,
        Direction::Backwards => &SERVED_UP_TO_TIME,
    };
    tx.query_one(statement, &[room.into(), ts.into()], |row| {
        let id = OwnedEventId::try_from(row.text(0)?)
            .map_err(|_| Error::Damaged("an event's id".to_owned()))?;
        Ok((id, row.int(1)?))
    })
}
