//! The job that takes users out of rooms: see [`Rooms::take_out`].

use std::time::Duration;

use starling_http::Shutdown;
use starling_rooms::Rooms;

/// When it looks even if nothing was heard: what failed, and what other processes brought about.
const EVERY: Duration = Duration::from_mins(1);

/// Works until the server stops; first what was left when it stopped the last time.
pub(crate) async fn run(rooms: Rooms, shutdown: Shutdown) {
    loop {
        tokio::select! {
            biased;
            () = shutdown.begun() => return,
            done = rooms.take_out() => if let Err(error) = done {
                tracing::warn!(%error, "not everybody left the rooms that they have to leave");
            }
        }
        tokio::select! {
            biased;
            () = shutdown.begun() => return,
            () = rooms.departures_wanted() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
