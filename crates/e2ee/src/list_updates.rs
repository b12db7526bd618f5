//! What other servers tell of their users' devices.
//! <https://spec.matrix.org/v1.19/server-server-api/#mdevice_list_update>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ruma_common::{OwnedUserId, ServerName};
use serde_json::Value;
use starling_db::{Error, Positions, Tx, Write};
use starling_events::id::parse_user_id;
use starling_store::UserNum;
use starling_store::accounts::lock_key;
use starling_store::device_lists::{DeviceListChange, remote_devices_change};
use starling_store::remote_devices::{
    RemoteDevice, RemoteList, remote_device_count, remote_device_set, remote_devices_delete,
    remote_list_set, remote_lists, remote_lists_doubt,
};

use crate::Keys;
use crate::keys::announce_change;
use crate::remote::text;
use crate::snapshot::{believed_device, believed_key};
use crate::tracked::MOST_DEVICES;

/// An update follows so many others at most.
const MOST_PREVIOUS: usize = 100;

/// That a user has other devices or cross-signing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListUpdate {
    user_id: OwnedUserId,
    change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Device(DeviceUpdate),
    /// The keys that are others now.
    CrossSigning {
        master: Option<String>,
        self_signing: Option<String>,
    },
    /// Something changed, it can't be read what.
    Unreadable,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct DeviceUpdate {
    device_id: String,
    stream_id: i64,
    prev_ids: Vec<i64>,
    /// `None` for one that is gone or has no keys.
    device: Option<RemoteDevice>,
}

impl ListUpdate {
    /// Reads an EDU; `None` for one of another kind, or without a user.
    #[must_use]
    pub fn read(kind: &str, content: &Value) -> Option<Self> {
        let user_id = || parse_user_id(text(content, "user_id")?).ok();
        let (user_id, change) = match kind {
            "m.device_list_update" => {
                let user_id = user_id()?;
                let update = read_device(&user_id, content).map(Change::Device);
                (user_id, update)
            }
            "m.signing_key_update" => {
                let user_id = user_id()?;
                let update = read_keys(&user_id, content);
                (user_id, update)
            }
            _ => return None,
        };
        Some(Self {
            user_id,
            change: change.unwrap_or(Change::Unreadable),
        })
    }
}

fn read_device(user_id: &OwnedUserId, content: &Value) -> Option<DeviceUpdate> {
    let device_id = text(content, "device_id")?;
    let previous = content.get("prev_id").and_then(Value::as_array);
    let previous = previous.map(Vec::as_slice).unwrap_or_default();
    if previous.len() > MOST_PREVIOUS {
        return None;
    }
    let prev_ids: Option<Vec<i64>> = previous.iter().map(Value::as_i64).collect();
    let is_deleted = content.get("deleted").and_then(Value::as_bool) == Some(true);
    let keys = content.get("keys").filter(|_| !is_deleted);
    let name = text(content, "device_display_name");
    let device = keys.and_then(|keys| believed_device(user_id, device_id, (keys.clone(), name)));
    Some(DeviceUpdate {
        device_id: device_id.to_owned(),
        stream_id: content.get("stream_id")?.as_i64()?,
        prev_ids: prev_ids?,
        device,
    })
}

fn read_keys(user_id: &OwnedUserId, content: &Value) -> Option<Change> {
    let key = |field: &str| match content.get(field) {
        Some(key) if !key.is_null() => believed_key(user_id, key).map(Some),
        _ => Some(None),
    };
    Some(Change::CrossSigning {
        master: key("master_key")?,
        self_signing: key("self_signing_key")?,
    })
}

impl Keys {
    /// Another server says that some of its users have other devices or cross-signing keys: the lists of those who are
    /// followed change, or become stale if something is missing between, and who shares a room with them is told. Of others
    /// nothing is remembered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn receive_changes(
        &self,
        origin: &ServerName,
        updates: Vec<ListUpdate>,
    ) -> Result<(), Error> {
        let mut by_user: BTreeMap<OwnedUserId, Vec<Change>> = BTreeMap::new();
        for ListUpdate { user_id, change } in updates {
            if user_id.server_name() == origin {
                by_user.entry(user_id).or_default().push(change);
            }
        }
        if by_user.is_empty() {
            return Ok(());
        }
        let users: BTreeSet<OwnedUserId> = by_user.keys().cloned().collect();
        let whereabouts = self.whereabouts(users).await?;
        if whereabouts.is_empty() {
            return Ok(());
        }
        let changes = whereabouts.iter().filter_map(|(user_id, (user, _))| {
            let changes = by_user.remove(user_id)?;
            Some((*user, changes))
        });
        let changes: BTreeMap<UserNum, Vec<Change>> = changes.collect();
        let write = Write::new("remote_devices").locking(changes.keys().copied().map(lock_key));
        let tracking = Arc::clone(self.tracking());
        let work = move |tx: &mut Tx<'_>| {
            if apply(tx, &changes)? {
                let tracking = Arc::clone(&tracking);
                tx.after_commit(move || tracking.wake.notify_one());
            }
            Ok(())
        };
        let bus = self.parts().bus.clone();
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
            for (user, rooms) in whereabouts.values() {
                let position = remote_devices_change(tx, positions, *user, rooms)?;
                let change = DeviceListChange {
                    user: *user,
                    position,
                    rooms: rooms.clone(),
                };
                announce_change(tx, &bus, change);
            }
            Ok(())
        };
        self.store().db().write_placed(write, work, place).await
    }
}

/// Changes the lists of those who are followed. Whether some are stale now.
fn apply(tx: &mut Tx<'_>, changes: &BTreeMap<UserNum, Vec<Change>>) -> Result<bool, Error> {
    let users: Vec<UserNum> = changes.keys().copied().collect();
    let mut doubted = Vec::new();
    for (user, list) in remote_lists(tx, &users)? {
        let changes = changes.get(&user).map(Vec::as_slice).unwrap_or_default();
        if list.is_stale || !apply_to(tx, (user, list), changes)? {
            doubted.push(user);
        }
    }
    remote_lists_doubt(tx, &doubted)?;
    Ok(!doubted.is_empty())
}

/// Changes one list, as far as each change follows those before. Whether all did.
fn apply_to(
    tx: &mut Tx<'_>,
    (user, before): (UserNum, RemoteList),
    changes: &[Change],
) -> Result<bool, Error> {
    let mut list = before.clone();
    let mut included: BTreeSet<i64> = list.stream_id.into_iter().collect();
    let mut is_whole = true;
    for change in changes {
        match change {
            Change::Device(update) if included.contains(&update.stream_id) => {}
            Change::Device(update) if update.follows(&included) => {
                update.write(tx, user)?;
                included.insert(update.stream_id);
                list.stream_id = Some(update.stream_id);
            }
            Change::CrossSigning {
                master,
                self_signing,
            } => {
                list.master_key = master.clone().or(list.master_key);
                list.self_signing_key = self_signing.clone().or(list.self_signing_key);
            }
            Change::Device(_) | Change::Unreadable => {
                is_whole = false;
                break;
            }
        }
    }
    if list == before {
        return Ok(is_whole);
    }
    remote_list_set(tx, user, &list)?;
    let count = usize::try_from(remote_device_count(tx, user)?).unwrap_or(usize::MAX);
    Ok(is_whole && count <= MOST_DEVICES)
}

impl DeviceUpdate {
    /// Whether nothing is missing between what a list includes and this.
    fn follows(&self, included: &BTreeSet<i64>) -> bool {
        !self.prev_ids.is_empty() && self.prev_ids.iter().all(|id| included.contains(id))
    }

    fn write(&self, tx: &mut Tx<'_>, user: UserNum) -> Result<(), Error> {
        match &self.device {
            Some(device) => remote_device_set(tx, user, (&self.device_id, device)),
            None => remote_devices_delete(tx, user, [&*self.device_id]),
        }
    }
}
