//! What joined and left rooms have in common: a timeline, and the state beside it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use starling_db::Tx;
use starling_store::account_data::AccountData;
use starling_store::client_view::ClientView;
use starling_store::events::Event;
use starling_store::history::Viewer;
use starling_store::names::types;
use starling_store::rooms::RoomSnapshot;
use starling_store::state_map::Entry;
use starling_store::timeline::{RecentPage, end_of};
use starling_store::tokens::Token;
use starling_store::unread::Unread;
use starling_store::{EventNum, KeyNum};

use super::batch::Pages;
use super::ephemeral::Ephemeral;
use super::plan::Extent;
use super::sent_members::Known;
use super::unread::Recount;
use super::{Beside, Scope, account_data};
use crate::Error;
use crate::json::{self, Object};
use crate::scan::{self, Newest};
use crate::state::{Changed, StateAt, Wanted, told};
use crate::write::{self, Format};

/// So many state events are read and written at once: it bounds the memory for a large room.
const STATE_STEP: usize = 500;

/// A room, and what of it belongs to the reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) snapshot: &'a RoomSnapshot,
    pub(crate) viewer: &'a Viewer,
    /// The state key of the reader's own member events.
    pub(crate) own: KeyNum,
    pub(crate) account_data: &'a [AccountData],
    pub(crate) ephemeral: Option<&'a Ephemeral>,
    /// What the reader has not read, if they are in the room.
    pub(crate) unread: Option<&'a Unread>,
    /// Why that is told in any case.
    pub(crate) recount: Option<Recount>,
}

/// What is told of the room.
#[derive(Debug)]
pub(crate) struct Told {
    /// Events up to here were told before.
    pub(crate) after: i64,
    pub(crate) timeline: Newest,
    pub(crate) state: Vec<Entry>,
    pub(crate) account_data: Vec<AccountData>,
}

impl Told {
    /// What stands beside a timeline that has not grown.
    pub(crate) fn beside(scope: &Scope, part: &Part<'_>) -> Self {
        Self {
            after: scope.since.unwrap_or_default(),
            timeline: Newest::nothing(),
            state: Vec::new(),
            account_data: scope.room_account_data(part),
        }
    }
}

impl Scope {
    /// The newest events of the room that the filter lets through and the reader may see, or whose own (the end of a
    /// membership) it is in any case.
    pub(crate) fn timeline(
        &self,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        (after, upto, page): (i64, i64, Option<&RecentPage>),
        own: Option<EventNum>,
    ) -> Result<Newest, Error> {
        let filter = &self.filter.room.timeline;
        if !filter.rooms.allows(part.snapshot.room_id.as_str()) {
            return Ok(Newest::nothing());
        }
        let keep = |event: &Event| {
            filter.matches(&event.pdu) && (own == Some(event.num) || part.viewer.sees(event))
        };
        let limit = filter.events.limit();
        let newest = scan::newest(
            &self.store,
            tx,
            (part.snapshot.room, after, upto),
            (limit.max(1), page),
            keep,
        )?;
        Ok(if limit > 0 || newest.events.is_empty() {
            newest
        } else {
            // Who wants no events is told that there are some.
            Newest {
                events: Vec::new(),
                limited_at: Some(end_of(upto)),
            }
        })
    }

    /// The state to tell beside the timeline. `changed` is what changed of it; with lazy loading the `heroes` are told
    /// of, and members that are `known` aren't.
    pub(crate) fn state_beside(
        &self,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        (at, timeline, extent): (&StateAt, &Newest, Extent),
        changed: &Changed,
        (heroes, known): (&[KeyNum], &Known),
    ) -> Result<Vec<Entry>, Error> {
        let filter = &self.filter.room.state;
        if !filter.rooms.allows(part.snapshot.room_id.as_str()) {
            return Ok(Vec::new());
        }
        let mut members: BTreeSet<KeyNum> = BTreeSet::new();
        if filter.lazy_load_members {
            members.extend(heroes);
            members.extend(extent.whole.then_some(part.own));
            let senders = timeline
                .events
                .iter()
                .map(|event| event.pdu.sender().as_str());
            members.extend(self.store.names().keys(tx, senders)?.into_values());
        }
        let wanted = Wanted {
            changed: (!extent.whole).then_some(changed),
            members: filter.lazy_load_members.then_some(&members),
            after: extent.after,
            state_after: self.beside != Beside::Before,
        };
        let mut state = told(&self.store, tx, at, &timeline.events, &wanted)?;
        if filter.lazy_load_members && !filter.include_redundant_members {
            // What has changed since the client's token is told in any case.
            let is_known = |entry: &Entry| {
                entry.kind == types::MEMBER && !changed.has(entry.event) && known.has(entry.event)
            };
            state.retain(|entry| !is_known(entry));
        }
        Ok(state)
    }

    /// What the client knows of the room's members, where that matters.
    pub(crate) fn known_members(&self, part: &Part<'_>, extent: Extent) -> Known {
        if extent.whole || !self.filter.room.state.lazy_load_members {
            // A client that is told the whole room is told of all its members that matter.
            return Known::default();
        }
        let room = part.snapshot.room;
        let asked = (self.filter.fingerprint, extent.after);
        self.sent_members.known(self.reader.device, room, asked)
    }

    /// Notes which members are told of besides those that are `known`.
    pub(crate) fn note_members(&self, part: &Part<'_>, told: &Told, known: &Known) {
        if !self.filter.room.state.lazy_load_members {
            return;
        }
        let members = told
            .state
            .iter()
            .filter(|entry| entry.kind == types::MEMBER);
        let mut members: Vec<EventNum> = members.map(|entry| entry.event).collect();
        if self.beside == Beside::Before {
            // Else the client takes no state from the timeline.
            let events = told.timeline.events.iter();
            let events = events.filter(|event| event.kind == types::MEMBER);
            let events = events.filter(|event| event.key.is_some());
            members.extend(events.map(|event| event.num));
        }
        let of = (self.reader.device, part.snapshot.room);
        let asked = (self.filter.fingerprint, self.upto);
        self.sent_members.note(of, known, &members, asked);
    }

    /// Those of `state` that the filter lets through.
    pub(crate) fn filtered(
        &self,
        tx: &mut Tx<'_>,
        state: Vec<Entry>,
        pages: &Pages,
    ) -> Result<Vec<Entry>, Error> {
        let filter = &self.filter.room.state;
        if filter.matches_all() {
            return Ok(state);
        }
        let mut wanted = Vec::new();
        for step in state.chunks(STATE_STEP) {
            let numbers = numbers(step);
            let events = match pages.get(&numbers) {
                Some(events) => events,
                None => self.store.events_read(tx, &numbers)?,
            };
            let events: HashMap<EventNum, Arc<Event>> =
                events.into_iter().map(|event| (event.num, event)).collect();
            let matches = |entry: &&Entry| {
                let event = events.get(&entry.event);
                event.is_some_and(|event| filter.matches(&event.pdu))
            };
            wanted.extend(step.iter().filter(matches));
        }
        Ok(wanted)
    }

    /// The reader's data for the room that the filter lets through.
    pub(crate) fn room_account_data(&self, part: &Part<'_>) -> Vec<AccountData> {
        let filter = &self.filter.room.account_data;
        if !filter.rooms.allows(part.snapshot.room_id.as_str()) {
            return Vec::new();
        }
        account_data::wanted(
            part.account_data,
            &filter.events,
            self.reader.user_id.as_str(),
        )
    }

    /// Writes the members that joined and left rooms have in common.
    pub(crate) fn write_room(
        &self,
        tx: &mut Tx<'_>,
        (part, told): (&Part<'_>, &Told),
        pages: &Pages,
        (out, room): (&mut Vec<u8>, &mut Object),
    ) -> Result<(), Error> {
        room.key(out, "account_data");
        account_data::write(out, &told.account_data);
        room.key(out, self.beside.name());
        out.extend_from_slice(b"{\"events\":");
        self.write_state(tx, part, (&told.state, pages), out)?;
        out.push(b'}');
        room.key(out, "timeline");
        self.write_timeline(part, told, pages.view(), out);
        Ok(())
    }

    /// The boundary before the timeline.
    pub(crate) fn prev_batch(&self, told: &Told) -> Token {
        let epoch = self.store.epoch();
        match told.timeline.limited_at {
            Some(place) => Token::Before { epoch, place },
            None => Token::Sync {
                epoch,
                position: told.after,
            },
        }
    }

    fn write_timeline(&self, part: &Part<'_>, told: &Told, view: &ClientView, out: &mut Vec<u8>) {
        let before = self.prev_batch(told);
        let mut object = Object::begin(out);
        object.key(out, "events");
        self.write_events(part, view, &told.timeline.events, out);
        object.key(out, "limited");
        out.extend_from_slice(if told.timeline.limited_at.is_some() {
            b"true"
        } else {
            b"false"
        });
        object.string(out, "prev_batch", &before.to_string());
        out.push(b'}');
    }

    /// Appends `[…]`.
    pub(crate) fn write_state(
        &self,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        (state, pages): (&[Entry], &Pages),
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        out.push(b'[');
        let start = out.len();
        for step in state.chunks(STATE_STEP) {
            let mut page = Vec::new();
            let numbers = numbers(step);
            if let Some(events) = pages.get(&numbers) {
                self.write_events(part, pages.view(), &events, &mut page);
            } else {
                let events = self.store.events_read(tx, &numbers)?;
                let view = ClientView::load(&self.store, tx, self.asker, &events)?;
                self.write_events(part, &view, &events, &mut page);
            }
            let inside = page
                .strip_prefix(b"[")
                .and_then(|page| page.strip_suffix(b"]"))
                .unwrap_or_default();
            if !inside.is_empty() {
                json::separate(out, start);
                out.extend_from_slice(inside);
            }
        }
        out.push(b']');
        Ok(())
    }

    /// Appends `[…]`.
    pub(crate) fn write_events(
        &self,
        part: &Part<'_>,
        view: &ClientView,
        page: &[Arc<Event>],
        out: &mut Vec<u8>,
    ) {
        let format = Format {
            shape: self.filter.event_format,
            fields: self.filter.event_fields.as_ref(),
            room_id: self.has_room_ids,
        };
        write::events(out, view, &format, part.viewer, page);
    }
}

fn numbers(state: &[Entry]) -> Vec<EventNum> {
    state.iter().map(|entry| entry.event).collect()
}
