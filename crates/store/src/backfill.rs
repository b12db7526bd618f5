//! Putting older events of a room into its timeline, before the event whose missing parents they are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ruma_common::{OwnedEventId, UserId};
use starling_db::{Error, Positions, Tx};

use crate::events::{Event, Visibility};
use crate::gaps::{Gap, gap_delete, gap_insert};
use crate::memberships::membership_change_place;
use crate::names::types;
use crate::numbers::{EventNum, RoomNum};
use crate::outliers::events_known;
use crate::redactions::{WaitingRedaction, waiting_redaction_insert};
use crate::relations::relation_of;
use crate::rooms::RoomSnapshot;
use crate::store::Store;
use crate::tokens::Place;

starling_db::statements! {
    /// Puts an event that has no place into the timeline.
    EVENT_PLACE = "UPDATE events SET place_major = ?2, place_minor = ?3, visibility_before = ?4, visibility_after = ?5
        WHERE event_num = ?1 AND place_major IS NULL";
    /// The lowest place before a live event.
    LOWEST_MINOR = "SELECT MIN(place_minor) FROM events WHERE room_num = ?1 AND place_major = ?2";
}

/// An older event, which is stored without a place, and what goes with it.
#[derive(Debug, Clone)]
pub struct Older {
    /// Its number.
    pub event: EventNum,
    /// The room's history visibility before and after it.
    pub visibility: (Visibility, Visibility),
    /// The event that it redacts, if it may.
    pub redacts: Option<Arc<Event>>,
    /// What it redacts, if that isn't here.
    pub waits_for: Option<WaitingRedaction>,
}

impl Store {
    /// Puts events, oldest first, before the one that a gap of the room is before, and takes the gap off. Where they follow
    /// events that are not in the timeline, there is a new one. Those that have a place already keep it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn backfill(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        snapshot: &RoomSnapshot,
        (gap, older): (&Gap, &[Older]),
    ) -> Result<(), Error> {
        let room = snapshot.room;
        gap_delete(tx, room, gap.place)?;
        let major = gap.place.major;
        let lowest = tx.query_one(&LOWEST_MINOR, &[room.into(), major.into()], |row| {
            row.opt_int(0)
        })?;
        let mut minor = lowest.flatten().unwrap_or(0);
        let numbers: Vec<EventNum> = older.iter().map(|older| older.event).collect();
        let events = self.events_read(tx, &numbers)?;
        let events: HashMap<EventNum, Arc<Event>> =
            events.into_iter().map(|event| (event.num, event)).collect();
        let mut placed: Vec<Arc<Event>> = Vec::with_capacity(older.len());
        for older in older.iter().rev() {
            let event = events.get(&older.event);
            let Some(event) = event.filter(|event| event.room == room && event.place.is_none())
            else {
                continue;
            };
            minor -= 1;
            let event = Arc::new(Event {
                place: Some(Place { major, minor }),
                visibility: older.visibility,
                ..(**event).clone()
            });
            place(tx, &event)?;
            placed.push(event);
        }
        note_gaps(tx, room, &placed)?;
        for event in &placed {
            self.place_membership(tx, event)?;
            if let Some(relation) = relation_of(&event.pdu) {
                let target = self.event_by_id(tx, &relation.target)?;
                let target = target.filter(|target| target.room == room);
                self.relate(tx, event, &relation, target.as_deref())?;
            }
        }
        let store = self.clone();
        let of_number: HashMap<EventNum, Arc<Event>> = placed
            .iter()
            .map(|event| (event.num, Arc::clone(event)))
            .collect();
        tx.after_commit(move || {
            for event in placed {
                store.events().replace(event);
            }
        });
        for older in older {
            if let Some(event) = of_number.get(&older.event) {
                self.redact_late(tx, positions, (snapshot, event), older)?;
            }
        }
        Ok(())
    }

    /// An older event redacts another, or waits for what it redacts.
    fn redact_late(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        (snapshot, event): (&RoomSnapshot, &Event),
        older: &Older,
    ) -> Result<(), Error> {
        if let Some(waiting) = &older.waits_for {
            waiting_redaction_insert(tx, event, waiting)?;
        }
        let target = older.redacts.as_ref().map(|target| target.num);
        let target = target.map_or(Ok(None), |target| self.event_read(tx, target))?;
        let Some(target) = target.filter(|target| target.redacted_by.is_none()) else {
            return Ok(());
        };
        self.redact(tx, positions, (snapshot, event), &target)?;
        let (store, room) = (self.clone(), snapshot.room);
        let pruned = Arc::new(target.redacted_by(event.num));
        tx.after_commit(move || {
            store.timelines().replace(&pruned);
            store.events().replace(pruned);
            // How far back counts look for redacted events.
            store.rooms().forget(room);
        });
        Ok(())
    }
}

impl Store {
    /// What a user of this server may see depends on where their own member events stand.
    pub(crate) fn place_membership(&self, tx: &mut Tx<'_>, event: &Event) -> Result<(), Error> {
        let target = event
            .pdu
            .state_key()
            .filter(|_| event.kind == types::MEMBER);
        let target = target.and_then(|key| <&UserId>::try_from(key).ok());
        let (Some(target), Some(place)) = (target, event.place) else {
            return Ok(());
        };
        match self.names().user(tx, target)? {
            Some(user) => membership_change_place(tx, user, (event.room, event.num), place),
            None => Ok(()),
        }
    }
}

/// Notes what the events follow that is in no timeline.
fn note_gaps(tx: &mut Tx<'_>, room: RoomNum, placed: &[Arc<Event>]) -> Result<(), Error> {
    let ids = placed.iter().map(|event| event.pdu.event_id());
    let here: HashSet<&ruma_common::EventId> = ids.collect();
    let followed = placed.iter().flat_map(|event| event.pdu.prev_events());
    let others: HashSet<&OwnedEventId> = followed.filter(|id| !here.contains(&***id)).collect();
    let mut others: Vec<&OwnedEventId> = others.into_iter().collect();
    others.sort_unstable();
    let known = events_known(tx, others.into_iter().map(|id| &**id))?;
    let is_placed = |id: &OwnedEventId| {
        let event = known.get(id).filter(|event| event.room == room);
        here.contains(&**id) || event.is_some_and(|event| event.is_placed)
    };
    for event in placed {
        for missing in event.pdu.prev_events() {
            if !is_placed(missing) {
                gap_insert(tx, event, missing)?;
            }
        }
    }
    Ok(())
}

fn place(tx: &mut Tx<'_>, event: &Event) -> Result<(), Error> {
    let Some(place) = event.place else {
        return Ok(());
    };
    let params = [
        event.num.into(),
        place.major.into(),
        place.minor.into(),
        (event.visibility.0 as i64).into(),
        (event.visibility.1 as i64).into(),
    ];
    tx.execute(&EVENT_PLACE, &params).map(drop)
}
