//! `starling key …`: the key that this server signs with.

use crate::cli::print;
use crate::configuration::Configuration;
use crate::failure::Failure;
use crate::signing_key;
use crate::way::Offline;

/// `starling key rotate`: from the next start on, the server signs with another key, and says of the old one that it was its.
pub(crate) fn rotate(configuration: &Configuration) -> Result<(), Failure> {
    let offline = Offline::alone(&configuration.config)?;
    let rotated = offline.run(signing_key::rotate(&configuration.config, offline.opened()));
    offline.close();
    let (old, new) = rotated?;
    print(format!("{} replaces {}", new.key_id(), old.key_id()))
}
