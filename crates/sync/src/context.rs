//! `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`: an event, and what was said around it.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid>

use std::sync::Arc;

use ruma_common::{OwnedEventId, OwnedRoomId};
use starling_db::Tx;
use starling_store::EventNum;
use starling_store::client_view::ClientView;
use starling_store::events::Event;
use starling_store::history::Viewer;
use starling_store::names::types;
use starling_store::timeline::{Direction, START, Stretch, end_of};
use starling_store::tokens::Place;

use crate::filter::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::json::{self, Object};
use crate::reading::{FORMAT, Reading};
use crate::scan::{Scan, scan};
use crate::state::StateAt;
use crate::write;
use crate::{Error, Reader, RoomEventFilter, Sync};

/// So many state events are read and written at once: it bounds the memory for a large room.
const STATE_STEP: usize = 500;

/// What a client asks of `/context`.
#[derive(Debug, Clone)]
pub struct ContextRequest {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The event.
    pub event_id: OwnedEventId,
    /// How many events are wanted around it, before and after together: at most [`MAX_LIMIT`], also none.
    pub limit: Option<u64>,
    /// Which events are wanted around it, and which state.
    pub filter: RoomEventFilter,
}

struct Job {
    reading: Reading,
    event_id: OwnedEventId,
    limit: usize,
    filter: RoomEventFilter,
}

/// The event, and those around it.
struct Around {
    event: Arc<Event>,
    /// The event, those before it, newest first, those after it, oldest first.
    all: Vec<Arc<Event>>,
    /// How many of them are before it.
    before: usize,
    /// The boundaries before and behind all of them.
    ends: (Place, Place),
}

impl Sync {
    /// Answers `/context`: a JSON object.
    ///
    /// # Errors
    /// [`Error::UnknownRoom`], [`Error::NotFound`] when there is no such event that the reader may see, or [`Error::Db`].
    pub async fn context(
        &self,
        reader: &Reader,
        request: ContextRequest,
    ) -> Result<Vec<u8>, Error> {
        let limit = request.limit.map_or(DEFAULT_LIMIT, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX).min(MAX_LIMIT)
        });
        let job = Job {
            reading: self.reading(reader, &request.room_id).await?,
            event_id: request.event_id,
            limit,
            filter: request.filter,
        };
        self.store.db().scan("context", move |tx| job.run(tx)).await
    }
}

impl Job {
    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<u8>, Error> {
        let reading = &self.reading;
        let viewer = reading.viewer(tx)?;
        let around = self.around(tx, &viewer)?;
        let view = reading.view(tx, &viewer, &around.all, &[])?;
        let (before, after) = around
            .all
            .get(1..)
            .unwrap_or_default()
            .split_at(around.before);
        let (start, end) = around.ends;
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.string(&mut out, "end", &reading.token_of(end).to_string());
        object.key(&mut out, "event");
        view.write(&mut out, &around.event, &viewer, true);
        object.key(&mut out, "events_after");
        write::events(&mut out, &view, &FORMAT, &viewer, after);
        object.key(&mut out, "events_before");
        write::events(&mut out, &view, &FORMAT, &viewer, before);
        object.string(&mut out, "start", &reading.token_of(start).to_string());
        object.key(&mut out, "state");
        self.write_state(tx, &viewer, &around, &mut out)?;
        out.push(b'}');
        Ok(out)
    }

    fn around(&self, tx: &mut Tx<'_>, viewer: &Viewer) -> Result<Around, Error> {
        let reading = &self.reading;
        let (event, place) = reading.event(tx, viewer, &self.event_id)?;
        let behind = Place {
            minor: place.minor + 1,
            ..place
        };
        let stretches = [
            (START, place, Direction::Backwards, self.limit / 2),
            (
                behind,
                end_of(reading.upto),
                Direction::Forwards,
                self.limit - self.limit / 2,
            ),
        ];
        let mut all = vec![Arc::clone(&event)];
        let mut before = 0;
        let mut ends = (place, behind);
        for (from, to, direction, limit) in stretches {
            let plan = Scan {
                room: reading.snapshot.room,
                stretch: Stretch { from, to },
                direction,
                limit,
            };
            let found = self.scan(tx, viewer, &plan)?;
            let last = found.last().and_then(|event| event.place);
            match (direction, last) {
                (Direction::Backwards, last) => {
                    before = found.len();
                    ends.0 = last.unwrap_or(place);
                }
                (Direction::Forwards, Some(last)) => {
                    ends.1 = Place {
                        minor: last.minor + 1,
                        ..last
                    };
                }
                (Direction::Forwards, None) => {}
            }
            all.extend(found);
        }
        Ok(Around {
            event,
            all,
            before,
            ends,
        })
    }

    /// The events of a stretch that the filter lets through and the reader may see.
    fn scan(
        &self,
        tx: &mut Tx<'_>,
        viewer: &Viewer,
        plan: &Scan,
    ) -> Result<Vec<Arc<Event>>, Error> {
        if plan.limit == 0 || !self.wants_room() {
            return Ok(Vec::new());
        }
        let found = scan(&self.reading.store, tx, plan, |event: &Event| {
            self.filter.matches(&event.pdu) && viewer.sees(event)
        })?;
        Ok(found.events)
    }

    fn wants_room(&self) -> bool {
        let room_id = &self.reading.snapshot.room_id;
        self.filter.rooms.allows(room_id.as_str())
    }

    /// Appends `[…]`, the state after the last of the events: who may see that event may see it.
    fn write_state(
        &self,
        tx: &mut Tx<'_>,
        viewer: &Viewer,
        around: &Around,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let numbers = if self.wants_room() {
            self.state(tx, around)?
        } else {
            Vec::new()
        };
        let reading = &self.reading;
        out.push(b'[');
        let start = out.len();
        for step in numbers.chunks(STATE_STEP) {
            let mut events = reading.store.events_read(tx, step)?;
            events.retain(|event| self.filter.matches(&event.pdu));
            let view = ClientView::load(&reading.store, tx, reading.asker, &events)?;
            for event in &events {
                json::separate(out, start);
                view.write(out, event, viewer, true);
            }
        }
        out.push(b']');
        Ok(())
    }

    /// The state after the last of the events; with lazy loading only the members who sent some of them.
    fn state(&self, tx: &mut Tx<'_>, around: &Around) -> Result<Vec<EventNum>, Error> {
        let reading = &self.reading;
        let last = around.all.iter().max_by_key(|event| event.place);
        let last = last.unwrap_or(&around.event);
        let is_last = |position: &i64| *position >= reading.snapshot.last_position;
        let at = match last.position().filter(is_last) {
            Some(position) => {
                StateAt::of_snapshot(&reading.store, tx, &reading.snapshot, position)?
            }
            None => StateAt::after(tx, last)?,
        };
        let mut numbers: Vec<EventNum> = if self.filter.lazy_load_members {
            let senders = around.all.iter().map(|event| event.pdu.sender().as_str());
            let senders = reading.store.names().keys(tx, senders)?;
            let members = senders.into_values();
            let members = members.filter_map(|key| at.get((types::MEMBER, key)));
            let others = at.entries().filter(|entry| entry.kind != types::MEMBER);
            others.chain(members).map(|entry| entry.event).collect()
        } else {
            at.entries().map(|entry| entry.event).collect()
        };
        numbers.sort_unstable();
        Ok(numbers)
    }
}
