//! Taking up an invite that was made out to a third-party id: whoever shows that the id is theirs is invited.
//! <https://spec.matrix.org/v1.19/client-server-api/#third-party-invites>

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use ruma_common::{RoomId, UserId};
use serde_json::{Map, Value as Json, json};
use starling_db::{Error, Tx};
use starling_events::id::parse_user_id;
use starling_events::{CanonicalObject, Pdu, Value};
use starling_stateres::auth::is_signed_invite;
use starling_store::RoomNum;
use starling_store::memberships::Membership;

use crate::error::SendError;
use crate::pipeline::{Draft, Extras};
use crate::rooms::{Actor, Rooms};

/// So many identity servers are asked about the keys of one invite.
const MAX_ASKED: usize = 4;

/// The type of the pending invite.
const THIRD_PARTY_INVITE: &str = "m.room.third_party_invite";

impl Rooms {
    /// Turns a pending third-party invite into one of the actor, who shows what the identity server `signed`. Where it was
    /// made on another server, in a room that this one is not in, that server does so.
    ///
    /// # Errors
    /// [`SendError::Forbidden`] when there is no such invite or it isn't the actor's; [`SendError::UncheckedKey`] when
    /// only another server could say whether its key still holds; else [`SendError`].
    pub async fn accept_third_party_invite(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        signed: &CanonicalObject,
    ) -> Result<(), SendError> {
        let user = &actor.user_id;
        let sender = signed.value().get("sender").and_then(Value::as_str);
        let sender = sender.and_then(|sender| parse_user_id(&sender).ok());
        let sender = sender.ok_or(SendError::Invalid("third_party_signed"))?;
        if self.elsewhere(room_id).await?.is_some() {
            return self
                .exchange_elsewhere(room_id, (user, &sender), signed)
                .await;
        }
        let room = self.room_num(room_id, SendError::UnknownRoom).await?;
        let current = self.current_membership(room, user).await?;
        if current == Some(Membership::Join) {
            return Ok(());
        }
        let made = self.made_out_to(room, user, signed).await?;
        if current == Some(Membership::Invite) {
            return Ok(());
        }
        self.send_invite_for((user, actor.is_guest), room, (&made, signed))
            .await
    }

    /// Turns a pending third-party invite, made by a user of this server, into one of a user of any server.
    ///
    /// # Errors
    /// As [`Rooms::accept_third_party_invite`].
    pub(crate) async fn take_up_invite(
        &self,
        room_id: &RoomId,
        user: &UserId,
        signed: &CanonicalObject,
    ) -> Result<(), SendError> {
        let room = self.room_num(room_id, SendError::UnknownRoom).await?;
        let current = self.current_membership(room, user).await?;
        if matches!(current, Some(Membership::Join | Membership::Invite)) {
            return Ok(());
        }
        let made = self.made_out_to(room, user, signed).await?;
        self.send_invite_for((user, false), room, (&made, signed))
            .await
    }

    /// Has the server of who made a third-party invite turn it into one of a user of this server.
    ///
    /// # Errors
    /// [`SendError::Remote`] when it doesn't.
    pub(crate) async fn exchange_elsewhere(
        &self,
        room_id: &RoomId,
        (user, sender): (&UserId, &UserId),
        signed: &CanonicalObject,
    ) -> Result<(), SendError> {
        let remote = self.asking()?;
        let signed: Json = serde_json::from_slice(signed.as_bytes())
            .map_err(|_| SendError::Invalid("third_party_signed"))?;
        let content = json!({
            "membership": Membership::Invite.as_str(),
            "third_party_invite": { "signed": signed },
        });
        let event = CanonicalObject::from_serialize(&json!({
            "type": "m.room.member",
            "room_id": room_id,
            "sender": sender,
            "state_key": user,
            "content": content,
        }))?;
        let server = sender.server_name();
        Ok(remote
            .exchange_third_party_invite(server, room_id, &event)
            .await?)
    }

    /// The pending invite that the identity server has signed over to the user.
    async fn made_out_to(
        &self,
        room: RoomNum,
        user: &UserId,
        signed: &CanonicalObject,
    ) -> Result<Arc<Pdu>, SendError> {
        let forbidden = |why: &str| SendError::Forbidden(why.to_owned());
        let field = |key| signed.value().get(key).and_then(Value::as_str);
        let (Some(mxid), Some(token)) = (field("mxid"), field("token")) else {
            return Err(SendError::Invalid("third_party_signed"));
        };
        if *user != *mxid {
            return Err(forbidden("the invite is somebody else's"));
        }
        let made = self.third_party_invite(room, token).await?;
        let made = made.ok_or_else(|| forbidden("there is no such invite"))?;
        // Clients say it beside what is signed, and it is in no event.
        if field("sender").is_some_and(|sender| *made.sender() != *sender) {
            return Err(forbidden("the invite is somebody else's"));
        }
        if !is_signed_invite(signed.value(), &made, |_| true) {
            return Err(forbidden("the invite is not signed with its key"));
        }
        if !is_signed_invite(signed.value(), &made, |url| url.is_none()) {
            self.check_keys(signed, &made).await?;
        }
        Ok(made)
    }

    /// Whether one of the keys that has signed is valid yet, as the identity servers say that are named with them. Only the
    /// server that sends the invite asks.
    async fn check_keys(&self, signed: &CanonicalObject, made: &Pdu) -> Result<(), SendError> {
        let remote = self.other_servers().ok_or(SendError::UncheckedKey)?;
        let ask = |(url, key): (String, String)| async move {
            let is_valid = remote.is_key_valid(&url, &key).await;
            (url, is_valid)
        };
        let named = named_keys(made).map(ask);
        let answers: Vec<(String, Option<bool>)> =
            stream::iter(named).buffered(MAX_ASKED).collect().await;
        let valid = |url: Option<Value<'_>>| {
            let url = url.and_then(Value::as_str);
            let mut said = answers
                .iter()
                .filter(|(asked, _)| Some(asked.as_str()) == url.as_deref());
            said.clone().next().is_some() && said.all(|(_, is_valid)| *is_valid == Some(true))
        };
        if is_signed_invite(signed.value(), made, valid) {
            Ok(())
        } else if answers.iter().any(|(_, is_valid)| *is_valid == Some(false)) {
            Err(SendError::Forbidden(
                "the invite's key is not valid any longer".to_owned(),
            ))
        } else {
            Err(SendError::UncheckedKey)
        }
    }

    /// The pending invite with this token.
    async fn third_party_invite(
        &self,
        room: RoomNum,
        token: Cow<'_, str>,
    ) -> Result<Option<Arc<Pdu>>, SendError> {
        let (store, token) = (self.store().clone(), token.into_owned());
        let read = move |tx: &mut Tx<'_>| {
            let names = store.names();
            let numbers = names
                .kind(tx, THIRD_PARTY_INVITE)?
                .zip(names.key(tx, &token)?);
            let (Some(snapshot), Some((kind, key))) = (store.room_read(tx, room)?, numbers) else {
                return Ok::<_, Error>(None);
            };
            let Some(event) = snapshot.state_event(kind, key) else {
                return Ok(None);
            };
            let event = store.event_read(tx, event)?;
            Ok(event.map(|event| Arc::new(event.pdu.clone())))
        };
        Ok(self.store().db().read("third_party_invite", read).await?)
    }

    /// Invites a user in the name of who made the invite: the rules want it so.
    async fn send_invite_for(
        &self,
        (user, is_guest): (&UserId, bool),
        room: RoomNum,
        (made, signed): (&Pdu, &CanonicalObject),
    ) -> Result<(), SendError> {
        if made.sender().server_name() != self.server_name() {
            return Err(SendError::Forbidden(
                "the invite is of another server, which must be asked".to_owned(),
            ));
        }
        let mut content = if self.is_invited_elsewhere(user) {
            Map::new()
        } else {
            // What users do themselves, they want.
            self.member_content(Membership::Join, user).await?
        };
        let signed: Json = serde_json::from_slice(signed.as_bytes())
            .map_err(|_| SendError::Invalid("third_party_signed"))?;
        let display_name = Value::new(made.content())
            .get("display_name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        content.insert("membership".to_owned(), Membership::Invite.as_str().into());
        content.insert(
            "third_party_invite".to_owned(),
            json!({ "display_name": display_name, "signed": signed }),
        );
        let draft = Draft::state(
            made.sender().to_owned(),
            "m.room.member",
            user.as_str(),
            CanonicalObject::from_serialize(&content)?,
        );
        if self.is_invited_elsewhere(user) {
            return self.send_invite(room, draft, user).await.map(drop);
        }
        let extras = Extras {
            guest_joins: is_guest,
            ..Extras::default()
        };
        self.append_new(room, draft, extras).await.map(drop)
    }
}

/// The keys of a pending invite that somebody must be asked about, each after the URL to ask.
fn named_keys(made: &Pdu) -> impl Iterator<Item = (String, String)> {
    let content = Value::new(made.content());
    let listed = content.get("public_keys").into_iter();
    let entries = std::iter::once(content).chain(listed.flat_map(Value::elements));
    let keys = entries.filter_map(|entry| {
        let field = |name| entry.get(name).and_then(Value::as_str).map(Cow::into_owned);
        field("key_validity_url").zip(field("public_key"))
    });
    keys.take(MAX_ASKED)
}
