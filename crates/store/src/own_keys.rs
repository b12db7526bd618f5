//! The public halves of the keys that this server signs with, and that it no longer signs with.

use starling_db::{Error, Tx, Value};
use starling_events::VerifyingKey;
use starling_events::server_keys::OldKey;

starling_db::statements! {
    /// Notes that a key is no longer used. That of a change which was cut short is noted once more.
    OWN_KEY_EXPIRE = "INSERT INTO own_keys (key_id, public_key, expired_ms) VALUES (?1, ?2, ?3)
        ON CONFLICT (key_id) DO UPDATE SET expired_ms = excluded.expired_ms";
    /// All such keys.
    OWN_KEYS = "SELECT key_id, public_key, expired_ms FROM own_keys ORDER BY expired_ms, key_id";
    /// The key that signs, if it is in a file.
    OWN_KEY = "SELECT public_key_id, public_key FROM server WHERE id = 1";
    /// Another key signs.
    OWN_KEY_SET = "UPDATE server SET public_key_id = ?1, public_key = ?2 WHERE id = 1";
    /// Whether there is a room: each begins with something signed.
    HAS_SIGNED = "SELECT 1 FROM rooms LIMIT 1";
}

/// The key that signs, as far as others may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Its id, such as `ed25519:a_b`.
    pub key_id: String,
    /// Its public half.
    pub key: VerifyingKey,
}

/// The key in a file that this server signed with when it ran last, if one was noted.
///
/// # Errors
/// When the database cannot be read.
pub fn own_key_read(tx: &mut Tx<'_>) -> Result<Option<PublicKey>, Error> {
    let key = tx.query_one(&OWN_KEY, &[], |row| {
        let (Some(key_id), Some(bytes)) = (row.opt_text(0)?, row.opt_bytes(1)?) else {
            return Ok(None);
        };
        let key = VerifyingKey::from_bytes(bytes);
        Ok(Some(PublicKey {
            key_id: key_id.to_owned(),
            key: key.map_err(|_| Error::Damaged("the key of this server".to_owned()))?,
        }))
    })?;
    Ok(key.flatten())
}

/// Notes the key in a file that this server signs with. The server's name is recorded before.
///
/// # Errors
/// When the database fails.
pub fn own_key_record(tx: &mut Tx<'_>, key: &PublicKey) -> Result<(), Error> {
    let params = [key.key_id.as_str().into(), Value::Bytes(key.key.as_bytes())];
    tx.execute_one(&OWN_KEY_SET, &params)
}

/// Whether this server may have signed anything that others have.
///
/// # Errors
/// When the database cannot be read.
pub fn has_signed(tx: &mut Tx<'_>) -> Result<bool, Error> {
    Ok(tx.query_one(&HAS_SIGNED, &[], |_| Ok(()))?.is_some())
}

/// Notes that a key is no longer used, since `old.expired_ts`.
///
/// # Errors
/// When the database fails.
pub fn own_key_expire(tx: &mut Tx<'_>, old: &OldKey) -> Result<(), Error> {
    let params = [
        old.key_id.as_str().into(),
        Value::Bytes(old.key.as_bytes()),
        old.expired_ts.into(),
    ];
    tx.execute_one(&OWN_KEY_EXPIRE, &params)
}

/// The keys that are no longer used, oldest first. One may be among them that is still used, if its replacement was cut short.
///
/// # Errors
/// When the database cannot be read.
pub fn own_keys_expired(tx: &mut Tx<'_>) -> Result<Vec<OldKey>, Error> {
    tx.query_all(&OWN_KEYS, &[], |row| {
        let key = VerifyingKey::from_bytes(row.bytes(1)?);
        Ok(OldKey {
            key_id: row.text(0)?.to_owned(),
            key: key.map_err(|_| Error::Damaged("an old key of this server".to_owned()))?,
            expired_ts: row.int(2)?,
        })
    })
}
