//! What bounds queues that nobody empties, and what is remembered of other servers' messages.

use starling_db::{Error, Tx, Write};
use starling_store::to_device::{
    Overfull, QueueLimit, QueueOf, outgoing_to_device_sweep, to_device_cut, to_device_measure,
    to_device_overfull, to_device_received_sweep,
};

use super::ToDevice;

/// What may wait for one device: of more, the oldest is forgotten. A device that is used never has so much.
pub const MOST_WAITING: QueueLimit = QueueLimit {
    messages: 20_000,
    bytes: 64 << 20,
};

/// What may wait for one other server.
pub const MOST_WAITING_OUTSIDE: QueueLimit = QueueLimit {
    messages: 100_000,
    bytes: 512 << 20,
};

/// What may wait for all other servers. What is sent to a server that is up waits for seconds only, so the oldest messages are
/// those for servers that are down, or aren't there.
pub const MOST_WAITING_OUTSIDE_IN_ALL: QueueLimit = QueueLimit {
    messages: 1_000_000,
    bytes: 4 << 30,
};

/// How long a message waits for another server, in milliseconds: one that is away for so long is gone.
const OUTGOING_MS: i64 = 30 * 24 * 3_600_000;

/// How long it is remembered that a message of another server came, in milliseconds: for as long as one sends it again.
const RECEIVED_MS: i64 = 30 * 24 * 3_600_000;

impl ToDevice {
    /// Forgets the oldest messages of queues in which more waits than may, with at most `most` messages in one write: usually
    /// those for devices that nobody uses any longer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cut_queues(&self, most: u32) -> Result<(), Error> {
        let db = self.parts.store.db();
        let find = move |tx: &mut Tx<'_>| {
            let mut queues = to_device_overfull(tx, MOST_WAITING, MOST_WAITING_OUTSIDE)?;
            let all = to_device_measure(tx, &QueueOf::AllServers, MOST_WAITING_OUTSIDE_IN_ALL)?;
            queues.extend(Some(all).filter(Overfull::is_too_full));
            Ok(queues)
        };
        for mut queue in db.scan("to_device_overfull", find).await? {
            tracing::info!(of = ?queue.of, messages = queue.messages, "a queue of messages to devices is cut");
            while queue.is_too_full() {
                let cut = move |tx: &mut Tx<'_>| to_device_cut(tx, &queue, most);
                queue = db.write(Write::new("to_device_cut"), cut).await?;
            }
        }
        Ok(())
    }

    /// Forgets messages that wait for other servers for a month, of the oldest `most`. How many it forgot.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_outgoing(&self, most: u32) -> Result<u64, Error> {
        let before_ms = self.parts.clock.now_ms() - OUTGOING_MS;
        let sweep = move |tx: &mut Tx<'_>| outgoing_to_device_sweep(tx, before_ms, most);
        let write = Write::new("outgoing_to_device_sweep").relaxed();
        self.parts.store.db().write(write, sweep).await
    }

    /// Forgets at most `most` of the messages of other servers that came long ago. How many it forgot.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_received(&self, most: u32) -> Result<u64, Error> {
        let before_ms = self.parts.clock.now_ms() - RECEIVED_MS;
        let sweep = move |tx: &mut Tx<'_>| to_device_received_sweep(tx, before_ms, most);
        let write = Write::new("to_device_received_sweep").relaxed();
        self.parts.store.db().write(write, sweep).await
    }
}
