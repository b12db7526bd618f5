//! What clients need of the server to encrypt for each other. The server reads nothing of what it keeps here; it sees to
//! it that nothing is lost or handed out twice.
//!
//! * [`Keys::upload`], [`Keys::query`] and [`Keys::claim`] take and give devices' keys;
//! * [`Keys::upload_cross_signing`] and [`Keys::upload_signatures`] take users' cross-signing keys, and what is signed with them;
//! * [`outgoing_changes`] is what other servers are told, [`Keys::receive_changes`] takes what they tell, and
//!   [`Keys::run_resync`] asks where something is missing;
//! * [`ToDevice`] keeps messages from device to device until they have arrived, here or at another server;
//! * [`Keys::dehydrate`] keeps a device for who has no other, and [`Keys::dehydrated_messages`] what it was sent;
//! * [`KeyBackups`] keeps what clients back up of the keys of rooms.

mod asked;
mod backup;
mod cross_signing;
mod dehydrated;
mod device_keys;
mod device_lists;
mod keys;
mod list_updates;
mod one_time_keys;
mod remote;
mod resync;
mod signatures;
mod signed;
mod snapshot;
mod to_device;
mod tracked;

pub use asked::{AskedError, read_claim, read_query};
pub use backup::{
    AllKeys, BackupError, KeyBackups, KeyData, MAX_BACKUP_BYTES, MAX_SESSION_BYTES,
    MOST_BACKUP_BYTES, MOST_BACKUPS, NewKeys, RoomKeys,
};
pub use cross_signing::{CrossSigningError, CrossSigningUpload};
pub use dehydrated::{
    DehydratedDevice, DehydratedError, DehydratedMessages, MAX_DEHYDRATED_BYTES, MOST_ON_PAGE,
    NewDehydrated,
};
pub use device_keys::{Asker, KeyQuery, KeyUpload, QueriedKeys};
pub use device_lists::{DeviceSnapshot, outgoing_changes};
pub use keys::{Keys, KeysParts, Owner, UploadError};
pub use list_updates::ListUpdate;
pub use one_time_keys::{ClaimedKeys, KeyClaim, MOST_CLAIMED, MOST_ONE_TIME_KEYS};
pub use remote::{Failures, LONGEST_PATIENCE, USUAL_PATIENCE};
pub use signatures::{MOST_SIGNED, SignatureError, SignatureFailures, SignedKeys};
pub use starling_store::cross_signing::KeyUsage;
pub use starling_store::key_backup::{BackedUpKey, Backup, KeyScope};
pub use to_device::{
    Addressed, MAX_DEVICE_ID_BYTES, MAX_MESSAGE_BYTES, MOST_ADDRESSED, MOST_STRANGERS,
    MOST_WAITING, MOST_WAITING_OUTSIDE, MOST_WAITING_OUTSIDE_IN_ALL, Messages, MessagesError,
    Sending, ToDevice, ToDeviceParts,
};
