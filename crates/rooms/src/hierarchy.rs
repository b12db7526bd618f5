//! The rooms of a space, and of the spaces in it: a walk in depth, each room once, in pages.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy>

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ruma_common::{OwnedRoomId, RoomId};
use starling_db::{Error, Tx};
use starling_events::Value;
use starling_store::events::Event;
use starling_store::memberships::Membership;
use starling_store::room_details::{RoomDetails, details_by_id, details_of, is_room_id};
use starling_store::tokens::NotAToken;
use starling_store::{EventNum, RoomNum, Store, TypeNum};

use crate::error::ReadError;
use crate::rooms::{Actor, Rooms};
use crate::summary::Visitor;

/// The most rooms of one page.
pub const MAX_HIERARCHY_PAGE: usize = 50;

/// How deep a walk goes at most.
pub const MAX_HIERARCHY_DEPTH: u32 = 100;

/// The most rooms of one walk, all pages together.
const MAX_ROOMS: usize = 10_000;

/// The most children of one space that are looked at.
const MAX_CHILDREN: usize = 5_000;

/// The most rooms that wait for their turn, among them any that come more than once. Of more than that, those whose turn
/// would come last are left out.
const MAX_AHEAD: usize = 100_000;

/// So many children are looked up at once: of what is found out about each, little is kept.
const STEP: usize = 500;

/// What the events that name the children of one space may take, in bytes.
const MAX_CHILDREN_BYTES: usize = 1 << 20;

/// A page ends when the events of its rooms take so many bytes.
const PAGE_BYTES: usize = 4 << 20;

/// Which rooms of a space are wanted.
#[derive(Debug, Clone)]
pub struct HierarchyQuery {
    /// At most this many.
    pub limit: usize,
    /// How deep to go; `None` as deep as possible.
    pub max_depth: Option<u32>,
    /// Only children that their space suggests.
    pub suggested_only: bool,
    /// Where to go on; `None` with the space itself.
    pub from: Option<HierarchyToken>,
}

/// Where a page goes on, and of what walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HierarchyToken {
    max_depth: Option<u32>,
    suggested_only: bool,
    /// The last room that was told.
    last: OwnedRoomId,
}

impl fmt::Display for HierarchyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = if self.suggested_only { 's' } else { 'a' };
        write!(f, "{letter}")?;
        if let Some(depth) = self.max_depth {
            write!(f, "{depth}")?;
        }
        write!(f, "_{}", self.last)
    }
}

impl FromStr for HierarchyToken {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let suggested_only = match text.as_bytes().first() {
            Some(b's') => true,
            Some(b'a') => false,
            _ => return Err(NotAToken),
        };
        let rest = text.get(1..).and_then(|rest| rest.split_once('_'));
        let (depth, last) = rest.ok_or(NotAToken)?;
        let max_depth = match depth {
            "" => None,
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| NotAToken)?)
            }
            _ => return Err(NotAToken),
        };
        let last = OwnedRoomId::try_from(last).map_err(|_| NotAToken)?;
        Ok(Self {
            max_depth,
            suggested_only,
            last,
        })
    }
}

/// A room of a space.
#[derive(Debug, Clone)]
pub struct HierarchyRoom {
    /// The room.
    pub details: RoomDetails,
    /// If it is a space, the events that name its children, in the order of these.
    pub children: Vec<Arc<Event>>,
}

/// A page of a space.
#[derive(Debug, Clone)]
pub struct HierarchyPage {
    /// The rooms.
    pub rooms: Vec<HierarchyRoom>,
    /// What leads to those after them, if there are any.
    pub next: Option<HierarchyToken>,
}

impl Rooms {
    /// A page of the rooms that the user may learn of in a space, the space itself first.
    ///
    /// # Errors
    /// [`ReadError::NotAllowed`] when the user may not learn of the space, or it isn't here; [`ReadError::NotAToken`]
    /// for a token of another walk.
    pub async fn hierarchy(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        query: HierarchyQuery,
    ) -> Result<HierarchyPage, ReadError> {
        let is_of_walk = |token: &HierarchyToken| {
            (token.max_depth, token.suggested_only) == (query.max_depth, query.suggested_only)
        };
        if !query.from.as_ref().is_none_or(is_of_walk) {
            return Err(ReadError::NotAToken);
        }
        let skip_to = match &query.from {
            Some(token) => {
                let last = self.store().room_num(&token.last).await?;
                Some(last.ok_or(ReadError::NotAToken)?)
            }
            None => None,
        };
        let (store, user, root) = (self.store().clone(), actor.user, room_id.to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let visitor = Visitor::load(tx, user)?;
            let root = details_by_id(tx, &[root.as_str()])?;
            let root = visitor.visible(tx, root)?.pop();
            let root = root.ok_or(ReadError::NotAllowed)?;
            let is_banned = visitor.membership(root.room) == Some(Membership::Ban);
            if is_banned && !root.world_readable {
                return Err(ReadError::NotAllowed);
            }
            let walk = Walk {
                child: store.names().kind(tx, "m.space.child")?,
                max_depth: query.max_depth.unwrap_or(MAX_HIERARCHY_DEPTH),
                suggested_only: query.suggested_only,
                seen: HashSet::new(),
                ahead: vec![Stop::of(&root, 0)],
                store,
                visitor,
            };
            walk.page(tx, &query, skip_to)
        };
        self.store().db().scan("hierarchy", read).await
    }
}

/// A room on the way of a walk.
#[derive(Debug, Clone, Copy)]
struct Stop {
    room: RoomNum,
    depth: u32,
    is_space: bool,
}

impl Stop {
    fn of(details: &RoomDetails, depth: u32) -> Self {
        Self {
            room: details.room,
            depth,
            is_space: details.is_space(),
        }
    }
}

/// A walk through a space.
struct Walk {
    store: Store,
    visitor: Visitor,
    /// The type of the events that name children, if there are any at all.
    child: Option<TypeNum>,
    max_depth: u32,
    suggested_only: bool,
    seen: HashSet<RoomNum>,
    /// The rooms that come next, the next one last.
    ahead: Vec<Stop>,
}

/// Rooms of a page, and the events that name the children of each.
type Told = Vec<(RoomNum, Vec<Arc<Event>>)>;

impl Walk {
    /// The page after `skip_to`, or the first.
    fn page(
        mut self,
        tx: &mut Tx<'_>,
        query: &HierarchyQuery,
        mut skip_to: Option<RoomNum>,
    ) -> Result<HierarchyPage, ReadError> {
        let (mut told, mut bytes, mut has_more): (Told, usize, bool) = (Vec::new(), 0, false);
        while let Some(stop) = self.next() {
            if !told.is_empty() && (told.len() >= query.limit || bytes >= PAGE_BYTES) {
                has_more = true;
                break;
            }
            let children = self.children(tx, stop)?;
            if stop.depth < self.max_depth {
                self.descend(tx, &children, stop.depth + 1)?;
            }
            if let Some(last) = skip_to {
                if last == stop.room {
                    skip_to = None;
                }
                continue;
            }
            bytes += children.iter().map(|event| size(event)).sum::<usize>();
            told.push((stop.room, children));
        }
        if skip_to.is_some() {
            // The room where the last page ended is in the space no longer.
            return Err(ReadError::NotAToken);
        }
        let rooms = with_details(tx, told)?;
        let last = rooms.last().filter(|_| has_more);
        let next = last.map(|last| HierarchyToken {
            max_depth: query.max_depth,
            suggested_only: query.suggested_only,
            last: last.details.room_id.clone(),
        });
        Ok(HierarchyPage { rooms, next })
    }

    /// The next room that was not there before.
    fn next(&mut self) -> Option<Stop> {
        while let Some(stop) = self.ahead.pop() {
            if self.seen.len() < MAX_ROOMS && self.seen.insert(stop.room) {
                return Some(stop);
            }
        }
        None
    }

    fn children(&self, tx: &mut Tx<'_>, stop: Stop) -> Result<Vec<Arc<Event>>, Error> {
        match self.child.filter(|_| stop.is_space) {
            Some(kind) => read_children(&self.store, tx, (stop.room, kind), self.suggested_only),
            None => Ok(Vec::new()),
        }
    }

    /// Goes on with these children.
    fn descend(
        &mut self,
        tx: &mut Tx<'_>,
        children: &[Arc<Event>],
        depth: u32,
    ) -> Result<(), Error> {
        let ids = children.iter().filter_map(|event| event.pdu.state_key());
        let ids: Vec<&str> = ids.collect();
        let mut visible: HashMap<String, Stop> = HashMap::with_capacity(ids.len());
        for step in ids.chunks(STEP) {
            let rooms = details_by_id(tx, step)?;
            let rooms = self.visitor.visible(tx, rooms)?;
            let unseen = rooms.iter().filter(|room| !self.seen.contains(&room.room));
            visible.extend(unseen.map(|room| (room.room_id.to_string(), Stop::of(room, depth))));
        }
        let next = ids.iter().rev().filter_map(|id| visible.remove(*id));
        self.ahead.extend(next);
        let surplus = self.ahead.len().saturating_sub(MAX_AHEAD);
        self.ahead.drain(..surplus);
        Ok(())
    }
}

/// The events that name the children of a room, if it is a space.
pub(crate) fn children_of(
    store: &Store,
    tx: &mut Tx<'_>,
    room: &RoomDetails,
    suggested_only: bool,
) -> Result<Vec<Arc<Event>>, Error> {
    match store.names().kind(tx, "m.space.child")? {
        Some(kind) if room.is_space() => {
            read_children(store, tx, (room.room, kind), suggested_only)
        }
        _ => Ok(Vec::new()),
    }
}

/// The events of this type that name the children of a space, in the order of these.
fn read_children(
    store: &Store,
    tx: &mut Tx<'_>,
    (space, kind): (RoomNum, TypeNum),
    suggested_only: bool,
) -> Result<Vec<Arc<Event>>, Error> {
    let Some(space) = store.room_read(tx, space)? else {
        return Ok(Vec::new());
    };
    let entries = space.state.others().filter(|entry| entry.kind == kind);
    let numbers: Vec<EventNum> = entries
        .map(|entry| entry.event)
        .take(MAX_CHILDREN)
        .collect();
    let mut children = store.events_read(tx, &numbers)?;
    children.retain(|event| is_child(event, suggested_only));
    children.sort_by_cached_key(|event| place(event));
    let mut bytes = 0;
    let fits = |event: &Arc<Event>| {
        bytes += size(event);
        bytes <= MAX_CHILDREN_BYTES
    };
    Ok(children.into_iter().take_while(fits).collect())
}

/// The rooms of a page, in its order.
fn with_details(tx: &mut Tx<'_>, told: Told) -> Result<Vec<HierarchyRoom>, Error> {
    let numbers: Vec<RoomNum> = told.iter().map(|(room, _)| *room).collect();
    let details = details_of(tx, &numbers)?.into_iter();
    let mut details: HashMap<RoomNum, RoomDetails> =
        details.map(|details| (details.room, details)).collect();
    let rooms = told.into_iter().filter_map(|(room, children)| {
        let details = details.remove(&room)?;
        Some(HierarchyRoom { details, children })
    });
    Ok(rooms.collect())
}

fn size(event: &Event) -> usize {
    event.pdu.json().len()
}

/// Whether an event names a child.
fn is_child(event: &Event, suggested_only: bool) -> bool {
    let content = Value::new(event.pdu.content());
    let via = content.get("via").filter(|via| via.is_array());
    let has_via = via.is_some_and(|via| {
        let mut servers = via.elements().peekable();
        servers.peek().is_some() && servers.all(|server| server.as_str().is_some())
    });
    let is_suggested = || content.get("suggested").and_then(Value::as_bool) == Some(true);
    let names_room = event.pdu.state_key().is_some_and(is_room_id);
    names_room && has_via && (!suggested_only || is_suggested())
}

/// Where a child stands among the others.
/// <https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space>
fn place(event: &Event) -> (bool, String, i64, String) {
    let order = Value::new(event.pdu.content())
        .get("order")
        .and_then(Value::as_str)
        .filter(|order| (1..=50).contains(&order.len()))
        .filter(|order| order.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    (
        order.is_none(),
        order.unwrap_or_default().into_owned(),
        event.pdu.origin_server_ts(),
        event.pdu.state_key().unwrap_or_default().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::HierarchyToken;

    #[test]
    fn tokens_come_back_and_other_texts_are_none() {
        for text in ["a_!room:localhost", "s12_!a_b:localhost"] {
            let token: HierarchyToken = text.parse().unwrap();
            assert_eq!(token.to_string(), text);
        }
        for text in [
            "",
            "a",
            "a_",
            "x_!room:localhost",
            "a-1_!room:localhost",
            "a_room",
            "a99999999999_!a:b",
        ] {
            assert!(text.parse::<HierarchyToken>().is_err(), "{text}");
        }
    }
}
