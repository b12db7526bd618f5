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
use starling_store::room_details::{RoomDetails, details_by_id, is_room_id};
use starling_store::tokens::NotAToken;
use starling_store::{EventNum, Store, TypeNum};

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
                ahead: vec![(root, 0)],
                store,
                visitor,
            };
            walk.page(tx, &query)
        };
        self.store().db().scan("hierarchy", read).await
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
    seen: HashSet<OwnedRoomId>,
    /// The rooms that come next, each with its depth, the next one last.
    ahead: Vec<(RoomDetails, u32)>,
}

impl Walk {
    fn page(mut self, tx: &mut Tx<'_>, query: &HierarchyQuery) -> Result<HierarchyPage, ReadError> {
        let mut skip_to = query.from.as_ref().map(|token| &token.last);
        let (mut rooms, mut bytes): (Vec<HierarchyRoom>, usize) = (Vec::new(), 0);
        while let Some((details, depth)) = self.next() {
            let last = rooms.last().map(|room| room.details.room_id.clone());
            if let Some(last) = last
                && (rooms.len() >= query.limit || bytes >= PAGE_BYTES)
            {
                let next = HierarchyToken {
                    max_depth: query.max_depth,
                    suggested_only: query.suggested_only,
                    last,
                };
                let next = Some(next);
                return Ok(HierarchyPage { rooms, next });
            }
            let children = self.children(tx, &details)?;
            if depth < self.max_depth {
                self.descend(tx, &children, depth + 1)?;
            }
            if let Some(last) = skip_to {
                if *last == details.room_id {
                    skip_to = None;
                }
                continue;
            }
            bytes += children.iter().map(|event| size(event)).sum::<usize>();
            rooms.push(HierarchyRoom { details, children });
        }
        if skip_to.is_some() {
            // The room where the last page ended is in the space no longer.
            return Err(ReadError::NotAToken);
        }
        Ok(HierarchyPage { rooms, next: None })
    }

    /// The next room that was not there before.
    fn next(&mut self) -> Option<(RoomDetails, u32)> {
        while let Some((room, depth)) = self.ahead.pop() {
            if self.seen.len() < MAX_ROOMS && self.seen.insert(room.room_id.clone()) {
                return Some((room, depth));
            }
        }
        None
    }

    /// The events that name the children of a space, in the order of these.
    fn children(
        &self,
        tx: &mut Tx<'_>,
        details: &RoomDetails,
    ) -> Result<Vec<Arc<Event>>, ReadError> {
        let Some(kind) = self.child.filter(|_| details.is_space()) else {
            return Ok(Vec::new());
        };
        let Some(space) = self.store.room_read(tx, details.room)? else {
            return Ok(Vec::new());
        };
        let entries = space.state.others().filter(|entry| entry.kind == kind);
        let numbers: Vec<EventNum> = entries
            .map(|entry| entry.event)
            .take(MAX_CHILDREN)
            .collect();
        let mut children = self.store.events_read(tx, &numbers)?;
        children.retain(|event| is_child(event, self.suggested_only));
        children.sort_by_cached_key(|event| place(event));
        let mut bytes = 0;
        let fits = |event: &Arc<Event>| {
            bytes += size(event);
            bytes <= MAX_CHILDREN_BYTES
        };
        Ok(children.into_iter().take_while(fits).collect())
    }

    /// Goes on with these children.
    fn descend(
        &mut self,
        tx: &mut Tx<'_>,
        children: &[Arc<Event>],
        depth: u32,
    ) -> Result<(), Error> {
        let ids = children.iter().filter_map(|event| event.pdu.state_key());
        let unseen: Vec<&str> = ids
            .filter(|id| !<&RoomId>::try_from(*id).is_ok_and(|id| self.seen.contains(id)))
            .collect();
        let rooms = details_by_id(tx, &unseen)?;
        let rooms = self.visitor.visible(tx, rooms)?.into_iter();
        let mut rooms: HashMap<String, RoomDetails> =
            rooms.map(|room| (room.room_id.to_string(), room)).collect();
        let next = unseen.iter().rev().filter_map(|id| rooms.remove(*id));
        self.ahead.extend(next.map(|room| (room, depth)));
        Ok(())
    }
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
