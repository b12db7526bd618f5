//! The list of rooms that this server publishes: what is on it, and pages of it.
//! <https://spec.matrix.org/v1.19/client-server-api/#published-room-directory>

use std::collections::HashSet;

use ruma_common::RoomId;
use starling_db::{Error, Tx, Write};
use starling_store::Store;
use starling_store::room_details::{
    self, DirectoryPlace, DirectoryToken, RoomDetails, directory_count, directory_page,
};
use starling_store::tokens::NotAToken;

use crate::error::SendError;
use crate::federation::closed_to_servers;
use crate::rooms::{Actor, Rooms};

/// The most rooms of one page.
const MAX_DIRECTORY_PAGE: usize = 500;

/// Rooms of a page when nobody says how many.
const DEFAULT_PAGE: usize = 100;

/// Rooms that are read at once while a search passes over those that don't match.
const CHUNK: usize = 500;

/// A page ends after so many rooms that were looked at, however few of them match: the next one goes on from there.
const MAX_LOOKED_AT: usize = 20_000;

/// Which rooms of the directory are wanted.
#[derive(Debug, Clone, Default)]
pub struct DirectoryQuery {
    /// At most this many.
    pub limit: usize,
    /// Where to go on; `None` at the beginning.
    pub since: Option<DirectoryToken>,
    /// Only those that hold this text in their name, topic or alias.
    pub term: Option<String>,
    /// Only those of these types; `None` among them: without a type.
    pub room_types: Option<Vec<Option<String>>>,
    /// Only those that users of other servers may come into at all.
    pub for_servers: bool,
}

impl DirectoryQuery {
    /// The page that a request asks for. None or 0 is not none, as in other lists: other servers take 0 for as many as there
    /// are, and so clients ask for them.
    ///
    /// # Errors
    /// When `since` is no token of this list.
    pub fn page(limit: Option<u64>, since: Option<&str>) -> Result<Self, NotAToken> {
        let limit = limit.map_or(DEFAULT_PAGE, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        Ok(Self {
            limit: match limit {
                0 => MAX_DIRECTORY_PAGE,
                some => some.min(MAX_DIRECTORY_PAGE),
            },
            since: since.map(str::parse).transpose()?,
            ..Self::default()
        })
    }
}

/// A page of the directory.
#[derive(Debug, Clone)]
pub struct DirectoryPage {
    /// The rooms.
    pub rooms: Vec<RoomDetails>,
    /// What leads to the rooms after these, if there are any.
    pub next: Option<DirectoryToken>,
    /// What leads to the rooms before these, if there are any.
    pub prev: Option<DirectoryToken>,
    /// How many rooms are listed, whatever was asked for.
    pub total: i64,
}

impl Rooms {
    /// A page of the rooms that this server publishes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn directory(&self, query: DirectoryQuery) -> Result<DirectoryPage, Error> {
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| {
            let total = directory_count(tx)?;
            let start = DirectoryToken::After(DirectoryPlace::START);
            let from = query.since.unwrap_or(start);
            let found = Found::read(&store, tx, &query, from)?;
            let (rooms, next, prev) = found.page(from);
            Ok(DirectoryPage {
                rooms,
                next,
                prev: prev.filter(|_| query.since.is_some()),
                total,
            })
        };
        self.store().db().scan("directory", read).await
    }

    /// Whether a room is listed; `None` when it isn't here.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_listed(&self, room_id: &RoomId) -> Result<Option<bool>, Error> {
        let Some(room) = self.store().room_num(room_id).await? else {
            return Ok(None);
        };
        let read = move |tx: &mut Tx<'_>| room_details::public_read(tx, room);
        self.store().db().read("is_listed", read).await.map(Some)
    }

    /// Lists a room, or takes it off the list. Who may change its canonical alias may do that, and whoever administrates
    /// the server.
    ///
    /// # Errors
    /// [`SendError::UnknownRoom`], [`SendError::Forbidden`] or [`SendError::Db`].
    pub async fn set_listed(
        &self,
        actor: &Actor,
        is_admin: bool,
        room_id: &RoomId,
        is_listed: bool,
    ) -> Result<(), SendError> {
        let room = self.room_num(room_id, SendError::UnknownRoom).await?;
        if !is_admin && !self.may_name(actor, room).await? {
            let why = "only who may change the room's main address may do that";
            return Err(SendError::Forbidden(why.to_owned()));
        }
        let set = move |tx: &mut Tx<'_>| room_details::public_set(tx, room, is_listed);
        let write = Write::new("set_listed").locking([room.0]);
        Ok(self.store().db().write(write, set).await?)
    }
}

/// Rooms that match, nearest to where the page starts first.
struct Found {
    rooms: Vec<RoomDetails>,
    /// The place of the last room that was looked at, if there may be more after it.
    rest: Option<DirectoryPlace>,
}

impl Found {
    fn read(
        store: &Store,
        tx: &mut Tx<'_>,
        query: &DirectoryQuery,
        mut from: DirectoryToken,
    ) -> Result<Self, Error> {
        let term = query.term.as_deref().map(str::to_lowercase);
        let is_filtered = term.is_some() || query.room_types.is_some();
        // One more shows whether there is more.
        let chunk = if is_filtered { CHUNK } else { query.limit + 1 };
        let (mut rooms, mut looked_at) = (Vec::new(), 0);
        loop {
            let page = directory_page(tx, from, i64::try_from(chunk).unwrap_or(i64::MAX))?;
            let is_last = page.len() < chunk;
            looked_at += page.len();
            let hidden = if query.for_servers {
                closed_to_servers(store, tx, &page)?
            } else {
                HashSet::new()
            };
            let fits = |room: &RoomDetails| {
                !hidden.contains(&room.room)
                    && matches(room, term.as_deref(), query.room_types.as_deref())
            };
            for room in page {
                let place = DirectoryPlace::of(&room);
                if rooms.len() == query.limit {
                    let rest = rooms.last().map(DirectoryPlace::of);
                    if fits(&room) {
                        return Ok(Self { rooms, rest });
                    }
                } else if fits(&room) {
                    rooms.push(room);
                }
                from = match from {
                    DirectoryToken::After(_) => DirectoryToken::After(place),
                    DirectoryToken::Before(_) => DirectoryToken::Before(place),
                };
            }
            if is_last {
                return Ok(Self { rooms, rest: None });
            }
            if looked_at >= MAX_LOOKED_AT {
                let (DirectoryToken::After(place) | DirectoryToken::Before(place)) = from;
                let rest = Some(place);
                return Ok(Self { rooms, rest });
            }
        }
    }

    /// The rooms in the directory's order, what leads on, and what leads back.
    fn page(
        self,
        from: DirectoryToken,
    ) -> (
        Vec<RoomDetails>,
        Option<DirectoryToken>,
        Option<DirectoryToken>,
    ) {
        let Self { mut rooms, rest } = self;
        match from {
            DirectoryToken::After(from) => {
                let first = rooms.first().map(DirectoryPlace::of);
                let prev = first.unwrap_or(from.after_room());
                let next = rest.map(DirectoryToken::After);
                (rooms, next, Some(DirectoryToken::Before(prev)))
            }
            DirectoryToken::Before(from) => {
                rooms.reverse();
                let last = rooms.last().map(DirectoryPlace::of);
                let next = last.unwrap_or(from.before_room());
                let prev = rest.map(DirectoryToken::Before);
                (rooms, Some(DirectoryToken::After(next)), prev)
            }
        }
    }
}

fn matches(room: &RoomDetails, term: Option<&str>, room_types: Option<&[Option<String>]>) -> bool {
    let is_of_type = room_types.is_none_or(|types| types.contains(&room.room_type));
    let holds = |text: &Option<String>, term| {
        let text = text.as_deref();
        text.is_some_and(|text| text.to_lowercase().contains(term))
    };
    let holds_term = term.is_none_or(|term| {
        holds(&room.name, term) || holds(&room.topic, term) || holds(&room.canonical_alias, term)
    });
    is_of_type && holds_term
}
