//! Reading rooms: state, members, single events, as of what the asking user may see.
//! <https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room>

use std::borrow::Cow;
use std::sync::Arc;

use ruma_common::{EventId, OwnedUserId, RoomId};
use starling_db::{Error, Tx};
use starling_events::Value;
use starling_store::events::{Event, Visibility};
use starling_store::history::Viewer;
use starling_store::memberships::{Membership, MembershipRow, membership_history, membership_read};
use starling_store::names::types;
use starling_store::rooms::RoomSnapshot;
use starling_store::snapshots::snapshot_load;
use starling_store::state_map::{Entry, StateMap};
use starling_store::timeline::{Direction, START, Stretch, end_of};
use starling_store::tokens::Token;
use starling_store::{EventNum, RoomNum, Store, UserNum};

use crate::error::ReadError;
use crate::rooms::{Actor, Rooms};

/// Which members of a room are wanted.
#[derive(Debug, Clone, Default)]
pub struct MemberFilter {
    /// As of this token, or as of what the user may see last.
    pub at: Option<Token>,
    /// Only these.
    pub membership: Option<Membership>,
    /// Not these.
    pub not_membership: Option<Membership>,
}

/// A joined member, with the profile that the room shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberProfile {
    /// The user.
    pub user_id: OwnedUserId,
    /// Their name in the room.
    pub display_name: Option<String>,
    /// Their picture in the room.
    pub avatar_url: Option<String>,
}

impl MemberFilter {
    fn wants(&self, entry: &Entry) -> bool {
        let Some(membership) = Membership::from_code(entry.tag) else {
            return false;
        };
        // Given both, either is enough.
        match (self.membership, self.not_membership) {
            (None, None) => true,
            (wanted, unwanted) => {
                wanted == Some(membership)
                    || unwanted.is_some_and(|unwanted| unwanted != membership)
            }
        }
    }
}

impl Rooms {
    /// The state of a room: the current one for who is in it, that at their leave for who was.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn state(
        &self,
        actor: &Actor,
        room_id: &RoomId,
    ) -> Result<Vec<Arc<Event>>, ReadError> {
        self.read_room(actor, room_id, |store, tx, seen| {
            let numbers: Vec<EventNum> = seen.state.iter().map(|entry| entry.event).collect();
            Ok(store.events_read(tx, &numbers)?)
        })
        .await
    }

    /// The event that holds one key of the state that the user may see.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] when there is none; else [`ReadError`].
    pub async fn state_event(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        kind: &str,
        key: &str,
    ) -> Result<Arc<Event>, ReadError> {
        let (kind, key) = (kind.to_owned(), key.to_owned());
        self.read_room(actor, room_id, move |store, tx, seen| {
            let numbers = store
                .names()
                .kind(tx, &kind)?
                .zip(store.names().key(tx, &key)?);
            let entry = numbers.and_then(|(kind, key)| seen.state.get(kind, key).copied());
            let entry = entry.ok_or(ReadError::NotFound)?;
            store
                .event_read(tx, entry.event)?
                .ok_or(ReadError::NotFound)
        })
        .await
    }

    /// The member events of a room.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn members(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        filter: MemberFilter,
    ) -> Result<Vec<Arc<Event>>, ReadError> {
        let (epoch, head, user) = (self.store().epoch(), self.parts.bus.head(), actor.user);
        self.read_room(actor, room_id, move |store, tx, seen| {
            let state = match filter.at {
                None => seen.state,
                Some(token) if token.epoch() != epoch || token.position() > head => {
                    return Err(ReadError::NotAToken);
                }
                Some(token) => state_at(store, tx, (&seen, user), token)?,
            };
            let wanted = state
                .members()
                .filter(|entry| filter.wants(entry))
                .map(|entry| entry.event);
            Ok(store.events_read(tx, &wanted.collect::<Vec<_>>())?)
        })
        .await
    }

    /// The joined members of a room that the user is in.
    ///
    /// # Errors
    /// [`ReadError::NotAllowed`] when the user is not joined; else [`ReadError`].
    pub async fn joined_members(
        &self,
        actor: &Actor,
        room_id: &RoomId,
    ) -> Result<Vec<MemberProfile>, ReadError> {
        let events = self
            .read_room(actor, room_id, |store, tx, seen| {
                if !seen.is_joined {
                    return Err(ReadError::NotAllowed);
                }
                let joined = seen
                    .state
                    .members()
                    .filter(|entry| entry.tag == Membership::Join.code());
                let numbers: Vec<EventNum> = joined.map(|entry| entry.event).collect();
                Ok(store.events_read(tx, &numbers)?)
            })
            .await?;
        Ok(events.iter().filter_map(|event| profile(event)).collect())
    }

    /// One event of a room, if the user may see it.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] when there is none that the user may see.
    pub async fn event(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        event: &EventId,
    ) -> Result<Arc<Event>, ReadError> {
        let room = self.room_num(room_id, ReadError::NotFound).await?;
        let (store, wanted, user, head) = (
            self.store().clone(),
            event.to_owned(),
            actor.user,
            self.parts.bus.head(),
        );
        let read = move |tx: &mut Tx<'_>| {
            let event = store
                .event_by_id(tx, &wanted)?
                .filter(|event| event.room == room);
            let event =
                event.filter(|event| event.position().is_none_or(|position| position <= head));
            let event = event.ok_or(ReadError::NotFound)?;
            let is_forgotten = membership_read(tx, user, room)?.is_some_and(|row| row.forgotten);
            if !is_forgotten && Viewer::load(tx, &store, user, room)?.sees(&event) {
                Ok(event)
            } else {
                Err(ReadError::NotFound)
            }
        };
        self.store().db().read("event", read).await
    }

    /// Reads from the state of a room that the user may see.
    async fn read_room<T: Send + 'static>(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        body: impl FnOnce(&Store, &mut Tx<'_>, Seen) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let snapshot = self.room(room_id, ReadError::UnknownRoom).await?;
        let (store, user) = (self.store().clone(), actor.user);
        let read = move |tx: &mut Tx<'_>| {
            let seen = seen(&store, tx, &snapshot, user)?;
            body(&store, tx, seen)
        };
        self.store().db().scan("read_room", read).await
    }
}

/// What a user may see of a room's state.
struct Seen {
    snapshot: Arc<RoomSnapshot>,
    state: StateMap,
    is_joined: bool,
    /// The position up to which the user may see, if they have left.
    until: Option<i64>,
}

fn seen(
    store: &Store,
    tx: &mut Tx<'_>,
    snapshot: &Arc<RoomSnapshot>,
    user: UserNum,
) -> Result<Seen, ReadError> {
    let row = membership_read(tx, user, snapshot.room)?.filter(|row| !row.forgotten);
    let current = |is_joined| Seen {
        snapshot: Arc::clone(snapshot),
        state: snapshot.state.clone(),
        is_joined,
        until: None,
    };
    match row {
        Some(row) if row.membership == Membership::Join => Ok(current(true)),
        _ if snapshot.visibility == Visibility::WorldReadable => Ok(current(false)),
        Some(row) if matches!(row.membership, Membership::Leave | Membership::Ban) => {
            let end = end_of_last_join(tx, user, snapshot.room)?.ok_or(ReadError::NotAllowed)?;
            Ok(Seen {
                snapshot: Arc::clone(snapshot),
                state: state_after(store, tx, end.event)?,
                is_joined: false,
                until: Some(end.position),
            })
        }
        _ => Err(ReadError::NotAllowed),
    }
}

/// What ended the user's last stay in the room. A ban or a declined invite after that shows nothing more.
fn end_of_last_join(
    tx: &mut Tx<'_>,
    user: UserNum,
    room: RoomNum,
) -> Result<Option<MembershipRow>, Error> {
    let history = membership_history(tx, user, room)?;
    let joined = history
        .iter()
        .rposition(|change| change.membership == Membership::Join);
    Ok(joined.and_then(|at| history.get(at + 1).copied()))
}

/// The state after an event.
fn state_after(store: &Store, tx: &mut Tx<'_>, event: EventNum) -> Result<StateMap, ReadError> {
    let event = store.event_read(tx, event)?.ok_or(ReadError::NotFound)?;
    let snapshot = event
        .snapshot
        .ok_or_else(|| Error::Damaged(format!("event {} has no state", event.num.0)))?;
    Ok(snapshot_load(tx, snapshot)?.0)
}

/// The state as of a token, at most up to what the user may see: who may not see the last event there may not see the
/// state after it.
fn state_at(
    store: &Store,
    tx: &mut Tx<'_>,
    (seen, user): (&Seen, UserNum),
    token: Token,
) -> Result<StateMap, ReadError> {
    let position = seen
        .until
        .map_or(token.position(), |until| until.min(token.position()));
    if position >= seen.snapshot.last_position && seen.until.is_none() {
        return Ok(seen.snapshot.state.clone());
    }
    let room = seen.snapshot.room;
    let stretch = Stretch {
        from: START,
        to: end_of(position),
    };
    let last = store.timeline_page(tx, room, stretch, Direction::Backwards, 1)?;
    let Some(last) = last.first() else {
        // Before the room was.
        return Ok(StateMap::default());
    };
    // Whoever sent it: what is state after it has nothing to do with that.
    if !Viewer::load(tx, store, user, room)?.may_see(last) {
        return Err(ReadError::NotAllowed);
    }
    state_after(store, tx, last.num)
}

fn profile(event: &Event) -> Option<MemberProfile> {
    debug_assert_eq!(
        event.kind,
        types::MEMBER,
        "only member events have profiles"
    );
    let content = Value::new(event.pdu.content());
    let text = |key: &str| {
        content
            .get(key)
            .and_then(Value::as_str)
            .map(Cow::into_owned)
    };
    Some(MemberProfile {
        user_id: OwnedUserId::try_from(event.pdu.state_key()?).ok()?,
        display_name: text("displayname"),
        avatar_url: text("avatar_url"),
    })
}
