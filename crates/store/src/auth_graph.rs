//! The graph of auth events: how deep an event stands in it, and who cites whom.
//!
//! State resolution asks both ([`starling_stateres::resolution::RoomEvents`]). Only state events are in it: nothing else is
//! ever cited.

use std::collections::HashMap;

use starling_db::{Error, Tx, Value, Write};

use crate::events::Status;
use crate::numbers::EventNum;
use crate::store::Store;
use crate::varint;

starling_db::statements! {
    /// Notes whom an event cites.
    AUTH_EDGES_INSERT = "INSERT INTO auth_edges (auth_num, event_num) SELECT value, CAST(?2 AS BIGINT)
        FROM {ints ?1} AS cited WHERE 1 = 1 ON CONFLICT DO NOTHING";
    /// Who cites an event, newest first.
    AUTH_CITED_BY = "SELECT event_num FROM auth_edges WHERE auth_num = ?1 ORDER BY event_num DESC";
    /// The places of events in the graph.
    AUTH_NODES = "SELECT event_num, auth, generation, status FROM events WHERE event_num IN {ints ?1}";
    /// State events without a generation, oldest first.
    AUTH_UNKNOWN = "SELECT event_num, auth FROM events
        WHERE key_num IS NOT NULL AND generation IS NULL ORDER BY event_num LIMIT ?1";
    /// Notes an event's generation.
    AUTH_GENERATION_SET = "UPDATE events SET generation = ?2 WHERE event_num = ?1";
}

/// So many events are entered into the graph by one transaction.
const STEP: i64 = 200;

/// An event's place in the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthNode {
    /// The events here that it cites.
    pub auth: Vec<EventNum>,
    /// One more than the greatest of those; 0 without any.
    pub generation: i64,
    /// Whether it counts.
    pub status: Status,
}

/// The places of those of `events` that are here.
///
/// # Errors
/// When the database cannot be read.
pub fn auth_nodes(
    tx: &mut Tx<'_>,
    events: &[EventNum],
) -> Result<HashMap<EventNum, AuthNode>, Error> {
    if events.is_empty() {
        return Ok(HashMap::new());
    }
    let numbers: Vec<i64> = events.iter().map(|event| event.0).collect();
    let nodes = tx.query_all(&AUTH_NODES, &[Value::Ints(&numbers)], |row| {
        let event = EventNum(row.int(0)?);
        let auth = cited(event, row.bytes(1)?)?;
        let (generation, status) = (row.opt_int(2)?.unwrap_or(0), row.int(3)?);
        let status = Status::from_code(status)?;
        Ok((
            event,
            AuthNode {
                auth,
                generation,
                status,
            },
        ))
    })?;
    Ok(nodes.into_iter().collect())
}

/// The state events that cite `event`, newest first.
///
/// # Errors
/// When the database cannot be read.
pub fn cited_by(tx: &mut Tx<'_>, event: EventNum) -> Result<Vec<EventNum>, Error> {
    tx.query_all(&AUTH_CITED_BY, &[event.into()], |row| {
        Ok(EventNum(row.int(0)?))
    })
}

/// The generation of a state event that cites `auth`.
///
/// # Errors
/// When the database cannot be read.
pub(crate) fn generation_above(tx: &mut Tx<'_>, auth: &[EventNum]) -> Result<i64, Error> {
    let nodes = auth_nodes(tx, auth)?;
    let greatest = nodes.values().map(|node| node.generation).max();
    Ok(greatest.map_or(0, |greatest| greatest + 1))
}

/// Notes whom a state event cites.
///
/// # Errors
/// When the database fails.
pub(crate) fn edges_insert(
    tx: &mut Tx<'_>,
    event: EventNum,
    auth: &[EventNum],
) -> Result<(), Error> {
    let mut cited: Vec<i64> = auth.iter().map(|auth| auth.0).collect();
    cited.sort_unstable();
    cited.dedup();
    if cited.is_empty() {
        return Ok(());
    }
    tx.execute(&AUTH_EDGES_INSERT, &[Value::Ints(&cited), event.into()])?;
    Ok(())
}

impl Store {
    /// Enters the events into the graph that were stored before there was one; gives how many. To be called before anything
    /// else changes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn auth_graph_complete(&self) -> Result<i64, Error> {
        let mut entered = 0;
        loop {
            let step = self
                .db()
                .write(Write::new("auth_graph"), enter_some)
                .await?;
            entered += step;
            if step < STEP {
                return Ok(entered);
            }
        }
    }
}

/// Enters the oldest events that aren't in the graph; gives how many. All that they cite is older.
fn enter_some(tx: &mut Tx<'_>) -> Result<i64, Error> {
    let unknown = tx.query_all(&AUTH_UNKNOWN, &[STEP.into()], |row| {
        let event = EventNum(row.int(0)?);
        Ok((event, cited(event, row.bytes(1)?)?))
    })?;
    for (event, auth) in &unknown {
        let generation = generation_above(tx, auth)?;
        tx.execute_one(&AUTH_GENERATION_SET, &[(*event).into(), generation.into()])?;
        edges_insert(tx, *event, auth)?;
    }
    Ok(i64::try_from(unknown.len()).unwrap_or(STEP))
}

fn cited(event: EventNum, bytes: &[u8]) -> Result<Vec<EventNum>, Error> {
    let numbers = varint::read_list(bytes);
    let numbers =
        numbers.ok_or_else(|| Error::Damaged(format!("event {}: its auth events", event.0)))?;
    Ok(numbers.into_iter().map(EventNum).collect())
}
