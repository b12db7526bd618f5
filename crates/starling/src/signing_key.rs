//! The key that this server signs with: made on first start.
//!
//! With SQLite it is a file. With PostgreSQL it is in the database, since several nodes share it; a file that is there
//! on the first start is taken over. Keys that it has replaced are in the database, without their secrets.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use starling_config::{Config, DatabaseUrl};
use starling_db::{Db, Error, Tx, Write};
use starling_events::SigningKey;
use starling_events::server_keys::OldKey;
use starling_runtime::Chance;
use starling_store::{own_keys, server};

use crate::failure::Failure;
use crate::open::Opened;

/// The key that this server signs with; made if there is none.
pub(crate) async fn current(config: &Config, opened: &Opened) -> Result<SigningKey, Failure> {
    let (path, chance) = (&config.signing_key_path, &opened.chance);
    match config.database.url {
        DatabaseUrl::Sqlite(_) => from_file(path, chance),
        DatabaseUrl::Postgres(_) => from_database(opened.store.db(), path, chance).await,
    }
}

/// The keys that this server signed with before this one.
pub(crate) async fn replaced(db: &Db, current: &SigningKey) -> Result<Vec<OldKey>, Failure> {
    let read = |tx: &mut Tx<'_>| own_keys::own_keys_expired(tx);
    let old: Result<Vec<OldKey>, Error> = db.read("own_keys", read).await;
    let mut old = old.map_err(|error| Failure::of("cannot read the old signing keys", &error))?;
    // A replacement that was cut short has changed nothing.
    old.retain(|old| old.key_id != current.key_id());
    Ok(old)
}

/// Replaces the key by a new one, which is returned after the old one. First it is noted that the old one is old: whatever
/// comes between, no signature is left without a key that is published.
pub(crate) async fn rotate(
    config: &Config,
    opened: &Opened,
) -> Result<(SigningKey, SigningKey), Failure> {
    let failed = |error: Error| Failure::of("cannot replace the signing key", &error);
    let old = current(config, opened).await?;
    let new = generate(&opened.chance)?;
    let expired = OldKey {
        key_id: old.key_id().to_owned(),
        key: old.verifying_key(),
        expired_ts: opened.clock.now_ms(),
    };
    let in_database = matches!(config.database.url, DatabaseUrl::Postgres(_));
    let (old_line, new_line) = (old.to_file(), new.to_file());
    let write_key = move |tx: &mut Tx<'_>| {
        own_keys::own_key_expire(tx, &expired)?;
        if in_database {
            server::signing_key_replace(tx, &old_line, &new_line)?;
        }
        Ok::<_, Error>(())
    };
    let db = opened.store.db();
    db.write(Write::new("rotate_key"), write_key)
        .await
        .map_err(failed)?;
    if !in_database {
        let path = &config.signing_key_path;
        write(path, &new.to_file()).map_err(|error| {
            Failure::of(
                format!("cannot write the signing key {}", path.display()),
                &error,
            )
        })?;
    }
    Ok((old, new))
}

/// The key in the file, which is made if there is none.
fn from_file(path: &Path, chance: &Chance) -> Result<SigningKey, Failure> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    let key = generate(chance)?;
    write(path, &key.to_file()).map_err(|error| {
        Failure::of(
            format!("cannot write the signing key {}", path.display()),
            &error,
        )
    })?;
    Ok(key)
}

/// The key in the database; on first start, that of the file or a new one goes there.
async fn from_database(db: &Db, path: &Path, chance: &Chance) -> Result<SigningKey, Failure> {
    let failed =
        |error: Error| Failure::of("cannot read the signing key from the database", &error);
    let read_key = |tx: &mut Tx<'_>| server::signing_key_read(tx);
    let stored: Option<String> = db.read("signing_key", read_key).await.map_err(failed)?;
    let text = if let Some(text) = stored {
        text
    } else {
        let key = match read(path)? {
            Some(key) => key,
            None => generate(chance)?,
        };
        let text = key.to_file();
        let record = move |tx: &mut Tx<'_>| server::signing_key_record(tx, &text);
        db.write(Write::new("signing_key"), record)
            .await
            .map_err(failed)?
    };
    SigningKey::parse(&text).map_err(|error| Failure::of("the signing key in the database", &error))
}

fn read(path: &Path) -> Result<Option<SigningKey>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::of(
                format!("cannot read the signing key {}", path.display()),
                &error,
            ));
        }
    };
    let key = SigningKey::parse(&text)
        .map_err(|error| Failure::of(format!("the signing key {}", path.display()), &error))?;
    Ok(Some(key))
}

fn generate(chance: &Chance) -> Result<SigningKey, Failure> {
    let mut seed = [0; 32];
    chance.fill(&mut seed);
    let version = chance.token(6);
    SigningKey::generate(seed, &version)
        .map_err(|error| Failure::of("cannot make a signing key", &error))
}

/// Writes the whole file or none, for its owner only, and waits for the disk: events that were signed with it may be
/// out in the world right after.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(folder)?.sync_all()
}
