//! What `GET /_starling/metrics` shows besides requests: which program runs, what other crates count, and what is measured from
//! time to time. `docs/monitoring.md` names all of it.

use std::time::Duration;

use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use starling_db::{Db, Tx};
use starling_http::{Metrics, Shutdown};
use starling_outbound::FederationClient;
use starling_store::inbox::inbox_size;

use crate::failure::Failure;
use crate::version::VERSION;

const BUILD: &str = "starling_build_info";
const FAILING: &str = "starling_federation_servers_failing";
const INBOX: &str = "starling_federation_inbox_events";

/// How often something is measured.
const PERIOD: Duration = Duration::from_secs(15);

/// So many events of the inbox are counted.
const MOST_COUNTED: u32 = 100_000;

/// Begins to record. What speaks to other servers is `client`, if anything does.
pub(crate) fn start(
    db: Db,
    client: Option<FederationClient>,
    shutdown: &Shutdown,
) -> Result<Metrics, Failure> {
    let metrics = Metrics::install().map_err(|error| Failure::of("cannot start", &error))?;
    describe();
    gauge!(BUILD, "version" => VERSION).set(1.0);
    tokio::spawn(metrics.clone().upkeep(shutdown.clone()));
    if let Some(client) = client {
        tokio::spawn(measure(db, client, shutdown.clone()));
    }
    Ok(metrics)
}

/// Says what is counted below HTTP.
fn describe() {
    describe_gauge!(BUILD, "1; the label says which version runs.");
    describe_counter!("starling_db_reads_total", "Reads of the database, by what.");
    describe_counter!(
        "starling_db_scans_total",
        "Long reads of the database, by what."
    );
    describe_counter!(
        "starling_db_writes_total",
        "Writes to the database, by what and by result."
    );
    describe_histogram!(
        "starling_db_commit_seconds",
        "How long commits took, in seconds, with all that they hold."
    );
    describe_histogram!(
        "starling_db_batch_writes",
        "How many writes shared a commit."
    );
    describe_gauge!(
        "starling_federation_servers_pending",
        "Servers that have something to get."
    );
    describe_gauge!(
        "starling_federation_servers_behind",
        "Servers that lag behind: what they missed is read from the database."
    );
    describe_gauge!(
        "starling_federation_servers_paused",
        "Servers that didn't take what they were sent, and wait for their next turn."
    );
    describe_gauge!(
        FAILING,
        "Servers that failed, failed again after a while, and were not heard of since."
    );
    describe_gauge!(
        INBOX,
        "Events of other servers that were taken in and wait to be checked."
    );
    describe_counter!(
        "starling_federation_transactions_sent_total",
        "Transactions sent to other servers, by result."
    );
    describe_counter!(
        "starling_federation_given_up_total",
        "Events and EDUs that are not sent again, as their server refuses them and takes others."
    );
    describe_counter!(
        "starling_federation_requests_total",
        "Requests to other servers, by result; left_alone were not made, as the server failed lately."
    );
    describe_counter!(
        "starling_federation_key_requests_total",
        "Requests to other servers for their keys, by result."
    );
    describe_counter!(
        "starling_federation_events_received_total",
        "Events of other servers, by what became of them."
    );
}

/// Measures what nobody counts, until the server stops.
async fn measure(db: Db, client: FederationClient, shutdown: Shutdown) {
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            biased;
            () = shutdown.begun() => return,
            _ = ticks.tick() => {}
        }
        let failing = client.health().failing();
        gauge!(FAILING).set(u32::try_from(failing).unwrap_or(u32::MAX));
        let read = |tx: &mut Tx<'_>| inbox_size(tx, MOST_COUNTED);
        match db.scan("inbox_size", read).await {
            Ok(size) => gauge!(INBOX).set(size),
            Err(error) => tracing::debug!(%error, "the inbox could not be measured"),
        }
    }
}
