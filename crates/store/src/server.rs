//! Whose database this is: the server's name, its session secret, and its signing key where several nodes share the
//! database.

use starling_db::{Error, Row, Tx};

starling_db::statements! {
    /// The name, on first start.
    SERVER_INSERT = "INSERT INTO server (id, server_name) VALUES (1, ?1) ON CONFLICT (id) DO NOTHING";
    /// The name.
    SERVER_NAME = "SELECT server_name FROM server WHERE id = 1";
    /// The signing key.
    SIGNING_KEY_READ = "SELECT signing_key FROM server WHERE id = 1";
    /// The signing key, unless there is one.
    SIGNING_KEY_INSERT = "UPDATE server SET signing_key = ?1 WHERE id = 1 AND signing_key IS NULL";
    /// Another signing key, unless it has been replaced meanwhile.
    SIGNING_KEY_REPLACE = "UPDATE server SET signing_key = ?2 WHERE id = 1 AND signing_key = ?1";
    /// What tells the log from others, unless there is something.
    LOG_ID_INSERT = "UPDATE server SET log_id = ?1 WHERE id = 1 AND log_id IS NULL";
    /// What tells the log from others.
    LOG_ID_READ = "SELECT log_id FROM server WHERE id = 1";
    /// The session secret, unless there is one.
    SESSION_SECRET_INSERT = "UPDATE server SET session_secret = ?1 WHERE id = 1 AND session_secret IS NULL";
    /// The session secret.
    SESSION_SECRET_READ = "SELECT session_secret FROM server WHERE id = 1";
}

/// Records the server's name on first start, and refuses another one later: events and user ids carry it for ever. Whether it
/// is recorded only now.
///
/// # Errors
/// [`Error::Refused`] when the database belongs to another server; else when it fails.
pub fn server_name_record(tx: &mut Tx<'_>, name: &str) -> Result<bool, Error> {
    let is_new = tx.execute(&SERVER_INSERT, &[name.into()])? == 1;
    let recorded = tx.query_one(&SERVER_NAME, &[], |row| Ok(row.text(0)?.to_owned()))?;
    match recorded {
        Some(recorded) if recorded == name => Ok(is_new),
        Some(recorded) => Err(Error::Refused(format!(
            "the database belongs to the server {recorded}, and the configuration says server_name = {name:?}"
        ))),
        None => Err(Error::Damaged(
            "the server's name was not stored".to_owned(),
        )),
    }
}

/// The signing key, in the format of the key file, if it is kept here.
///
/// # Errors
/// When the database cannot be read.
pub fn signing_key_read(tx: &mut Tx<'_>) -> Result<Option<String>, Error> {
    let key = tx.query_one(&SIGNING_KEY_READ, &[], |row: &dyn Row| {
        Ok(row.opt_text(0)?.map(str::to_owned))
    })?;
    Ok(key.flatten())
}

/// Keeps `key` here unless there is one already, and returns the one that counts: of nodes that start at the same
/// time, the first wins. The server's name is recorded before.
///
/// # Errors
/// When the database fails.
pub fn signing_key_record(tx: &mut Tx<'_>, key: &str) -> Result<String, Error> {
    tx.execute(&SIGNING_KEY_INSERT, &[key.into()])?;
    signing_key_read(tx)?.ok_or_else(|| Error::Damaged("the signing key was not stored".to_owned()))
}

/// Puts `new` in the place of the key `old`, both in the format of the key file.
///
/// # Errors
/// When the database fails, or keeps another key than `old`.
pub fn signing_key_replace(tx: &mut Tx<'_>, old: &str, new: &str) -> Result<(), Error> {
    tx.execute_one(&SIGNING_KEY_REPLACE, &[old.into(), new.into()])
}

/// What tells this log from those of other databases; copies have the same. Keeps `id` unless there is one already, and returns
/// the one that counts. The server's name is recorded before.
///
/// # Errors
/// When the database fails.
pub fn log_id_record(tx: &mut Tx<'_>, id: i64) -> Result<i64, Error> {
    tx.execute(&LOG_ID_INSERT, &[id.into()])?;
    let kept = tx.query_one(&LOG_ID_READ, &[], |row| row.opt_int(0))?;
    let kept = kept.flatten();
    kept.ok_or_else(|| Error::Damaged("the id of the log was not stored".to_owned()))
}

/// The secret that the ids of interactive authentications are authenticated by. Keeps `secret` unless there is one already,
/// and returns the one that counts. The server's name is recorded before.
///
/// # Errors
/// When the database fails.
pub fn session_secret_record(tx: &mut Tx<'_>, secret: &[u8; 32]) -> Result<[u8; 32], Error> {
    tx.execute(&SESSION_SECRET_INSERT, &[secret.as_slice().into()])?;
    let kept = tx.query_one(&SESSION_SECRET_READ, &[], |row: &dyn Row| {
        Ok(<[u8; 32]>::try_from(row.bytes(0)?).ok())
    })?;
    let kept = kept.flatten();
    kept.ok_or_else(|| Error::Damaged("the session secret was not stored".to_owned()))
}
