//! Telling other servers of changed devices.
//! <https://spec.matrix.org/v1.19/server-server-api/#device-management>

use std::collections::BTreeSet;

use ruma_common::OwnedUserId;
use serde_json::{Map, Value, json};
use starling_db::{Error, Tx};
use starling_store::Store;
use starling_store::device_lists::{CROSS_SIGNING, DeviceUpdate, device_updates, stream_id};
use starling_store::members::Whereabouts;

use crate::device_keys::{Asker, local_keys};
use crate::remote::whole;
use crate::{Keys, QueriedKeys};

/// A user's devices as other servers get them.
#[derive(Debug)]
pub struct DeviceSnapshot {
    /// Which version of the list it is.
    pub stream_id: i64,
    /// Devices and cross-signing keys.
    pub keys: QueriedKeys,
}

impl Keys {
    /// The devices of a local user, all as of one moment.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn device_snapshot(&self, user: OwnedUserId) -> Result<DeviceSnapshot, Error> {
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| {
            let number = store.names().user(tx, &user)?;
            let keys = local_keys(&store, tx, Asker::Server, &whole([user.clone()]))?;
            let stream_id = match number {
                Some(number) => stream_id(tx, number)?,
                None => 0,
            };
            Ok(DeviceSnapshot { stream_id, keys })
        };
        self.store().db().read("device_snapshot", read).await
    }

    /// In which rooms that a local user is in too users of other servers are, of those who are in any.
    pub(crate) async fn whereabouts(
        &self,
        users: BTreeSet<OwnedUserId>,
    ) -> Result<Whereabouts, Error> {
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| store.rooms_of_users(tx, users.iter(), |_| true);
        self.store().db().scan("device_whereabouts", read).await
    }
}

/// What other servers are told of the changes of devices at these positions, as EDUs. Of a device that has been changed again
/// since, its last change tells.
///
/// # Errors
/// When the database cannot be read.
pub fn outgoing_changes(
    store: &Store,
    tx: &mut Tx<'_>,
    positions: &[i64],
) -> Result<Vec<Value>, Error> {
    let updates = device_updates(tx, positions)?;
    let users: BTreeSet<OwnedUserId> = updates.iter().map(|it| it.user_id.clone()).collect();
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let mut keys = local_keys(store, tx, Asker::Server, &whole(users))?;
    Ok(updates
        .into_iter()
        .map(|update| edu(update, &mut keys))
        .collect())
}

fn edu(update: DeviceUpdate, keys: &mut QueriedKeys) -> Value {
    let DeviceUpdate {
        position,
        user_id,
        device_id,
        prev,
    } = update;
    if device_id == CROSS_SIGNING {
        let mut content = Map::from_iter([("user_id".to_owned(), user_id.as_str().into())]);
        let master = keys.master_keys.get(&user_id);
        let self_signing = keys.self_signing_keys.get(&user_id);
        let keys = [("master_key", master), ("self_signing_key", self_signing)];
        let keys = keys.into_iter();
        content.extend(keys.filter_map(|(name, key)| Some((name.to_owned(), key?.clone()))));
        return json!({ "edu_type": "m.signing_key_update", "content": content });
    }
    let prev: Vec<i64> = prev.into_iter().collect();
    let devices = keys.device_keys.get_mut(&user_id);
    let content = match devices.and_then(|devices| devices.remove(&device_id)) {
        Some(keys) => json!({
            "user_id": user_id, "device_id": device_id, "stream_id": position, "prev_id": prev, "keys": keys,
        }),
        None => json!({
            "user_id": user_id, "device_id": device_id, "stream_id": position, "prev_id": prev, "deleted": true,
        }),
    };
    json!({ "edu_type": "m.device_list_update", "content": content })
}
