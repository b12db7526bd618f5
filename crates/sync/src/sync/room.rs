//! What joined and left rooms have in common: a timeline, and the state beside it.

use std::collections::BTreeSet;
use std::sync::Arc;

use starling_db::Tx;
use starling_store::account_data::AccountData;
use starling_store::events::Event;
use starling_store::history::Viewer;
use starling_store::names::types;
use starling_store::receipts::Receipt;
use starling_store::rooms::RoomSnapshot;
use starling_store::tokens::Token;
use starling_store::{EventNum, KeyNum};

use super::plan::Extent;
use super::{Scope, account_data};
use crate::Error;
use crate::json::{self, Object};
use crate::scan::{self, Newest};
use crate::state::{Key, StateAt, Wanted, told};
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
    pub(crate) receipts: &'a [Receipt],
}

/// What is told of the room.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) timeline: Newest,
    pub(crate) state: Vec<EventNum>,
    pub(crate) account_data: Vec<AccountData>,
}

impl Told {
    /// What stands beside a timeline that has not grown.
    pub(crate) fn beside(scope: &Scope, part: &Part<'_>) -> Self {
        Self {
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
        (after, upto): (i64, i64),
        own: Option<EventNum>,
    ) -> Result<Newest, Error> {
        let filter = &self.filter.room.timeline;
        if !filter.rooms.allows(part.snapshot.room_id.as_str()) {
            return Ok(Newest {
                events: Vec::new(),
                limited_at: None,
                stateless: false,
            });
        }
        let keep = |event: &Event| {
            filter.matches(&event.pdu) && (own == Some(event.num) || part.viewer.sees(event))
        };
        scan::newest(
            &self.store,
            tx,
            (part.snapshot.room, after, upto),
            filter.events.limit(),
            keep,
        )
    }

    /// The state to tell beside the timeline. `changed` are the keys that changed; `heroes` are told with lazy loading.
    pub(crate) fn state_beside(
        &self,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        (at, timeline, extent): (&StateAt, &Newest, Extent),
        changed: &BTreeSet<Key>,
        heroes: &[KeyNum],
    ) -> Result<Vec<EventNum>, Error> {
        let filter = &self.filter.room.state;
        if !filter.rooms.allows(part.snapshot.room_id.as_str()) {
            return Ok(Vec::new());
        }
        let mut members: BTreeSet<KeyNum> = BTreeSet::new();
        if filter.lazy_load_members {
            members.extend(heroes);
            members.extend(extent.whole.then_some(part.own));
            for event in &timeline.events {
                members.extend(self.store.names().key(tx, event.pdu.sender().as_str())?);
            }
        }
        let wanted = Wanted {
            changed: (!extent.whole).then_some(changed),
            members: filter.lazy_load_members.then_some(&members),
            after: extent.after,
            state_after: self.use_state_after,
        };
        let state = told(&self.store, tx, at, &timeline.events, &wanted)?;
        self.filtered(tx, state)
    }

    /// Those of `state` that the filter lets through.
    fn filtered(&self, tx: &mut Tx<'_>, state: Vec<EventNum>) -> Result<Vec<EventNum>, Error> {
        let filter = &self.filter.room.state;
        if filter.matches_all() {
            return Ok(state);
        }
        let mut wanted = Vec::new();
        for step in state.chunks(STATE_STEP) {
            let events = self.store.events_read(tx, step)?;
            wanted.extend(
                events
                    .iter()
                    .filter(|event| filter.matches(&event.pdu))
                    .map(|event| event.num),
            );
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
        part: &Part<'_>,
        told: &Told,
        after: i64,
        (out, room): (&mut Vec<u8>, &mut Object),
    ) -> Result<(), Error> {
        room.key(out, "account_data");
        account_data::write(out, &told.account_data);
        room.key(
            out,
            if self.use_state_after {
                "state_after"
            } else {
                "state"
            },
        );
        self.write_state(tx, part, &told.state, out)?;
        room.key(out, "timeline");
        self.write_timeline(tx, part, &told.timeline, after, out)
    }

    fn write_timeline(
        &self,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        timeline: &Newest,
        after: i64,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let epoch = self.store.epoch();
        let before = match timeline.limited_at {
            Some(place) => Token::Before { epoch, place },
            None => Token::Sync {
                epoch,
                position: after,
            },
        };
        let mut object = Object::begin(out);
        object.key(out, "events");
        self.write_events(tx, part, &timeline.events, out)?;
        object.key(out, "limited");
        out.extend_from_slice(if timeline.limited_at.is_some() {
            b"true"
        } else {
            b"false"
        });
        object.string(out, "prev_batch", &before.to_string());
        out.push(b'}');
        Ok(())
    }

    fn write_state(
        &self,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        state: &[EventNum],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        out.extend_from_slice(b"{\"events\":[");
        let start = out.len();
        for step in state.chunks(STATE_STEP) {
            let events = self.store.events_read(tx, step)?;
            let mut page = Vec::new();
            self.write_events(tx, part, &events, &mut page)?;
            let inside = page
                .strip_prefix(b"[")
                .and_then(|page| page.strip_suffix(b"]"))
                .unwrap_or_default();
            if !inside.is_empty() {
                json::separate(out, start);
                out.extend_from_slice(inside);
            }
        }
        out.extend_from_slice(b"]}");
        Ok(())
    }

    fn write_events(
        &self,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        page: &[Arc<Event>],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let format = Format {
            asker: self.asker,
            shape: self.filter.event_format,
            fields: self.filter.event_fields.as_ref(),
            room_id: false,
        };
        write::events(out, &self.store, tx, &format, part.viewer, page)
    }
}

/// Whether one of the keys is a member's.
pub(crate) fn has_member(changed: &BTreeSet<Key>) -> bool {
    changed.iter().any(|(kind, _)| *kind == types::MEMBER)
}
