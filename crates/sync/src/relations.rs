//! `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}` and its narrower forms: the events that relate to one.
//! <https://spec.matrix.org/v1.19/client-server-api/#relationships-api>

use ruma_common::{OwnedEventId, OwnedRoomId};
use starling_db::Tx;
use starling_store::events::Event;
use starling_store::history::Viewer;
use starling_store::relations::{MAX_DEPTH, Recursion, RelationsOf};
use starling_store::timeline::{Direction, end_of};
use starling_store::tokens::Token;

use crate::filter::DEFAULT_LIMIT;
use crate::json::Object;
use crate::reading::{FORMAT, Reading, page_limit, stretch};
use crate::scan::{Found, Scan, scan_pages};
use crate::write;
use crate::{Error, Reader, Sync};

/// What a client asks of `/relations`.
#[derive(Debug, Clone)]
pub struct RelationsRequest {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The event that those which are wanted relate to.
    pub event_id: OwnedEventId,
    /// Only those that relate to it in this way.
    pub rel_type: Option<String>,
    /// Only those of this type.
    pub event_type: Option<String>,
    /// The token to start from; without one, from the end of the room that lies in this direction.
    pub from: Option<String>,
    /// The token to stop at.
    pub to: Option<String>,
    /// Which way to go.
    pub direction: Direction,
    /// How many events are wanted.
    pub limit: Option<u64>,
    /// Whether those are wanted too that relate to such events, if the client says: then it is told how deep that goes.
    pub recurse: Option<bool>,
}

struct Job {
    reading: Reading,
    from: Option<Token>,
    to: Option<Token>,
    limit: usize,
    request: RelationsRequest,
}

impl Sync {
    /// Answers `/relations`: a JSON object.
    ///
    /// # Errors
    /// [`Error::NotAToken`], [`Error::UnknownRoom`], [`Error::NotFound`] when there is no such event that the reader may
    /// see, or [`Error::Db`].
    pub async fn relations(
        &self,
        reader: &Reader,
        request: RelationsRequest,
    ) -> Result<Vec<u8>, Error> {
        let reading = self.reading(reader, &request.room_id).await?;
        let token = |text: &Option<String>| {
            let text = text.as_deref();
            text.map(|text| self.token(text, reading.upto)).transpose()
        };
        let job = Job {
            from: token(&request.from)?,
            to: token(&request.to)?,
            limit: request.limit.map_or(DEFAULT_LIMIT, page_limit),
            reading,
            request,
        };
        self.store
            .db()
            .scan("relations", move |tx| job.run(tx))
            .await
    }
}

impl Job {
    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<u8>, Error> {
        let viewer = self.reading.viewer(tx)?;
        self.reading.event(tx, &viewer, &self.request.event_id)?;
        let found = self.found(tx, &viewer)?;
        let view = self.reading.view(tx, &viewer, &found.events, &[])?;
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.key(&mut out, "chunk");
        write::events(&mut out, &view, &FORMAT, &viewer, &found.events);
        if let Some(next) = found.next {
            let next = self.reading.token_of(next).to_string();
            object.string(&mut out, "next_batch", &next);
        }
        if let Some(from) = self.from {
            object.string(&mut out, "prev_batch", &from.to_string());
        }
        if let Some(recurse) = self.request.recurse {
            object.key(&mut out, "recursion_depth");
            let depth = if recurse { MAX_DEPTH } else { 1 };
            out.extend_from_slice(depth.to_string().as_bytes());
        }
        out.push(b'}');
        Ok(out)
    }

    fn found(&self, tx: &mut Tx<'_>, viewer: &Viewer) -> Result<Found, Error> {
        let Reading {
            store,
            snapshot,
            upto,
            ..
        } = &self.reading;
        let RelationsRequest {
            event_id,
            rel_type,
            event_type,
            direction,
            recurse,
            ..
        } = &self.request;
        let kind = match event_type {
            Some(name) => Some(store.names().kind(tx, name)?),
            None => None,
        };
        let stretch = stretch(*direction, self.from, self.to, end_of(*upto));
        // Of a type that nobody has ever sent there are none.
        if kind == Some(None) || stretch.from >= stretch.to {
            return Ok(Found {
                events: Vec::new(),
                next: None,
            });
        }
        let wanted = RelationsOf {
            room: snapshot.room,
            target: event_id,
            rel_type: rel_type.as_deref(),
            kind: kind.flatten(),
            recurse: recurse.unwrap_or(false).then(Recursion::default),
        };
        let plan = Scan {
            room: snapshot.room,
            stretch,
            direction: *direction,
            limit: self.limit,
        };
        scan_pages(
            &plan,
            |stretch, limit| Ok(store.relations_page(tx, &wanted, (stretch, *direction), limit)?),
            |event: &Event| viewer.sees(event),
        )
    }
}
