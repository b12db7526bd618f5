//! What grows with use and isn't needed for ever is removed now and then.

use std::time::Duration;

use starling_bus::Bus;
use starling_http::Shutdown;
use starling_rooms::Rooms;
use starling_runtime::Clock;

/// How often it is swept.
const EVERY: Duration = Duration::from_mins(10);

/// A device that hasn't asked for news for so long is listened for no longer; its next request begins anew.
const LISTENER_IDLE_MS: i64 = 600_000;

/// How long a transaction id is remembered: a client that repeats a request does so within minutes.
const TRANSACTION_MS: i64 = 24 * 3_600_000;

/// Transaction ids that one write removes, so that no other write waits long for it.
const TRANSACTIONS: i64 = 1_000;

/// Sweeps until the server stops.
pub(crate) async fn run(rooms: Rooms, bus: Bus, clock: Clock, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.begun() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        bus.sweep(clock.now_ms() - LISTENER_IDLE_MS);
        if let Err(error) =
            sweep_transactions(&rooms, clock.now_ms() - TRANSACTION_MS, &shutdown).await
        {
            tracing::warn!(%error, "old transaction ids were not removed");
        }
    }
}

async fn sweep_transactions(
    rooms: &Rooms,
    before_ms: i64,
    shutdown: &Shutdown,
) -> Result<(), starling_db::Error> {
    let most = u64::try_from(TRANSACTIONS).unwrap_or_default();
    while !shutdown.has_begun() && rooms.sweep_transactions(before_ms, TRANSACTIONS).await? >= most
    {
    }
    Ok(())
}
