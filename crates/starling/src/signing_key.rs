//! The key that this server signs with: made on first start.
//!
//! With SQLite it is a file. With PostgreSQL it is in the database, since several nodes share it; a file that is there
//! on the first start is taken over.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use starling_db::{Db, Tx, Write};
use starling_events::SigningKey;
use starling_runtime::Chance;
use starling_store::server;

use crate::failure::Failure;

/// The key in the file, which is made if there is none.
pub(crate) fn from_file(path: &Path, chance: &Chance) -> Result<SigningKey, Failure> {
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
pub(crate) async fn from_database(
    db: &Db,
    path: &Path,
    chance: &Chance,
) -> Result<SigningKey, Failure> {
    let failed = |error: starling_db::Error| {
        Failure::of("cannot read the signing key from the database", &error)
    };
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
