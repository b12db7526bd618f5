//! Events of other servers that are in no timeline: those that only tell of the state (outliers), those that were refused,
//! and what is known of events by their ids.

use std::collections::HashMap;
use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId};
use starling_db::{Error, Positions, Tx, Value};
use starling_events::Pdu;

use crate::append::{Fork, Numbers, branch_state};
use crate::auth_graph::{auth_nodes, edges_insert, generation_above};
use crate::events::{Event, Status, Visibility, event_insert, event_settle};
use crate::numbers::{EventNum, RoomNum, SnapshotNum};
use crate::redactions::redaction_of;
use crate::rooms::{RoomSnapshot, room_must_exist};
use crate::store::Store;
use crate::varint;

starling_db::statements! {
    /// What is known of events.
    EVENTS_KNOWN = "SELECT event_id, event_num, room_num, status, place_major, snapshot_num FROM events
        WHERE event_id IN {texts ?1}";
    /// Which events an event without a place cites, and what the rules say of it.
    OUTLIER_LINK = "UPDATE events SET auth = ?2, generation = ?3, status = ?4
        WHERE event_num = ?1 AND place_major IS NULL AND snapshot_num IS NULL";
}

/// What is known of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownEvent {
    /// Its number.
    pub num: EventNum,
    /// Its room.
    pub room: RoomNum,
    /// Whether it counts.
    pub status: Status,
    /// Whether it is in the room's timeline.
    pub is_placed: bool,
    /// The state after it; `None`: nobody knows.
    pub snapshot: Option<SnapshotNum>,
}

impl KnownEvent {
    /// Whether nothing but the event itself is known: it was given for the sake of another.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        !self.is_placed && self.snapshot.is_none()
    }
}

/// An event to be stored without a place.
#[derive(Debug, Clone)]
pub struct Outlier {
    /// The event.
    pub pdu: Pdu,
    /// Whether it counts.
    pub status: Status,
}

/// What is known of those of these events that are here.
///
/// # Errors
/// When the database cannot be read.
pub fn events_known<'a>(
    tx: &mut Tx<'_>,
    event_ids: impl IntoIterator<Item = &'a EventId>,
) -> Result<HashMap<OwnedEventId, KnownEvent>, Error> {
    let event_ids: Vec<&str> = event_ids.into_iter().map(EventId::as_str).collect();
    if event_ids.is_empty() {
        return Ok(HashMap::new());
    }
    let known = tx.query_all(&EVENTS_KNOWN, &[Value::Texts(&event_ids)], |row| {
        let num = EventNum(row.int(1)?);
        let event_id = OwnedEventId::try_from(row.text(0)?)
            .map_err(|_| Error::Damaged(format!("event {}: its id", num.0)))?;
        let known = KnownEvent {
            num,
            room: RoomNum(row.int(2)?),
            status: Status::from_code(row.int(3)?)?,
            is_placed: row.opt_int(4)?.is_some(),
            snapshot: row.opt_int(5)?.map(SnapshotNum),
        };
        Ok((event_id, known))
    })?;
    Ok(known.into_iter().collect())
}

impl Store {
    /// Stores events of a room without a place or a state; of those that are here already, it is noted what they cite, if
    /// that wasn't here when they came. Each comes after those that it cites. Gives the numbers of all.
    ///
    /// # Errors
    /// When the database fails.
    pub fn outliers_insert(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        room: RoomNum,
        outliers: &[Outlier],
    ) -> Result<HashMap<OwnedEventId, EventNum>, Error> {
        room_must_exist(tx, room)?;
        let mentioned = outliers.iter().flat_map(|outlier| {
            let cited = outlier.pdu.auth_events().iter().map(|id| &**id);
            cited.chain([outlier.pdu.event_id()])
        });
        let known_events = events_known(tx, mentioned)?;
        let known = known_events
            .iter()
            .map(|(id, known)| (id.clone(), known.num));
        let mut numbers: HashMap<OwnedEventId, EventNum> = known.collect();
        let unlinked = unlinked(tx, outliers, &known_events)?;
        for Outlier { pdu, status } in outliers {
            let cited = pdu.auth_events().iter().filter_map(|id| numbers.get(id));
            let auth: Vec<EventNum> = cited.copied().collect();
            if let Some(known) = numbers.get(pdu.event_id()) {
                if unlinked.get(known).is_some_and(|cited| *cited < auth.len()) {
                    link(tx, (*known, *status), &auth)?;
                    self.judged_after_commit(tx, *known, *status)?;
                }
                continue;
            }
            let num = EventNum(positions.give()?);
            let names = self.intern_event(tx, pdu)?;
            let mut event = unplaced(pdu, (room, num), &names, *status);
            if let Some(redaction) = redaction_of(tx, pdu)? {
                event = event.redacted_by(redaction);
            }
            event_insert(tx, &event, (&[], &auth), None)?;
            numbers.insert(pdu.event_id().to_owned(), num);
        }
        Ok(numbers)
    }

    /// What is at hand of an event says the same as its row from then on.
    fn judged_after_commit(
        &self,
        tx: &mut Tx<'_>,
        event: EventNum,
        status: Status,
    ) -> Result<(), Error> {
        if let Some(event) = self.event_read(tx, event)? {
            let (store, judged) = (
                self.clone(),
                Event {
                    status,
                    ..(*event).clone()
                },
            );
            tx.after_commit(move || store.events().replace(Arc::new(judged)));
        }
        Ok(())
    }

    /// Stores an event that the rules refused, with its branch's state: after a soft-failed event that with it, after a
    /// rejected one that without it. It has no place, and the room doesn't change.
    ///
    /// # Errors
    /// When the database fails.
    pub fn refused_insert(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        room: &RoomSnapshot,
        (pdu, status, fork): (&Pdu, Status, &Fork),
    ) -> Result<EventNum, Error> {
        room_must_exist(tx, room.room)?;
        let known = events_known(tx, [pdu.event_id()])?;
        let known = known.get(pdu.event_id());
        if let Some(known) = known.filter(|known| !known.is_bare()) {
            return Ok(known.num);
        }
        let num = known.map_or_else(|| positions.give().map(EventNum), |known| Ok(known.num))?;
        let names = self.intern_event(tx, pdu)?;
        let counts = status != Status::Rejected;
        let visibility = self.visibility_in(tx, &fork.before, room)?;
        let state = branch_state(tx, room, fork, (&names, pdu, num), counts)?;
        let event = Event {
            snapshot: Some(state.stored.snapshot),
            replaces: state.replaces,
            visibility: (visibility, visibility),
            ..unplaced(pdu, (room.room, num), &names, status)
        };
        if known.is_none() {
            event_insert(tx, &event, (&fork.prev, &fork.auth), None)?;
            return Ok(num);
        }
        event_settle(tx, &event, (&fork.prev, &fork.auth), None)?;
        let store = self.clone();
        tx.after_commit(move || store.events().replace(Arc::new(event)));
        Ok(num)
    }
}

/// How many events those cite that are here and of which nothing but the event is known, as far as they were here when they
/// came.
fn unlinked(
    tx: &mut Tx<'_>,
    outliers: &[Outlier],
    known: &HashMap<OwnedEventId, KnownEvent>,
) -> Result<HashMap<EventNum, usize>, Error> {
    let here = outliers
        .iter()
        .filter_map(|it| known.get(it.pdu.event_id()));
    let bare = here.filter(|event| event.is_bare());
    let bare: Vec<EventNum> = bare.map(|event| event.num).collect();
    let nodes = auth_nodes(tx, &bare)?;
    let cited = nodes.into_iter().map(|(num, node)| (num, node.auth.len()));
    Ok(cited.collect())
}

/// Notes what an event cites, and what the rules say of it, now that this is here.
fn link(
    tx: &mut Tx<'_>,
    (event, status): (EventNum, Status),
    auth: &[EventNum],
) -> Result<(), Error> {
    let cited = varint::list(auth.iter().map(|event| event.0));
    let generation = generation_above(tx, auth)?;
    let params = [
        event.into(),
        Value::Bytes(&cited),
        generation.into(),
        (status as i64).into(),
    ];
    tx.execute(&OUTLIER_LINK, &params)?;
    edges_insert(tx, event, auth)
}

fn unplaced(pdu: &Pdu, (room, num): (RoomNum, EventNum), names: &Numbers, status: Status) -> Event {
    Event {
        num,
        room,
        kind: names.kind,
        key: names.key,
        sender: names.sender,
        place: None,
        status,
        snapshot: None,
        replaces: None,
        redacted_by: None,
        // Nobody asks while it has no place.
        visibility: (Visibility::Shared, Visibility::Shared),
        after_gap: false,
        sent_as: None,
        pdu: pdu.clone(),
    }
}
