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
    pub(crate) rows: Rows,
    pub(crate) bus: Bus,
}

/// What is swept in the database.
pub(crate) struct Rows {
    pub(crate) accounts: Accounts,
    pub(crate) rooms: Rooms,
    pub(crate) ephemeral: Ephemeral,
    pub(crate) to_device: ToDevice,
    pub(crate) key_backups: KeyBackups,
    pub(crate) clock: Clock,
    pub(crate) shutdown: Shutdown,
}

impl Sweeper {
    /// Sweeps until the server stops.
    pub(crate) async fn run(self) {
        loop {
            tokio::select! {
                biased;
                () = self.rows.shutdown.begun() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            self.bus.sweep(self.rows.clock.now_ms() - LISTENER_IDLE_MS);
            self.rows.sweep().await;
        }
    }
}

impl Rows {
    /// Sweeps everything once. What can't be swept keeps nothing else from it.
    async fn sweep(&self) {
        let (accounts, to_device) = (&self.accounts, &self.to_device);
        let before_ms = self.clock.now_ms() - WAITING_RECEIPT_MS;
        let receipts = || {
            self.ephemeral
                .sweep_waiting_receipts(before_ms, AT_ONCE.into())
        };
        let interactive = || accounts.sweep_interactive_sessions(AT_ONCE);
        let swept = [
            ("transaction ids", self.transactions().await),
            ("receipts that wait", self.all(receipts).await),
            ("messages to devices", to_device.cut_queues(AT_ONCE).await),
            (
                "messages to devices of other servers",
                self.all(|| to_device.sweep_outgoing(AT_ONCE)).await,
            ),
            (
                "ids of messages to devices",
                self.all(|| to_device.sweep_received(AT_ONCE)).await,
            ),
            ("deleted key backups", self.key_backups.sweep().await),
            ("interactive sessions", self.all(interactive).await),
            (
                "login tokens",
                self.all(|| accounts.sweep_login_tokens(AT_ONCE)).await,
            ),
            (
                "OpenID tokens",
                self.all(|| accounts.sweep_openid_tokens(AT_ONCE)).await,
            ),
        ];
        for (what, swept) in swept {
            if let Err(error) = swept {
                tracing::warn!(%error, what, "not all was removed that is too old");
            }
        }
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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use starling_db::{Dialect, Schema, Tx, Write};
    use starling_store::{SCHEMA, UserNum, login_tokens};
    use starling_testkit::{TestDb, TestServer};

    use super::Rows;

    /// The schema before there were messages to devices and backups of keys.
    static EARLY: LazyLock<Schema> = LazyLock::new(|| Schema {
        migrations: &SCHEMA.migrations[..21],
        oldest_program: SCHEMA.oldest_program,
    });

    #[tokio::test]
    async fn what_cannot_be_swept_keeps_nothing_else_from_it() {
        let db = TestDb::open(Dialect::Sqlite, &EARLY).await;
        let server = TestServer::start(&db).await;
        let insert = |tx: &mut Tx<'_>| login_tokens::insert(tx, &[1; 32], UserNum(1), 0);
        let inserted = db.db().write(Write::new("test"), insert).await;
        inserted.unwrap();
        let state = &server.state;
        assert!(state.to_device.cut_queues(10).await.is_err());
        let rows = Rows {
            accounts: state.accounts.clone(),
            rooms: state.rooms.clone(),
            ephemeral: state.ephemeral.clone(),
            to_device: state.to_device.clone(),
            key_backups: state.key_backups.clone(),
            clock: state.clock.clone(),
            shutdown: state.shutdown.clone(),
        };
        rows.sweep().await;
        let left = state.accounts.sweep_login_tokens(10).await;
        assert_eq!(left.unwrap(), 0, "it is swept already");
    }
}
