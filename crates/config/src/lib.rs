//! The configuration: one file per section, parsed from text and variables handed to it.
//!
//! Nothing here reads a file, the environment or the clock: the caller hands in the text of the file, the variables, the
//! folder that relative paths start from, and functions that say whether files can be used and whether a filter is one.
//!
//! 1. [`Config::load`] gives a checked configuration, or the first [`Error`], which names the line (or the variable) and the fix.
//! 2. [`Config::warnings`] lists the settings that are accepted but have no effect: one warning each at start.
//!    [`Config::notes`] lists what may be meant so, and often isn't.
//! 3. [`example`] is what `starling config default` prints, [`reference()`] the page `docs/configuration.md`. Both are made from
//!    [`SECTIONS`], the table of keys that stands beside each section's struct.

mod appservices;
mod check;
mod compat;
mod database;
mod directory;
mod environment;
mod error;
mod federation;
mod keys;
mod listeners;
mod load;
mod logging;
mod media;
mod network;
mod outbound;
mod passwords;
mod places;
mod presence;
mod rate_limits;
mod reference;
mod registration;
mod rooms;
mod secret;
mod server;
mod server_name;
mod sessions;
mod size;
mod smtp;
mod turn;
mod warnings;
mod well_known;

pub use appservices::Appservices;
pub use compat::Compat;
pub use database::{Database, DatabaseUrl};
pub use directory::Directory;
pub use error::{Error, Place};
pub use federation::Federation;
pub use keys::{Key, Kind, SECTIONS, Section, Value};
pub use listeners::{Listener, Serves, Tls};
pub use load::{Authorities, Filter, Pair, Readable, Source};
pub use logging::{LogFormat, Logging};
pub use media::Media;
pub use network::Network;
pub use outbound::Outbound;
pub use passwords::Passwords;
pub use presence::Presence;
pub use rate_limits::RateLimits;
pub use reference::{example, reference};
pub use registration::{Registration, RegistrationMode};
pub use rooms::{ROOM_VERSIONS, Rooms};
pub use secret::Secret;
pub use server::Config;
pub use server_name::ServerName;
pub use sessions::Sessions;
pub use size::ByteSize;
pub use smtp::Smtp;
pub use turn::Turn;
pub use well_known::WellKnown;
