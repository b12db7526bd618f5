//! Stored events: the row, its bytes, and the cache of them.

use std::collections::HashMap;
use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId};
use starling_db::{Error, Row, Tx, Value};
use starling_events::{Pdu, RoomVersion};

use crate::auth_graph::{edges_insert, generation_above};
use crate::numbers::{DeviceNum, EventNum, KeyNum, RoomNum, SnapshotNum, TypeNum, UserNum};
use crate::store::Store;
use crate::tokens::Place;
use crate::unread::note::Counted;
use crate::varint;

/// The columns of an event, in the order in which [`read`] takes them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT events.event_num, events.room_num, events.event_id, events.type_num, events.key_num,
                events.sender_num, events.place_major, events.place_minor, events.status, events.snapshot_num,
                events.replaces, events.redacted_by, events.visibility_before, events.visibility_after, events.json,
                rooms.room_version, events.txn_device, events.txn_id, events.after_gap
            FROM events JOIN rooms ON rooms.room_num = events.room_num ",
            $rest
        )
    };
}

starling_db::statements! {
    /// Events by number.
    EVENTS_READ = select!("WHERE events.event_num IN {ints ?1}");
    /// Events by their ids.
    EVENTS_BY_ID = select!("WHERE events.event_id IN {texts ?1}");
    /// An event by its id.
    EVENT_BY_ID = select!("WHERE events.event_id = ?1");
    /// Stores an event.
    EVENT_INSERT = "INSERT INTO events (event_num, room_num, event_id, type_num, key_num, sender_num, place_major,
            place_minor, status, snapshot_num, replaces, redacted_by, visibility_before, visibility_after, prev, auth,
            json, txn_device, txn_id, origin_server_ts, shape, thread_num, totals, thread_totals, generation, after_gap)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
            ?24, ?25, ?26)";
    /// Takes an event that has no place, and of which nothing but itself is known, into the timeline, or notes its state.
    EVENT_SETTLE = "UPDATE events SET place_major = ?2, place_minor = ?3, status = ?4, snapshot_num = ?5, replaces = ?6,
            redacted_by = ?7, visibility_before = ?8, visibility_after = ?9, prev = ?10, json = ?11, shape = ?12,
            thread_num = ?13, totals = ?14, thread_totals = ?15, after_gap = ?16, auth = ?17, generation = ?18
        WHERE event_num = ?1 AND place_major IS NULL AND snapshot_num IS NULL";
    /// Prunes a redacted event.
    EVENT_REDACT = "UPDATE events SET redacted_by = ?2, json = ?3 WHERE event_num = ?1";
}

/// The type of events that bring branches of a room together. Other servers know it, and show such events to nobody.
pub const DUMMY: &str = "org.matrix.dummy_event";

/// Whether an event counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Accepted = 0,
    /// The authorization rules refused it.
    Rejected = 1,
    /// The room's current state refused it: kept, and not shown.
    SoftFailed = 2,
}

impl Status {
    pub(crate) fn from_code(code: i64) -> Result<Self, Error> {
        match code {
            0 => Ok(Self::Accepted),
            1 => Ok(Self::Rejected),
            2 => Ok(Self::SoftFailed),
            _ => Err(Error::Damaged(format!("there is no status {code}"))),
        }
    }
}

/// Who may see a room's events. The numbers are stored.
/// <https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Anyone, also who is not in the room.
    WorldReadable = 1,
    /// Members, also what was sent before they joined.
    Shared = 2,
    /// Members, from their invite on.
    Invited = 3,
    /// Members, from their join on.
    Joined = 4,
}

impl Visibility {
    /// Reads the word of an event's content; any other word is `shared`, as the specification says.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "world_readable" => Self::WorldReadable,
            "invited" => Self::Invited,
            "joined" => Self::Joined,
            _ => Self::Shared,
        }
    }

    pub(crate) fn from_code(code: i64) -> Result<Self, Error> {
        Ok(match code {
            1 => Self::WorldReadable,
            2 => Self::Shared,
            3 => Self::Invited,
            4 => Self::Joined,
            _ => {
                return Err(Error::Damaged(format!(
                    "there is no history visibility {code}"
                )));
            }
        })
    }
}

/// Which device sent an event, and with which transaction id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentAs {
    /// The device.
    pub device: DeviceNum,
    /// The id as the client chose it.
    pub txn_id: Box<str>,
}

/// A stored event. It never changes, but for being redacted: then another takes its place in the caches.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its number.
    pub num: EventNum,
    /// Its room.
    pub room: RoomNum,
    /// Its type.
    pub kind: TypeNum,
    /// Its state key, if it is a state event.
    pub key: Option<KeyNum>,
    /// Who sent it.
    pub sender: UserNum,
    /// Where it is in the room's order, if it is in the timeline.
    pub place: Option<Place>,
    /// Whether it counts.
    pub status: Status,
    /// The state after it.
    pub snapshot: Option<SnapshotNum>,
    /// The state event that it replaced.
    pub replaces: Option<EventNum>,
    /// The redaction that pruned it.
    pub redacted_by: Option<EventNum>,
    /// The room's history visibility before and after it.
    pub visibility: (Visibility, Visibility),
    /// Whether events that it follows were not here when it came.
    pub after_gap: bool,
    /// The transaction id that its sender's client gave it, if it is of this server's API.
    pub sent_as: Option<SentAs>,
    /// Its bytes and fields; pruned when it is redacted.
    pub pdu: Pdu,
}

impl Event {
    /// The position of a live event: what a reader's head is compared with. `None` for one that was never live.
    #[must_use]
    pub fn position(&self) -> Option<i64> {
        self.place
            .filter(|place| place.minor == 0)
            .map(|place| place.major)
    }

    /// The event as `redaction` leaves it.
    #[must_use]
    pub fn redacted_by(&self, redaction: EventNum) -> Self {
        Self {
            redacted_by: Some(redaction),
            pdu: self.pdu.redacted(),
            ..self.clone()
        }
    }
}

fn read(row: &dyn Row) -> Result<Event, Error> {
    let num = EventNum(row.int(0)?);
    let damaged = |what: &str| Error::Damaged(format!("event {}: {what}", num.0));
    let event_id = OwnedEventId::try_from(row.text(2)?).map_err(|_| damaged("its id"))?;
    let version = RoomVersion::parse(row.text(15)?).ok_or_else(|| damaged("its room's version"))?;
    let pdu = Pdu::from_stored(version, event_id, Arc::from(row.bytes(14)?));
    let status = Status::from_code(row.int(8)?)?;
    let minor = row.int(7)?;
    Ok(Event {
        num,
        room: RoomNum(row.int(1)?),
        kind: TypeNum(row.int(3)?),
        key: row.opt_int(4)?.map(KeyNum),
        sender: UserNum(row.int(5)?),
        place: row.opt_int(6)?.map(|major| Place { major, minor }),
        status,
        snapshot: row.opt_int(9)?.map(SnapshotNum),
        replaces: row.opt_int(10)?.map(EventNum),
        redacted_by: row.opt_int(11)?.map(EventNum),
        visibility: (
            Visibility::from_code(row.int(12)?)?,
            Visibility::from_code(row.int(13)?)?,
        ),
        after_gap: row.truth(18)?,
        sent_as: sent_as(row)?,
        pdu: pdu.map_err(|error| damaged(&error.to_string()))?,
    })
}

fn sent_as(row: &dyn Row) -> Result<Option<SentAs>, Error> {
    let Some(device) = row.opt_int(16)?.map(DeviceNum) else {
        return Ok(None);
    };
    let txn_id = row.utf8(17)?.into();
    Ok(Some(SentAs { device, txn_id }))
}

/// Stores an event. `prev` and `auth` are those of the events that its `prev_events` and `auth_events` name that are here;
/// `counted` is where it stands in the totals, if it is live.
///
/// # Errors
/// [`Error::Constraint`] when it is stored already; else when the database fails.
pub fn event_insert(
    tx: &mut Tx<'_>,
    event: &Event,
    (prev, auth): (&[EventNum], &[EventNum]),
    counted: Option<&Counted>,
) -> Result<(), Error> {
    let generation = match event.key {
        Some(_) => Some(generation_above(tx, auth)?),
        None => None,
    };
    let (prev, cited) = (numbers(prev), numbers(auth));
    let params = [
        event.num.into(),
        event.room.into(),
        event.pdu.event_id().as_str().into(),
        event.kind.into(),
        event.key.into(),
        event.sender.into(),
        event.place.map(|place| place.major).into(),
        event.place.map_or(0, |place| place.minor).into(),
        (event.status as i64).into(),
        event.snapshot.into(),
        event.replaces.into(),
        event.redacted_by.into(),
        (event.visibility.0 as i64).into(),
        (event.visibility.1 as i64).into(),
        Value::Bytes(&prev),
        Value::Bytes(&cited),
        Value::Bytes(event.pdu.json()),
        event.sent_as.as_ref().map(|sent| sent.device).into(),
        match &event.sent_as {
            Some(sent) => Value::Bytes(sent.txn_id.as_bytes()),
            None => Value::Null,
        },
        event.pdu.origin_server_ts().into(),
        shape(event, counted).into(),
        counted.map_or(0, |counted| counted.thread.0).into(),
        counted.map(|counted| counted.totals.as_slice()).into(),
        counted
            .and_then(|counted| counted.thread_totals.as_deref())
            .into(),
        generation.into(),
        event.after_gap.into(),
    ];
    tx.execute_one(&EVENT_INSERT, &params)?;
    if event.key.is_some() {
        edges_insert(tx, event.num, auth)?;
    }
    Ok(())
}

/// Stores where an event stands that is here already, but of which nothing else is known: it was given for the sake of
/// another. Otherwise as [`event_insert`].
///
/// # Errors
/// [`Error::Unavailable`] when that was done meanwhile; else when the database fails.
pub(crate) fn event_settle(
    tx: &mut Tx<'_>,
    event: &Event,
    (prev, auth): (&[EventNum], &[EventNum]),
    counted: Option<&Counted>,
) -> Result<(), Error> {
    let generation = match event.key {
        Some(_) => Some(generation_above(tx, auth)?),
        None => None,
    };
    let (prev, cited) = (numbers(prev), numbers(auth));
    let params = [
        event.num.into(),
        event.place.map(|place| place.major).into(),
        event.place.map_or(0, |place| place.minor).into(),
        (event.status as i64).into(),
        event.snapshot.into(),
        event.replaces.into(),
        event.redacted_by.into(),
        (event.visibility.0 as i64).into(),
        (event.visibility.1 as i64).into(),
        Value::Bytes(&prev),
        Value::Bytes(event.pdu.json()),
        shape(event, counted).into(),
        counted.map_or(0, |counted| counted.thread.0).into(),
        counted.map(|counted| counted.totals.as_slice()).into(),
        counted
            .and_then(|counted| counted.thread_totals.as_deref())
            .into(),
        event.after_gap.into(),
        Value::Bytes(&cited),
        generation.into(),
    ];
    if tx.execute(&EVENT_SETTLE, &params)? == 0 {
        return Err(Error::Unavailable(
            "the event has got its place meanwhile".to_owned(),
        ));
    }
    if event.key.is_some() {
        edges_insert(tx, event.num, auth)?;
    }
    Ok(())
}

/// What it counts as. Nobody says anything by an event that brings branches together, also not that they have read.
fn shape(event: &Event, counted: Option<&Counted>) -> Option<i64> {
    let counted = counted.filter(|_| event.pdu.kind() != DUMMY);
    counted.map(|counted| i64::from(counted.shape.code()))
}

fn numbers(events: &[EventNum]) -> Vec<u8> {
    varint::list(events.iter().map(|event| event.0))
}

/// Puts the pruned form of a redacted event in its place.
///
/// # Errors
/// When the database fails.
pub fn event_redact(tx: &mut Tx<'_>, pruned: &Event) -> Result<(), Error> {
    let params = [
        pruned.num.into(),
        pruned.redacted_by.into(),
        Value::Bytes(pruned.pdu.json()),
    ];
    tx.execute_one(&EVENT_REDACT, &params)
}

impl Store {
    /// Events by number, from the cache where they are in it; in the order asked for, without those that don't exist.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events_read(
        &self,
        tx: &mut Tx<'_>,
        numbers: &[EventNum],
    ) -> Result<Vec<Arc<Event>>, Error> {
        let mut found: HashMap<EventNum, Arc<Event>> = HashMap::with_capacity(numbers.len());
        let mut missing = Vec::new();
        for number in numbers {
            match self.events().get(*number) {
                Some(event) => drop(found.insert(*number, event)),
                None => missing.push(number.0),
            }
        }
        if !missing.is_empty() {
            for event in tx.query_all(&EVENTS_READ, &[Value::Ints(&missing)], read)? {
                let event = Arc::new(event);
                self.events().insert_read(tx, &event);
                found.insert(event.num, event);
            }
        }
        Ok(numbers
            .iter()
            .filter_map(|number| found.get(number).cloned())
            .collect())
    }

    /// One event by number.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn event_read(
        &self,
        tx: &mut Tx<'_>,
        number: EventNum,
    ) -> Result<Option<Arc<Event>>, Error> {
        Ok(self.events_read(tx, &[number])?.pop())
    }

    /// One event by its id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn event_by_id(
        &self,
        tx: &mut Tx<'_>,
        event_id: &EventId,
    ) -> Result<Option<Arc<Event>>, Error> {
        let event = tx
            .query_one(&EVENT_BY_ID, &[event_id.as_str().into()], read)?
            .map(Arc::new);
        if let Some(event) = &event {
            self.events().insert_read(tx, event);
        }
        Ok(event)
    }

    /// Events by their ids, in no order, without those that aren't here.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events_by_id(
        &self,
        tx: &mut Tx<'_>,
        event_ids: &[&str],
    ) -> Result<Vec<Arc<Event>>, Error> {
        let events = tx.query_all(&EVENTS_BY_ID, &[Value::Texts(event_ids)], read)?;
        let events: Vec<Arc<Event>> = events.into_iter().map(Arc::new).collect();
        for event in &events {
            self.events().insert_read(tx, event);
        }
        Ok(events)
    }

    /// Events by number, without a transaction where all are in the cache.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events_load(&self, numbers: &[EventNum]) -> Result<Vec<Arc<Event>>, Error> {
        let cached: Option<Vec<_>> = numbers
            .iter()
            .map(|number| self.events().get(*number))
            .collect();
        if let Some(all) = cached {
            return Ok(all);
        }
        let (store, numbers) = (self.clone(), numbers.to_vec());
        self.db()
            .read("events", move |tx| store.events_read(tx, &numbers))
            .await
    }
}
