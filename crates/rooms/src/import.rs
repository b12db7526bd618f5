//! Taking over a room from another server, with the event by which a user of this one comes in.
//! <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>

use std::collections::BTreeSet;
use std::sync::Arc;

use ruma_common::{OwnedEventId, OwnedRoomId, ServerName, UserId};
use starling_db::{Error, Tx, Write};
use starling_events::{Pdu, RoomVersion};
use starling_stateres::check;
use starling_store::append::{Fork, NewEvent};
use starling_store::events::Status;
use starling_store::memberships::Membership;
use starling_store::names::types;
use starling_store::outliers::{Outlier, events_known};
use starling_store::remote_invites::{room_adopt, room_is_joined};
use starling_store::rooms::RoomSnapshot;
use starling_store::state_map::StateMap;
use starling_store::{EventNum, KeyNum, RoomNum, Store};

use crate::error::SendError;
use crate::receive::{ReceiveError, Received, merged, names_of, witnesses};
use crate::rooms::Rooms;

/// How often the import is tried again because something else happened in the room.
const ATTEMPTS: u32 = 16;

/// A room as another server gave it. The signatures and hashes of all events were checked.
#[derive(Debug, Clone)]
pub(crate) struct ImportedRoom {
    /// Its version.
    pub(crate) version: RoomVersion,
    /// Its id.
    pub(crate) room_id: OwnedRoomId,
    /// The event by which a user of this server joins it.
    pub(crate) join: Pdu,
    /// The events of the state before that and those that allow them and the join: each is allowed by those that it cites, and
    /// comes after them.
    pub(crate) events: Vec<Pdu>,
    /// Which of them are the state.
    pub(crate) state: Vec<OwnedEventId>,
}

impl Rooms {
    /// Stores a room of other servers, in which this one wasn't; all of it is durable when this returns. What was known of
    /// it before stays where it is in the history, and there is a gap before the join. Where the other server hasn't
    /// heard yet who of this one has left, the room as it was here stays beside it.
    ///
    /// # Errors
    /// [`SendError::Forbidden`] when the state doesn't allow the join, or isn't one, or what was here last forbids it.
    pub(crate) async fn import(&self, imported: ImportedRoom) -> Result<OwnedEventId, SendError> {
        let ImportedRoom {
            version,
            room_id,
            join,
            events,
            state,
        } = imported;
        // Its create event was checked: what an invite said of the version counts no longer.
        let know = move |tx: &mut Tx<'_>| room_adopt(tx, &room_id, version);
        let room = self.store().db().write(Write::new("room"), know).await?;
        let room = room.ok_or_else(|| {
            SendError::Forbidden("the room is known here with another version".to_owned())
        })?;
        self.store().rooms().forget(room);
        let turn = self.turns.take(room).await;
        let is_joined = move |tx: &mut Tx<'_>| room_is_joined(tx, room);
        if self.store().db().read("room_is_joined", is_joined).await? {
            drop(turn);
            return self.join_too(room, join).await;
        }
        let allowed = |pdu| Outlier {
            pdu,
            status: Status::Accepted,
        };
        let events = events.into_iter().map(allowed).collect();
        self.store_judged(room, events).await?;
        let names = self.store().names();
        names.intern_all(self.store().db(), names_of(&join)).await?;
        let before = self.state_of(room, state).await.map_err(|error| {
            SendError::Forbidden(format!("the room cannot be taken over: {error}"))
        })?;
        for _ in 0..ATTEMPTS {
            let snapshot = self.store().room(room).await?;
            let snapshot = snapshot.ok_or(SendError::UnknownRoom)?;
            let new = self.joining(&snapshot, &join, before.clone()).await?;
            if self.append_built(&snapshot, new).await? {
                return Ok(join.event_id().to_owned());
            }
        }
        Err(SendError::Db(Error::Unavailable(
            "the room moved on too often".to_owned(),
        )))
    }

    /// Somebody else of this server has come into the room meanwhile: then the join is an event of it like others.
    async fn join_too(&self, room: RoomNum, join: Pdu) -> Result<OwnedEventId, SendError> {
        let snapshot = self.store().room(room).await?;
        let snapshot = snapshot.ok_or(SendError::UnknownRoom)?;
        let others = self.other_servers_in(&snapshot).await?;
        let origin = others.first().ok_or(SendError::UnknownRoom)?;
        match self.receive(origin, join.clone()).await {
            Ok(Received::Accepted | Received::Known) => Ok(join.event_id().to_owned()),
            Ok(Received::SoftFailed(why) | Received::Rejected(why)) => {
                Err(SendError::Forbidden(why))
            }
            Err(ReceiveError::Db(error)) => Err(error.into()),
            Err(error) => Err(SendError::Forbidden(error.to_string())),
        }
    }

    /// The join as it is to be appended, if the state allows it.
    async fn joining(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        join: &Pdu,
        before: StateMap,
    ) -> Result<NewEvent, SendError> {
        let (store, room, pdu) = (self.store().clone(), Arc::clone(snapshot), join.clone());
        let server = self.server_name().to_owned();
        let read = move |tx: &mut Tx<'_>| {
            let is_behind = is_behind(&store, tx, (&room, &server), &before)?;
            let standing = standing_of_join(&store, tx, room.room, (&pdu, before))?;
            let mut fork = match standing {
                Ok(fork) => fork,
                Err(why) => return Ok(Err(why)),
            };
            if is_behind {
                let others = room.extremities.iter();
                let others = others.filter(|extremity| !fork.prev.contains(&extremity.num));
                fork.others = others.cloned().collect();
                let current = merged(&store, tx, &pdu, (&fork, (&room, &fork.others)))?;
                if !has_joined(&store, tx, &current, &pdu)? {
                    let why = "what was done in the room from here last doesn't let you in";
                    return Ok(Err(why.to_owned()));
                }
                fork.current = Some(current);
            }
            Ok::<_, Error>(Ok(fork))
        };
        let fork = self.store().db().scan("import", read).await?;
        let fork = fork.map_err(SendError::Forbidden)?;
        Ok(NewEvent {
            pdu: join.clone(),
            fork: Some(Arc::new(fork)),
            auth: Vec::new(),
            transaction: None,
            redacts: None,
            profile: None,
            relates_to: None,
            now_ms: self.parts.clock.now_ms(),
            forgets_left: self.parts.forget_on_leave,
        })
    }
}

/// Whether another server's state is of before somebody of this one left: it has a member event in it that this server has
/// replaced since. Then the room can't follow from what was here last.
fn is_behind(
    store: &Store,
    tx: &mut Tx<'_>,
    (room, server): (&RoomSnapshot, &ServerName),
    state: &StateMap,
) -> Result<bool, Error> {
    let gone = room.state.members().filter_map(|here| {
        let there = state.get(here.kind, here.key)?;
        let is_gone = there.tag == Membership::Join.code() && here.tag != there.tag;
        is_gone.then_some((here.key, there.event, here.event))
    });
    let gone: Vec<(KeyNum, EventNum, EventNum)> = gone.collect();
    let names = store
        .names()
        .key_names(tx, gone.iter().map(|(key, ..)| *key))?;
    let is_own = |key: &KeyNum| {
        let name = names.get(key);
        let user = name.and_then(|name| <&UserId>::try_from(&**name).ok());
        user.is_some_and(|user| user.server_name() == server)
    };
    for (_, there, here) in gone.iter().filter(|(key, ..)| is_own(key)) {
        let there = store.event_read(tx, *there)?.and_then(|event| event.place);
        let here = store.event_read(tx, *here)?.and_then(|event| event.place);
        if there.is_some() && there < here {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether who joins by an event is in the room by this state.
fn has_joined(store: &Store, tx: &mut Tx<'_>, state: &StateMap, join: &Pdu) -> Result<bool, Error> {
    let key = store.names().key(tx, join.sender().as_str())?;
    let member = key.and_then(|key| state.get(types::MEMBER, key));
    Ok(member.is_some_and(|member| member.tag == Membership::Join.code()))
}

fn standing_of_join(
    store: &Store,
    tx: &mut Tx<'_>,
    room: RoomNum,
    (join, before): (&Pdu, StateMap),
) -> Result<Result<Fork, String>, Error> {
    let state = witnesses(store, tx, join, &before)?;
    if let Err(error) = check(join.version(), join, &state) {
        return Ok(Err(error.to_string()));
    }
    let named = join.auth_events().iter().chain(join.prev_events());
    let named = named.map(|id| &**id).chain([join.event_id()]);
    let known = events_known(tx, named)?;
    let here = |id: &&OwnedEventId| known.get(*id).is_some_and(|event| event.room == room);
    let num = |id: &OwnedEventId| known.get(id).map(|event| event.num);
    let auth: Option<Vec<EventNum>> = join.auth_events().iter().filter(here).map(num).collect();
    let auth = auth.filter(|auth| auth.len() == join.auth_events().len());
    let Some(auth) = auth else {
        return Ok(Err("events that allow the join are missing".to_owned()));
    };
    // What was before the join is history that isn't here, also where some of it is known as state.
    let missing: BTreeSet<OwnedEventId> = join.prev_events().iter().cloned().collect();
    Ok(Ok(Fork {
        before,
        base: None,
        prev: join
            .prev_events()
            .iter()
            .filter(here)
            .filter_map(num)
            .collect(),
        missing: missing.into_iter().collect(),
        auth,
        stored_as: known.get(join.event_id()).map(|event| event.num),
        is_followed: false,
        others: Vec::new(),
        current: None,
        is_import: true,
        forwards_from: None,
        redacted_by: None,
        waits_for: None,
    }))
}
