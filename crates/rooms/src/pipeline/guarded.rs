//! Events of rooms that have a policy server: it signs them before they are part of the room. The room may move on meanwhile;
//! then the event is a branch, which the next one merges.

use std::sync::Arc;

use starling_db::Error;
use starling_events::Pdu;
use starling_stateres::AuthState as _;
use starling_store::RoomNum;
use starling_store::rooms::RoomSnapshot;

use super::build::{Draft, GUEST_ACCESS, Tip, decides};
use super::head::{Appending, Extras, Stored, check_redaction, check_replaced, lets_guests_join};
use crate::error::SendError;
use crate::policy::sets_policy;
use crate::rooms::Rooms;

/// How often an event is made anew because what it shows has changed.
const ATTEMPTS: u32 = 4;

impl Rooms {
    /// Whether a policy server must sign what is sent to the room.
    pub(super) async fn is_guarded(&self, room: RoomNum, draft: &Draft) -> Result<bool, SendError> {
        if self.other_servers().is_none() || sets_policy(&draft.kind, draft.state_key.as_deref()) {
            return Ok(false);
        }
        match self.store().room(room).await? {
            Some(snapshot) => Ok(self.policy_server(&snapshot).await?.is_some()),
            None => Ok(false),
        }
    }

    /// As [`Rooms::append`], of an event that the room's policy server signs.
    pub(super) async fn append_guarded(
        &self,
        room: RoomNum,
        mut draft: Draft,
        mut extras: Extras,
    ) -> Result<Appending, SendError> {
        for _ in 0..ATTEMPTS {
            // What was sent before it comes before it.
            self.settle().await?;
            let snapshot = self.store().room(room).await?;
            let snapshot = snapshot.ok_or(SendError::UnknownRoom)?;
            let pdu = self.build_beside(&snapshot, (&draft, &extras)).await?;
            let pdu = self.signed_by_policy_server(&snapshot, pdu).await?;
            match self.append_signed(room, &pdu, &extras).await? {
                Stored::Done(event) => return Ok(Appending::Sent(event)),
                Stored::UsedTransaction => return Ok(Appending::UsedTransaction),
                Stored::Outdated => self.show_anew(&mut draft, &mut extras).await?,
            }
        }
        Err(SendError::Db(Error::Unavailable(
            "the profile changed too often".to_owned(),
        )))
    }

    /// Builds the event on a committed room, with all checks of a local one.
    async fn build_beside(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        (draft, extras): (&Draft, &Extras),
    ) -> Result<Pdu, SendError> {
        let mut tip = Tip::of(snapshot);
        let mut keys = draft.auth_keys(tip.version);
        if extras.guest_joins {
            keys.push((GUEST_ACCESS.into(), "".into()));
        }
        let replaced = extras.replaces.as_ref().and(draft.state_key.as_deref());
        keys.extend(replaced.map(|key| (draft.kind.as_str().into(), key.into())));
        let redacted = extras.target.as_ref().and_then(|event| decides(&event.pdu));
        keys.extend(redacted.map(|(kind, key)| (kind.into(), key.into())));
        let keys = tip.missing(&keys);
        let found = self.lookup(snapshot, keys.clone()).await?;
        for ((kind, key), event) in keys.iter().zip(found) {
            tip.learn(kind, key, event);
        }
        if extras.guest_joins && !lets_guests_join(tip.get(GUEST_ACCESS, "")) {
            return Err(SendError::NoGuests);
        }
        check_replaced(&tip, draft, extras)?;
        let now_ms = self.parts.clock.now_ms();
        let (server, key) = (&self.parts.server_name, &self.parts.signing_key);
        let built = tip.build(draft.clone(), now_ms, server, key)?;
        if let Some(target) = &extras.target {
            check_redaction(&mut tip, &built.pdu, &target.pdu)?;
        }
        Ok(built.pdu)
    }
}
