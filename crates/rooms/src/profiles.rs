//! Another name or picture of a user, brought to the rooms that the user is in.
//! <https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information>
//!
//! Positions say what is newer. A field that was changed after the user's member event was written replaces what that
//! says. What the event says of a field that was changed before it was written there on purpose (a name for this room
//! alone) and stays. So what a join brings of the profile must be as new as its event: the transaction that writes it
//! looks once more ([`AppendError::Outdated`](starling_store::append::AppendError)).

use std::sync::Arc;

use futures_util::future::join_all;
use ruma_common::{OwnedEventId, OwnedUserId, UserId};
use serde_json::{Map, Value};
use starling_db::{Error, Tx};
use starling_events::CanonicalObject;
use starling_store::accounts::account_read;
use starling_store::jobs::{Job, Progress};
use starling_store::memberships::Membership;
use starling_store::names::types;
use starling_store::profiles::{ProfileField, ProfileSeen, profile_shown};
use starling_store::{EventNum, RoomNum, UserNum};

use crate::error::SendError;
use crate::membership::AUTHORISED_VIA;
use crate::pipeline::{Draft, Extras};
use crate::rooms::Rooms;

/// How often a room is tried in which the user's member event changes meanwhile.
const ATTEMPTS: u32 = 16;

/// What rooms show of a user's profile: the fields that are set, and those that were removed.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    user: UserNum,
    fields: Vec<ProfileField>,
}

impl Shown {
    /// As of when it is.
    pub(crate) fn seen(&self) -> ProfileSeen {
        let positions = self.fields.iter().map(|field| field.position);
        ProfileSeen {
            user: self.user,
            position: positions.max().unwrap_or(0),
        }
    }

    /// Changes the fields of a member event's content that have changed in the profile after `position`.
    fn show(&self, content: &mut Map<String, Value>, position: i64) -> Result<(), Error> {
        for field in self.fields.iter().filter(|field| field.position > position) {
            if field.value.is_empty() {
                content.remove(&field.name);
                continue;
            }
            let value = serde_json::from_str(&field.value).map_err(|_| {
                Error::Damaged(format!("the profile field {} is not JSON", field.name))
            })?;
            content.insert(field.name.clone(), value);
        }
        Ok(())
    }
}

/// The event that says that a user is in a room.
struct OwnMember {
    num: EventNum,
    event_id: OwnedEventId,
    content: Map<String, Value>,
}

impl Rooms {
    /// What rooms show of a local user's profile.
    pub(crate) async fn shown(&self, user: UserNum) -> Result<Shown, Error> {
        let read = move |tx: &mut Tx<'_>| profile_shown(tx, user);
        let fields = self.store().db().read("profile_shown", read).await?;
        Ok(Shown { user, fields })
    }

    /// Brings a draft up to what the profile has become since `extras` say that it was read.
    pub(crate) async fn show_anew(
        &self,
        draft: &mut Draft,
        extras: &mut Extras,
    ) -> Result<(), SendError> {
        let Some(seen) = extras.profile else {
            return Ok(());
        };
        let shown = self.shown(seen.user).await?;
        let mut content = members_of(draft.content.as_bytes())?;
        shown.show(&mut content, seen.position)?;
        draft.content = CanonicalObject::from_serialize(&content)?;
        extras.profile = Some(shown.seen());
        Ok(())
    }

    /// Brings a user's profile to the next rooms of a job.
    pub(crate) async fn show_profile(&self, job: &Job, user: UserNum) -> Result<Progress, Error> {
        let names = Arc::clone(self.store().names());
        let read = move |tx: &mut Tx<'_>| {
            let account = account_read(tx, user)?;
            let is_in_use = account.is_some_and(|account| account.deactivated_at.is_none());
            is_in_use.then(|| names.user_id(tx, user)).transpose()
        };
        let Some(user_id) = self.store().db().read("profile_user", read).await? else {
            return Ok(Progress::Done);
        };
        let rooms = self.next_rooms(job, user).await?;
        let shown = self.shown(user).await?;
        let joined = rooms
            .iter()
            .filter(|row| row.membership == Membership::Join);
        // Side by side: what they write shares commits.
        let showing = joined.map(|row| {
            let (user_id, shown) = (&user_id, &shown);
            async move {
                let done = Box::pin(self.show_in(row.room, user_id, shown)).await;
                let what = "a changed profile could not be brought to a room";
                self.pass(done, (what, user_id, row.room)).await
            }
        });
        join_all(showing)
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
        Ok(rooms
            .last()
            .map_or(Progress::Done, |last| Progress::At(last.room.0)))
    }

    async fn show_in(
        &self,
        room: RoomNum,
        user_id: &UserId,
        shown: &Shown,
    ) -> Result<(), SendError> {
        for _ in 0..ATTEMPTS {
            let Some(own) = self.own_member(room, user_id.to_owned()).await? else {
                return Ok(());
            };
            let mut content = own.content.clone();
            shown.show(&mut content, own.num.0)?;
            if content == own.content {
                return Ok(());
            }
            // Who let them in let them in then.
            content.remove(AUTHORISED_VIA);
            let content = CanonicalObject::from_serialize(&content)?;
            let draft = Draft::state(
                user_id.to_owned(),
                "m.room.member",
                user_id.as_str(),
                content,
            );
            let extras = Extras {
                replaces: Some(own.event_id),
                profile: Some(shown.seen()),
                ..Extras::default()
            };
            match self.append_new(room, draft, extras).await {
                // They have gone, or come again, or called themselves something else; perhaps that isn't committed yet.
                Err(SendError::BadState(_)) => self.settle().await?,
                other => return other.map(drop),
            }
        }
        Err(SendError::Db(Error::Unavailable(
            "the user's membership changed too often".to_owned(),
        )))
    }

    /// The event that says that the user is in the room, if they are.
    async fn own_member(
        &self,
        room: RoomNum,
        user_id: OwnedUserId,
    ) -> Result<Option<OwnMember>, SendError> {
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| {
            let snapshot = store.room_read(tx, room)?;
            let key = store.names().key(tx, user_id.as_str())?;
            let entry = snapshot
                .zip(key)
                .and_then(|(snapshot, key)| snapshot.state.get(types::MEMBER, key).copied())
                .filter(|entry| entry.tag == Membership::Join.code());
            match entry {
                Some(entry) => store.event_read(tx, entry.event),
                None => Ok(None),
            }
        };
        let Some(event) = self.store().db().read("own_member", read).await? else {
            return Ok(None);
        };
        Ok(Some(OwnMember {
            num: event.num,
            event_id: event.pdu.event_id().to_owned(),
            content: members_of(event.pdu.content())?,
        }))
    }
}

fn members_of(content: &[u8]) -> Result<Map<String, Value>, SendError> {
    serde_json::from_slice(content).map_err(|_| SendError::Invalid("content"))
}
