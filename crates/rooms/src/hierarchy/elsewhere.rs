//! Asking other servers of spaces that this one is not in. What they said is kept for a while, so that the next page of a walk,
//! or the next walk, needn't ask again.
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid>

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use ruma_common::{OwnedRoomId, OwnedServerName, RoomId};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::HierarchyRoom;
use super::children::{MAX_CHILDREN, chosen};
use crate::published::{ChildEvent, SummarisedRoom};
use crate::remote::Hierarchy;
use crate::rooms::Rooms;

/// How long a client waits for what others say, all of them together.
const PATIENCE: Duration = Duration::from_secs(25);

/// So many rooms are asked for, for one page.
const ASKED: usize = 200;

/// How long an answer is good.
const KEPT_FOR: Duration = Duration::from_mins(5);

/// The most bytes of answers that are kept, roughly.
const KEPT_BYTES: u64 = 8 << 20;

/// What to ask. An answer is believed only where these servers are to be asked: others might tell otherwise of the room.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(super) room_id: OwnedRoomId,
    pub(super) suggested_only: bool,
    pub(super) via: Arc<[OwnedServerName]>,
}

/// What others say; `None` if nobody says anything.
pub(super) type Answer = (Question, Option<Arc<RemoteSpace>>);

/// A room of other servers, and what they say of the rooms in it if it is a space.
#[derive(Debug)]
pub(crate) struct RemoteSpace {
    pub(super) room: HierarchyRoom,
    children: BTreeMap<OwnedRoomId, Arc<SummarisedRoom>>,
    /// Children that users of this server can't come into.
    pub(super) inaccessible: HashSet<OwnedRoomId>,
    /// About how much memory it takes.
    pub(super) bytes: usize,
}

/// Answers of other servers.
#[derive(Debug)]
pub(crate) struct Spaces {
    kept: Cache<Question, Kept, ByBytes>,
}

#[derive(Debug, Clone)]
struct Kept {
    until: Instant,
    space: Option<Arc<RemoteSpace>>,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<Question, Kept> for ByBytes {
    fn weight(&self, question: &Question, kept: &Kept) -> u64 {
        let names = question.via.iter().map(|name| name.as_str().len() + 32);
        let space = kept.space.as_ref().map_or(0, |space| space.bytes);
        (names.sum::<usize>() + space + 400) as u64
    }
}

impl Default for Spaces {
    fn default() -> Self {
        Self {
            kept: Cache::with_weighter(1000, KEPT_BYTES, ByBytes),
        }
    }
}

/// What is asked for one page.
pub(super) struct Asking<'a> {
    rooms: &'a Rooms,
    until: Instant,
    asked: usize,
}

impl<'a> Asking<'a> {
    pub(super) fn begin(rooms: &'a Rooms) -> Self {
        Self {
            rooms,
            until: rooms.parts.clock.monotonic() + PATIENCE,
            asked: 0,
        }
    }

    /// The answers to all questions, at the same time; when the time is up, none.
    pub(super) async fn answers(&mut self, questions: Vec<Question>) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(questions.len());
        let mut open = Vec::with_capacity(questions.len());
        for question in questions {
            match self.rooms.kept_space(&question) {
                Some(kept) => answers.push((question, kept.space)),
                None => open.push(question),
            }
        }
        let is_over = self.asked >= ASKED;
        self.asked += open.len();
        let asked = open.into_iter().map(|question| async {
            let space = if is_over {
                None
            } else {
                self.rooms.remote_space(&question, self.until).await
            };
            (question, space)
        });
        let at_once = asked.len().max(1);
        let asked: Vec<Answer> = stream::iter(asked).buffered(at_once).collect().await;
        answers.extend(asked);
        answers
    }
}

impl Rooms {
    /// What other servers say of a room of theirs, within the time that a client waits for one answer.
    pub(crate) async fn room_elsewhere(
        &self,
        room_id: &RoomId,
        via: Vec<OwnedServerName>,
    ) -> Option<Arc<RemoteSpace>> {
        let question = Question {
            room_id: room_id.to_owned(),
            suggested_only: true,
            via: via.into(),
        };
        if let Some(kept) = self.kept_space(&question) {
            return kept.space;
        }
        let until = self.parts.clock.monotonic() + PATIENCE;
        self.remote_space(&question, until).await
    }

    fn kept_space(&self, question: &Question) -> Option<Kept> {
        let kept = self.spaces.kept.get(question)?;
        (self.parts.clock.monotonic() < kept.until).then_some(kept)
    }

    /// Asks one server after another. What they said, or that they said nothing, is kept unless the time was up.
    async fn remote_space(&self, question: &Question, until: Instant) -> Option<Arc<RemoteSpace>> {
        let now = self.parts.clock.monotonic();
        let asking = tokio::time::timeout(
            until.saturating_duration_since(now),
            self.ask_of_space(question),
        );
        let space = asking.await.ok()?;
        let kept = Kept {
            until: self.parts.clock.monotonic() + KEPT_FOR,
            space: space.clone(),
        };
        self.spaces.kept.insert(question.clone(), kept);
        space
    }

    async fn ask_of_space(&self, question: &Question) -> Option<Arc<RemoteSpace>> {
        let remote = self.other_servers()?;
        for server in question.via.iter() {
            if server == self.server_name() {
                continue;
            }
            let answer = remote.hierarchy(server, &question.room_id, question.suggested_only);
            let space = match answer.await {
                Ok(answer) => RemoteSpace::read(answer, question),
                Err(error) => {
                    tracing::debug!(%error, "a server doesn't tell of a space");
                    continue;
                }
            };
            if let Some(space) = space {
                return Some(Arc::new(space));
            }
            tracing::debug!(%server, "a server told of another room than it was asked for");
        }
        None
    }
}

#[derive(Deserialize)]
struct Children {
    #[serde(default)]
    children_state: Vec<Box<RawValue>>,
}

impl RemoteSpace {
    /// Takes what a server says; `None` if that is not of the room that was asked for.
    fn read(answer: Hierarchy, question: &Question) -> Option<Self> {
        let text = answer.room.get();
        let summary: SummarisedRoom = serde_json::from_str(text).ok()?;
        if summary.room_id() != question.room_id {
            return None;
        }
        let children: Vec<Box<RawValue>> = if summary.is_space() {
            serde_json::from_str::<Children>(text).ok()?.children_state
        } else {
            Vec::new()
        };
        let children = children.iter().take(MAX_CHILDREN);
        let children: Vec<ChildEvent> = children
            .filter_map(|child| ChildEvent::of_other_server(child))
            .collect();
        let children = chosen(children, question.suggested_only);
        let named: HashSet<&str> = children.iter().map(ChildEvent::state_key).collect();
        let told = answer.children.iter().take(MAX_CHILDREN);
        let told = told.filter_map(|room| serde_json::from_str::<SummarisedRoom>(room.get()).ok());
        let told: BTreeMap<OwnedRoomId, Arc<SummarisedRoom>> = told
            .filter(|room| named.contains(room.room_id().as_str()))
            .map(|room| (room.room_id().to_owned(), Arc::new(room)))
            .collect();
        let inaccessible = answer.inaccessible_children.into_iter();
        let inaccessible: HashSet<OwnedRoomId> = inaccessible
            .filter(|room| named.contains(room.as_str()))
            .collect();
        let bytes = summary.size()
            + children.iter().map(ChildEvent::size).sum::<usize>()
            + told.values().map(|room| room.size()).sum::<usize>()
            + inaccessible.len() * 100;
        Some(Self {
            room: HierarchyRoom { summary, children },
            children: told,
            inaccessible,
            bytes,
        })
    }

    /// The room itself and what is told of its children.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = &SummarisedRoom> {
        let children = self.children.values().map(|room| &**room);
        std::iter::once(&self.room.summary).chain(children)
    }

    /// What is said of the room itself.
    pub(crate) fn summary(&self) -> &SummarisedRoom {
        &self.room.summary
    }

    pub(super) fn child(&self, room_id: &RoomId) -> Option<&Arc<SummarisedRoom>> {
        self.children.get(room_id)
    }
}
