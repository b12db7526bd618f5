//! The devices of a user. <https://spec.matrix.org/v1.19/client-server-api/#device-management>

use std::collections::HashSet;
use std::sync::Arc;

use starling_db::{Error, Positions, Tx, Write};
use starling_store::device_keys::device_keys_read;
use starling_store::devices::{self, Device};
use starling_store::{DeviceNum, UserNum, login_tokens};

use crate::sessions::{check_device_name, place_devices};
use crate::{Accounts, DeviceError};

/// Why a device has the name that it had.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    /// No device may have this name.
    #[error("no device can have this name")]
    Name(#[from] DeviceError),
    /// The user has no such device.
    #[error("there is no such device")]
    Unknown,
    /// The database failed.
    #[error("the name could not be stored")]
    Database(#[from] Error),
}

impl Accounts {
    /// The devices of `user`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn devices(&self, user: UserNum) -> Result<Vec<Device>, Error> {
        let list = move |tx: &mut Tx<'_>| devices::device_list(tx, user);
        self.store().db().read("device_list", list).await
    }

    /// The device of `user` with this id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn device(&self, user: UserNum, device_id: String) -> Result<Option<Device>, Error> {
        let find = move |tx: &mut Tx<'_>| devices::device_find(tx, user, &device_id);
        self.store().db().read("device_find", find).await
    }

    /// Ends the sessions of those of these devices that `user` has, and deletes the devices.
    ///
    /// # Errors
    /// When the database fails; then nothing has changed.
    pub async fn delete_devices(
        &self,
        user: UserNum,
        device_ids: HashSet<String>,
    ) -> Result<(), Error> {
        let work = move |tx: &mut Tx<'_>| {
            // One of these sessions may have asked for one, which would outlive it.
            login_tokens::delete_of_user(tx, user)?;
            let mut owned = devices::device_list(tx, user)?;
            owned.retain(|device| device_ids.contains(&device.device_id));
            let owned: Vec<DeviceNum> = owned.iter().map(|it| it.device).collect();
            devices::devices_delete(tx, &owned).map(Some)
        };
        let ended = self.end_sessions("device_delete", user, work).await;
        ended.map(drop)
    }

    /// Gives a device of `user` another name; an empty one takes it away.
    ///
    /// # Errors
    /// Why it has the name that it had.
    pub async fn rename_device(
        &self,
        user: UserNum,
        device_id: String,
        display_name: String,
    ) -> Result<(), RenameError> {
        check_device_name(&display_name)?;
        let work = move |tx: &mut Tx<'_>| {
            let name = Some(display_name.as_str()).filter(|name| !name.is_empty());
            if !devices::device_rename(tx, user, &device_id, name)? {
                return Err(RenameError::Unknown);
            }
            let device = devices::device_find(tx, user, &device_id)?;
            let device = device.ok_or(RenameError::Unknown)?;
            let has_keys = device_keys_read(tx, device.device)?.is_some();
            Ok(has_keys.then_some(device.device_id))
        };
        let shared = Arc::clone(&self.shared);
        // Who knows its keys is told its name with them.
        let place =
            move |tx: &mut Tx<'_>, positions: &mut Positions, known: Option<String>| match known {
                Some(device_id) => Ok(place_devices(
                    tx,
                    positions,
                    &shared,
                    user,
                    vec![device_id],
                )?),
                None => Ok(()),
            };
        let write = Write::new("device_rename");
        self.store().db().write_placed(write, work, place).await
    }
}
