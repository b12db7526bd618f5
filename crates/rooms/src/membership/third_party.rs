//! Taking up an invite that was made out to a third-party id: whoever shows that the id is theirs is invited.
//! <https://spec.matrix.org/v1.19/client-server-api/#third-party-invites>

use std::borrow::Cow;
use std::sync::Arc;

use ruma_common::RoomId;
use serde_json::{Value as Json, json};
use starling_db::{Error, Tx};
use starling_events::{CanonicalObject, Pdu, Value};
use starling_stateres::auth::is_signed_invite;
use starling_store::RoomNum;
use starling_store::memberships::Membership;

use crate::error::SendError;
use crate::pipeline::{Draft, Extras};
use crate::rooms::{Actor, Rooms};

/// The type of the pending invite.
const THIRD_PARTY_INVITE: &str = "m.room.third_party_invite";

impl Rooms {
    /// Turns a pending third-party invite into one of the actor, who shows what the identity server `signed`.
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
        let forbidden = |why: &str| SendError::Forbidden(why.to_owned());
        let field = |key| signed.value().get(key).and_then(Value::as_str);
        let (Some(sender), Some(mxid), Some(token)) =
            (field("sender"), field("mxid"), field("token"))
        else {
            return Err(SendError::Invalid("third_party_signed"));
        };
        if mxid != actor.user_id.as_str() {
            return Err(forbidden("the invite is somebody else's"));
        }
        let room = self.room_num(room_id, SendError::UnknownRoom).await?;
        let current = self.current_membership(room, &actor.user_id).await?;
        if current == Some(Membership::Join) {
            return Ok(());
        }
        let made = self.third_party_invite(room, token).await?;
        let made = made.ok_or_else(|| forbidden("there is no such invite"))?;
        if *made.sender() != *sender {
            return Err(forbidden("the invite is somebody else's"));
        }
        if !is_signed_invite(signed.value(), &made, |_| true) {
            return Err(forbidden("the invite is not signed with its key"));
        }
        if !is_signed_invite(signed.value(), &made, |url| url.is_none()) {
            return Err(SendError::UncheckedKey);
        }
        if current == Some(Membership::Invite) {
            return Ok(());
        }
        self.send_invite_for(actor, room, (&made, signed)).await
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

    /// Invites the actor in the name of who made the invite: the rules want it so.
    async fn send_invite_for(
        &self,
        actor: &Actor,
        room: RoomNum,
        (made, signed): (&Pdu, &CanonicalObject),
    ) -> Result<(), SendError> {
        if made.sender().server_name() != self.server_name() {
            return Err(SendError::Forbidden(
                "the invite is of another server, and this one does not federate".to_owned(),
            ));
        }
        // What the actor does themself, they want.
        let mut content = self
            .member_content(Membership::Join, &actor.user_id)
            .await?;
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
            actor.user_id.as_str(),
            CanonicalObject::from_serialize(&content)?,
        );
        let extras = Extras {
            guest_joins: actor.is_guest,
            ..Extras::default()
        };
        self.append_new(room, draft, extras).await.map(drop)
    }
}
