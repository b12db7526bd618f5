//! Joining restricted rooms: whether the user meets a condition, and who lets them in.
//! <https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms>

use std::sync::Arc;

use ruma_common::{OwnedUserId, RoomId, ServerName, UserId};
use starling_db::{Error, Tx};
use starling_events::{Pdu, Value};
use starling_stateres::{JoinRule, RoomPower};
use starling_store::events::Event;
use starling_store::memberships::{Membership, membership_by_room_id};
use starling_store::names::{EMPTY_KEY, types};
use starling_store::remote_invites::rooms_joined;
use starling_store::rooms::RoomSnapshot;
use starling_store::{RoomNum, Store, UserNum};

use crate::error::SendError;
use crate::rooms::{Actor, Rooms};

/// How many users are looked at for one who may let another in: those who could not would be no users of this server.
const CANDIDATES: usize = 500;

/// So many conditions are looked at: each is a room.
const CONDITIONS: usize = 100;

/// How a user stands to a restricted room's conditions.
enum Standing {
    /// There are none to meet.
    Free,
    /// None is met.
    Outside,
    /// None can be looked at.
    Unknown,
    /// One is met, and this user may let them in, if there is any.
    LetIn(Option<OwnedUserId>),
}

impl Rooms {
    /// Who lets the actor into a room, where somebody has to.
    ///
    /// # Errors
    /// [`SendError::Forbidden`] when the actor meets none of the room's conditions, [`SendError::ConditionsUnknown`]
    /// when none of them can be looked at, [`SendError::NobodyToLetIn`].
    pub(super) async fn authoriser(
        &self,
        room: RoomNum,
        actor: &Actor,
        current: Option<Membership>,
    ) -> Result<Option<OwnedUserId>, SendError> {
        if matches!(
            current,
            Some(Membership::Join | Membership::Invite | Membership::Ban)
        ) {
            // They may come in as they are, or may not in any case.
            return Ok(None);
        }
        self.who_lets_in(room, Who::Here(actor.user)).await
    }

    /// Who lets a user of another server into a room, where somebody has to.
    ///
    /// # Errors
    /// As [`Rooms::authoriser`].
    pub(crate) async fn authoriser_of_other(
        &self,
        room: &RoomSnapshot,
        user: &UserId,
    ) -> Result<Option<OwnedUserId>, SendError> {
        let current = self.current_membership(room.room, user).await?;
        if matches!(
            current,
            Some(Membership::Join | Membership::Invite | Membership::Ban)
        ) {
            return Ok(None);
        }
        self.who_lets_in(room.room, Who::Elsewhere(user.to_owned()))
            .await
    }

    async fn who_lets_in(&self, room: RoomNum, who: Who) -> Result<Option<OwnedUserId>, SendError> {
        let (store, server) = (self.store().clone(), self.server_name().to_owned());
        let read = move |tx: &mut Tx<'_>| standing(&store, tx, room, (&who, &server));
        match self.store().db().read("restricted_join", read).await? {
            Standing::Free => Ok(None),
            Standing::Outside => Err(SendError::Forbidden(
                "the user is in none of the rooms whose members may join".to_owned(),
            )),
            Standing::Unknown => Err(SendError::ConditionsUnknown),
            Standing::LetIn(None) => Err(SendError::NobodyToLetIn),
            Standing::LetIn(Some(authoriser)) => Ok(Some(authoriser)),
        }
    }
}

/// Who wants to come in.
#[derive(Debug)]
enum Who {
    /// A user of this server.
    Here(UserNum),
    /// One of another.
    Elsewhere(OwnedUserId),
}

impl Who {
    /// What they are in each of the rooms with these ids whose state is known here: of another server's user only where
    /// this server still is in the room, and hears of it.
    fn memberships(
        &self,
        store: &Store,
        tx: &mut Tx<'_>,
        rooms: &[String],
    ) -> Result<Vec<Option<Membership>>, Error> {
        let user = match self {
            Self::Here(user) => return membership_by_room_id(tx, *user, rooms),
            Self::Elsewhere(user) => user,
        };
        let rooms = rooms_joined(tx, rooms)?;
        let key = store.names().key(tx, user.as_str())?;
        let membership = |room: Arc<RoomSnapshot>| {
            let entry = key.and_then(|key| room.state.get(types::MEMBER, key).copied());
            entry.and_then(|entry| Membership::from_code(entry.tag))
        };
        let rooms = store.rooms_read(tx, &rooms)?;
        Ok(rooms.into_iter().map(membership).collect())
    }
}

fn standing(
    store: &Store,
    tx: &mut Tx<'_>,
    room: RoomNum,
    (who, server): (&Who, &ServerName),
) -> Result<Standing, Error> {
    let Some(snapshot) = store.room_read(tx, room)? else {
        return Ok(Standing::Free);
    };
    let wanted = [types::CREATE, types::POWER_LEVELS, types::JOIN_RULES];
    let numbers = wanted.map(|kind| snapshot.state_event(kind, EMPTY_KEY));
    let events = store.events_read(tx, &numbers.into_iter().flatten().collect::<Vec<_>>())?;
    let of = |kind| {
        let found = events.iter().find(|event: &&Arc<Event>| event.kind == kind);
        found.map(|event| &event.pdu)
    };
    let rules = of(types::JOIN_RULES);
    if !matches!(
        JoinRule::of_event(rules),
        JoinRule::Restricted | JoinRule::KnockRestricted
    ) {
        return Ok(Standing::Free);
    }
    let rooms: Vec<String> = rules.map(condition_rooms).unwrap_or_default();
    let memberships = who.memberships(store, tx, &rooms)?;
    if !memberships.contains(&Some(Membership::Join)) {
        // Conditions that nobody can meet are none, and not unknown.
        return Ok(if memberships.is_empty() && !rooms.is_empty() {
            Standing::Unknown
        } else {
            Standing::Outside
        });
    }
    let power =
        of(types::CREATE).and_then(|create| RoomPower::new(create, of(types::POWER_LEVELS)).ok());
    let authoriser = match power {
        Some(power) => who_may_invite(store, tx, &snapshot, (&power, server))?,
        None => None,
    };
    Ok(Standing::LetIn(authoriser))
}

/// The rooms whose members may join. Conditions of other kinds, and what is no condition, are met by nobody.
fn condition_rooms(rules: &Pdu) -> Vec<String> {
    let allow = Value::new(rules.content()).get("allow");
    let conditions = allow.into_iter().filter(|allow| allow.is_array());
    let room_of = |condition: Value<'_>| {
        let kind = condition.get("type")?.as_str()?;
        let room = condition.get("room_id")?.as_str()?;
        let is_room = kind == "m.room_membership"
            && <&RoomId>::try_from(&*room).is_ok()
            && !room.contains('\0');
        is_room.then(|| room.into_owned())
    };
    conditions
        .flat_map(Value::elements)
        .filter_map(room_of)
        .take(CONDITIONS)
        .collect()
}

/// A user of this server who is in the room and has the power to invite.
fn who_may_invite(
    store: &Store,
    tx: &mut Tx<'_>,
    snapshot: &RoomSnapshot,
    (power, server): (&RoomPower, &ServerName),
) -> Result<Option<OwnedUserId>, Error> {
    let least = power.invite_level();
    let local = |name: &str| {
        let user = <&UserId>::try_from(name).ok()?;
        (user.server_name() == server).then(|| user.to_owned())
    };
    for user in power.named_with(least).filter_map(local).take(CANDIDATES) {
        let key = store.names().key(tx, user.as_str())?;
        let entry = key.and_then(|key| snapshot.state.get(types::MEMBER, key));
        if entry.is_some_and(|entry| entry.tag == Membership::Join.code()) {
            return Ok(Some(user));
        }
    }
    if power.default_level() < least {
        return Ok(None);
    }
    let members = snapshot.state.members();
    let joined = members.filter(|entry| entry.tag == Membership::Join.code());
    for entry in joined.take(CANDIDATES) {
        let name = store.names().key_name(tx, entry.key)?;
        if let Some(user) = local(&name).filter(|user| power.user_level(user) >= least) {
            return Ok(Some(user));
        }
    }
    Ok(None)
}
