//! The rooms of a space, and of the spaces in it: a walk in depth (`walk.rs`), each room once, in pages. Rooms that this server
//! is not in are asked for (`elsewhere.rs`) where their spaces say that others know them.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy>

mod children;
mod elsewhere;
mod walk;

use std::fmt;
use std::str::FromStr;

use ruma_common::{OwnedRoomId, RoomId};
use serde::Serialize;
use starling_store::tokens::NotAToken;

use self::elsewhere::Asking;
use self::walk::{Step, Walk};
use crate::error::ReadError;
use crate::published::{ChildEvent, SummarisedRoom};
use crate::rooms::{Actor, Rooms};

pub(crate) use self::children::children_of;
pub(crate) use self::elsewhere::Spaces;

/// The most rooms of one page.
pub const MAX_HIERARCHY_PAGE: usize = 50;

/// How deep a walk goes at most.
pub const MAX_HIERARCHY_DEPTH: u32 = 100;

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
#[derive(Debug, Clone, Serialize)]
pub struct HierarchyRoom {
    /// What there is to say of it.
    #[serde(flatten)]
    pub summary: SummarisedRoom,
    /// If it is a space, the events that name its children, in the order of these.
    #[serde(rename = "children_state")]
    pub children: Vec<ChildEvent>,
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
    /// A page of the rooms that the user may learn of in a space, the space itself first. Rooms that this server is not in
    /// are among them if a server that their space names tells of them in time.
    ///
    /// # Errors
    /// [`ReadError::NotAllowed`] when the user may not learn of the space, or nobody tells of it; [`ReadError::NotAToken`]
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
        let via = match self.elsewhere(room_id).await? {
            Some(elsewhere) => Some(self.servers_of(actor, (room_id, &elsewhere), &[]).await?),
            None => None,
        };
        let asks_others = self.other_servers().is_some();
        let begin = move |tx: &mut starling_db::Tx<'_>| {
            let mut walk = Walk::begin((store, asks_others), tx, user, query)?;
            walk.enter(tx, &root, via)?;
            walk.go_on(tx).map(|step| (walk, step))
        };
        let (mut walk, mut step) = self.store().db().scan("hierarchy", begin).await?;
        let mut asking = Asking::begin(self);
        loop {
            let questions = match step {
                Step::Done(page) => return Ok(page),
                Step::Ask(questions) => questions,
            };
            let answers = asking.answers(questions).await;
            let go_on = move |tx: &mut starling_db::Tx<'_>| {
                walk.learn(tx, answers)?;
                walk.go_on(tx).map(|step| (walk, step))
            };
            (walk, step) = self.store().db().scan("hierarchy", go_on).await?;
        }
    }
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
