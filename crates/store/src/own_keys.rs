//! The keys that this server no longer signs with.

use starling_db::{Error, Tx, Value};
use starling_events::VerifyingKey;
use starling_events::server_keys::OldKey;

starling_db::statements! {
    /// Notes that a key is no longer used. That of a change which was cut short is noted once more.
    OWN_KEY_EXPIRE = "INSERT INTO own_keys (key_id, public_key, expired_ms) VALUES (?1, ?2, ?3)
        ON CONFLICT (key_id) DO UPDATE SET expired_ms = excluded.expired_ms";
    /// All such keys.
    OWN_KEYS = "SELECT key_id, public_key, expired_ms FROM own_keys ORDER BY expired_ms, key_id";
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
