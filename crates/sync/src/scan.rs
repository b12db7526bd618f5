//! Looking through a room's order for events that are wanted, in bounded steps.

use std::ops::ControlFlow;
use std::sync::Arc;

use starling_db::Tx;
use starling_store::events::Event;
use starling_store::timeline::{Direction, Page, RecentPage, Stretch, end_of};
use starling_store::tokens::Place;
use starling_store::{RoomNum, Store};

use crate::Error;

/// After so many events a scan ends, whatever it found: a filter that matches nothing must not read a whole room.
pub(crate) const MOST_SCANNED: usize = 1_000;

/// How many events are read at once where more than the first few are needed.
pub(crate) const STEP: usize = 200;

/// What to look through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan {
    pub(crate) room: RoomNum,
    pub(crate) stretch: Stretch,
    pub(crate) direction: Direction,
    /// How many events are wanted at most.
    pub(crate) limit: usize,
}

/// What a scan found.
#[derive(Debug)]
pub(crate) struct Found {
    /// In the direction of the scan.
    pub(crate) events: Vec<Arc<Event>>,
    /// The boundary from which to go on, unless all of the stretch was looked through.
    pub(crate) next: Option<Place>,
}

/// The newest wanted events of a room in a stretch of the log.
#[derive(Debug)]
pub(crate) struct Newest {
    /// Oldest first.
    pub(crate) events: Vec<Arc<Event>>,
    /// The boundary before which there may be more of the stretch, if that is so.
    pub(crate) limited_at: Option<Place>,
}

impl Newest {
    /// Of a stretch in which there are no events.
    pub(crate) fn nothing() -> Self {
        Self {
            events: Vec::new(),
            limited_at: None,
        }
    }
}

/// Scans, keeping the events for which `keep` is true.
pub(crate) fn scan(
    store: &Store,
    tx: &mut Tx<'_>,
    scan: &Scan,
    keep: impl FnMut(&Event) -> bool,
) -> Result<Found, Error> {
    Scanner::new(scan, keep).run(store, tx, scan.limit + 1)
}

/// Scans what `read` finds of a stretch: it is given the rest of the stretch, and how many events are wanted.
pub(crate) fn scan_pages(
    scan: &Scan,
    read: impl FnMut(Stretch, usize) -> Result<Page, Error>,
    keep: impl FnMut(&Event) -> bool,
) -> Result<Found, Error> {
    Scanner::new(scan, keep).run_pages(read, scan.limit + 1)
}

/// Scans the live events of `room` after position `after` and up to `upto`, newest first. `page` are the newest of them,
/// where they were read already; else they are taken from memory, if they are at hand.
pub(crate) fn newest(
    store: &Store,
    tx: &mut Tx<'_>,
    (room, after, upto): (RoomNum, i64, i64),
    (limit, page): (usize, Option<&RecentPage>),
    mut keep: impl FnMut(&Event) -> bool,
) -> Result<Newest, Error> {
    let stretch = Stretch {
        from: end_of(after),
        to: end_of(upto),
    };
    let mut scanner = Scanner::new(
        &Scan {
            room,
            stretch,
            direction: Direction::Backwards,
            limit,
        },
        |event: &Event| event.position().is_some() && keep(event),
    );
    // A client that sees no gap takes what it is told for all that happened.
    scanner.ends_at_gaps = true;
    let at_hand = match page {
        Some(_) => None,
        None => store.timelines().page(room, after, upto, limit + 1),
    };
    let found = match page.or(at_hand.as_ref()) {
        None => scanner.run(store, tx, limit + 1)?,
        Some(page) => match page
            .events
            .iter()
            .rev()
            .try_for_each(|event| scanner.feed(event))
        {
            ControlFlow::Continue(()) if page.limited => scanner.run(store, tx, STEP)?,
            _ => scanner.finish(),
        },
    };
    let mut events = found.events;
    events.reverse();
    Ok(Newest {
        events,
        limited_at: found.next,
    })
}

struct Scanner<K> {
    scan: Scan,
    keep: K,
    kept: Vec<Arc<Event>>,
    scanned: usize,
    next: Option<Place>,
    /// Whether nothing is wanted from before an event that followed what wasn't here.
    ends_at_gaps: bool,
}

impl<K: FnMut(&Event) -> bool> Scanner<K> {
    fn new(scan: &Scan, keep: K) -> Self {
        Self {
            scan: *scan,
            keep,
            kept: Vec::new(),
            scanned: 0,
            next: None,
            ends_at_gaps: false,
        }
    }

    fn run(self, store: &Store, tx: &mut Tx<'_>, first: usize) -> Result<Found, Error> {
        let Scan {
            room, direction, ..
        } = self.scan;
        let read = |stretch: Stretch, wanted: usize| {
            let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
            let events = store.timeline_page(tx, room, stretch, direction, wanted)?;
            Ok(Page { events, rest: None })
        };
        self.run_pages(read, first)
    }

    fn run_pages(
        mut self,
        mut read: impl FnMut(Stretch, usize) -> Result<Page, Error>,
        first: usize,
    ) -> Result<Found, Error> {
        let mut step = first;
        loop {
            let page = read(self.scan.stretch, step)?;
            let flow = page.events.iter().try_for_each(|event| self.feed(event));
            if flow.is_break() {
                return Ok(self.finish());
            }
            if page.events.len() < step {
                self.next = page.rest;
                return Ok(self.finish());
            }
            step = STEP;
        }
    }

    /// Looks at the next event; breaks when it is enough.
    fn feed(&mut self, event: &Arc<Event>) -> ControlFlow<()> {
        let Some(place) = event.place else {
            return ControlFlow::Continue(());
        };
        if (self.keep)(event) {
            if self.kept.len() >= self.scan.limit {
                let last = self.kept.last().and_then(|last| last.place);
                // Of none, the page ends where it starts.
                let end = last.map_or(self.start(), |last| self.scan.direction.beyond(last));
                self.next = Some(end);
                return ControlFlow::Break(());
            }
            self.kept.push(Arc::clone(event));
        }
        let boundary = self.scan.direction.beyond(place);
        match self.scan.direction {
            Direction::Backwards => self.scan.stretch.to = boundary,
            Direction::Forwards => self.scan.stretch.from = boundary,
        }
        self.scanned += 1;
        let ends = self.ends_at_gaps && event.after_gap;
        if self.scanned < MOST_SCANNED && !ends {
            return ControlFlow::Continue(());
        }
        self.next = Some(boundary);
        ControlFlow::Break(())
    }

    /// The boundary where what was not looked at yet starts, in the direction of the scan.
    fn start(&self) -> Place {
        match self.scan.direction {
            Direction::Backwards => self.scan.stretch.to,
            Direction::Forwards => self.scan.stretch.from,
        }
    }

    fn finish(self) -> Found {
        Found {
            events: self.kept,
            next: self.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use starling_store::RoomNum;
    use starling_store::timeline::{Direction, Page, START, Stretch, end_of};
    use starling_store::tokens::Place;

    use super::{Scan, scan_pages};

    #[test]
    fn a_short_page_is_not_the_end_where_there_may_be_more() {
        let scan = Scan {
            room: RoomNum(1),
            stretch: Stretch {
                from: START,
                to: end_of(20),
            },
            direction: Direction::Backwards,
            limit: 5,
        };
        let place = Place {
            major: 10,
            minor: 0,
        };
        for rest in [Some(place), None] {
            let read = |_: Stretch, _: usize| {
                Ok(Page {
                    events: Vec::new(),
                    rest,
                })
            };
            let found = scan_pages(&scan, read, |_| true).unwrap();
            assert_eq!(found.next, rest);
        }
    }
}
