//! Backups of room keys. <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>
//!
//! Clients encrypt what is in them; the server keeps of each session the better key, and says by an etag whether anything has
//! changed. Many keys are written, read and deleted in steps.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use starling_db::{Error, Tx, Write};
use starling_store::accounts::lock_key;
use starling_store::key_backup::{
    BackedUpKey, Backup, KeyScope, backup_current, backup_delete, backup_doubt, backup_insert,
    backup_last_version, backup_read, backup_refuse, backup_set_auth_data, backups_bytes,
    backups_to_empty, keys_delete, keys_put, keys_read,
};
use starling_store::restored::FIRST_EPOCH;
use starling_store::rooms::stable_hash;
use starling_store::{DeviceNum, Store, UserNum};

/// The largest description of how a backup is encrypted, in bytes.
pub const MAX_BACKUP_BYTES: usize = 65_536;

/// The largest key of a session, in bytes.
pub const MAX_SESSION_BYTES: usize = 65_536;

/// So many backups of a user are kept: of more, the oldest are deleted.
pub const MOST_BACKUPS: u32 = 100;

/// So many keys are in one backup.
const MOST_KEYS: i64 = 1_000_000;

/// The keys in all backups of a user together have about so many bytes.
pub const MOST_BACKUP_BYTES: i64 = 1 << 30;

/// So often an upload is refused that a client repeats, where the backup lacks keys: then it doesn't listen.
const MOST_REFUSALS: i64 = 10;

/// The longest name of an algorithm, a room or a session, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// So many keys are written, read or deleted at once.
const STEP: u32 = 500;

/// Why a backup is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The user has no such backup.
    #[error("there is no such backup")]
    Unknown,
    /// Keys are written to the newest backup only.
    #[error("this is not the newest backup")]
    NotCurrent {
        /// The newest one's version.
        current: i64,
    },
    /// A copy of the database was put back: the device must take the backup for another one.
    #[error("keys of this backup may be lost: back up again all that there are")]
    InDoubt {
        /// Its version.
        current: i64,
    },
    /// A backup keeps the algorithm that it was made with.
    #[error("the backup has another algorithm")]
    OtherAlgorithm,
    /// A backup's algorithm has no name, or a name of more than 255 bytes.
    #[error("the algorithm has no name, or one of more than {MAX_NAME_BYTES} bytes")]
    Algorithm,
    /// A value that must be an object is another one.
    #[error("`{0}` must be an object")]
    NotAnObject(&'static str),
    /// The index or count of a key is below 0.
    #[error("`first_message_index` and `forwarded_count` must not be negative")]
    Negative,
    /// A backup's description, a name or a key is too large.
    #[error("`{0}` is too large")]
    TooLarge(&'static str),
    /// The backup is full, or the user has too much in backups.
    #[error("a backup has at most {MOST_KEYS} keys, and those of a user {MOST_BACKUP_BYTES} bytes")]
    Full,
    /// The database failed.
    #[error("the backup could not be changed")]
    Database(#[from] Error),
}

/// Keys that a client backs up, by room and session: <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeys>
#[derive(Debug, Default)]
pub struct NewKeys(Vec<BackedUpKey>);

/// A key as clients write it.
#[derive(Debug, Deserialize)]
pub struct KeyData {
    first_message_index: i64,
    forwarded_count: i64,
    is_verified: bool,
    session_data: Box<RawValue>,
}

/// Keys of a room, by session.
#[derive(Debug, Deserialize)]
pub struct RoomKeys {
    sessions: BTreeMap<String, KeyData>,
}

/// Keys, by room.
#[derive(Debug, Deserialize)]
pub struct AllKeys {
    rooms: BTreeMap<String, RoomKeys>,
}

impl AllKeys {
    /// Those of one room.
    #[must_use]
    pub fn of_room(room: String, keys: RoomKeys) -> Self {
        Self {
            rooms: BTreeMap::from([(room, keys)]),
        }
    }

    /// That of one session.
    #[must_use]
    pub fn of_session(room: String, session: String, key: KeyData) -> Self {
        let sessions = BTreeMap::from([(session, key)]);
        Self::of_room(room, RoomKeys { sessions })
    }
}

impl TryFrom<AllKeys> for NewKeys {
    type Error = BackupError;

    fn try_from(keys: AllKeys) -> Result<Self, BackupError> {
        let mut all = Vec::new();
        for (room, keys) in keys.rooms {
            check_name("a room's id", &room)?;
            for (session, key) in keys.sessions {
                check_name("a session's id", &session)?;
                all.push(key.of(room.clone(), session)?);
            }
        }
        Ok(Self(all))
    }
}

impl NewKeys {
    /// Tells these keys from others, and from themselves when they are encrypted once more.
    fn hash(&self) -> i64 {
        let texts = |key: &BackedUpKey| {
            [&key.room_id, &key.session_id, &key.session_data].map(String::clone)
        };
        let texts: Vec<String> = self.0.iter().flat_map(texts).collect();
        stable_hash(texts.join("\n").as_bytes())
    }
}

impl KeyData {
    fn of(self, room_id: String, session_id: String) -> Result<BackedUpKey, BackupError> {
        if self.first_message_index < 0 || self.forwarded_count < 0 {
            return Err(BackupError::Negative);
        }
        Ok(BackedUpKey {
            room_id,
            session_id,
            is_verified: self.is_verified,
            first_message_index: self.first_message_index,
            forwarded_count: self.forwarded_count,
            session_data: object("session_data", &self.session_data, MAX_SESSION_BYTES)?,
        })
    }
}

/// The backups of this server's users. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KeyBackups {
    store: Store,
    most_bytes: i64,
}

impl KeyBackups {
    /// The backups in `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self::bounded(store, MOST_BACKUP_BYTES)
    }

    /// The backups in `store`, where a user's keys have about `most_bytes` bytes together.
    #[must_use]
    pub fn bounded(store: Store, most_bytes: i64) -> Self {
        Self { store, most_bytes }
    }

    /// Begins a backup, which is from now on the one that keys are written to; its version.
    ///
    /// # Errors
    /// Why none has begun.
    pub async fn create(
        &self,
        user: UserNum,
        algorithm: String,
        auth_data: &RawValue,
    ) -> Result<i64, BackupError> {
        if algorithm.is_empty() || algorithm.len() > MAX_NAME_BYTES {
            return Err(BackupError::Algorithm);
        }
        let auth_data = object("auth_data", auth_data, MAX_BACKUP_BYTES)?;
        let insert =
            move |tx: &mut Tx<'_>| backup_insert(tx, user, (&algorithm, &auth_data), MOST_BACKUPS);
        Ok(self.write("key_backup_create", user, insert).await?)
    }

    /// A backup of `user`, or the newest one.
    ///
    /// # Errors
    /// [`BackupError::Unknown`] when there is none.
    pub async fn get(&self, user: UserNum, version: Option<i64>) -> Result<Backup, BackupError> {
        let read = move |tx: &mut Tx<'_>| match version {
            Some(version) => backup_read(tx, user, version),
            None => backup_current(tx, user),
        };
        let found = self.store.db().read("key_backup", read).await?;
        found.ok_or(BackupError::Unknown)
    }

    /// Changes what a backup's algorithm needs to know.
    ///
    /// # Errors
    /// Why it is as it was.
    pub async fn update(
        &self,
        (user, version): (UserNum, i64),
        algorithm: String,
        auth_data: &RawValue,
    ) -> Result<(), BackupError> {
        let auth_data = object("auth_data", auth_data, MAX_BACKUP_BYTES)?;
        let set = move |tx: &mut Tx<'_>| {
            let backup = backup_read(tx, user, version)?.ok_or(BackupError::Unknown)?;
            if backup.algorithm != algorithm {
                return Err(BackupError::OtherAlgorithm);
            }
            backup_set_auth_data(tx, user, version, &auth_data)?;
            Ok(())
        };
        self.write("key_backup_update", user, set).await
    }

    /// Deletes a backup with all of its keys. One that was deleted before stays so.
    ///
    /// # Errors
    /// [`BackupError::Unknown`] when there never was one of this version.
    pub async fn delete(&self, user: UserNum, version: i64) -> Result<(), BackupError> {
        let delete = move |tx: &mut Tx<'_>| {
            let is_known = version >= 1 && version <= backup_last_version(tx, user)?;
            if !is_known {
                return Err(BackupError::Unknown);
            }
            backup_delete(tx, user, version)?;
            Ok(())
        };
        self.write("key_backup_delete", user, delete).await?;
        Ok(self.empty(user, version).await?)
    }

    /// Whether `device` may write keys to the backup. After a copy of the database was put back, each device is told that the
    /// backup is another: of the keys in it, some are lost, and the device has to back all up again.
    ///
    /// What clients do when they are told so: they forget what they have backed up, and go on with keys that they encrypt anew,
    /// some after they have looked which backup there is, others when they start the next time. The same keys once more are
    /// those of a client that the refusal didn't reach, so it is repeated.
    ///
    /// # Errors
    /// [`BackupError::InDoubt`] where the device has to do so; [`BackupError::NotCurrent`], [`BackupError::Unknown`].
    pub async fn check_trust(
        &self,
        (user, version): (UserNum, i64),
        device: DeviceNum,
        keys: &NewKeys,
    ) -> Result<(), BackupError> {
        if self.store.epoch() <= FIRST_EPOCH {
            return Ok(());
        }
        let doubt = move |tx: &mut Tx<'_>| backup_doubt(tx, device);
        let is_in_doubt: Result<bool, Error> =
            self.store.db().read("key_backup_doubt", doubt).await;
        if !is_in_doubt? {
            return Ok(());
        }
        let hash = keys.hash();
        let refuse = move |tx: &mut Tx<'_>| {
            writable(tx, user, version)?;
            Ok::<_, BackupError>(backup_refuse(tx, device, hash, MOST_REFUSALS)?)
        };
        if self.write("key_backup_refuse", user, refuse).await? {
            return Err(BackupError::InDoubt { current: version });
        }
        Ok(())
    }

    /// Keeps keys in the newest backup, which must be of this version; of sessions that have a key already, the better one. The
    /// backup as it is then.
    ///
    /// # Errors
    /// Why they are not kept. When the database fails, some may be.
    pub async fn put(
        &self,
        (user, version): (UserNum, i64),
        keys: NewKeys,
    ) -> Result<Backup, BackupError> {
        let most_bytes = self.most_bytes;
        let mut rest = keys.0;
        loop {
            let step = usize::try_from(STEP).unwrap_or(usize::MAX).min(rest.len());
            let after = rest.split_off(step);
            let put = move |tx: &mut Tx<'_>| {
                let backup = writable(tx, user, version)?;
                if !rest.is_empty() {
                    let is_full = backup.count > MOST_KEYS || backups_bytes(tx, user)? > most_bytes;
                    if is_full {
                        return Err(BackupError::Full);
                    }
                    keys_put(tx, user, version, &rest)?;
                }
                backup_read(tx, user, version)?.ok_or(BackupError::Unknown)
            };
            let backup = self.write("key_backup_put", user, put).await?;
            if after.is_empty() {
                return Ok(backup);
            }
            rest = after;
        }
    }

    /// The next keys of a backup, ordered by room and session, those after a room and session (`""` are before all others); the
    /// end has none. [`KeyScope::Session`] has one at most, whatever stands before it.
    ///
    /// # Errors
    /// [`BackupError::Unknown`] when there is no such backup.
    pub async fn keys(
        &self,
        (user, version): (UserNum, i64),
        scope: KeyScope,
        (after_room, after_session): (String, String),
    ) -> Result<Vec<BackedUpKey>, BackupError> {
        let read = move |tx: &mut Tx<'_>| {
            backup_read(tx, user, version)?.ok_or(BackupError::Unknown)?;
            let after = (&*after_room, &*after_session);
            Ok(keys_read(tx, (user, version), &scope, after, STEP)?)
        };
        self.store.db().scan("key_backup_keys", read).await
    }

    /// Deletes keys of a backup, also of one that isn't the newest. The backup as it is then.
    ///
    /// # Errors
    /// [`BackupError::Unknown`] when there is no such backup. When the database fails, some keys may be deleted.
    pub async fn delete_keys(
        &self,
        (user, version): (UserNum, i64),
        scope: KeyScope,
    ) -> Result<Backup, BackupError> {
        loop {
            let scope = scope.clone();
            let delete = move |tx: &mut Tx<'_>| {
                backup_read(tx, user, version)?.ok_or(BackupError::Unknown)?;
                let deleted = keys_delete(tx, (user, version), &scope, STEP)?;
                let backup = backup_read(tx, user, version)?.ok_or(BackupError::Unknown)?;
                Ok::<_, BackupError>((deleted, backup))
            };
            let (deleted, backup) = self.write("key_backup_delete_keys", user, delete).await?;
            if deleted < u64::from(STEP) {
                return Ok(backup);
            }
        }
    }

    /// Deletes the keys that are left of deleted backups.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep(&self) -> Result<(), Error> {
        let find = |tx: &mut Tx<'_>| backups_to_empty(tx, STEP);
        for (user, version) in self.store.db().read("key_backups_to_empty", find).await? {
            self.empty(user, version).await?;
        }
        Ok(())
    }

    /// Deletes the keys of a deleted backup.
    async fn empty(&self, user: UserNum, version: i64) -> Result<(), Error> {
        loop {
            let delete =
                move |tx: &mut Tx<'_>| keys_delete(tx, (user, version), &KeyScope::All, STEP);
            let deleted = self.write("key_backup_empty", user, delete).await?;
            if deleted < u64::from(STEP) {
                return Ok(());
            }
        }
    }

    /// One user's writes come one after the other.
    async fn write<T: Send + 'static, E: From<Error> + Send + 'static>(
        &self,
        what: &'static str,
        user: UserNum,
        body: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let write = Write::new(what).locking([lock_key(user)]);
        self.store.db().write(write, body).await
    }
}

/// The newest backup, if it is of this version.
fn writable(tx: &mut Tx<'_>, user: UserNum, version: i64) -> Result<Backup, BackupError> {
    let current = backup_current(tx, user)?.ok_or(BackupError::Unknown)?;
    if current.version == version {
        return Ok(current);
    }
    let is_older = version >= 1 && version < current.version;
    Err(if is_older {
        BackupError::NotCurrent {
            current: current.version,
        }
    } else {
        BackupError::Unknown
    })
}

fn check_name(what: &'static str, name: &str) -> Result<(), BackupError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(BackupError::TooLarge(what));
    }
    Ok(())
}

/// The text of an object, as it was written.
fn object(what: &'static str, value: &RawValue, most: usize) -> Result<String, BackupError> {
    let text = value.get();
    if !text.starts_with('{') {
        return Err(BackupError::NotAnObject(what));
    }
    if text.len() > most {
        return Err(BackupError::TooLarge(what));
    }
    Ok(text.to_owned())
}
