//! Building an event that isn't queued: another server must sign it first, or makes it its own.

use std::sync::Arc;

use starling_events::Pdu;
use starling_store::rooms::RoomSnapshot;

use super::build::{Draft, Tip};
use crate::error::SendError;
use crate::rooms::Rooms;

impl Rooms {
    /// Builds an event on a committed room, and checks it there. By the time that it comes back the room may have moved
    /// on, and then it is a fork.
    ///
    /// # Errors
    /// [`SendError`]
    pub(crate) async fn build_aside(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        draft: Draft,
    ) -> Result<Pdu, SendError> {
        let mut tip = Tip::of(snapshot);
        let keys = tip.missing(&draft.auth_keys(tip.version));
        let found = self.lookup(snapshot, keys.clone()).await?;
        for ((kind, key), event) in keys.iter().zip(found) {
            tip.learn(kind, key, event);
        }
        let now_ms = self.parts.clock.now_ms();
        let (server, key) = (&self.parts.server_name, &self.parts.signing_key);
        Ok(tip.build(draft, now_ms, server, key)?.pdu)
    }
}
