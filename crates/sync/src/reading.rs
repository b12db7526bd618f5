//! One reader of one room's history, as of one position: what pages of every kind have in common.

use std::collections::BTreeSet;
use std::sync::Arc;

use ruma_common::{EventId, RoomId};
use starling_db::Tx;
use starling_store::bundles::BundledPage;
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
use crate::state::{Key, held};
use crate::write::Format;
use crate::{Error, Reader, Sync};

/// How events of a page are written.
pub(crate) const FORMAT: Format<'static> = Format {
    shape: EventFormat::Client,
    fields: None,
    room_id: true,
};

/// The reader and the room.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) store: Store,
    pub(crate) asker: Asker,
    pub(crate) snapshot: Arc<RoomSnapshot>,
    /// Nothing above this position is told.
    pub(crate) upto: i64,
}

/// How many events of a page are told where the client wants so many. Who wants none is told none, and where they would
/// be: the specification forbids a limit of 0 only for some endpoints, and other servers do so too.
pub(crate) fn page_limit(wanted: u64) -> usize {
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    wanted.min(MAX_LIMIT)
}

/// From one token to another, in a direction; without them, from and to the ends of what there is before `end`.
pub(crate) fn stretch(
    direction: Direction,
    from: Option<Token>,
    to: Option<Token>,
    end: Place,
) -> Stretch {
    let (from, to) = (
        from.as_ref().map(Token::boundary),
        to.as_ref().map(Token::boundary),
    );
    match direction {
        Direction::Backwards => Stretch {
            from: to.unwrap_or(START),
            to: from.unwrap_or(end).min(end),
        },
        Direction::Forwards => Stretch {
            from: from.unwrap_or(START),
            to: to.unwrap_or(end).min(end),
        },
    }
}

impl Sync {
    /// A reader of a room, as of now.
    pub(crate) async fn reading(
        &self,
        reader: &Reader,
        room_id: &RoomId,
    ) -> Result<Reading, Error> {
        let upto = self.bus.head();
        let room = self.store.room_num(room_id).await?;
        let room = room.ok_or(Error::UnknownRoom)?;
        Ok(Reading {
            store: self.store.clone(),
            asker: Asker {
                user: reader.user,
                device: reader.device,
                now_ms: self.clock.now_ms(),
            },
            snapshot: self.store.room(room).await?.ok_or(Error::UnknownRoom)?,
            upto,
        })
    }

    /// A token of this time.
    pub(crate) fn token(&self, text: &str, upto: i64) -> Result<Token, NotAToken> {
        let token = Token::parse(text)?;
        let is_known = token.epoch() == self.store.epoch() && token.position() <= upto;
        is_known.then_some(token).ok_or(NotAToken)
    }
}

impl Reading {
    /// What the reader may see.
    pub(crate) fn viewer(&self, tx: &mut Tx<'_>) -> Result<Viewer, Error> {
        let (user, room) = (self.asker.user, self.snapshot.room);
        Ok(Viewer::load(tx, &self.store, user, room)?)
    }

    /// The boundary behind the last event that the reader may see.
    pub(crate) fn end(&self, tx: &mut Tx<'_>, viewer: &Viewer) -> Result<Place, Error> {
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
        let left = self.store.event_read(tx, row.event)?;
        let left = left.and_then(|left| left.position());
        Ok(Place {
            major: left.unwrap_or(row.event.0),
            minor: 1,
        }
        .min(end_of(self.upto)))
    }

    /// An event that the reader may see, with its place.
    pub(crate) fn event(
        &self,
        tx: &mut Tx<'_>,
        viewer: &Viewer,
        event_id: &EventId,
    ) -> Result<(Arc<Event>, Place), Error> {
        let event = self.store.event_by_id(tx, event_id)?;
        let event = event
            .filter(|event| event.room == self.snapshot.room && self.is_told(event, viewer))
            .ok_or(Error::NotFound)?;
        let row = membership_read(tx, self.asker.user, self.snapshot.room)?;
        if row.is_some_and(|row| row.forgotten) {
            return Err(Error::NotFound);
        }
        let place = event.place.ok_or(Error::NotFound)?;
        Ok((event, place))
    }

    /// Whether the reader may see the event, as of the position.
    pub(crate) fn is_told(&self, event: &Event, viewer: &Viewer) -> bool {
        event
            .position()
            .is_none_or(|position| position <= self.upto)
            && viewer.sees(event)
    }

    /// The token that names a boundary.
    pub(crate) fn token_of(&self, place: Place) -> Token {
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

    /// What it takes to write the events of a page, which are told with their aggregations, and some others.
    pub(crate) fn view(
        &self,
        tx: &mut Tx<'_>,
        viewer: &Viewer,
        page: &[Arc<Event>],
        others: &[Arc<Event>],
    ) -> Result<ClientView, Error> {
        let all = page.iter().chain(others);
        let mut view = ClientView::load(&self.store, tx, self.asker, all)?;
        if self.snapshot.has_aggregations {
            let page = BundledPage {
                viewer,
                events: page,
            };
            view.bundle(&self.store, tx, &[page], self.upto)?;
        }
        Ok(view)
    }

    /// The member events of those who sent the page's events, as they were at the newest of these.
    pub(crate) fn members(
        &self,
        tx: &mut Tx<'_>,
        page: &[Arc<Event>],
    ) -> Result<Vec<Arc<Event>>, Error> {
        let Some(newest) = page.iter().max_by_key(|event| event.place) else {
            return Ok(Vec::new());
        };
        let senders = page.iter().map(|event| event.pdu.sender().as_str());
        let senders = self.store.names().keys(tx, senders)?;
        let keys: BTreeSet<Key> = senders
            .into_values()
            .map(|key| (types::MEMBER, key))
            .collect();
        let entries = held(tx, &self.snapshot, &keys, newest)?;
        let numbers: Vec<EventNum> = entries.into_iter().map(|entry| entry.event).collect();
        Ok(self.store.events_read(tx, &numbers)?)
    }
}
