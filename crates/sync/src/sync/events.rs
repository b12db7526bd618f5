//! `GET /_matrix/client/v3/events`: the events after a token, of all rooms that the user is in or of one into which they
//! look. Older than `/sync`, and still the only way to follow a room without joining it.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events>

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ruma_common::{EventId, OwnedRoomId, RoomId};
use starling_bus::{Listener, Topic, Watch};
use starling_db::Tx;
use starling_store::RoomNum;
use starling_store::client_view::{Asker, ClientView};
use starling_store::events::{Event, Visibility};
use starling_store::history::Viewer;
use starling_store::memberships::{Membership, membership_read};
use starling_store::names::types;
use starling_store::timeline::{Direction, Stretch, end_of};
use starling_store::tokens::Token;

use super::plan::{Plan, Section};
use super::{MAX_TIMEOUT, Scope, SyncRequest, has_device_change};
use crate::json::{self, Object};
use crate::{Error, Reader, Sync};

/// So many events are told at once. What comes after them is told by the next answer.
const MOST_EVENTS: usize = 100;

/// So often it is looked for something to tell among events that the user isn't told, before an answer that has none: the
/// next one goes on from there.
const MOST_ROUNDS: usize = 10;

/// What a client asks of `/events`.
#[derive(Debug, Clone, Default)]
pub struct EventsRequest {
    /// The token up to which it was told all; without one it is told what happens from now on.
    pub from: Option<String>,
    /// The one room of which it wants to be told, whether the user is in it or not.
    pub room_id: Option<OwnedRoomId>,
    /// How long it waits for something to happen; never longer than [`MAX_TIMEOUT`].
    pub timeout: Duration,
}

/// One room that is asked for.
#[derive(Debug, Clone, Copy)]
struct One {
    room: RoomNum,
    is_joined: bool,
}

/// The events of one answer, oldest first.
struct News {
    events: Vec<Arc<Event>>,
    viewers: HashMap<RoomNum, Viewer>,
    /// All up to here is told.
    upto: i64,
}

impl Sync {
    /// Answers `/events`: a JSON object. When nothing has happened it waits, as [`Sync::sync`] does; as there, the caller
    /// checks the session again.
    ///
    /// # Errors
    /// [`Error::NotAToken`], [`Error::UnknownRoom`], [`Error::NotAllowed`] where the user may not look into the room, or
    /// [`Error::Db`].
    pub async fn events(&self, reader: &Reader, request: &EventsRequest) -> Result<Vec<u8>, Error> {
        let deadline = self.clock.monotonic() + request.timeout.min(MAX_TIMEOUT);
        let one = match &request.room_id {
            Some(room_id) => Some(self.look_into(reader, room_id).await?),
            None => None,
        };
        let (listener, _watch) = self.ear(reader, one).await?;
        let mut scope = self.scope(reader, &SyncRequest::default(), &listener);
        scope.to_device_after = None;
        let from = request.from.as_deref();
        let from = from.map(|from| self.token(from, scope.upto)).transpose()?;
        let start = from.map_or(scope.upto, |from| from.position());
        let mut since = start;
        let mut is_last = request.timeout.is_zero();
        let mut rounds = 0;
        loop {
            let changes = listener.changes_since(since);
            is_last |= changes.as_deref().is_some_and(has_device_change);
            scope.since = Some(since);
            let news = self.news(&scope, one, changes).await?;
            let all_read = news.upto >= scope.upto;
            if !news.events.is_empty() || (is_last && all_read) {
                return self.write_news(&scope, start, news).await;
            }
            since = news.upto;
            if !all_read {
                rounds += 1;
                if rounds == MOST_ROUNDS {
                    return self.write_news(&scope, start, news).await;
                }
                continue;
            }
            rounds = 0;
            if !self.wait(&scope, deadline).await {
                return self.write_news(&scope, start, news).await;
            }
            scope.go_on(self.bus.head(), self.clock.now_ms());
        }
    }

    /// Answers `GET /events/{eventId}`: the event, if there is one that the user may see.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn event(
        &self,
        reader: &Reader,
        event_id: &EventId,
    ) -> Result<Option<Vec<u8>>, Error> {
        let (store, wanted, head) = (self.store.clone(), event_id.to_owned(), self.bus.head());
        let asker = Asker {
            user: reader.user,
            device: reader.device,
            now_ms: self.clock.now_ms(),
        };
        let read = move |tx: &mut Tx<'_>| {
            let event = store.event_by_id(tx, &wanted)?;
            let is_told = |event: &Arc<Event>| event.position().is_none_or(|at| at <= head);
            let Some(event) = event.filter(is_told) else {
                return Ok(None);
            };
            let viewer = Viewer::load(tx, &store, asker.user, event.room)?;
            let row = membership_read(tx, asker.user, event.room)?;
            if row.is_some_and(|row| row.forgotten) || !viewer.sees(&event) {
                return Ok(None);
            }
            let view = ClientView::load(&store, tx, asker, [&event])?;
            let mut out = Vec::new();
            view.write(&mut out, &event, &viewer, true);
            Ok(Some(out))
        };
        self.store.db().read("one_event", read).await
    }

    /// A room that the user is in or that anyone may read.
    async fn look_into(&self, reader: &Reader, room_id: &RoomId) -> Result<One, Error> {
        let room = self.store.room_num(room_id).await?;
        let room = room.ok_or(Error::UnknownRoom)?;
        let snapshot = self.store.room(room).await?.ok_or(Error::UnknownRoom)?;
        let user = reader.user;
        let read = move |tx: &mut Tx<'_>| membership_read(tx, user, room);
        let row = self.store.db().read("events_membership", read).await?;
        let is_joined = row.is_some_and(|row| row.membership == Membership::Join);
        if is_joined || snapshot.visibility == Visibility::WorldReadable {
            Ok(One { room, is_joined })
        } else {
            Err(Error::NotAllowed)
        }
    }

    /// What hears of the rooms: of one into which the user only looks, a listener for this request.
    async fn ear(
        &self,
        reader: &Reader,
        one: Option<One>,
    ) -> Result<(Arc<Listener>, Option<Watch>), Error> {
        match one {
            Some(One {
                room,
                is_joined: false,
            }) => {
                let watch = self.bus.watch(room.0, self.clock.now_ms());
                Ok((Arc::clone(watch.listener()), Some(watch)))
            }
            _ => Ok((self.listener(reader).await?, None)),
        }
    }

    async fn news(
        &self,
        scope: &Scope,
        one: Option<One>,
        changes: Option<Vec<(i64, Topic)>>,
    ) -> Result<News, Error> {
        let rooms = if let Some(one) = one {
            vec![one.room]
        } else {
            let plan = Plan::make(scope, changes).await?;
            let grown = plan.rooms.into_iter();
            let grown = grown.filter(|(_, section)| !matches!(section, Section::Quiet));
            grown.map(|(room, _)| room).collect()
        };
        let is_nothing_new = scope.since.is_some_and(|since| since >= scope.upto);
        if rooms.is_empty() || is_nothing_new {
            return Ok(News {
                events: Vec::new(),
                viewers: HashMap::new(),
                upto: scope.upto,
            });
        }
        let is_peek = one.is_some_and(|one| !one.is_joined);
        let job = scope.clone();
        let read = move |tx: &mut Tx<'_>| read(&job, tx, &rooms, is_peek);
        self.store.db().scan("events", read).await
    }

    async fn write_news(&self, scope: &Scope, start: i64, news: News) -> Result<Vec<u8>, Error> {
        let scope = scope.clone();
        let write = move |tx: &mut Tx<'_>| scope.write_news(tx, start, &news);
        self.store.db().read("events_write", write).await
    }
}

impl Scope {
    fn write_news(&self, tx: &mut Tx<'_>, start: i64, news: &News) -> Result<Vec<u8>, Error> {
        let view = ClientView::load(&self.store, tx, self.asker, &news.events)?;
        let token = |position| {
            let epoch = self.store.epoch();
            Token::Sync { epoch, position }.to_string()
        };
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.key(&mut out, "chunk");
        out.push(b'[');
        let list = out.len();
        for event in &news.events {
            if let Some(viewer) = news.viewers.get(&event.room) {
                json::separate(&mut out, list);
                view.write(&mut out, event, viewer, true);
            }
        }
        out.push(b']');
        object.string(&mut out, "end", &token(news.upto));
        object.string(&mut out, "start", &token(start));
        out.push(b'}');
        Ok(out)
    }
}

/// The oldest events of some rooms after the client's token. Of rooms that the user is in: what they were in for, and
/// how they came and went. Of one into which they look: what they may see.
fn read(scope: &Scope, tx: &mut Tx<'_>, rooms: &[RoomNum], is_peek: bool) -> Result<News, Error> {
    let (store, user) = (&scope.store, scope.reader.user);
    let since = scope.since.unwrap_or_default();
    let viewers = Viewer::load_rooms(tx, store, user, rooms)?;
    let own = store.names().key(tx, scope.reader.user_id.as_str())?;
    let mut upto = scope.upto;
    let mut events: Vec<Arc<Event>> = Vec::new();
    for room in rooms {
        let page = match store.timelines().page(*room, since, upto, MOST_EVENTS) {
            Some(page) if !page.limited => page.events,
            _ => {
                let stretch = Stretch {
                    from: end_of(since),
                    to: end_of(upto),
                };
                let most = i64::try_from(MOST_EVENTS).unwrap_or(i64::MAX);
                let page = store.timeline_page(tx, *room, stretch, Direction::Forwards, most)?;
                if page.len() >= MOST_EVENTS {
                    // What other rooms have beyond the last of these is told later, in its turn.
                    let last = page.last().and_then(|last| last.place);
                    upto = last.map_or(upto, |last| last.major);
                }
                page
            }
        };
        events.extend(page);
    }
    let is_shown = |event: &Event| {
        let Some(viewer) = viewers.get(&event.room) else {
            return false;
        };
        let is_own = event.kind == types::MEMBER && event.key.is_some() && event.key == own;
        let is_here = is_peek || is_own || viewer.membership_at(event) == Membership::Join;
        is_here && viewer.sees(event)
    };
    let is_in_time = |event: &Event| event.position().is_some_and(|at| at <= upto);
    events.retain(|event| is_in_time(event) && is_shown(event));
    events.sort_unstable_by_key(|event| event.position());
    if events.len() > MOST_EVENTS {
        events.truncate(MOST_EVENTS);
        let last = events.last().and_then(|last| last.position());
        upto = last.unwrap_or(upto);
    }
    Ok(News {
        events,
        viewers,
        upto,
    })
}
