//! `starling key …`: the key that this server signs with.

use crate::cli::print;
use crate::configuration::Configuration;
use crate::failure::Failure;
use crate::signing_key::{self, Replaced};
use crate::way::Offline;

/// `starling key rotate`: from the next start on, the server signs with another key, and says of the old one that it was its.
pub(crate) fn rotate(configuration: &Configuration, is_lost: bool) -> Result<(), Failure> {
    let offline = Offline::alone(&configuration.config)?;
    let opened = offline.opened();
    let rotated = if is_lost {
        offline.run(signing_key::replace_lost(configuration, opened))
    } else {
        offline.run(signing_key::rotate(configuration, opened))
    };
    offline.close();
    print(report(&rotated?))
}

/// What was done, for people.
pub(crate) fn report(Replaced { old, new }: &Replaced) -> String {
    match old {
        Some(old) => format!("{new} replaces {old}"),
        None => format!("{new} replaces a key that is not known"),
    }
}
