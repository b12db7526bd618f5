//! Fetching lists of devices that are stale, while nobody waits for them.
//!
//! They are noted in the database, so a restart forgets none. Servers that don't answer are left alone as long as nobody may
//! ask them; a list that a server won't give is asked for again in an hour, or when the server speaks of it.

use std::pin::pin;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use ruma_common::{OwnedServerName, OwnedUserId};
use starling_db::{Error, Tx, Write};
use starling_outbound::FederationClient;
use starling_store::UserNum;
use starling_store::accounts::lock_key;
use starling_store::remote_devices::{
    remote_list_put_off, remote_lists_delete, remote_lists_stale, remote_lists_stale_servers,
};

use crate::Keys;
use crate::remote::USUAL_PATIENCE;

/// So many servers are asked at once, each for one list after the other.
const SERVERS_AT_ONCE: usize = 10;

/// So many lists of one server are fetched before it is looked what else is stale.
const PAGE: u32 = 50;

/// When it is looked again for lists that nobody has spoken of.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// When a list is asked for again that the server wouldn't give, in milliseconds.
const AGAIN_MS: i64 = 3_600_000;

impl Keys {
    /// Fetches what lists are stale, and become so, until `stop`.
    pub async fn run_resync(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let pass = async {
                let has_more = self.resync().await.unwrap_or_else(|error| {
                    tracing::error!(%error, "stale lists of devices cannot be fetched");
                    false
                });
                if !has_more {
                    let woken = self.tracking().wake.notified();
                    tokio::time::timeout(LOOK_EVERY, woken).await.ok();
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = pass => {}
            }
        }
    }

    /// Fetches stale lists, some of each server that may be asked now. Whether there may be more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resync(&self) -> Result<bool, Error> {
        let Some(client) = &self.parts().remote else {
            return Ok(false);
        };
        let now_ms = self.parts().clock.now_ms();
        let read = move |tx: &mut Tx<'_>| remote_lists_stale_servers(tx, now_ms);
        let mut servers = self.store().db().read("stale_servers", read).await?;
        servers.retain(|server| client.health().retry_at(server).is_none());
        let resyncs = servers.into_iter().map(|server| self.resync_server(server));
        let done = stream::iter(resyncs).buffer_unordered(SERVERS_AT_ONCE);
        let done: Vec<Result<bool, Error>> = done.collect().await;
        done.into_iter()
            .try_fold(false, |any, has_more| Ok(any || has_more?))
    }

    async fn resync_server(&self, server: OwnedServerName) -> Result<bool, Error> {
        let (of, now_ms) = (server.clone(), self.parts().clock.now_ms());
        let read = move |tx: &mut Tx<'_>| remote_lists_stale(tx, &of, (now_ms, PAGE));
        let stale = self.store().db().read("stale_lists", read).await?;
        let is_full = u32::try_from(stale.len()).is_ok_and(|count| count >= PAGE);
        let users = stale.iter().map(|(_, user)| user.clone()).collect();
        let places = self.whereabouts(users).await?;
        let (found, gone): (Vec<_>, Vec<_>) = stale
            .into_iter()
            .partition(|(_, user)| places.contains_key(user));
        let gone: Vec<UserNum> = gone.into_iter().map(|(user, _)| user).collect();
        if !gone.is_empty() {
            let write = Write::new("unfollow").locking(gone.iter().copied().map(lock_key));
            let delete = move |tx: &mut Tx<'_>| remote_lists_delete(tx, &gone);
            self.store().db().write(write, delete).await?;
        }
        for (user, user_id) in found {
            if let Some(place) = places.get(&user_id)
                && !self.resync_user(user, &user_id, place).await?
            {
                return Ok(false);
            }
        }
        Ok(is_full)
    }

    /// Fetches the list of one user. Whether the server may be asked for others.
    async fn resync_user(
        &self,
        user: UserNum,
        user_id: &OwnedUserId,
        place: &(UserNum, Vec<starling_store::RoomNum>),
    ) -> Result<bool, Error> {
        let Err(problem) = self.fetch_list((user_id, place), USUAL_PATIENCE).await? else {
            return Ok(true);
        };
        tracing::debug!(%user_id, problem, "a list of devices cannot be fetched");
        let health = self.parts().remote.as_ref().map(FederationClient::health);
        if health.is_none_or(|health| health.retry_at(user_id.server_name()).is_some()) {
            return Ok(false);
        }
        let retry_at = self.parts().clock.now_ms().saturating_add(AGAIN_MS);
        let put_off = move |tx: &mut Tx<'_>| remote_list_put_off(tx, user, retry_at);
        let write = Write::new("device_list_put_off").locking([lock_key(user)]);
        self.store().db().write(write, put_off).await?;
        Ok(true)
    }
}
