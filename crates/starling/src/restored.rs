//! `starling restored`: what must happen after a copy of the database was put back, before the next start.

use starling_config::{Config, DatabaseUrl};
use starling_db::{Db, Error};
use starling_store::restored::{Restored, restored};

use crate::cli::print;
use crate::configuration::Configuration;
use crate::failure::Failure;
use crate::head_note::HeadNote;
use crate::key;
use crate::signing_key::{self, Accepted};
use crate::user::database;
use crate::way::Offline;

/// `starling restored`. `is_key_replaced`: the signing key is another one than the copy knows.
pub(crate) fn run(configuration: &Configuration, is_key_replaced: bool) -> Result<(), Failure> {
    let offline = Offline::alone_if(&configuration.config, check_whole)?;
    let opened = offline.opened();
    let (data_dir, log_id) = (&configuration.config.data_dir, opened.log_id);
    let known = HeadNote::known(data_dir, log_id);
    let done = offline.run(async {
        let accepted = signing_key::accept(configuration, opened, is_key_replaced).await?;
        let done = restored(opened.store.db(), opened.clock.now_ms(), known).await;
        Ok((accepted, done.map_err(|error| database(&error))?))
    });
    offline.close();
    let (accepted, done) = done?;
    HeadNote::begin(data_dir, log_id, (done.epoch, done.position_after))
        .map_err(|error| Failure::of("cannot note how far the log is", &error))?;
    let done = report(&done);
    print(match accepted {
        Accepted::Same => format!("{done}the server can start now"),
        Accepted::Replaced(replaced) => {
            format!("{}\n{done}the server can start now", key::report(&replaced))
        }
        Accepted::Missing(why) => format!("{done}the server can't start yet: {}", why.line()),
    })
}

/// Refuses a file that isn't whole, or has the write-ahead log of another database beside it. (PostgreSQL takes a copy whole or
/// says what it doesn't take.)
fn check_whole(config: &Config) -> Result<(), Failure> {
    let DatabaseUrl::Sqlite(path) = &config.database.url else {
        return Ok(());
    };
    Db::check_sqlite(path).map_err(|error| match error {
        Error::Damaged(damage) => Failure::new(format!(
            "{0} is damaged ({damage}), and nothing was changed: put the copy there once more, with no {0}-wal and {0}-shm of \
             another database beside it",
            path.display()
        )),
        error => database(&error),
    })
}

/// What was done, for people.
fn report(done: &Restored) -> String {
    let Restored {
        epoch,
        position_before,
        position_after,
        one_time_keys,
        local_users,
        remote_users,
        backups,
        rooms,
    } = done;
    let begun = format!(
        "epoch {epoch} of the log has begun; positions go on after {position_after} (the copy ended at {position_before})\n"
    );
    let counted = [
        (
            one_time_keys,
            "one-time keys were dropped: devices upload others when they sync next",
        ),
        (backups, "devices will be told to back up their keys again"),
        (
            local_users,
            "users' lists of devices count as changed for other servers",
        ),
        (
            remote_users,
            "lists of devices of other servers' users will be fetched again",
        ),
        (
            rooms,
            "rooms will be compared with other servers, which may have later events",
        ),
    ];
    let counted = counted.into_iter().filter(|(count, _)| **count > 0);
    let counted = counted.map(|(count, what)| format!("{count} {what}\n"));
    begun + &counted.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_was_is_told() {
        let done = Restored {
            epoch: 2,
            backups: 3,
            ..Restored::default()
        };
        let told = report(&done);
        let told: Vec<&str> = told.lines().collect();
        assert!(told[0].starts_with("epoch 2 of the log"), "{told:?}");
        assert_eq!(
            told[1..],
            ["3 devices will be told to back up their keys again"]
        );
    }
}
