//! Up to where other servers have what they are sent, and what those that lag behind have missed.
//!
//! Most servers have everything up to one common position; only the others have a row. All of this is written lazily: an
//! event that is sent twice does no harm.

use std::collections::BTreeMap;

use ruma_common::{OwnedServerName, ServerName};
use starling_db::{Error, Tx, Value};

use crate::device_lists_resent::resent_forget;
use crate::restored::positions_before;
use crate::room_servers::server_name;

starling_db::statements! {
    /// All that lag behind; the row without a name is that of all others.
    DESTINATIONS = "SELECT server, sent_upto FROM destinations";
    /// How far a server is.
    DESTINATION_SET = "INSERT INTO destinations (server, sent_upto) VALUES (?1, ?2)
        ON CONFLICT (server) DO UPDATE SET sent_upto = excluded.sent_upto";
    /// What lies further back is kept for no server.
    DESTINATIONS_GIVE_UP = "UPDATE destinations SET sent_upto = ?1 WHERE sent_upto < ?1";
    /// Servers that lag behind no longer.
    DESTINATIONS_DELETE = "DELETE FROM destinations WHERE server IN {texts ?1}";
    /// Up to where all were that don't lag behind.
    DESTINATIONS_UPTO = "SELECT sent_upto FROM destinations WHERE server = ''";
    /// Forgets the events for one server each in a stretch of the log, unless the server lags behind them.
    DESTINATION_EVENTS_PASS = "DELETE FROM destination_events WHERE position > ?1 AND position <= ?2
        AND NOT EXISTS (SELECT 1 FROM destinations WHERE destinations.server = destination_events.server
            AND destinations.sent_upto < destination_events.position) RETURNING position";
    /// Forgets the events for some servers that they have.
    DESTINATION_EVENTS_SENT = "DELETE FROM destination_events WHERE server IN {texts ?1} AND position <= ?2
        AND NOT EXISTS (SELECT 1 FROM destinations WHERE destinations.server = destination_events.server
            AND destinations.sent_upto < destination_events.position) RETURNING position";
    /// Forgets some of the events that every server has.
    OUTGOING_SWEEP = "DELETE FROM outgoing WHERE position IN (SELECT sent.position FROM outgoing AS sent
        WHERE sent.position <= (SELECT MIN(sent_upto) FROM destinations) ORDER BY sent.position LIMIT 1000)";
    /// What a server has missed after a position, of events and of changes of devices: some of it, in no order.
    MISSED = "SELECT sent.position FROM room_servers AS servers CROSS JOIN outgoing AS sent
        WHERE servers.server = ?1 AND servers.until_position > ?2 AND sent.room_num = servers.room_num
            AND sent.position > ?2 AND sent.position > servers.from_position
            AND sent.position <= servers.until_position
            AND (sent.except_server IS NULL OR sent.except_server <> ?1)
        UNION ALL SELECT position FROM destination_events WHERE server = ?1 AND position > ?2
        UNION ALL SELECT DISTINCT changes.position FROM room_servers AS servers
            CROSS JOIN device_list_rooms AS noted CROSS JOIN device_changes AS changes
        WHERE servers.server = ?1 AND servers.until_position = 9223372036854775807
            AND noted.room_num = servers.room_num AND noted.position > ?2
            AND changes.user_num = noted.user_num AND changes.position > ?2
        LIMIT ?3";
    /// Of what a server has missed, the last event of each room, and the changes of devices, in the order of the log.
    MISSED_NEWEST = "SELECT newest.position FROM (
            SELECT (SELECT sent.position FROM outgoing AS sent
                WHERE sent.room_num = servers.room_num AND sent.position > ?2
                    AND sent.position > servers.from_position AND sent.position <= servers.until_position
                    AND (sent.except_server IS NULL OR sent.except_server <> ?1)
                ORDER BY sent.position DESC LIMIT 1) AS position
            FROM room_servers AS servers WHERE servers.server = ?1 AND servers.until_position > ?2
            UNION ALL SELECT position FROM destination_events WHERE server = ?1 AND position > ?2
            UNION ALL SELECT DISTINCT changes.position FROM room_servers AS servers
                CROSS JOIN device_list_rooms AS noted CROSS JOIN device_changes AS changes
            WHERE servers.server = ?1 AND servers.until_position = 9223372036854775807
                AND noted.room_num = servers.room_num AND noted.position > ?2
                AND changes.user_num = noted.user_num AND changes.position > ?2
        ) AS newest
        WHERE newest.position IS NOT NULL ORDER BY newest.position LIMIT ?3";
}

/// Who has missed more events than this gets the newest of each room only, and asks for what is between.
pub const FEW_MISSED: usize = 500;

/// So far back in the log, in positions, is kept what servers have missed. One that was away for longer learns of a room's
/// earlier events when the next one comes that follows them.
pub const KEPT_POSITIONS: i64 = 20_000_000;

/// Up to where servers have what they are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destinations {
    /// All that don't lag behind.
    pub upto: i64,
    /// Those that do.
    pub behind: BTreeMap<OwnedServerName, i64>,
}

/// The next events that a server has missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Their positions, ascending.
    pub positions: Vec<i64>,
    /// Whether there are no others.
    pub is_all: bool,
}

/// Up to where all servers are.
///
/// # Errors
/// When the database cannot be read.
pub fn destinations(tx: &mut Tx<'_>) -> Result<Destinations, Error> {
    let mut all = Destinations::default();
    tx.query(&DESTINATIONS, &[], &mut |row| {
        let (name, upto) = (row.text(0)?, row.int(1)?);
        if name.is_empty() {
            all.upto = upto;
        } else {
            all.behind.insert(server_name(name)?, upto);
        }
        Ok(())
    })?;
    Ok(all)
}

/// Notes how far servers are: those of `changed`, in place of what was noted of them before; `caught_up` lag behind no
/// longer. What every server has goes; what that costs follows what has changed, however much is kept for servers that are down.
///
/// # Errors
/// When the database fails.
pub fn destinations_set(
    tx: &mut Tx<'_>,
    changed: &Destinations,
    caught_up: &[OwnedServerName],
) -> Result<(), Error> {
    let before = tx.query_one(&DESTINATIONS_UPTO, &[], |row| row.int(0))?;
    for (server, upto) in &changed.behind {
        let params = [server.as_str().into(), (*upto).into()];
        tx.execute_one(&DESTINATION_SET, &params)?;
    }
    let caught_up: Vec<&str> = caught_up.iter().map(|server| server.as_str()).collect();
    if !caught_up.is_empty() {
        tx.execute(&DESTINATIONS_DELETE, &[Value::Texts(&caught_up)])?;
    }
    tx.execute_one(&DESTINATION_SET, &["".into(), changed.upto.into()])?;
    let first = positions_before(tx, changed.upto, KEPT_POSITIONS)?;
    tx.execute(&DESTINATIONS_GIVE_UP, &[first.into()])?;
    let moved = changed.behind.keys().map(|server| server.as_str());
    let moved: Vec<&str> = moved.chain(caught_up).collect();
    let mut gone = Vec::new();
    for (after, upto) in [(0, first), (before.unwrap_or(0), changed.upto)] {
        let params = [after.into(), upto.into()];
        gone.extend(tx.query_all(&DESTINATION_EVENTS_PASS, &params, |row| row.int(0))?);
    }
    let params = [Value::Texts(&moved), changed.upto.into()];
    gone.extend(tx.query_all(&DESTINATION_EVENTS_SENT, &params, |row| row.int(0))?);
    resent_forget(tx, &gone)?;
    tx.execute(&OUTGOING_SWEEP, &[]).map(drop)
}

/// The next of the events that a server has missed after a position, at most `limit` (up to [`FEW_MISSED`]): all in order
/// if they are few, else the newest of each room.
///
/// # Errors
/// When the database cannot be read.
pub fn missed_after(
    tx: &mut Tx<'_>,
    server: &ServerName,
    after: i64,
    limit: usize,
) -> Result<Missed, Error> {
    let mut positions = missed(tx, &MISSED, (server, after), FEW_MISSED + 1)?;
    if positions.len() > FEW_MISSED {
        positions = missed(tx, &MISSED_NEWEST, (server, after), limit + 1)?;
    }
    // A withdrawn invite stands at its position twice: as many were read as were asked for, so there may be others.
    let is_all = positions.len() <= limit;
    positions.sort_unstable();
    positions.dedup();
    positions.truncate(limit);
    Ok(Missed { positions, is_all })
}

fn missed(
    tx: &mut Tx<'_>,
    statement: &'static starling_db::Sql,
    (server, after): (&ServerName, i64),
    limit: usize,
) -> Result<Vec<i64>, Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let params = [server.as_str().into(), after.into(), limit.into()];
    tx.query_all(statement, &params, |row| row.int(0))
}
