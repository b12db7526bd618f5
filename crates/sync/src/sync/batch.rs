//! What the rooms of one step need, read for all of them at once: first what it takes to find out what to tell, then the
//! events to tell.

use std::collections::HashMap;
use std::sync::Arc;

use starling_db::Tx;
use starling_store::bundles::BundledPage;
use starling_store::client_view::ClientView;
use starling_store::events::Event;
use starling_store::names::{EMPTY_KEY, types};
use starling_store::rooms::RoomSnapshot;
use starling_store::timeline::{RecentPage, StateDelta, state_deltas};
use starling_store::{EventNum, RoomNum};

use super::Scope;
use super::plan::Section;
use super::room::{Part, Told};
use crate::Error;

/// So many events are read ahead for all rooms together: it bounds the memory. What is beyond that is read room by room.
const MOST_AHEAD: usize = 2_000;

/// What it takes to find out what to tell of joined rooms.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pages: HashMap<RoomNum, RecentPage>,
    deltas: HashMap<RoomNum, (i64, Vec<StateDelta>)>,
}

impl Batch {
    pub(crate) fn read(
        scope: &Scope,
        tx: &mut Tx<'_>,
        rooms: &[(Arc<RoomSnapshot>, Section)],
    ) -> Result<Self, Error> {
        let mut batch = Self::default();
        let mut ahead = Vec::new();
        let mut after: HashMap<i64, Vec<RoomNum>> = HashMap::new();
        for (snapshot, section) in rooms {
            let Some(extent) = section.extent() else {
                continue;
            };
            after.entry(extent.after).or_default().push(snapshot.room);
            if extent.whole {
                let about = [types::NAME, types::CANONICAL_ALIAS];
                ahead.extend(about.map(|kind| snapshot.state_event(kind, EMPTY_KEY)));
            }
        }
        // As a rule there are two: the client's token, and none for rooms that are told whole.
        for (after, rooms) in after {
            batch.pages.extend(scope.pages(tx, &rooms, after)?);
        }
        batch.read_deltas(scope, tx, rooms)?;
        let events = batch.pages.values().flat_map(|page| &page.events);
        ahead.extend(events.clone().map(|event| event.replaces));
        let deltas = batch.deltas.values().flat_map(|(_, deltas)| deltas);
        let replaced = deltas.map(|delta| delta.old);
        ahead.extend(replaced);
        let mut ahead: Vec<EventNum> = ahead.into_iter().flatten().collect();
        ahead.truncate(MOST_AHEAD);
        scope.store.events_read(tx, &ahead)?;
        if scope.filter.room.state.lazy_load_members {
            let senders = events.map(|event| event.pdu.sender().as_str());
            scope.store.names().keys(tx, senders)?;
        }
        Ok(batch)
    }

    /// The changes of the state of rooms whose timeline doesn't show that there were none: since the client's token, and in
    /// those that are told whole since the timeline begins.
    fn read_deltas(
        &mut self,
        scope: &Scope,
        tx: &mut Tx<'_>,
        rooms: &[(Arc<RoomSnapshot>, Section)],
    ) -> Result<(), Error> {
        let mut changed = Vec::new();
        for (snapshot, section) in rooms {
            let Some(extent) = section.extent() else {
                continue;
            };
            let page = self.pages.get(&snapshot.room);
            let is_newer = snapshot.last_position > scope.upto;
            let may_change =
                is_newer || page.is_none_or(|page| page.limited || changes_state(snapshot, page));
            let first = page.and_then(|page| page.events.first()?.position());
            let after = match first.filter(|_| extent.whole) {
                Some(first) => first - 1,
                None => extent.after,
            };
            if may_change && !(extent.whole && first.is_none()) {
                changed.push((snapshot.room, after));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        for (room, after) in &changed {
            self.deltas.insert(*room, (*after, Vec::new()));
        }
        for delta in state_deltas(tx, changed, scope.upto)? {
            if let Some((_, deltas)) = self.deltas.get_mut(&delta.room) {
                deltas.push(delta);
            }
        }
        Ok(())
    }

    /// The newest events of a room that is told as joined.
    pub(crate) fn page(&self, room: RoomNum) -> Option<&RecentPage> {
        self.pages.get(&room)
    }

    /// The changes of the room's state that were read, with the position after which they are.
    pub(crate) fn deltas(&self, room: RoomNum) -> Option<(i64, &[StateDelta])> {
        let (after, deltas) = self.deltas.get(&room)?;
        Some((*after, deltas))
    }
}

/// Whether one of the room's newest events may have changed its state: a state event, a redaction, or one where branches
/// part or meet.
fn changes_state(snapshot: &RoomSnapshot, page: &RecentPage) -> bool {
    let changes = |event: &Arc<Event>| {
        event.key.is_some()
            || event.kind == types::REDACTION
            || event.after_gap
            || event.pdu.prev_events().len() > 1
    };
    snapshot.extremities.len() > 1 || page.events.iter().any(changes)
}

impl Scope {
    /// The newest events of rooms, one more than the filter lets through in one room at most.
    fn pages(
        &self,
        tx: &mut Tx<'_>,
        rooms: &[RoomNum],
        after: i64,
    ) -> Result<HashMap<RoomNum, RecentPage>, Error> {
        let most = self.filter.room.timeline.events.limit().max(1) + 1;
        let stretch = (after, self.upto);
        Ok(self.store.timelines_newest(tx, rooms, stretch, most)?)
    }
}

/// The events of a step that are told, and what it takes to write them.
#[derive(Debug)]
pub(crate) struct Pages {
    events: HashMap<EventNum, Arc<Event>>,
    view: ClientView,
}

impl Pages {
    /// Reads events of `state`, as many as may be read ahead; those of `timelines` are at hand.
    pub(crate) fn read<'a>(
        scope: &Scope,
        tx: &mut Tx<'_>,
        state: impl Iterator<Item = EventNum>,
        timelines: impl Iterator<Item = &'a Arc<Event>>,
    ) -> Result<Self, Error> {
        let ahead: Vec<EventNum> = state.take(MOST_AHEAD).collect();
        let events = scope.store.events_read(tx, &ahead)?;
        let mut all: Vec<&Arc<Event>> = timelines.collect();
        all.extend(&events);
        let view = ClientView::load(&scope.store, tx, scope.asker, all)?;
        let events = events.into_iter().map(|event| (event.num, event)).collect();
        Ok(Self { events, view })
    }

    /// Reads what is told with the events of timelines that have gaps of those that relate to them.
    /// <https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>
    pub(crate) fn bundle<'a>(
        &mut self,
        scope: &Scope,
        tx: &mut Tx<'_>,
        rooms: impl Iterator<Item = (&'a Part<'a>, &'a Told)>,
    ) -> Result<(), Error> {
        let with_gaps = rooms.filter(|(part, told)| {
            told.timeline.limited_at.is_some() && part.snapshot.has_aggregations
        });
        let pages = with_gaps.map(|(part, told)| BundledPage {
            viewer: part.viewer,
            events: &told.timeline.events,
        });
        let pages: Vec<BundledPage<'_>> = pages.collect();
        Ok(self.view.bundle(&scope.store, tx, &pages, scope.upto)?)
    }

    /// What it takes to write the events that were read, and those of the timelines.
    pub(crate) fn view(&self) -> &ClientView {
        &self.view
    }

    /// These events, if they were all read.
    pub(crate) fn get(&self, numbers: &[EventNum]) -> Option<Vec<Arc<Event>>> {
        let read = numbers
            .iter()
            .map(|number| self.events.get(number).cloned());
        read.collect()
    }
}
