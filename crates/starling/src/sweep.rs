//! What grows with use and isn't needed for ever is removed now and then.

use std::time::Duration;

use starling_accounts::Accounts;
use starling_bus::Bus;
use starling_db::Error;
use starling_e2ee::{KeyBackups, ToDevice};
use starling_ephemeral::Ephemeral;
use starling_http::Shutdown;
use starling_rooms::Rooms;
use starling_runtime::Clock;
use starling_store::transactions::Transaction;

use crate::head_note::HeadNote;

/// How often it is swept.
const EVERY: Duration = Duration::from_mins(10);

/// A device that hasn't asked for news for so long is listened for no longer; its next request begins anew.
const LISTENER_IDLE_MS: i64 = 600_000;

/// How long a transaction id is remembered: a client that repeats a request does so within minutes.
const TRANSACTION_MS: i64 = 24 * 3_600_000;

/// How long a receipt waits for its event.
const WAITING_RECEIPT_MS: i64 = 24 * 3_600_000;

/// What one write removes at most, so that no other write waits long for it.
const AT_ONCE: u32 = 1_000;

/// What is swept.
pub(crate) struct Sweeper {
    pub(crate) accounts: Accounts,
    pub(crate) rooms: Rooms,
    pub(crate) ephemeral: Ephemeral,
    pub(crate) to_device: ToDevice,
    pub(crate) key_backups: KeyBackups,
    pub(crate) head_note: HeadNote,
    pub(crate) bus: Bus,
    pub(crate) clock: Clock,
    pub(crate) shutdown: Shutdown,
}

impl Sweeper {
    /// Sweeps until the server stops.
    pub(crate) async fn run(self) {
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.begun() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            self.head_note.write(self.bus.head());
            self.bus.sweep(self.clock.now_ms() - LISTENER_IDLE_MS);
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "not all was removed that is too old");
            }
        }
    }

    async fn sweep(&self) -> Result<(), Error> {
        let accounts = &self.accounts;
        self.transactions().await?;
        let before_ms = self.clock.now_ms() - WAITING_RECEIPT_MS;
        let ephemeral = &self.ephemeral;
        self.all(|| ephemeral.sweep_waiting_receipts(before_ms, AT_ONCE.into()))
            .await?;
        let to_device = &self.to_device;
        to_device.cut_queues(AT_ONCE).await?;
        self.all(|| to_device.sweep_outgoing(AT_ONCE)).await?;
        self.all(|| to_device.sweep_received(AT_ONCE)).await?;
        self.key_backups.sweep().await?;
        self.all(|| accounts.sweep_interactive_sessions(AT_ONCE))
            .await?;
        self.all(|| accounts.sweep_login_tokens(AT_ONCE)).await?;
        self.all(|| accounts.sweep_openid_tokens(AT_ONCE)).await
    }

    async fn transactions(&self) -> Result<(), Error> {
        let before_ms = self.clock.now_ms() - TRANSACTION_MS;
        let mut next = Some(Transaction::first());
        while let Some(after) = next.filter(|_| !self.shutdown.has_begun()) {
            let sweep = self
                .rooms
                .sweep_transactions(before_ms, after, AT_ONCE.into());
            next = sweep.await?;
        }
        Ok(())
    }

    /// Repeats until less is removed than could be at once.
    async fn all<F>(&self, remove: impl Fn() -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<u64, Error>>,
    {
        while !self.shutdown.has_begun() && remove().await? >= AT_ONCE.into() {}
        Ok(())
    }
}
