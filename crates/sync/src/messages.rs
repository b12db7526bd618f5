//! `GET /_matrix/client/v3/rooms/{roomId}/messages`: pages of a room's history.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>

use ruma_common::OwnedRoomId;
use starling_db::Tx;
use starling_store::events::Event;
use starling_store::history::Viewer;
use starling_store::timeline::Direction;
use starling_store::tokens::Token;

use crate::json::Object;
use crate::reading::{self, FORMAT, Reading, page_limit};
use crate::scan::{Found, Scan, scan};
use crate::write;
use crate::{Error, Reader, RoomEventFilter, Sync};

/// What a client asks of `/messages`.
#[derive(Debug, Clone)]
pub struct MessagesRequest {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The token to start from, of either kind; without one, from the end of the room that lies in this direction.
    pub from: Option<String>,
    /// The token to stop at.
    pub to: Option<String>,
    /// Which way to go.
    pub direction: Direction,
    /// How many events are wanted, if the client says: at most [`MAX_LIMIT`](crate::filter::MAX_LIMIT). Else the filter's limit counts.
    pub limit: Option<u64>,
    /// Which events are wanted.
    pub filter: RoomEventFilter,
}

/// One request.
struct Job {
    reading: Reading,
    from: Option<Token>,
    to: Option<Token>,
    direction: Direction,
    limit: usize,
    filter: RoomEventFilter,
}

impl Sync {
    /// Answers `/messages`: a JSON object. A page may be empty although there is more: then it has an `end`.
    ///
    /// # Errors
    /// [`Error::NotAToken`], [`Error::UnknownRoom`], [`Error::NotAllowed`], or [`Error::Db`].
    pub async fn messages(
        &self,
        reader: &Reader,
        request: MessagesRequest,
    ) -> Result<Vec<u8>, Error> {
        let reading = self.reading(reader, &request.room_id).await?;
        let token = |text: &Option<String>| {
            let text = text.as_deref();
            text.map(|text| self.token(text, reading.upto)).transpose()
        };
        let (from, to) = (token(&request.from)?, token(&request.to)?);
        let limit = match request.limit {
            Some(limit) => page_limit(limit),
            None => request.filter.events.limit(),
        };
        let job = Job {
            reading,
            from,
            to,
            direction: request.direction,
            limit,
            filter: request.filter,
        };
        self.store
            .db()
            .scan("messages", move |tx| job.run(tx))
            .await
    }
}

impl Job {
    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<u8>, Error> {
        let reading = &self.reading;
        let viewer = reading.viewer(tx)?;
        let end = reading.end(tx, &viewer)?;
        let stretch = reading::stretch(self.direction, self.from, self.to, end);
        let is_wanted = self.filter.rooms.allows(reading.snapshot.room_id.as_str());
        let found = if is_wanted && stretch.from < stretch.to {
            let plan = Scan {
                room: reading.snapshot.room,
                stretch,
                direction: self.direction,
                limit: self.limit,
            };
            scan(&reading.store, tx, &plan, |event: &Event| {
                self.filter.matches(&event.pdu) && viewer.sees(event)
            })?
        } else {
            Found {
                events: Vec::new(),
                next: None,
            }
        };
        let start = match self.direction {
            Direction::Backwards => stretch.to,
            Direction::Forwards => stretch.from,
        };
        let start = self.from.unwrap_or_else(|| reading.token_of(start));
        self.write(tx, &viewer, &found, start)
    }

    fn write(
        &self,
        tx: &mut Tx<'_>,
        viewer: &Viewer,
        found: &Found,
        start: Token,
    ) -> Result<Vec<u8>, Error> {
        let reading = &self.reading;
        let members = if self.filter.lazy_load_members {
            Some(reading.members(tx, &found.events)?)
        } else {
            None
        };
        let others = members.as_deref().unwrap_or_default();
        let view = reading.view(tx, viewer, &found.events, others)?;
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.key(&mut out, "chunk");
        write::events(&mut out, &view, &FORMAT, viewer, &found.events);
        if let Some(next) = found.next {
            object.string(&mut out, "end", &reading.token_of(next).to_string());
        }
        object.string(&mut out, "start", &start.to_string());
        if let Some(members) = members {
            object.key(&mut out, "state");
            write::events(&mut out, &view, &FORMAT, viewer, &members);
        }
        out.push(b'}');
        Ok(out)
    }
}
