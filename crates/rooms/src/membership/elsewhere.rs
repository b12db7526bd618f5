//! Inviting users of other servers: their server signs the invite too, or refuses it.
//! <https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>

use std::sync::Arc;

use ruma_common::{OwnedEventId, OwnedUserId, UserId};
use starling_db::{Error, Tx};
use starling_events::Pdu;
use starling_store::RoomNum;
use starling_store::names::{EMPTY_KEY, types};
use starling_store::rooms::RoomSnapshot;

use crate::error::SendError;
use crate::pipeline::Draft;
use crate::receive::Received;
use crate::remote::malformed;
use crate::rooms::Rooms;

/// What of a room is shown to who is invited or knocks, beside the member event.
/// <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>
const SHOWN: [starling_store::TypeNum; 7] = [
    types::CREATE,
    types::JOIN_RULES,
    types::NAME,
    types::AVATAR,
    types::TOPIC,
    types::CANONICAL_ALIAS,
    types::ENCRYPTION,
];

impl Rooms {
    /// Whether the user's server must be asked when they are invited.
    pub(crate) fn is_invited_elsewhere(&self, user: &UserId) -> bool {
        self.parts.remote.is_some() && user.server_name() != self.server_name()
    }

    /// The user of another server whom a draft invites.
    pub(crate) fn invited_elsewhere(&self, draft: &Draft) -> Option<OwnedUserId> {
        let user = draft.invited()?;
        self.is_invited_elsewhere(user).then(|| user.to_owned())
    }

    /// Sends an invite of a user of another server, once that has signed it.
    ///
    /// # Errors
    /// [`SendError::Remote`] when it doesn't; else as for any event.
    pub(crate) async fn send_invite(
        &self,
        room: RoomNum,
        draft: Draft,
        user: &UserId,
    ) -> Result<OwnedEventId, SendError> {
        let elsewhere = || SendError::UserElsewhere(user.to_owned());
        let remote = self.parts.remote.as_ref().ok_or_else(elsewhere)?;
        let snapshot = self.store().room(room).await?;
        let snapshot = snapshot.ok_or(SendError::UnknownRoom)?;
        let invite = self.build_aside(&snapshot, draft).await?;
        let invite = self.signed_by_policy_server(&snapshot, invite).await?;
        let shown = self.shown_events(&snapshot, &invite).await?;
        let server = user.server_name();
        let signed = remote.invite(server, &invite, &shown).await?;
        let checked = remote.check(invite.version(), invite.room_id(), vec![signed]);
        let signed = match checked.await?.pop() {
            Some(Ok(signed)) if is_same(&signed, &invite) => signed,
            _ => return Err(malformed(server, "it is not the invite, signed").into()),
        };
        let event_id = signed.event_id().to_owned();
        match self.receive(self.server_name(), signed).await? {
            Received::Accepted | Received::Known => Ok(event_id),
            Received::SoftFailed(why) | Received::Rejected(why) => Err(SendError::Forbidden(why)),
        }
    }

    /// The events of a room's state that are shown to whom `member` invites, or who knocks by it.
    pub(crate) async fn shown_events(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        member: &Pdu,
    ) -> Result<Vec<Pdu>, Error> {
        let (store, snapshot) = (self.store().clone(), Arc::clone(snapshot));
        let sender = member.sender().to_owned();
        let read = move |tx: &mut Tx<'_>| {
            let sender = store.names().key(tx, sender.as_str())?;
            let about = SHOWN.into_iter().map(|kind| (kind, EMPTY_KEY));
            let keys = about.chain(sender.map(|sender| (types::MEMBER, sender)));
            let numbers: Vec<_> = keys
                .filter_map(|(kind, key)| snapshot.state_event(kind, key))
                .collect();
            let events = store.events_read(tx, &numbers)?;
            Ok(events.iter().map(|event| event.pdu.clone()).collect())
        };
        self.store().db().read("shown_events", read).await
    }
}

/// Whether an event that came back is the one that was sent, and says the same.
pub(crate) fn is_same(returned: &Pdu, sent: &Pdu) -> bool {
    returned.event_id() == sent.event_id() && returned.content() == sent.content()
}
