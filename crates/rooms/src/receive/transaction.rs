//! The events of a transaction: which are taken in, and what is said of the others.
//! <https://spec.matrix.org/v1.19/server-server-api/#transactions>

use std::collections::BTreeMap;

use ruma_common::{OwnedEventId, OwnedRoomId, RoomId, ServerName, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use starling_db::{Error, Tx};
use starling_events::Pdu;
use starling_store::append::membership_of;
use starling_store::memberships::{Membership, membership_read};
use starling_store::remote_invites::{remote_invite_read, room_is_joined};
use starling_store::rooms::RoomSnapshot;
use starling_store::{RoomNum, UserNum};

use super::ReceiveError;
use super::inbox::count_received;
use crate::elsewhere::shown::shows_server;
use crate::rooms::Rooms;

/// Why events were not taken in; those that were have no reason.
pub type Verdicts = BTreeMap<OwnedEventId, Option<String>>;

#[derive(Deserialize)]
struct OfRoom {
    room_id: OwnedRoomId,
}

impl Rooms {
    /// Takes events in that `origin` sent: they are durable when this returns, and are received soon. What is no event, or isn't
    /// signed as it should be, is as if it had not come: nobody can tell its id.
    ///
    /// # Errors
    /// When the database fails: then the whole transaction must be sent again.
    pub async fn receive_events(
        &self,
        origin: &ServerName,
        events: Vec<Box<RawValue>>,
    ) -> Result<Verdicts, ReceiveError> {
        let mut of_rooms: BTreeMap<OwnedRoomId, Vec<Box<RawValue>>> = BTreeMap::new();
        for event in events {
            // An event that names no room is the creation of one, which nobody sends.
            if let Ok(OfRoom { room_id }) = serde_json::from_str(event.get()) {
                of_rooms.entry(room_id).or_default().push(event);
            }
        }
        let mut verdicts = Verdicts::new();
        for (room_id, events) in of_rooms {
            self.receive_of_room(origin, (&room_id, events), &mut verdicts)
                .await?;
        }
        Ok(verdicts)
    }

    async fn receive_of_room(
        &self,
        origin: &ServerName,
        (room_id, events): (&RoomId, Vec<Box<RawValue>>),
        verdicts: &mut Verdicts,
    ) -> Result<(), ReceiveError> {
        let Some(room) = self.store().room_num(room_id).await? else {
            tracing::debug!(%origin, room = %room_id, "events of a room that is not here");
            return Ok(());
        };
        let Some(snapshot) = self.store().room(room).await? else {
            return Ok(());
        };
        let checked = self.remote()?;
        let checked = checked.check(snapshot.version, room_id, events).await?;
        let accept = |event: Result<Pdu, _>| {
            event
                .inspect_err(|error| {
                    count_received("refused");
                    tracing::info!(%origin, room = %room_id, %error, "an event is refused");
                })
                .ok()
        };
        let events: Vec<Pdu> = checked.into_iter().filter_map(accept).collect();
        if !self.is_server_allowed(room_id, origin).await? {
            let reason = "the room's access control list excludes your server";
            let refused = events.iter().map(|pdu| pdu.event_id().to_owned());
            verdicts.extend(refused.map(|id| (id, Some(reason.to_owned()))));
            return Ok(());
        }
        let is_joined = move |tx: &mut Tx<'_>| room_is_joined(tx, room);
        if !self.store().db().read("room_is_joined", is_joined).await? && !self.coming.has(room_id)
        {
            return self.receive_outside(&snapshot, events, verdicts).await;
        }
        let ids: Vec<OwnedEventId> = events.iter().map(|pdu| pdu.event_id().to_owned()).collect();
        let refused = self.take_in(origin, events).await?;
        for id in ids {
            let reason = refused.get(&id).map(|reason| (*reason).to_owned());
            verdicts.insert(id, reason);
        }
        Ok(())
    }

    /// Events of a room that this server is not in: what is told of it is that an invite or a knock of one of its users has
    /// come to an end.
    async fn receive_outside(
        &self,
        room: &RoomSnapshot,
        events: Vec<Pdu>,
        verdicts: &mut Verdicts,
    ) -> Result<(), ReceiveError> {
        for pdu in events {
            let id = pdu.event_id().to_owned();
            let ended = self.ended_by(room.room, &pdu).await?;
            let reason = match ended {
                Some((user, membership)) => {
                    self.note_elsewhere((user, membership), pdu, None).await?;
                    None
                }
                None => Some("this server is not in the room".to_owned()),
            };
            verdicts.insert(id, reason);
        }
        Ok(())
    }

    /// The local user whose invite or knock a member event ends, and what they are then. Nobody here can check whether the
    /// room's rules allow it: an invite is taken back by users of the server that it came from.
    async fn ended_by(
        &self,
        room: RoomNum,
        pdu: &Pdu,
    ) -> Result<Option<(UserNum, Membership)>, Error> {
        let target = pdu.state_key().filter(|_| pdu.kind() == "m.room.member");
        let target = target.and_then(|key| <&UserId>::try_from(key).ok());
        let target = target.filter(|user| user.server_name() == self.server_name());
        let membership = membership_of(pdu);
        let membership = membership.filter(|it| matches!(it, Membership::Leave | Membership::Ban));
        let (Some(target), Some(membership)) = (target, membership) else {
            return Ok(None);
        };
        let (store, target) = (self.store().clone(), target.to_owned());
        let server = pdu.sender().server_name().to_owned();
        let read = move |tx: &mut Tx<'_>| {
            let Some(user) = store.names().user(tx, &target)? else {
                return Ok(None);
            };
            let Some(row) = membership_read(tx, user, room)? else {
                return Ok(None);
            };
            let may_end = match row.membership {
                Membership::Invite => {
                    let invite = store.event_read(tx, row.event)?;
                    invite.is_some_and(|invite| invite.pdu.sender().server_name() == server)
                }
                // Who took the knock, and whoever that showed to be in the room.
                Membership::Knock => remote_invite_read(tx, user, room)?.is_some_and(|knock| {
                    knock.server == server || shows_server(&knock.state, &server)
                }),
                _ => false,
            };
            Ok(may_end.then_some((user, membership)))
        };
        self.store().db().read("ended_elsewhere", read).await
    }
}
