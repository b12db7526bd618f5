//! Membership of local users: joining, inviting, knocking, leaving, kicking, banning, forgetting.
//! <https://spec.matrix.org/v1.19/client-server-api/#room-membership>

mod elsewhere;
mod restricted;
mod third_party;

use ruma_common::{OwnedRoomId, RoomId, UserId};
use serde_json::{Map, Value};
use starling_db::{Error, Write};
use starling_events::CanonicalObject;
use starling_store::account_data::blocks_invites;
use starling_store::memberships::{
    Membership, membership_forget, membership_list, membership_read,
};
use starling_store::{RoomNum, accounts, profiles};

use crate::error::SendError;
use crate::pipeline::{Draft, Extras};
use crate::rooms::{Actor, Rooms};

pub(crate) use elsewhere::is_same;

/// What one user does to another's membership, or to their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembershipAction {
    /// Comes in.
    Join,
    /// Asks another in.
    Invite,
    /// Asks to be let in.
    Knock,
    /// Goes, declines an invite, or asks no longer.
    Leave,
    /// Sends another out.
    Kick,
    /// Keeps another out.
    Ban,
    /// Lets another come again.
    Unban,
}

impl MembershipAction {
    fn membership(self) -> Membership {
        match self {
            Self::Join => Membership::Join,
            Self::Invite => Membership::Invite,
            Self::Knock => Membership::Knock,
            Self::Leave | Self::Kick | Self::Unban => Membership::Leave,
            Self::Ban => Membership::Ban,
        }
    }
}

/// The property of a member event that names who lets a user into a restricted room.
pub(crate) const AUTHORISED_VIA: &str = "join_authorised_via_users_server";

impl Rooms {
    /// Changes the membership of `target` in a room (of the actor, for joining, knocking and leaving).
    ///
    /// # Errors
    /// [`SendError::Forbidden`] when the room's rules don't allow it, [`SendError::BadState`] for unbanning somebody who
    /// isn't banned, [`SendError::UnknownUser`] for an invite of somebody who doesn't exist, [`SendError::Remote`] for one
    /// that their server refuses,
    /// [`SendError::InviteBlocked`] for one of somebody who wants none; else [`SendError`].
    pub async fn change_membership(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        action: MembershipAction,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), SendError> {
        if action == MembershipAction::Leave
            && let Some(elsewhere) = self.elsewhere(room_id).await?
        {
            let (rooms, actor, room_id) = (self.clone(), actor.clone(), room_id.to_owned());
            // A task of its own: if the request goes away, a leave that others have taken is noted here all the same.
            let leaving = tokio::spawn(async move {
                let room = (&*room_id, &elsewhere);
                rooms.leave_elsewhere(&actor, room, reason).await
            });
            return leaving.await.map_err(|_| SendError::Db(Error::Closed))?;
        }
        let room = self.room_num(room_id, SendError::UnknownRoom).await?;
        let current = self.current_membership(room, target).await?;
        // Who isn't in the room isn't told how others stand to it.
        if *target != actor.user_id
            && self.current_membership(room, &actor.user_id).await? != Some(Membership::Join)
        {
            let why = "you are not in this room";
            return Err(SendError::Forbidden(why.to_owned()));
        }
        if !is_needed(action, current)? {
            return Ok(());
        }
        if action == MembershipAction::Knock {
            self.check_knocking(room).await?;
        }
        let mut extras = Extras::default();
        if action == MembershipAction::Join {
            self.not_to_be_purged(room).await?;
            // Before its content, so that no change is missed.
            extras.profile = Some(self.shown(actor.user).await?.seen());
        }
        let mut content = self.member_content(action.membership(), target).await?;
        content.extend(reason.map(|reason| ("reason".to_owned(), Value::String(reason))));
        if action == MembershipAction::Join {
            extras.guest_joins = actor.is_guest;
            extras.carry = self.carry_into(room, actor).await?;
            let authoriser = self.authoriser(room, actor, current).await?;
            content
                .extend(authoriser.map(|user| (AUTHORISED_VIA.to_owned(), user.as_str().into())));
        }
        let content = CanonicalObject::from_serialize(&content)?;
        let draft = Draft::state(
            actor.user_id.clone(),
            "m.room.member",
            target.as_str(),
            content,
        );
        match self.invited_elsewhere(&draft) {
            Some(user) => self.send_invite(room, draft, &user).await.map(drop),
            None => self.append_new(room, draft, extras).await.map(drop),
        }
    }

    /// In older versions of rooms there is no knocking: the membership itself would be malformed.
    async fn check_knocking(&self, room: RoomNum) -> Result<(), SendError> {
        let snapshot = self.store().room(room).await?;
        let version = snapshot.ok_or(SendError::UnknownRoom)?.version;
        if version.rules().knocking {
            return Ok(());
        }
        let why = "one cannot knock at rooms of this version";
        Err(SendError::Forbidden(why.to_owned()))
    }

    /// The membership of any user in a room now, local or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn current_membership(
        &self,
        room: RoomNum,
        user: &UserId,
    ) -> Result<Option<Membership>, Error> {
        let (store, user) = (self.store().clone(), user.to_owned());
        let read = move |tx: &mut starling_db::Tx<'_>| {
            let Some(snapshot) = store.room_read(tx, room)? else {
                return Ok(None);
            };
            let Some(key) = store.names().key(tx, user.as_str())? else {
                return Ok(None);
            };
            let entry = snapshot
                .state
                .get(starling_store::names::types::MEMBER, key);
            Ok(entry.and_then(|entry| Membership::from_code(entry.tag)))
        };
        self.store().db().read("membership", read).await
    }

    /// The content of a member event; a local user who comes in, is asked in or asks to be brings their profile.
    pub(crate) async fn member_content(
        &self,
        membership: Membership,
        target: &UserId,
    ) -> Result<Map<String, Value>, SendError> {
        let mut content = Map::new();
        content.insert("membership".to_owned(), membership.as_str().into());
        if matches!(membership, Membership::Leave | Membership::Ban) {
            return Ok(content);
        }
        if membership == Membership::Invite && self.is_invited_elsewhere(target) {
            // What they are called is theirs to say, when they come in.
            return Ok(content);
        }
        if target.server_name() != self.server_name() {
            return Err(SendError::UserElsewhere(target.to_owned()));
        }
        let profile = self
            .profile_of(target, membership)
            .await?
            .ok_or_else(|| SendError::UnknownUser(target.to_owned()))?;
        for field in profile
            .into_iter()
            .filter(|field| matches!(&*field.name, "displayname" | "avatar_url"))
        {
            let value: Value = serde_json::from_str(&field.value).map_err(|_| damaged(target))?;
            content.insert(field.name, value);
        }
        Ok(content)
    }

    /// The content of a member event that a client wrote itself, with what the room's rules leave to this server:
    /// whether the user may be named at all, and who lets them into a restricted room. `room` is `None` while it is
    /// being made.
    pub(crate) async fn checked_member_content(
        &self,
        actor: &Actor,
        room: Option<RoomNum>,
        draft: &Draft,
    ) -> Result<CanonicalObject, SendError> {
        let content = draft.content.value();
        let membership = content
            .get("membership")
            .and_then(starling_events::Value::as_str);
        let membership = membership.and_then(|word| Membership::parse(&word));
        let target = draft.state_key.as_deref().map(<&UserId>::try_from);
        let (Some(membership), Some(Ok(target))) = (membership, target) else {
            return Ok(draft.content.clone());
        };
        if membership == Membership::Knock && actor.is_guest {
            return Err(SendError::NoGuests);
        }
        // Whom such an event names must be a user of this server.
        self.member_content(membership, target).await?;
        let authoriser = match room {
            Some(room) if membership == Membership::Join && *target == actor.user_id => {
                self.not_to_be_purged(room).await?;
                let current = self.current_membership(room, target).await?;
                self.authoriser(room, actor, current).await?
            }
            _ => None,
        };
        // Clients copy it from the event that was there before, and it is not theirs to say.
        if authoriser.is_none() && content.get(AUTHORISED_VIA).is_none() {
            return Ok(draft.content.clone());
        }
        let members: Result<Map<String, Value>, _> =
            serde_json::from_slice(draft.content.as_bytes());
        let mut members = members.map_err(|_| SendError::Invalid("content"))?;
        members.remove(AUTHORISED_VIA);
        members.extend(authoriser.map(|user| (AUTHORISED_VIA.to_owned(), user.as_str().into())));
        Ok(CanonicalObject::from_serialize(&members)?)
    }

    /// The profile of a local user whose account is in use, unless they don't want to be invited and that is what it is
    /// for. <https://spec.matrix.org/v1.19/client-server-api/#invite-permission>
    async fn profile_of(
        &self,
        user: &UserId,
        membership: Membership,
    ) -> Result<Option<Vec<profiles::ProfileField>>, SendError> {
        let user_id = user.to_owned();
        let read = move |tx: &mut starling_db::Tx<'_>| {
            let account = accounts::account_find(tx, &user_id)?;
            let Some(account) = account.filter(|account| account.deactivated_at.is_none()) else {
                return Ok::<_, Error>((false, None));
            };
            let blocks = membership == Membership::Invite && blocks_invites(tx, account.user)?;
            Ok((blocks, Some(profiles::profile_read(tx, account.user)?)))
        };
        match self.store().db().read("profile", read).await? {
            (true, _) => Err(SendError::InviteBlocked(user.to_owned())),
            (false, profile) => Ok(profile),
        }
    }

    /// Forgets a room that the user has left: it is no longer told of.
    ///
    /// # Errors
    /// [`SendError::UnknownRoom`] when the user was never in it; [`SendError::Forbidden`] when they still are.
    pub async fn forget(&self, actor: &Actor, room_id: &RoomId) -> Result<(), SendError> {
        let room = self.room_num(room_id, SendError::UnknownRoom).await?;
        let user = actor.user;
        let write = Write::new("forget").locking([room.0]);
        let forgotten = self.store().db().write(write, move |tx| {
            let known = membership_read(tx, user, room)?.is_some();
            Ok::<_, Error>((known, membership_forget(tx, user, room)?))
        });
        match forgotten.await? {
            (_, true) => Ok(()),
            (true, false) => Err(SendError::Forbidden(
                "leave the room before you forget it".to_owned(),
            )),
            (false, false) => Err(SendError::UnknownRoom),
        }
    }

    /// The rooms that the user is joined to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn joined_rooms(&self, actor: &Actor) -> Result<Vec<OwnedRoomId>, Error> {
        let (store, user) = (self.store().clone(), actor.user);
        let read = move |tx: &mut starling_db::Tx<'_>| {
            let mut joined = Vec::new();
            for row in membership_list(tx, user)?
                .iter()
                .filter(|row| row.membership == Membership::Join)
            {
                joined.extend(store.room_id(tx, row.room)?);
            }
            Ok(joined)
        };
        self.store().db().scan("joined_rooms", read).await
    }
}

fn damaged(user: &UserId) -> Error {
    Error::Damaged(format!("the profile of {user} is not JSON"))
}

/// Whether the action changes anything; an error when it makes no sense for who is in the room now.
fn is_needed(action: MembershipAction, current: Option<Membership>) -> Result<bool, SendError> {
    let refuse = |why: &str| Err(SendError::Forbidden(why.to_owned()));
    match (action, current) {
        (MembershipAction::Join, Some(Membership::Join))
        | (MembershipAction::Knock, Some(Membership::Knock)) => Ok(false),
        (MembershipAction::Unban, Some(Membership::Ban)) => Ok(true),
        (MembershipAction::Unban, _) => Err(SendError::BadState("the user is not banned")),
        (MembershipAction::Kick, Some(Membership::Ban)) => {
            refuse("the user is banned; unban them instead")
        }
        (MembershipAction::Kick, None | Some(Membership::Leave)) => {
            refuse("the user is not in the room")
        }
        (MembershipAction::Leave, None) => refuse("you are not in the room"),
        _ => Ok(true),
    }
}
