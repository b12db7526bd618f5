//! `GET /_matrix/client/v1/rooms/{roomId}/threads`: the roots of a room's threads.
//! <https://spec.matrix.org/v1.19/client-server-api/#querying-threads-in-a-room>

use std::collections::HashMap;
use std::sync::Arc;

use ruma_common::OwnedRoomId;
use starling_db::Tx;
use starling_store::aggregations::threads_page;
use starling_store::events::Event;
use starling_store::history::Viewer;
use starling_store::timeline::end_of;
use starling_store::tokens::{Place, Token};

use crate::filter::DEFAULT_LIMIT;
use crate::json::Object;
use crate::reading::{FORMAT, Reading, page_limit};
use crate::scan::{MOST_SCANNED, STEP};
use crate::write;
use crate::{Error, Reader, Sync};

/// What a client asks of `/threads`.
#[derive(Debug, Clone)]
pub struct ThreadsRequest {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Whether only threads are wanted of which the reader has sent the root or an event.
    pub participated: bool,
    /// The token to start from; without one, from the thread in which something was said last.
    pub from: Option<String>,
    /// How many threads are wanted.
    pub limit: Option<u64>,
}

struct Job {
    reading: Reading,
    from: Option<Token>,
    participated: bool,
    limit: usize,
}

/// Some threads' roots.
#[derive(Debug, Default)]
struct Roots {
    events: Vec<Arc<Event>>,
    /// The boundary from which to go on, unless these are all.
    next: Option<Place>,
}

impl Sync {
    /// Answers `/threads`: a JSON object. A page may be empty although there is more: then it has a `next_batch`.
    ///
    /// # Errors
    /// [`Error::NotAToken`], [`Error::UnknownRoom`], [`Error::NotAllowed`], or [`Error::Db`].
    pub async fn threads(
        &self,
        reader: &Reader,
        request: ThreadsRequest,
    ) -> Result<Vec<u8>, Error> {
        let reading = self.reading(reader, &request.room_id).await?;
        let from = request.from.as_deref();
        let from = from
            .map(|text| self.token(text, reading.upto))
            .transpose()?;
        let job = Job {
            reading,
            from,
            participated: request.participated,
            limit: request.limit.map_or(DEFAULT_LIMIT, page_limit),
        };
        self.store.db().scan("threads", move |tx| job.run(tx)).await
    }
}

impl Job {
    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<u8>, Error> {
        let viewer = self.reading.viewer(tx)?;
        self.reading.end(tx, &viewer)?;
        let Roots { mut events, next } = if self.reading.snapshot.has_aggregations {
            self.roots(tx, &viewer)?
        } else {
            Roots::default()
        };
        let view = self.reading.view(tx, &viewer, &events, &[])?;
        // Of which the reader sees nothing but the root, that is no thread for them.
        events.retain(|event| view.has_thread(event.num));
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.key(&mut out, "chunk");
        write::events(&mut out, &view, &FORMAT, &viewer, &events);
        if let Some(next) = next {
            let next = self.reading.token_of(next).to_string();
            object.string(&mut out, "next_batch", &next);
        }
        out.push(b'}');
        Ok(out)
    }

    /// The roots that the reader may see, in the order of their threads' last events, the newest first.
    fn roots(&self, tx: &mut Tx<'_>, viewer: &Viewer) -> Result<Roots, Error> {
        let Reading {
            store,
            asker,
            snapshot,
            upto,
        } = &self.reading;
        let mut before = self.from.map_or(end_of(*upto), |token| token.boundary());
        let participant = self.participated.then_some(asker.user);
        let mut step = self.limit + 1;
        let (mut events, mut looked_at) = (Vec::new(), 0);
        loop {
            let most = i64::try_from(step).unwrap_or(i64::MAX);
            let page = threads_page(tx, snapshot.room, before, participant, most)?;
            let ids: Vec<&str> = page.iter().map(|(root, _)| &**root).collect();
            let roots = store.events_by_id(tx, &ids)?;
            let roots: HashMap<&str, &Arc<Event>> = roots
                .iter()
                // What an ignored user began is told, without what they said.
                .filter(|root| root.room == snapshot.room && viewer.may_see(root))
                .filter(|root| root.position().is_none_or(|position| position <= *upto))
                .map(|root| (root.pdu.event_id().as_str(), root))
                .collect();
            for (root, place) in &page {
                let Some(root) = roots.get(&**root) else {
                    before = *place;
                    continue;
                };
                if events.len() == self.limit {
                    return Ok(Roots {
                        events,
                        next: Some(before),
                    });
                }
                events.push(Arc::clone(root));
                before = *place;
            }
            looked_at += page.len();
            if page.len() < step {
                return Ok(Roots { events, next: None });
            }
            if looked_at >= MOST_SCANNED {
                return Ok(Roots {
                    events,
                    next: Some(before),
                });
            }
            step = STEP;
        }
    }
}
