//! Dehydrated devices: a user's one device that nobody is logged in with, whose private keys are kept here in encrypted form.
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/3814>
//!
//! It is a device like others: it has keys, is sent messages, and goes with all of it. Whoever logs in with its id makes an
//! ordinary one of it, so it never has a session.

use starling_db::{Error, Tx};

use crate::numbers::{DeviceNum, UserNum};

starling_db::statements! {
    /// A user's dehydrated device.
    DEHYDRATED_FIND = "SELECT device_num, device_id, dehydrated FROM devices WHERE user_num = ?1 AND dehydrated IS NOT NULL";
    /// What it takes to bring a device back.
    DEHYDRATED_SET = "UPDATE devices SET dehydrated = ?2 WHERE device_num = ?1";
}

/// A dehydrated device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DehydratedDevice {
    /// The device.
    pub device: DeviceNum,
    /// Its id.
    pub device_id: String,
    /// What it takes to bring it back: a JSON object, as the client wrote it.
    pub data: String,
}

/// The dehydrated device of `user`, if there is one.
///
/// # Errors
/// When the database cannot be read.
pub fn dehydrated_find(tx: &mut Tx<'_>, user: UserNum) -> Result<Option<DehydratedDevice>, Error> {
    tx.query_one(&DEHYDRATED_FIND, &[user.into()], |row| {
        Ok(DehydratedDevice {
            device: DeviceNum(row.int(0)?),
            device_id: row.utf8(1)?.to_owned(),
            data: row.utf8(2)?.to_owned(),
        })
    })
}

/// Makes `device`, which has no session, its user's dehydrated one; there must be no other.
///
/// # Errors
/// When the database fails.
pub fn dehydrated_set(tx: &mut Tx<'_>, device: DeviceNum, data: &str) -> Result<(), Error> {
    let params = [device.into(), data.as_bytes().into()];
    tx.execute_one(&DEHYDRATED_SET, &params)
}
