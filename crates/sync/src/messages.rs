//! `GET /_matrix/client/v3/rooms/{roomId}/messages`: pages of a room's history.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>

use std::collections::BTreeSet;
use std::sync::Arc;

use ruma_common::OwnedRoomId;
use starling_db::Tx;
use starling_store::client_view::{Asker, ClientView};
use starling_store::events::{Event, Visibility};
use starling_store::history::Viewer;
use starling_store::memberships::{Membership, membership_read};
use starling_store::names::types;
use starling_store::rooms::RoomSnapshot;
use starling_store::timeline::{Direction, START, Stretch, end_of};
use starling_store::tokens::{NotAToken, Place, Token};
use starling_store::{EventNum, Store};

use crate::filter::{EventFormat, MAX_LIMIT};
use crate::json::Object;
use crate::scan::{Found, Scan, scan};
use crate::state::{Key, held};
use crate::write::{self, Format};
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
    /// How many events are wanted, if the client says: at most [`MAX_LIMIT`]. Else the filter's limit counts.
    pub limit: Option<u64>,
    /// Which events are wanted.
    pub filter: RoomEventFilter,
}

/// One request, as of one position.
struct Job {
    store: Store,
    asker: Asker,
    snapshot: Arc<RoomSnapshot>,
    from: Option<Token>,
    to: Option<Token>,
    direction: Direction,
    limit: usize,
    filter: RoomEventFilter,
    upto: i64,
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
        let upto = self.bus.head();
        let token = |text: &Option<String>| {
            text.as_deref()
                .map(|text| self.token(text, upto))
                .transpose()
        };
        let (from, to) = (token(&request.from)?, token(&request.to)?);
        let room = self
            .store
            .room_num(&request.room_id)
            .await?
            .ok_or(Error::UnknownRoom)?;
        let limit = match request.limit {
            Some(limit) => usize::try_from(limit)
                .unwrap_or(usize::MAX)
                .clamp(1, MAX_LIMIT),
            None => request.filter.events.limit(),
        };
        let job = Job {
            store: self.store.clone(),
            asker: Asker {
                user: reader.user,
                device: reader.device,
                now_ms: self.clock.now_ms(),
            },
            snapshot: self.store.room(room).await?.ok_or(Error::UnknownRoom)?,
            from,
            to,
            direction: request.direction,
            limit,
            filter: request.filter,
            upto,
        };
        self.store
            .db()
            .scan("messages", move |tx| job.run(tx))
            .await
    }

    /// A token of this time.
    fn token(&self, text: &str, upto: i64) -> Result<Token, NotAToken> {
        let token = Token::parse(text)?;
        let is_known = token.epoch() == self.store.epoch() && token.position() <= upto;
        is_known.then_some(token).ok_or(NotAToken)
    }
}

impl Job {
    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<u8>, Error> {
        let viewer = Viewer::load(tx, &self.store, self.asker.user, self.snapshot.room)?;
        let end = self.end(tx, &viewer)?;
        let boundary = |token: &Option<Token>| token.as_ref().map(Token::boundary);
        let (from, to) = (boundary(&self.from), boundary(&self.to));
        let stretch = match self.direction {
            Direction::Backwards => Stretch {
                from: to.unwrap_or(START),
                to: from.unwrap_or(end).min(end),
            },
            Direction::Forwards => Stretch {
                from: from.unwrap_or(START),
                to: to.unwrap_or(end).min(end),
            },
        };
        let is_wanted = self.filter.rooms.allows(self.snapshot.room_id.as_str());
        let found = if is_wanted && stretch.from < stretch.to {
            let plan = Scan {
                room: self.snapshot.room,
                stretch,
                direction: self.direction,
                limit: self.limit,
            };
            scan(&self.store, tx, &plan, |event: &Event| {
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
        self.write(
            tx,
            &viewer,
            &found,
            self.from.unwrap_or_else(|| self.token_of(start)),
        )
    }

    /// The boundary behind the last event that the reader may see.
    fn end(&self, tx: &mut Tx<'_>, viewer: &Viewer) -> Result<Place, Error> {
        let row = membership_read(tx, self.asker.user, self.snapshot.room)?;
        let membership = row.map(|row| row.membership);
        if membership == Some(Membership::Join)
            || self.snapshot.visibility == Visibility::WorldReadable
        {
            return Ok(end_of(self.upto));
        }
        let row = row
            .filter(|row| viewer.ever_joined() && !row.forgotten)
            .ok_or(Error::NotAllowed)?;
        Ok(Place {
            major: row.event.0,
            minor: 1,
        }
        .min(end_of(self.upto)))
    }

    /// The token that names a boundary.
    fn token_of(&self, place: Place) -> Token {
        let epoch = self.store.epoch();
        if place.minor == i64::MIN {
            Token::Sync {
                epoch,
                position: (place.major - 1).max(0),
            }
        } else {
            Token::Before { epoch, place }
        }
    }

    fn write(
        &self,
        tx: &mut Tx<'_>,
        viewer: &Viewer,
        found: &Found,
        start: Token,
    ) -> Result<Vec<u8>, Error> {
        let format = Format {
            shape: EventFormat::Client,
            fields: None,
            room_id: true,
        };
        let members = if self.filter.lazy_load_members {
            Some(self.members(tx, &found.events)?)
        } else {
            None
        };
        let all = found.events.iter().chain(members.iter().flatten());
        let view = ClientView::load(&self.store, tx, self.asker, all)?;
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.key(&mut out, "chunk");
        write::events(&mut out, &view, &format, viewer, &found.events);
        if let Some(next) = found.next {
            object.string(&mut out, "end", &self.token_of(next).to_string());
        }
        object.string(&mut out, "start", &start.to_string());
        if let Some(members) = members {
            object.key(&mut out, "state");
            write::events(&mut out, &view, &format, viewer, &members);
        }
        out.push(b'}');
        Ok(out)
    }

    /// The member events of those who sent the page's events, as they were at the newest of these.
    fn members(&self, tx: &mut Tx<'_>, page: &[Arc<Event>]) -> Result<Vec<Arc<Event>>, Error> {
        let Some(newest) = page.iter().max_by_key(|event| event.place) else {
            return Ok(Vec::new());
        };
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        let senders = page.iter().map(|event| event.pdu.sender().as_str());
        let senders = self.store.names().keys(tx, senders)?;
        keys.extend(senders.into_values().map(|key| (types::MEMBER, key)));
        let entries = held(tx, &self.snapshot, &keys, newest)?;
        let numbers: Vec<EventNum> = entries.into_iter().map(|entry| entry.event).collect();
        Ok(self.store.events_read(tx, &numbers)?)
    }
}
