//! Rooms that the reader is in.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_joined-room>

use starling_db::Tx;
use starling_store::KeyNum;
use starling_store::memberships::Membership;

use super::batch::{Batch, Pages};
use super::plan::Extent;
use super::room::{Part, Told};
use super::sent_members::Known;
use super::summary::Summary;
use super::{Scope, ephemeral, unread};
use crate::Error;
use crate::json::{self, Object};
use crate::state::{Changed, StateAt};

/// What there is to tell of the room.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) told: Told,
    summary: Option<Summary>,
    /// What the client knows of the members; `None` where the timeline has not grown.
    known: Option<Known>,
}

impl Joined {
    /// Finds out what to tell, if the reader is in the room; `extent` is `None` where the timeline has not grown. The
    /// state isn't filtered yet: its events are not read.
    pub(crate) fn read(
        scope: &Scope,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        (extent, batch): (Option<Extent>, &Batch),
    ) -> Result<Option<Self>, Error> {
        let at = StateAt::of_snapshot(&scope.store, tx, part.snapshot, scope.upto)?;
        let at = at.knowing(batch.deltas(part.snapshot.room));
        // What the listener hears may be of a room that the user has just left or is about to join.
        if at.membership(part.own) != Some(Membership::Join) {
            return Ok(None);
        }
        Ok(Some(match extent {
            Some(extent) => Self::grown(scope, tx, part, (&at, extent, batch))?,
            None => Self {
                told: Told::beside(scope, part),
                summary: None,
                known: None,
            },
        }))
    }

    /// Of a room that the reader is not in and looks into.
    pub(crate) fn peek(
        scope: &Scope,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        batch: &Batch,
    ) -> Result<Self, Error> {
        let at = StateAt::of_snapshot(&scope.store, tx, part.snapshot, scope.upto)?;
        Self::grown(scope, tx, part, (&at, Extent::ALL, batch))
    }

    /// Of a room whose timeline may have grown.
    fn grown(
        scope: &Scope,
        tx: &mut Tx<'_>,
        part: &Part<'_>,
        (at, extent, batch): (&StateAt, Extent, &Batch),
    ) -> Result<Self, Error> {
        let page = batch.page(part.snapshot.room);
        let timeline = scope.timeline(tx, part, (extent.after, scope.upto, page), None)?;
        let deltas = batch.deltas(part.snapshot.room);
        let deltas = deltas.map_or(&[][..], |(_, deltas)| deltas);
        let (summary, changed) = if extent.whole {
            (
                Some(Summary::whole(scope, tx, part, at)?),
                Changed::default(),
            )
        } else {
            let summary = Summary::changed(scope, tx, part, (at, deltas))?;
            (summary, Changed::of(deltas))
        };
        let heroes = summary.as_ref().map_or(&[][..], Summary::heroes);
        let known = scope.known_members(part, extent);
        let beside = (at, &timeline, extent);
        let state = scope.state_beside(tx, part, beside, &changed, (heroes, &known))?;
        let told = Told {
            after: extent.after,
            timeline,
            state,
            account_data: scope.room_account_data(part),
        };
        Ok(Self {
            told,
            summary,
            known: Some(known),
        })
    }

    /// Appends `"!room": {…}`, if there is something to tell that the filter lets through.
    pub(crate) fn write(
        mut self,
        scope: &Scope,
        tx: &mut Tx<'_>,
        (part, pages): (&Part<'_>, &Pages),
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.told.state = scope.filtered(tx, self.told.state, pages)?;
        let is_news = self.is_news()
            || part.ephemeral.is_some()
            || unread::is_news(part.recount, part.unread);
        if !is_news {
            return Ok(());
        }
        if let Some(known) = &self.known {
            scope.note_members(part, &self.told, known);
        }
        json::separate(out, 0);
        json::string(out, part.snapshot.room_id.as_str());
        out.push(b':');
        let mut room = Object::begin(out);
        scope.write_room(tx, (part, &self.told), pages, (out, &mut room))?;
        room.key(out, "ephemeral");
        ephemeral::write(out, part.ephemeral);
        if let Some(counts) = part.unread {
            unread::write(scope, out, &mut room, counts);
        }
        if let Some(summary) = &self.summary {
            room.key(out, "summary");
            summary.write(scope, tx, out)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// Who stands for the room.
    pub(crate) fn heroes(&self) -> &[KeyNum] {
        self.summary.as_ref().map_or(&[], Summary::heroes)
    }

    fn is_news(&self) -> bool {
        let Told {
            timeline,
            state,
            account_data,
            ..
        } = &self.told;
        !timeline.events.is_empty()
            || timeline.limited_at.is_some()
            || !state.is_empty()
            || !account_data.is_empty()
            || self.summary.is_some()
    }
}
