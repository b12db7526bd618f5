//! To how many servers somebody sends who has nothing to do with them.

use std::collections::BTreeSet;

use ruma_common::{OwnedServerName, UserId};
use starling_db::{Error, Tx};
use starling_store::room_servers::servers_sharing;

use super::ToDevice;
use super::addressed::Messages;

/// One request sends to at most so many servers that share no room with the sender: for each of them, which need not be
/// there, messages are kept and connections are made.
pub const MOST_STRANGERS: usize = 100;

impl ToDevice {
    /// The servers that get nothing of a request, since it would go to too many strangers.
    pub(super) async fn left_out(
        &self,
        sender: &UserId,
        messages: &Messages,
    ) -> Result<BTreeSet<OwnedServerName>, Error> {
        let mut servers = messages.servers();
        servers.remove(&self.parts.server_name);
        if servers.len() <= MOST_STRANGERS || !self.parts.store.outgoing().is_open() {
            return Ok(BTreeSet::new());
        }
        let (names, user_id) = (self.parts.store.names().clone(), sender.to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let sharing = match names.user(tx, &user_id)? {
                Some(user) => servers_sharing(tx, user, &servers)?,
                None => BTreeSet::new(),
            };
            let strangers = servers.difference(&sharing).skip(MOST_STRANGERS);
            Ok(strangers.cloned().collect())
        };
        let db = self.parts.store.db();
        let left_out: BTreeSet<_> = db.scan("to_device_strangers", read).await?;
        if !left_out.is_empty() {
            tracing::info!(
                %sender,
                servers = left_out.len(),
                "messages to devices of too many servers without a room in common are dropped"
            );
        }
        Ok(left_out)
    }
}
