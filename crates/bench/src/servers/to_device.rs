//! One message at a time to many devices, each of which waits in `/sync`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::Error;
use super::devices::{Device, DeviceKeys, Devices};
use super::fan_out::{Listener, has_told, tell_in_turn};
use super::meter::Round;
use super::target::Target;

/// As much as a room's key takes when it is encrypted.
const CIPHERTEXT_CHARS: usize = 800;

/// Sends to `count` devices for `time`, the next message when all have the last one. An operation is one message that reached
/// one device; latencies are from the beginning of the request. What a device asks next acknowledges what it has: in the time
/// that is measured fall as many acknowledgements as messages, the first of them for the message that came before. That
/// nothing comes again in the end is checked.
///
/// # Errors
/// When the server refuses something, or a message doesn't arrive, or arrives twice.
pub async fn round(
    target: &Target,
    run: &str,
    devices: &mut Devices,
    count: usize,
    time: Duration,
) -> Result<Option<Round>, Error> {
    let (owners, all) = (&mut devices.owners, &mut devices.all);
    let Some(sender) = owners.first_mut() else {
        return Ok(None);
    };
    let (listeners, keys): (Vec<Listener>, Vec<DeviceKeys>) = all
        .drain(..count.min(all.len()))
        .map(|device| (device.listener, device.keys))
        .unzip();
    let send = async |transaction: &str, text: &str| {
        let path = format!("/_matrix/client/v3/sendToDevice/m.room.encrypted/{transaction}");
        let body = body(&keys, text);
        sender.ask(&Method::PUT, &path, body).await.map(drop)
    };
    let (measured, mut listeners) = tell_in_turn(target, run, listeners, time, send).await?;
    for Listener { user, since } in &mut listeners {
        let synced = user.sync(Some(since), 0).await?;
        user.hang_up();
        if has_told(&synced.body, run) {
            let error = "a message came again that was acknowledged".to_owned();
            let path = "/_matrix/client/v3/sync".to_owned();
            return Err(Error::Malformed { path, error });
        }
        *since = synced.next_batch;
    }
    let back = listeners.into_iter().zip(keys);
    let back = back.map(|(listener, keys)| Device { listener, keys });
    all.splice(..0, back);
    Ok(Some(measured))
}

/// The request that sends the text to each of these devices.
fn body(devices: &[DeviceKeys], text: &str) -> Bytes {
    let content = json!({
        "algorithm": "m.olm.v1.curve25519-aes-sha2",
        "sender_key": "a".repeat(43),
        "ciphertext": { "b".repeat(43): { "type": 0, "body": format!("{text}{:c<CIPHERTEXT_CHARS$}", "") } },
    });
    let mut messages: BTreeMap<&str, BTreeMap<&str, _>> = BTreeMap::new();
    for device in devices {
        let of_user = messages.entry(&device.user_id).or_default();
        of_user.insert(&device.device_id, &content);
    }
    Bytes::from(json!({ "messages": messages }).to_string())
}
