//! What is told with an event of those that relate to it: its newest edit, its thread, what refers to it.
//! <https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>
//!
//! For a page of events this takes one query where none has any aggregations, and a few more, however long the page,
//! where some have. What is kept ([`crate::aggregations`]) is of the whole room as it is now; a reader who may not see
//! all of that is told of what they see among the newest events that relate.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ruma_common::OwnedEventId;
use starling_db::{Error, Tx};

use crate::aggregations::{Aggregation, aggregations_read, is_valid_edit, newest_edit, threads_of};
use crate::events::Event;
use crate::history::Viewer;
use crate::numbers::{EventNum, RoomNum, UserNum};
use crate::relations::{REFERENCE, REPLACE, THREAD, relation_of, relations_of};
use crate::store::Store;

/// So many of the newest events that relate to one of a page in a way are looked at, where what is kept is not enough, and
/// so many for the whole page: then fewer of each.
const MOST_LOOKED_AT: (i64, i64) = (1_000, 5_000);

/// So many events that refer to one are told.
const MOST_REFERENCES: usize = 100;

/// Events of one room that are told with their aggregations.
#[derive(Debug, Clone, Copy)]
pub struct BundledPage<'a> {
    /// What the reader may see of the room.
    pub viewer: &'a Viewer,
    /// The events.
    pub events: &'a [Arc<Event>],
}

/// The aggregations of some events, for one reader.
#[derive(Debug, Default)]
pub struct Bundles(HashMap<EventNum, Bundle>);

/// The aggregations of one event.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    /// Its newest edit.
    pub(crate) edit: Option<Arc<Event>>,
    /// Its thread.
    pub(crate) thread: Option<Thread>,
    /// The newest events that refer to it, oldest first.
    pub(crate) references: Vec<OwnedEventId>,
}

/// A thread, as far as the reader sees it.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) latest: Arc<Event>,
    pub(crate) count: i64,
    /// Whether the reader has sent its root or an event of it.
    pub(crate) participated: bool,
}

/// Who reads, and up to where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BundleReader {
    pub(crate) user: UserNum,
    /// Nothing above this position is told.
    pub(crate) upto: i64,
}

/// An event of a page, and what is kept of it.
struct Parent<'a> {
    event: &'a Event,
    viewer: &'a Viewer,
    kept: Aggregation,
}

impl Bundles {
    /// Reads what is told with the events of some pages.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) fn load(
        store: &Store,
        tx: &mut Tx<'_>,
        reader: BundleReader,
        pages: &[BundledPage<'_>],
    ) -> Result<Self, Error> {
        let mut bundles = Self::default();
        let events = pages.iter().flat_map(|page| {
            let viewer = page.viewer;
            page.events.iter().map(move |event| (&**event, viewer))
        });
        bundles.extend(store, tx, reader, events.collect())?;
        // The last event of a thread has aggregations of its own, but no thread.
        let latest: Vec<(Arc<Event>, &Viewer)> = pages
            .iter()
            .flat_map(|page| page.events.iter().map(|event| (event.num, page.viewer)))
            .filter_map(|(num, viewer)| {
                let thread = bundles.0.get(&num)?.thread.as_ref()?;
                Some((Arc::clone(&thread.latest), viewer))
            })
            .filter(|(latest, _)| !bundles.0.contains_key(&latest.num))
            .collect();
        let latest = latest.iter().map(|(event, viewer)| (&**event, *viewer));
        bundles.extend(store, tx, reader, latest.collect())?;
        Ok(bundles)
    }

    /// What is told with an event.
    pub(crate) fn get(&self, event: EventNum) -> Option<&Bundle> {
        self.0.get(&event)
    }

    /// The events that are told within others.
    pub(crate) fn nested(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.0.values().flat_map(|bundle| {
            let latest = bundle.thread.as_ref().map(|thread| &thread.latest);
            bundle.edit.iter().chain(latest)
        })
    }

    fn extend(
        &mut self,
        store: &Store,
        tx: &mut Tx<'_>,
        reader: BundleReader,
        events: Vec<(&Event, &Viewer)>,
    ) -> Result<(), Error> {
        let parents = parents(tx, events)?;
        if parents.is_empty() {
            return Ok(());
        }
        let kept = parents.iter().flat_map(|parent| {
            let latest = parent.kept.thread.map(|thread| thread.latest);
            parent.kept.edit.into_iter().chain(latest)
        });
        let kept = store.events_read(tx, &kept.collect::<Vec<_>>())?;
        let kept: HashMap<EventNum, Arc<Event>> =
            kept.into_iter().map(|event| (event.num, event)).collect();
        let mut unsure = Vec::new();
        for parent in &parents {
            let bundle = self.0.entry(parent.event.num).or_default();
            if !bundle.fill(parent, &kept, reader) {
                unsure.push(parent);
            }
        }
        if !unsure.is_empty() {
            let children = children(store, tx, reader, &unsure)?;
            for parent in unsure {
                let related = children
                    .get(&parent.event.num)
                    .map_or(&[][..], Vec::as_slice);
                let bundle = self.0.entry(parent.event.num).or_default();
                bundle.fill_from(parent, related);
            }
        }
        self.0.retain(|_, bundle| !bundle.is_empty());
        self.note_participation(tx, reader, &parents)
    }

    fn note_participation(
        &mut self,
        tx: &mut Tx<'_>,
        reader: BundleReader,
        parents: &[Parent<'_>],
    ) -> Result<(), Error> {
        let mut roots = Vec::new();
        for parent in parents {
            if let Some(thread) = self.thread_mut(parent) {
                thread.participated = parent.event.sender == reader.user;
                if !thread.participated {
                    roots.push(parent.event.pdu.event_id().as_str());
                }
            }
        }
        if roots.is_empty() {
            return Ok(());
        }
        let own: HashSet<(RoomNum, String)> =
            threads_of(tx, reader.user, &roots)?.into_iter().collect();
        for parent in parents {
            let root = (parent.event.room, parent.event.pdu.event_id().to_string());
            if own.contains(&root)
                && let Some(thread) = self.thread_mut(parent)
            {
                thread.participated = true;
            }
        }
        Ok(())
    }

    fn thread_mut(&mut self, parent: &Parent<'_>) -> Option<&mut Thread> {
        self.0.get_mut(&parent.event.num)?.thread.as_mut()
    }
}

/// Those of `events` of which something is kept.
fn parents<'a>(
    tx: &mut Tx<'_>,
    mut events: Vec<(&'a Event, &'a Viewer)>,
) -> Result<Vec<Parent<'a>>, Error> {
    // State events have no aggregations: <https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>
    events.retain(|(event, _)| event.key.is_none());
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = events
        .iter()
        .map(|(event, _)| event.pdu.event_id().as_str())
        .collect();
    let mut kept = aggregations_read(tx, &ids)?;
    let parent = |(event, viewer): (&'a Event, &'a Viewer)| {
        let kept = kept.remove(&(event.room, event.pdu.event_id().to_string()))?;
        Some(Parent {
            event,
            viewer,
            kept,
        })
    };
    Ok(events.into_iter().filter_map(parent).collect())
}

/// The newest events that relate to some, as far as the reader sees them, by what they relate to; those that do so in one
/// way newest first.
fn children(
    store: &Store,
    tx: &mut Tx<'_>,
    reader: BundleReader,
    parents: &[&Parent<'_>],
) -> Result<HashMap<EventNum, Vec<Arc<Event>>>, Error> {
    let by_id: HashMap<&str, &Parent<'_>> = parents
        .iter()
        .map(|parent| (parent.event.pdu.event_id().as_str(), *parent))
        .collect();
    // In the order of the page, so that the same ones are looked at each time where they are too many.
    let targets: Vec<&str> = parents
        .iter()
        .map(|parent| parent.event.pdu.event_id().as_str())
        .collect();
    let rooms: HashSet<i64> = parents.iter().map(|parent| parent.event.room.0).collect();
    let rooms: Vec<i64> = rooms.into_iter().collect();
    let kinds = [REPLACE, THREAD, REFERENCE];
    let related = relations_of(tx, (&targets, &rooms), &kinds, MOST_LOOKED_AT)?;
    let numbers: Vec<EventNum> = related.iter().map(|(_, number)| *number).collect();
    let events = store.events_read(tx, &numbers)?;
    let events: HashMap<EventNum, Arc<Event>> =
        events.into_iter().map(|event| (event.num, event)).collect();
    let mut children: HashMap<EventNum, Vec<Arc<Event>>> = HashMap::new();
    for (target, number) in related {
        let (Some(parent), Some(event)) = (by_id.get(&*target), events.get(&number)) else {
            continue;
        };
        if event.room == parent.event.room && reader.sees(parent.viewer, event) {
            let children = children.entry(parent.event.num).or_default();
            children.push(Arc::clone(event));
        }
    }
    Ok(children)
}

impl BundleReader {
    fn sees(self, viewer: &Viewer, event: &Event) -> bool {
        event
            .position()
            .is_none_or(|position| position <= self.upto)
            && viewer.sees(event)
    }
}

impl Bundle {
    fn is_empty(&self) -> bool {
        self.edit.is_none() && self.thread.is_none() && self.references.is_empty()
    }

    /// Takes what is kept, if that is all and the reader sees it; whether it is so.
    fn fill(
        &mut self,
        parent: &Parent<'_>,
        kept: &HashMap<EventNum, Arc<Event>>,
        reader: BundleReader,
    ) -> bool {
        // What is kept counts the events of everybody.
        if parent.viewer.ignores_anybody() {
            return false;
        }
        let Aggregation {
            edit,
            thread,
            references,
            is_unchecked,
            ..
        } = &parent.kept;
        let seen = |number: EventNum| {
            let event = kept.get(&number);
            event
                .filter(|event| reader.sees(parent.viewer, event))
                .cloned()
        };
        let mut is_sure = !is_unchecked && *references == 0;
        // Nobody is told anew what was redacted.
        if let Some(edit) = edit.filter(|_| parent.event.redacted_by.is_none()) {
            self.edit = seen(edit);
            is_sure &= self.edit.is_some();
        }
        if let Some(thread) = thread {
            self.thread = seen(thread.latest).map(|latest| Thread {
                latest,
                count: thread.count,
                participated: false,
            });
            is_sure &= self.thread.is_some();
        }
        is_sure
    }

    /// Takes what is missing from `children`, of which those that relate in one way are newest first.
    fn fill_from(&mut self, parent: &Parent<'_>, children: &[Arc<Event>]) {
        let related = |wanted: &'static str| {
            let is_wanted = move |event: &&Arc<Event>| {
                relation_of(&event.pdu).is_some_and(|relation| *relation.rel_type == *wanted)
            };
            children.iter().filter(is_wanted)
        };
        if self.edit.is_none() && parent.event.redacted_by.is_none() {
            let edits = related(REPLACE).filter(|edit| is_valid_edit(parent.event, edit));
            self.edit = newest_edit(edits.cloned());
        }
        // A thread begins with an event that is no child of another.
        if self.thread.is_none() && relation_of(&parent.event.pdu).is_none() {
            self.thread = related(THREAD).next().map(|latest| Thread {
                latest: Arc::clone(latest),
                count: i64::try_from(related(THREAD).count()).unwrap_or(i64::MAX),
                participated: false,
            });
        }
        let newest = related(REFERENCE).take(MOST_REFERENCES);
        let ids = newest.map(|event| event.pdu.event_id().to_owned());
        self.references = ids.collect();
        self.references.reverse();
    }
}
