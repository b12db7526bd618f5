//! Upgrading a room: another of another version takes its place, in one transaction.
//! <https://spec.matrix.org/v1.19/client-server-api/#room-upgrades>

mod carried;
mod power;
mod settings;

use std::sync::Arc;

use ruma_common::{EventId, OwnedRoomId, OwnedUserId, RoomId};
use serde_json::{Map, Value, json};
use starling_db::{Error, Tx};
use starling_events::id::parse_user_id;
use starling_events::room_version::RoomIdForm;
use starling_events::{CanonicalObject, Pdu, RoomVersion};
use starling_stateres::RoomPower;
use starling_store::memberships::Membership;
use starling_store::names::Name;
use starling_store::profiles::ProfileSeen;
use starling_store::rooms::RoomSnapshot;
use starling_store::{RoomNum, Store};

use crate::create::{Built, TOMBSTONE, complete_creation};
use crate::error::{SendError, UpgradeError};
use crate::pipeline::{Draft, names_of};
use crate::rooms::{Actor, Rooms};

use carried::{Basis, OldRoom};
pub(crate) use settings::Carry;

/// The type of the event that holds the power levels.
const POWER_LEVELS: &str = "m.room.power_levels";

/// How often a new room is planned anew because its creator's profile or the old room has changed meanwhile.
const ATTEMPTS: u32 = 16;

/// More creators than a room can name in one event.
const MAX_CREATORS: usize = 500;

/// All that is known of an upgrade before the old room's head is locked.
#[derive(Debug)]
pub(crate) struct Upgrade {
    pub(crate) actor: Actor,
    /// The profile that the actor joins the new room with.
    seen: ProfileSeen,
    pub(crate) old: RoomNum,
    old_id: OwnedRoomId,
    version: RoomVersion,
    /// The new room's create event, but for the end of the old room.
    creation: Map<String, Value>,
    /// The events after it.
    drafts: Vec<Draft>,
    /// Whether the directory lists the old room, and so the new one in its place.
    pub(crate) is_public: bool,
    /// What of the old room it was made from.
    basis: Basis,
}

impl Rooms {
    /// Replaces a room by a new one of `version`. All of it is durable when this returns the new room's id.
    ///
    /// A room that was replaced before may be replaced again, where the first replacement was a mistake. But of those who
    /// do so at the same time, unknown to each other, only one does.
    ///
    /// # Errors
    /// [`UpgradeError`]; nothing is stored then.
    pub async fn upgrade(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        version: &str,
        additional_creators: &[String],
    ) -> Result<OwnedRoomId, UpgradeError> {
        let version = RoomVersion::parse(version)
            .ok_or_else(|| UpgradeError::UnsupportedVersion(version.to_owned()))?;
        let creators = if version.rules().privileged_creators {
            users(additional_creators)?
        } else {
            Vec::new()
        };
        let room = self.room_num(room_id, SendError::UnknownRoom).await?;
        let membership = self.current_membership(room, &actor.user_id).await;
        if membership.map_err(SendError::Db)? != Some(Membership::Join) {
            return Err(SendError::Forbidden("you are not in this room".to_owned()).into());
        }
        let mut end = None;
        for _ in 0..ATTEMPTS {
            let old = self.old_room(room).await?;
            if *end.get_or_insert(old.end) != old.end {
                let why = "the room has just been replaced by another";
                return Err(SendError::BadState(why).into());
            }
            let upgrade = self.plan(actor, &old, version, &creators).await?;
            let names = self.store().names();
            let ahead = names.intern_ahead(self.store().db(), upgrade.names());
            ahead.await.map_err(SendError::Db)?;
            if let Some(replacement) = self.replace(Arc::new(upgrade)).await? {
                return Ok(replacement);
            }
        }
        let too_often = "the room or the creator's profile changed too often".to_owned();
        Err(SendError::Db(Error::Unavailable(too_often)).into())
    }

    async fn old_room(&self, room: RoomNum) -> Result<OldRoom, SendError> {
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| OldRoom::read(&store, tx, room);
        let old = self.store().db().read("upgrade", read).await?;
        old.ok_or(SendError::UnknownRoom)
    }

    async fn plan(
        &self,
        actor: &Actor,
        old: &OldRoom,
        version: RoomVersion,
        creators: &[OwnedUserId],
    ) -> Result<Upgrade, SendError> {
        let refused = || SendError::Forbidden("you may not upgrade this room".to_owned());
        let power = RoomPower::new(&old.create, old.levels.as_ref()).map_err(|_| refused())?;
        if power.user_level(&actor.user_id) < power.event_level(TOMBSTONE, true) {
            return Err(refused());
        }
        // Before its content, so that no change is missed.
        let seen = self.shown(actor.user).await?.seen();
        let joined = self
            .member_content(Membership::Join, &actor.user_id)
            .await?;
        let state = |kind: &str, key: &str, content: &Map<String, Value>| {
            let content = CanonicalObject::from_serialize(content)?;
            Ok::<_, SendError>(Draft::state(actor.user_id.clone(), kind, key, content))
        };
        let levels = power::carried(old, &power, (actor, creators), version)?;
        let mut drafts = vec![
            state("m.room.member", actor.user_id.as_str(), &joined)?,
            state(POWER_LEVELS, "", &levels.first)?,
        ];
        for (kind, key, content) in old.carried(version, self.server_name()) {
            drafts.push(Draft::state(actor.user_id.clone(), kind, key, content));
        }
        if levels.last != levels.first {
            drafts.push(state(POWER_LEVELS, "", &levels.last)?);
        }
        let mut creation = old.creation();
        if !creators.is_empty() {
            creation.insert("additional_creators".to_owned(), json!(creators));
        }
        complete_creation(&mut creation, actor, version);
        Ok(Upgrade {
            actor: actor.clone(),
            seen,
            old: old.snapshot.room,
            old_id: old.snapshot.room_id.clone(),
            version,
            creation,
            drafts,
            is_public: old.is_public,
            basis: old.basis.clone(),
        })
    }
}

impl Upgrade {
    /// The names that writing both rooms' events needs as integers.
    fn names(&self) -> Vec<Name> {
        let mut names: Vec<Name> = self.drafts.iter().flat_map(names_of).collect();
        for kind in ["m.room.create", POWER_LEVELS, TOMBSTONE] {
            names.push(Name::Type(kind.into()));
        }
        names.push(Name::Key("".into()));
        names
    }

    /// Whether it is still made from what this room has.
    pub(crate) fn is_of(
        &self,
        store: &Store,
        tx: &mut Tx<'_>,
        old: &RoomSnapshot,
    ) -> Result<bool, Error> {
        Ok(Basis::of(&carried::decisive(store, tx, old)?) == self.basis)
    }

    /// Whether the new room's id is known only when its create event is.
    pub(crate) fn is_named_by_creation(&self) -> bool {
        self.version.rules().room_id == RoomIdForm::CreateEventHash
    }

    /// The new room, built. `end` is the last event of the old room that is known: its tombstone, where that comes first.
    pub(crate) fn build(
        &self,
        rooms: &Rooms,
        room_id: Option<OwnedRoomId>,
        end: Option<&EventId>,
    ) -> Result<Built, SendError> {
        let mut creation = self.creation.clone();
        let mut predecessor = json!({ "room_id": self.old_id });
        if let (Some(end), Some(predecessor)) = (end, predecessor.as_object_mut()) {
            predecessor.insert("event_id".to_owned(), end.as_str().into());
        }
        creation.insert("predecessor".to_owned(), predecessor);
        let content = CanonicalObject::from_serialize(&creation)?;
        let sender = self.actor.user_id.clone();
        let mut drafts = vec![Draft::state(sender, "m.room.create", "", content)];
        drafts.extend(self.drafts.iter().cloned());
        rooms.build_first(
            (&self.actor, self.seen),
            drafts,
            (self.version, room_id),
            (None, self.is_public),
        )
    }

    /// What ends the old room.
    pub(crate) fn tombstone(&self, replacement: &RoomId) -> Result<Draft, SendError> {
        let content =
            json!({ "body": "This room has been replaced", "replacement_room": replacement });
        let content = CanonicalObject::from_serialize(&content)?;
        Ok(Draft::state(
            self.actor.user_id.clone(),
            TOMBSTONE,
            "",
            content,
        ))
    }

    /// What keeps others from going on in the old room, if that isn't so already.
    pub(crate) fn restriction(&self, create: Option<&Pdu>, levels: Option<&Pdu>) -> Option<Draft> {
        let levels = power::restricted(create?, levels)?;
        let content = CanonicalObject::from_serialize(&levels).ok()?;
        Some(Draft::state(
            self.actor.user_id.clone(),
            POWER_LEVELS,
            "",
            content,
        ))
    }

    /// What of the actor's own is carried over at once.
    pub(crate) fn carry(&self) -> Carry {
        Carry {
            user: self.actor.user,
            from: self.old,
            from_id: self.old_id.clone(),
        }
    }
}

fn users(names: &[String]) -> Result<Vec<OwnedUserId>, SendError> {
    let invalid = || SendError::Invalid("additional_creators");
    if names.len() > MAX_CREATORS {
        return Err(invalid());
    }
    let mut users = Vec::with_capacity(names.len());
    for name in names {
        let user = parse_user_id(name).map_err(|_| invalid())?;
        if !users.contains(&user) {
            users.push(user);
        }
    }
    Ok(users)
}
