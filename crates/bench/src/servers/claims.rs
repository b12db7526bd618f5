//! Claiming one-time keys of many devices at once, as who begins to encrypt for a room does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Error;
use super::devices::{ALGORITHM, Device, Devices, KEYS_EACH};
use super::meter::{Meter, Round};
use super::target::Target;
use super::user::User;

/// How many claim at once.
pub const CLAIMERS: usize = 10;

const PATH: &str = "/_matrix/client/v3/keys/claim";

/// Claims a key of each of `batch` devices, then of the next ones, for `time` or until all keys are gone. An operation is one
/// key that came; those that didn't are counted in [`Devices::missing`]. Where there are fewer devices, keys of all are claimed at
/// once.
///
/// # Errors
/// When the server refuses, or gives more than was asked for.
pub async fn round(
    target: &Target,
    devices: &mut Devices,
    batch: usize,
    time: Duration,
) -> Result<Option<Round>, Error> {
    devices.fill().await?;
    let batch = batch.min(devices.all.len());
    if batch == 0 {
        return Ok(None);
    }
    let bodies: Arc<[Bytes]> = devices.all.chunks_exact(batch).map(body).collect();
    let batches = u64::try_from(bodies.len()).unwrap_or(u64::MAX);
    let begun = Arc::new(AtomicU64::new(0));
    let rest = devices.owners.split_off(CLAIMERS.min(devices.owners.len()));
    let claimers = std::mem::replace(&mut devices.owners, rest);
    let mut claiming = JoinSet::new();
    let meter = Meter::start(target);
    let until = Instant::now() + time;
    for claimer in claimers {
        let (begun, bodies) = (Arc::clone(&begun), Arc::clone(&bodies));
        let next = move || {
            let number = begun.fetch_add(1, Ordering::Relaxed);
            let is_left = number < batches * KEYS_EACH && Instant::now() < until;
            let place = usize::try_from(number % batches).unwrap_or(usize::MAX);
            bodies.get(place).filter(|_| is_left).cloned()
        };
        claiming.spawn(claim_all(claimer, batch, next));
    }
    let (mut latencies, mut missing) = (Vec::new(), 0);
    while let Some(ended) = claiming.join_next().await {
        let (claimer, mut its, its_missing) = ended??;
        devices.owners.push(claimer);
        latencies.append(&mut its);
        missing += its_missing;
    }
    let done = u64::try_from(latencies.len()).unwrap_or(u64::MAX);
    for (index, devices) in (1..).zip(devices.all.chunks_exact_mut(batch)) {
        let used = (done + batches - index) / batches;
        for device in devices {
            device.keys.stored -= used;
        }
    }
    let asked = done * u64::try_from(batch).unwrap_or(u64::MAX);
    devices.missing += missing;
    Ok(Some(meter.stop(asked - missing, latencies)))
}

/// The request that asks for a key of each of these devices.
fn body(devices: &[Device]) -> Bytes {
    let mut wanted: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for Device { keys, .. } in devices {
        let of_user = wanted.entry(&keys.user_id).or_default();
        of_user.insert(&keys.device_id, ALGORITHM);
    }
    Bytes::from(json!({ "one_time_keys": wanted }).to_string())
}

async fn claim_all(
    mut claimer: User,
    batch: usize,
    next: impl Fn() -> Option<Bytes>,
) -> Result<(User, Vec<Duration>, u64), Error> {
    let (mut latencies, mut missing) = (Vec::new(), 0);
    while let Some(body) = next() {
        let begun = Instant::now();
        let answer = claimer.ask(&Method::POST, PATH, body).await?;
        latencies.push(begun.elapsed());
        let text = std::str::from_utf8(&answer).unwrap_or_default();
        let keys = text.matches(&format!("\"{ALGORITHM}:")).count();
        // Synapse leaves keys out that another request is claiming at the same time, on PostgreSQL.
        let Some(fewer) = batch.checked_sub(keys) else {
            let error = format!("{keys} keys of {batch} devices");
            let path = PATH.to_owned();
            return Err(Error::Malformed { path, error });
        };
        missing += u64::try_from(fewer).unwrap_or(u64::MAX);
    }
    Ok((claimer, latencies, missing))
}
