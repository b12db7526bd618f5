//! A user's devices and keys as another server says them.
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid>

use std::collections::BTreeMap;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ruma_common::{OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::Value;
use starling_outbound::{FederationClient, RemoteError, Request};
use starling_store::remote_devices::{RemoteDevice, RemoteList};

use crate::cross_signing::{KEY_BYTES, public_part};
use crate::device_keys::DEVICE_KEYS_BYTES;
use crate::remote::{ANSWER_BYTES, LONGEST_PATIENCE, USUAL_PATIENCE, is_of, text};
use crate::tracked::Tracked;

/// What stands for itself in a path: RFC 3986, "unreserved".
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The longest id of a device, in bytes.
const DEVICE_ID_BYTES: usize = 255;

/// Of a device's name so many characters are kept.
const NAME_CHARS: usize = 100;

/// What a server answers.
#[derive(Debug, Deserialize)]
pub(crate) struct Snapshot {
    user_id: String,
    stream_id: i64,
    devices: Vec<Device>,
    #[serde(default)]
    master_key: Option<Value>,
    #[serde(default)]
    self_signing_key: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Device {
    #[serde(rename = "device_id")]
    id: String,
    #[serde(default)]
    keys: Value,
    #[serde(default, rename = "device_display_name")]
    display_name: Option<String>,
}

impl Snapshot {
    /// Asks for the list of a user.
    pub(crate) async fn fetch(
        client: &FederationClient,
        user: &UserId,
        patience: Duration,
    ) -> Result<Self, RemoteError> {
        let user_id = utf8_percent_encode(user.as_str(), ESCAPED);
        let uri = format!("/_matrix/federation/v1/user/devices/{user_id}");
        let request = Request::get(uri)
            .patience(patience.clamp(USUAL_PATIENCE, LONGEST_PATIENCE))
            .answer_bytes(ANSWER_BYTES);
        client.ask(user.server_name(), request).await
    }

    /// What of it is believed; `None` when it is another user's. Devices without keys that could be theirs are left out.
    pub(crate) fn tracked(self, user: &OwnedUserId) -> Option<Tracked> {
        if self.user_id != user.as_str() {
            return None;
        }
        let devices = self.devices.into_iter().filter_map(|it| {
            let name = it.display_name.as_deref();
            let device = believed_device(user, &it.id, (it.keys, name))?;
            Some((it.id, device))
        });
        let key = |key: Option<Value>| key.and_then(|key| believed_key(user, &key));
        let list = RemoteList {
            stream_id: Some(self.stream_id),
            master_key: key(self.master_key),
            self_signing_key: key(self.self_signing_key),
            ..RemoteList::default()
        };
        let devices: BTreeMap<String, RemoteDevice> = devices.collect();
        Some(Tracked { list, devices })
    }
}

/// A device of a user, if its keys say that they are its own and have a usual size.
pub(crate) fn believed_device(
    user: &OwnedUserId,
    device_id: &str,
    (mut keys, name): (Value, Option<&str>),
) -> Option<RemoteDevice> {
    keys.as_object_mut()?.remove("unsigned");
    let is_own = is_of(&keys, user) && text(&keys, "device_id") == Some(device_id);
    let keys = keys.to_string();
    let is_usual = keys.len() <= DEVICE_KEYS_BYTES && device_id.len() <= DEVICE_ID_BYTES;
    (is_own && is_usual).then(|| RemoteDevice {
        keys,
        display_name: name.map(|name| name.chars().take(NAME_CHARS).collect()),
    })
}

/// A cross-signing key of a user, if it is one and has a usual size.
pub(crate) fn believed_key(user: &OwnedUserId, key: &Value) -> Option<String> {
    public_part(key).filter(|_| is_of(key, user))?;
    Some(key.to_string()).filter(|key| key.len() <= KEY_BYTES)
}
