//! The key that this server signs with: made on first start.
//!
//! With SQLite it is a file, and the database knows its public half: whoever loses the file or puts another key there is told
//! so, since other servers would take nothing of this one any longer. With PostgreSQL it is in the database, since several
//! nodes share it; a file that is there on the first start is taken over. Keys that it has replaced are in the database,
//! without their secrets.

use std::path::Path;

use starling_config::DatabaseUrl;
use starling_db::{Db, Error, Tx, Write};
use starling_events::server_keys::OldKey;
use starling_events::{SigningKey, VerifyingKey};
use starling_runtime::Chance;
use starling_store::own_keys::{self, PublicKey};
use starling_store::server;

use crate::configuration::Configuration;
use crate::failure::Failure;
use crate::key_file::KeyFile;
use crate::open::Opened;

/// What there is of a key in a file.
enum Found {
    /// The key that the server signed with last.
    Same(SigningKey),
    /// The server never signed; there may be a key that it can begin with.
    First(Option<SigningKey>),
    /// The server signed with a key that is not there; that isn't known if it did before the database noted it.
    Lost {
        known: Option<PublicKey>,
        other: Option<Box<SigningKey>>,
    },
}

/// One key that took the place of another.
pub(crate) struct Replaced {
    /// The id of the old one, if it is known.
    pub(crate) old: Option<String>,
    /// The id of the new one.
    pub(crate) new: String,
}

/// What was found of the key after a copy of the database was put back.
pub(crate) enum Accepted {
    /// The one that the copy knows, or none where nothing was ever signed.
    Same,
    /// Another one, which counts from now on.
    Replaced(Replaced),
    /// None: why the server doesn't start before that is mended.
    Missing(Failure),
}

/// The key that this server signs with; made if it never had one.
pub(crate) async fn current(
    configuration: &Configuration,
    opened: &Opened,
) -> Result<SigningKey, Failure> {
    let config = &configuration.config;
    let (path, chance) = (&config.signing_key_path, &opened.chance);
    match config.database.url {
        DatabaseUrl::Sqlite(_) => from_file(configuration, opened).await,
        DatabaseUrl::Postgres(_) => from_database(opened.store.db(), path, chance).await,
    }
}

/// The keys that this server signed with before this one.
pub(crate) async fn replaced(db: &Db, current: &SigningKey) -> Result<Vec<OldKey>, Failure> {
    let mut old = expired_keys(db).await?;
    // One that was put back with an old copy of the database is in use again.
    old.retain(|old| old.key_id != current.key_id());
    Ok(old)
}

async fn expired_keys(db: &Db) -> Result<Vec<OldKey>, Failure> {
    let read = |tx: &mut Tx<'_>| own_keys::own_keys_expired(tx);
    let keys: Result<Vec<OldKey>, Error> = db.read("own_keys", read).await;
    keys.map_err(|error| Failure::of("cannot read the old signing keys", &error))
}

/// Replaces the key by a new one. It is noted that the old one is old in the transaction from which on the new one counts:
/// whatever comes between, no signature is left without a key that is published.
pub(crate) async fn rotate(
    configuration: &Configuration,
    opened: &Opened,
) -> Result<Replaced, Failure> {
    let config = &configuration.config;
    let old = current(configuration, opened).await?;
    let new = generate(&opened.chance)?;
    if let DatabaseUrl::Sqlite(_) = config.database.url {
        let file = KeyFile::at(&config.signing_key_path);
        return replace_in_file(&file, opened, (Some(public(&old)), new)).await;
    }
    let expired = expired(public(&old), opened);
    let ids = (old.key_id().to_owned(), new.key_id().to_owned());
    let (old_line, new_line) = (old.to_file(), new.to_file());
    let write_key = move |tx: &mut Tx<'_>| {
        own_keys::own_key_expire(tx, &expired)?;
        server::signing_key_replace(tx, &old_line, &new_line)
    };
    let written = opened.store.db().write(Write::new("rotate_key"), write_key);
    written.await.map_err(|error| not_replaced(&error))?;
    Ok(Replaced {
        old: Some(ids.0),
        new: ids.1,
    })
}

/// Makes a key where the one before is gone for good, and publishes that as an old one, as far as it is known.
pub(crate) async fn replace_lost(
    configuration: &Configuration,
    opened: &Opened,
) -> Result<Replaced, Failure> {
    let config = &configuration.config;
    let file = KeyFile::at(&config.signing_key_path);
    let path = config.signing_key_path.display();
    let lost = match config.database.url {
        DatabaseUrl::Sqlite(_) => find(&file, opened.store.db()).await?,
        DatabaseUrl::Postgres(_) => Found::Same(current(configuration, opened).await?),
    };
    match lost {
        Found::Lost { known, other: None } => {
            let new = generate(&opened.chance)?;
            replace_in_file(&file, opened, (known, new)).await
        }
        Found::Lost { other: Some(_), .. } => Err(Failure::new(format!(
            "{path} holds another key, which would be overwritten: move it away first"
        ))),
        Found::Same(_) | Found::First(_) => Err(Failure::new(
            "the signing key is not lost: leave --lost out to replace it",
        )),
    }
}

/// After a copy of the database was put back: a key in the file that the copy doesn't know took the place of the one that it
/// knows, if the administrator says so (`is_replaced`).
pub(crate) async fn accept(
    configuration: &Configuration,
    opened: &Opened,
    is_replaced: bool,
) -> Result<Accepted, Failure> {
    let config = &configuration.config;
    if let DatabaseUrl::Postgres(_) = config.database.url {
        return Ok(Accepted::Same);
    }
    let file = KeyFile::at(&config.signing_key_path);
    let (old, new) = match find(&file, opened.store.db()).await? {
        Found::Lost {
            known: Some(old),
            other: Some(new),
        } => (old, new),
        Found::Lost { known, .. } => {
            let missing = lost(configuration, known.as_ref(), (None, ""));
            return Ok(Accepted::Missing(missing));
        }
        Found::Same(_) | Found::First(_) => return Ok(Accepted::Same),
    };
    let older = expired_keys(opened.store.db()).await?;
    let is_known = |id: &str, key: &VerifyingKey| id == new.key_id() || *key == new.verifying_key();
    let way = if is_known(&old.key_id, &old.key)
        || older.iter().any(|it| is_known(&it.key_id, &it.key))
    {
        // No replacement gives an id twice, or goes back to a key.
        ""
    } else if is_replaced {
        let replaced = note(opened, Some(old), public(&new)).await?;
        return Ok(Accepted::Replaced(replaced));
    } else {
        "add --key-replaced if the one in the file has taken its place since the copy was made, "
    };
    Err(lost(configuration, Some(&old), (Some(&new), way)))
}

/// The key in the file, which is made if the server never had one.
async fn from_file(configuration: &Configuration, opened: &Opened) -> Result<SigningKey, Failure> {
    let file = KeyFile::at(&configuration.config.signing_key_path);
    let key = match find(&file, opened.store.db()).await? {
        Found::Same(key) => return Ok(key),
        Found::First(Some(key)) => key,
        Found::First(None) => {
            let key = generate(&opened.chance)?;
            file.stage(&key)?;
            file.take_staged()?;
            key
        }
        Found::Lost { known, other } => {
            let restored = configuration.command("restored");
            let way = format!("run {restored} if an older copy of the database was put back, ");
            let other = other.as_deref();
            let way = if other.is_some() { &*way } else { "" };
            return Err(lost(configuration, known.as_ref(), (other, way)));
        }
    };
    note(opened, None, public(&key)).await?;
    Ok(key)
}

/// Compares the file with what the database knows. A replacement that was cut short is finished.
async fn find(file: &KeyFile<'_>, db: &Db) -> Result<Found, Failure> {
    let failed = |error: Error| Failure::of("cannot read which key this server signs with", &error);
    let read = |tx: &mut Tx<'_>| Ok((own_keys::own_key_read(tx)?, own_keys::has_signed(tx)?));
    let noted: Result<(Option<PublicKey>, bool), Error> = db.read("own_key", read).await;
    let (known, has_signed) = noted.map_err(failed)?;
    let in_file = file.read()?;
    let Some(known) = known else {
        return Ok(match in_file {
            None if has_signed => Found::Lost {
                known: None,
                other: None,
            },
            in_file => Found::First(in_file),
        });
    };
    if let Some(key) = &in_file
        && public(key) == known
    {
        return Ok(Found::Same(key.clone()));
    }
    if let Some(staged) = file.staged()
        && public(&staged) == known
    {
        file.take_staged()?;
        return Ok(Found::Same(staged));
    }
    Ok(Found::Lost {
        known: Some(known),
        other: in_file.map(Box::new),
    })
}

/// Why the server doesn't start without its key, and what can be done: among that `way`, where there is another key.
fn lost(
    configuration: &Configuration,
    known: Option<&PublicKey>,
    (other, way): (Option<&SigningKey>, &str),
) -> Failure {
    let path = configuration.config.signing_key_path.display();
    let rotate = configuration.command("key rotate --lost");
    let known = known.map_or_else(|| "a key that was there".to_owned(), name);
    let is = other.map_or_else(|| "missing".to_owned(), |other| name(&public(other)));
    Failure::new(format!(
        "the signing key {path} is {is}, but this server signed with {known}, and other servers take nothing from it that is \
         signed otherwise: put the right file back, {way}or if the right one is lost for good, run {rotate} with no file there"
    ))
}

/// A key, for people.
fn name(key: &PublicKey) -> String {
    format!("{} (public key {})", key.key_id, key.key.to_base64())
}

/// Puts `new` in the place of the key in the file, which was `old` as far as that is known.
async fn replace_in_file(
    file: &KeyFile<'_>,
    opened: &Opened,
    (old, new): (Option<PublicKey>, SigningKey),
) -> Result<Replaced, Failure> {
    file.stage(&new)?;
    // From here on the one that is staged counts: should this be cut short, the next start finishes it.
    let replaced = note(opened, old, public(&new)).await?;
    file.take_staged()?;
    Ok(replaced)
}

/// Notes the key in the file from now on, and that the one before is old.
async fn note(
    opened: &Opened,
    old: Option<PublicKey>,
    new: PublicKey,
) -> Result<Replaced, Failure> {
    let replaced = Replaced {
        old: old.as_ref().map(|old| old.key_id.clone()),
        new: new.key_id.clone(),
    };
    let expired = old.map(|old| expired(old, opened));
    let record = move |tx: &mut Tx<'_>| {
        if let Some(expired) = &expired {
            own_keys::own_key_expire(tx, expired)?;
        }
        own_keys::own_key_record(tx, &new)
    };
    let written = opened.store.db().write(Write::new("own_key"), record);
    written.await.map_err(|error| not_replaced(&error))?;
    Ok(replaced)
}

fn not_replaced(error: &Error) -> Failure {
    Failure::of("cannot note the signing key", error)
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey {
        key_id: key.key_id().to_owned(),
        key: key.verifying_key(),
    }
}

fn expired(key: PublicKey, opened: &Opened) -> OldKey {
    OldKey {
        key_id: key.key_id,
        key: key.key,
        expired_ts: opened.clock.now_ms(),
    }
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
        let key = match KeyFile::at(path).read()? {
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

fn generate(chance: &Chance) -> Result<SigningKey, Failure> {
    let mut seed = [0; 32];
    chance.fill(&mut seed);
    let version = chance.token(6);
    SigningKey::generate(seed, &version)
        .map_err(|error| Failure::of("cannot make a signing key", &error))
}
