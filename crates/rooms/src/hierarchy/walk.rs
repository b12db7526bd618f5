//! A walk through a space, as far as what is here leads. Where it comes to a room that others know, it stops and says what to
//! ask them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ruma_common::{OwnedRoomId, OwnedServerName, RoomId};
use starling_db::{Error, Tx};
use starling_store::memberships::Membership;
use starling_store::remote_invites::rooms_joined;
use starling_store::room_details::{RoomDetails, details_by_id, details_of};
use starling_store::{RoomNum, Store, TypeNum, UserNum};

use super::children::read_children;
use super::elsewhere::{Answer, Question, RemoteSpace};
use super::{HierarchyPage, HierarchyQuery, HierarchyRoom, HierarchyToken, MAX_HIERARCHY_DEPTH};
use crate::error::ReadError;
use crate::published::{ChildEvent, SummarisedRoom};
use crate::summary::Visitor;

/// The most rooms of one walk, all pages together.
const MAX_ROOMS: usize = 10_000;

/// The most rooms that wait for their turn, among them any that come more than once. Of more than that, those whose turn
/// would come last are left out.
const MAX_AHEAD: usize = 100_000;

/// So many children are looked up at once: of what is found out about each, little is kept.
const STEP: usize = 500;

/// A page ends when the events of its rooms take so many bytes.
const PAGE_BYTES: usize = 4 << 20;

/// So many other servers are asked at the same time.
const QUESTIONS: usize = 8;

/// So far ahead is looked for what may be asked at the same time.
const LOOK_AHEAD: usize = 100;

/// Of a child's servers, so many may be asked.
const VIA: usize = 3;

/// What a walk needs, or leads to.
pub(super) enum Step {
    /// The page is complete.
    Done(HierarchyPage),
    /// Others must be asked first.
    Ask(Vec<Question>),
}

/// A room on the way of a walk.
#[derive(Debug, Clone)]
struct Stop {
    room_id: OwnedRoomId,
    depth: u32,
    place: Place,
}

/// Where a room is known.
#[derive(Debug, Clone)]
enum Place {
    Here {
        room: RoomNum,
        is_space: bool,
    },
    Elsewhere {
        via: Arc<[OwnedServerName]>,
    },
    /// What another server said of it together with its space.
    Told(Arc<SummarisedRoom>),
}

impl Stop {
    fn here(details: &RoomDetails, depth: u32) -> Self {
        Self {
            room_id: details.room_id.clone(),
            depth,
            place: Place::Here {
                room: details.room,
                is_space: details.is_space(),
            },
        }
    }
}

/// What a page says of a room.
enum Told {
    Here(RoomNum, Vec<ChildEvent>),
    Elsewhere(Box<HierarchyRoom>),
}

impl Told {
    fn elsewhere(room: HierarchyRoom) -> Self {
        Self::Elsewhere(Box::new(room))
    }

    fn size(&self) -> usize {
        let size_of =
            |children: &[ChildEvent]| children.iter().map(ChildEvent::size).sum::<usize>();
        match self {
            Self::Here(_, children) => size_of(children),
            Self::Elsewhere(room) => size_of(&room.children) + room.summary.size(),
        }
    }
}

/// What another server said of a space, and which of the rooms in it the user may learn of.
#[derive(Clone)]
struct Learnt {
    space: Arc<RemoteSpace>,
    visible: Arc<HashSet<OwnedRoomId>>,
}

/// A walk through a space.
pub(super) struct Walk {
    store: Store,
    asks_others: bool,
    visitor: Visitor,
    /// The type of the events that name children, if there are any at all.
    child: Option<TypeNum>,
    query: HierarchyQuery,
    /// The room where the last page ended, until the walk comes there.
    skip_to: Option<OwnedRoomId>,
    seen: HashSet<OwnedRoomId>,
    /// The rooms that come next, the next one last.
    ahead: Vec<Stop>,
    learnt: HashMap<Question, Option<Learnt>>,
    learnt_bytes: usize,
    told: Vec<Told>,
    bytes: usize,
}

/// What other servers say is listened to up to so many bytes for one page: more spaces are as if nobody answered.
const LEARNT_BYTES: usize = 16 << 20;

impl Walk {
    /// Before the first room.
    pub(super) fn begin(
        (store, asks_others): (Store, bool),
        tx: &mut Tx<'_>,
        user: UserNum,
        query: HierarchyQuery,
    ) -> Result<Self, ReadError> {
        Ok(Self {
            visitor: Visitor::load(tx, user)?,
            child: store.names().kind(tx, "m.space.child")?,
            store,
            asks_others,
            skip_to: query.from.as_ref().map(|token| token.last.clone()),
            query,
            seen: HashSet::new(),
            ahead: Vec::new(),
            learnt: HashMap::new(),
            learnt_bytes: 0,
            told: Vec::new(),
            bytes: 0,
        })
    }

    /// Begins with this space; `via` says whom to ask if this server is not in it.
    pub(super) fn enter(
        &mut self,
        tx: &mut Tx<'_>,
        root: &RoomId,
        via: Option<Vec<OwnedServerName>>,
    ) -> Result<(), ReadError> {
        let details = details_by_id(tx, &[root.as_str()])?;
        let membership = details
            .first()
            .and_then(|room| self.visitor.membership(room.room));
        let is_banned = membership == Some(Membership::Ban);
        let first = match via.filter(|_| self.asks_others) {
            Some(_) if is_banned => return Err(ReadError::NotAllowed),
            Some(via) => Stop {
                room_id: root.to_owned(),
                depth: 0,
                place: Place::Elsewhere { via: via.into() },
            },
            None => {
                let details = self.visitor.visible(tx, details)?.pop();
                let details = details.ok_or(ReadError::NotAllowed)?;
                if is_banned && !details.world_readable {
                    return Err(ReadError::NotAllowed);
                }
                Stop::here(&details, 0)
            }
        };
        self.ahead.push(first);
        Ok(())
    }

    /// Takes what others said, or that nobody did.
    pub(super) fn learn(&mut self, tx: &mut Tx<'_>, answers: Vec<Answer>) -> Result<(), Error> {
        for (question, space) in answers {
            self.learnt_bytes += space.as_ref().map_or(0, |space| space.bytes);
            let learnt = match space.filter(|_| self.learnt_bytes <= LEARNT_BYTES) {
                Some(space) => Some(Learnt {
                    visible: Arc::new(self.visitor.visible_elsewhere(tx, space.rooms())?),
                    space,
                }),
                None => None,
            };
            self.learnt.insert(question, learnt);
        }
        Ok(())
    }

    /// Walks on until the page is complete or others must be asked.
    pub(super) fn go_on(&mut self, tx: &mut Tx<'_>) -> Result<Step, ReadError> {
        while let Some(stop) = self.next() {
            let is_full = self.told.len() >= self.query.limit || self.bytes >= PAGE_BYTES;
            if is_full && !self.told.is_empty() {
                return Ok(Step::Done(self.page(tx, true)?));
            }
            let told = match &stop.place {
                Place::Here { room, is_space } => self.at_home(tx, &stop, (*room, *is_space))?,
                Place::Told(summary) => Told::elsewhere(HierarchyRoom {
                    summary: (**summary).clone(),
                    children: Vec::new(),
                }),
                Place::Elsewhere { via } => {
                    let question = self.question(&stop.room_id, via);
                    if !self.learnt.contains_key(&question) {
                        self.seen.remove(&stop.room_id);
                        self.ahead.push(stop);
                        return Ok(Step::Ask(self.questions()));
                    }
                    match self.abroad(tx, &stop, &question)? {
                        Some(told) => told,
                        None if stop.depth == 0 => return Err(ReadError::NotAllowed),
                        None => continue,
                    }
                }
            };
            self.tell(&stop, told);
        }
        // Where somebody says nothing this time, the walk may not come to where the last page ended: then this is its end.
        if self.skip_to.is_some() && self.learnt.values().all(Option::is_some) {
            // The room where the last page ended is in the space no longer.
            return Err(ReadError::NotAToken);
        }
        Ok(Step::Done(self.page(tx, false)?))
    }

    /// The next room that was not there before.
    fn next(&mut self) -> Option<Stop> {
        while let Some(stop) = self.ahead.pop() {
            if self.seen.len() < MAX_ROOMS && self.seen.insert(stop.room_id.clone()) {
                return Some(stop);
            }
        }
        None
    }

    /// Puts a room on the page, unless it was on an earlier one.
    fn tell(&mut self, stop: &Stop, told: Told) {
        match &self.skip_to {
            Some(last) if *last == stop.room_id => self.skip_to = None,
            Some(_) => {}
            None => {
                self.bytes += told.size();
                self.told.push(told);
            }
        }
    }

    /// At a room that is here.
    fn at_home(
        &mut self,
        tx: &mut Tx<'_>,
        stop: &Stop,
        (room, is_space): (RoomNum, bool),
    ) -> Result<Told, Error> {
        let children = match self.child.filter(|_| is_space) {
            Some(kind) => read_children(&self.store, tx, (room, kind), self.query.suggested_only)?,
            None => Vec::new(),
        };
        self.descend(tx, (&children, stop.depth), None)?;
        Ok(Told::Here(room, children))
    }

    /// At a room of which others were asked, if they told of one that the user may learn of.
    fn abroad(
        &mut self,
        tx: &mut Tx<'_>,
        stop: &Stop,
        question: &Question,
    ) -> Result<Option<Told>, Error> {
        let Some(Some(learnt)) = self.learnt.get(question) else {
            return Ok(None);
        };
        if !learnt.visible.contains(&stop.room_id) {
            return Ok(None);
        }
        let learnt = learnt.clone();
        let room = learnt.space.room.clone();
        self.descend(tx, (&room.children, stop.depth), Some(&learnt))?;
        Ok(Some(Told::elsewhere(room)))
    }

    /// Goes on with the children of a space; `learnt` is what another server said of them.
    fn descend(
        &mut self,
        tx: &mut Tx<'_>,
        (children, depth): (&[ChildEvent], u32),
        learnt: Option<&Learnt>,
    ) -> Result<(), Error> {
        if depth >= self.query.max_depth.unwrap_or(MAX_HIERARCHY_DEPTH) {
            return Ok(());
        }
        let depth = depth + 1;
        let mut next: Vec<Stop> = Vec::with_capacity(children.len());
        for step in children.chunks(STEP) {
            let ids: Vec<&str> = step.iter().map(ChildEvent::state_key).collect();
            let mut here = self.here(tx, &ids, depth)?;
            for child in step {
                match here.remove(child.state_key()) {
                    Some(stop) => next.extend(stop),
                    None => next.extend(self.not_here(child, depth, learnt)),
                }
            }
        }
        next.retain(|stop| !self.seen.contains(&stop.room_id));
        self.ahead.extend(next.into_iter().rev());
        let surplus = self.ahead.len().saturating_sub(MAX_AHEAD);
        self.ahead.drain(..surplus);
        Ok(())
    }

    /// Those of the rooms that this server is in, or that nobody is in; `None` where the user may not learn of it.
    fn here(
        &self,
        tx: &mut Tx<'_>,
        ids: &[&str],
        depth: u32,
    ) -> Result<HashMap<String, Option<Stop>>, Error> {
        let mut rooms = details_by_id(tx, ids)?;
        if self.asks_others {
            let left: Vec<String> = rooms.iter().map(|room| room.room_id.to_string()).collect();
            let joined = rooms_joined(tx, &left)?;
            rooms.retain(|room| {
                let is_left = room.joined > 0 && !joined.contains(&room.room);
                room.created != 0 && !is_left
            });
        }
        let ids = rooms.iter().map(|room| (room.room_id.to_string(), None));
        let mut here: HashMap<String, Option<Stop>> = ids.collect();
        for room in self.visitor.visible(tx, rooms)? {
            here.insert(room.room_id.to_string(), Some(Stop::here(&room, depth)));
        }
        Ok(here)
    }

    /// A child that this server is not in, if there is anybody to ask, and it isn't known to be closed to its users.
    fn not_here(&self, child: &ChildEvent, depth: u32, learnt: Option<&Learnt>) -> Option<Stop> {
        let room_id = OwnedRoomId::try_from(child.state_key()).ok()?;
        if !self.asks_others {
            return None;
        }
        let place = match learnt.and_then(|learnt| learnt.space.child(&room_id)) {
            Some(_) if !learnt?.visible.contains(&room_id) => return None,
            Some(room) if !room.is_space() => Place::Told(Arc::clone(room)),
            _ if learnt.is_some_and(|learnt| learnt.space.inaccessible.contains(&room_id)) => {
                return None;
            }
            _ => Place::Elsewhere {
                via: child.via(VIA).into(),
            },
        };
        Some(Stop {
            room_id,
            depth,
            place,
        })
    }

    fn question(&self, room_id: &RoomId, via: &Arc<[OwnedServerName]>) -> Question {
        Question {
            room_id: room_id.to_owned(),
            suggested_only: self.query.suggested_only,
            via: Arc::clone(via),
        }
    }

    /// What to ask now: of the room that comes next, and of others that come soon.
    fn questions(&self) -> Vec<Question> {
        let mut questions: Vec<Question> = Vec::with_capacity(QUESTIONS);
        for stop in self.ahead.iter().rev().take(LOOK_AHEAD) {
            let Place::Elsewhere { via } = &stop.place else {
                continue;
            };
            let question = self.question(&stop.room_id, via);
            let is_new = !self.learnt.contains_key(&question) && !questions.contains(&question);
            if is_new && !self.seen.contains(&stop.room_id) {
                questions.push(question);
            }
            if questions.len() == QUESTIONS {
                break;
            }
        }
        questions
    }

    /// The page, with the details of its rooms as they are now.
    fn page(&mut self, tx: &mut Tx<'_>, has_more: bool) -> Result<HierarchyPage, Error> {
        let told = std::mem::take(&mut self.told);
        let here = told.iter().filter_map(|told| match told {
            Told::Here(room, _) => Some(*room),
            Told::Elsewhere(_) => None,
        });
        let details = details_of(tx, &here.collect::<Vec<_>>())?.into_iter();
        let mut details: HashMap<RoomNum, RoomDetails> =
            details.map(|details| (details.room, details)).collect();
        let room = |told| match told {
            Told::Here(room, children) => Some(HierarchyRoom {
                summary: details.remove(&room)?.into(),
                children,
            }),
            Told::Elsewhere(room) => Some(*room),
        };
        let rooms: Vec<HierarchyRoom> = told.into_iter().filter_map(room).collect();
        let next = rooms.last().filter(|_| has_more);
        let next = next.map(|last| HierarchyToken {
            max_depth: self.query.max_depth,
            suggested_only: self.query.suggested_only,
            last: last.summary.room_id().to_owned(),
        });
        Ok(HierarchyPage { rooms, next })
    }
}
