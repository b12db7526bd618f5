//! The whole configuration, with the keys at the top of the file.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::keys::{Key, Kind, Section, Value};
use crate::{
    Appservices, ByteSize, Compat, Database, Directory, Federation, Listener, Logging, Media,
    Outbound, Passwords, Presence, RateLimits, Registration, Rooms, ServerName, Sessions, Smtp,
    Turn, WellKnown,
};

/// Everything that can be configured. [`Config::load`] makes it; all paths in it are resolved.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The name of the server in users' and rooms' ids. It can never change.
    pub server_name: ServerName,
    /// The folder of the database, media, lock and socket.
    pub data_dir: PathBuf,
    /// The file of the key that signs events; made on first start.
    pub signing_key_path: PathBuf,
    /// What all caches together may hold.
    pub max_memory: ByteSize,
    /// Where the server listens.
    pub listeners: Vec<Listener>,
    /// `[database]`
    pub database: Database,
    /// `[registration]`
    pub registration: Registration,
    /// `[passwords]`
    pub passwords: Passwords,
    /// `[sessions]`
    pub sessions: Sessions,
    /// `[rate_limits]`
    pub rate_limits: RateLimits,
    /// `[outbound]`
    pub outbound: Outbound,
    /// `[federation]`
    pub federation: Federation,
    /// `[rooms]`
    pub rooms: Rooms,
    /// `[directory]`
    pub directory: Directory,
    /// `[presence]`
    pub presence: Presence,
    /// `[appservices]`
    pub appservices: Appservices,
    /// `[media]`
    pub media: Media,
    /// `[smtp]`
    pub smtp: Smtp,
    /// `[turn]`
    pub turn: Turn,
    /// `[compat]`
    pub compat: Compat,
    /// `[well_known]`
    pub well_known: WellKnown,
    /// `[logging]`
    pub logging: Logging,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_name: ServerName::default(),
            data_dir: PathBuf::from("./data"),
            signing_key_path: PathBuf::from("./data/signing.key"),
            max_memory: ByteSize(256 << 20),
            listeners: vec![Listener::default()],
            database: Database::default(),
            registration: Registration::default(),
            passwords: Passwords::default(),
            sessions: Sessions::default(),
            rate_limits: RateLimits::default(),
            outbound: Outbound::default(),
            federation: Federation::default(),
            rooms: Rooms::default(),
            directory: Directory::default(),
            presence: Presence::default(),
            appservices: Appservices::default(),
            media: Media::default(),
            smtp: Smtp::default(),
            turn: Turn::default(),
            compat: Compat::default(),
            well_known: WellKnown::default(),
            logging: Logging::default(),
        }
    }
}

impl Config {
    /// Makes every path start from this folder.
    pub(crate) fn resolve(&mut self, folder: &Path) {
        let tls = self
            .listeners
            .iter_mut()
            .filter_map(|listener| listener.tls.as_mut());
        let tls = tls.flat_map(|tls| [&mut tls.certificate, &mut tls.key]);
        let paths = [&mut self.data_dir, &mut self.signing_key_path]
            .into_iter()
            .chain(tls);
        let paths = paths
            .chain(&mut self.outbound.extra_ca_files)
            .chain(&mut self.appservices.files);
        for path in paths.chain(self.database.url.path_mut()) {
            *path = folder.join(&*path).components().collect();
        }
    }
}

/// The keys at the top of the file.
pub(crate) const SECTION: Section = Section {
    name: "",
    repeated: false,
    doc: "The server itself.",
    keys: &[
        Key {
            name: "server_name",
            kind: Kind::Text,
            value: Value::Required("\"example.org\""),
            doc: "The name in users' and rooms' ids, what follows the colon. It can never change.",
            built: true,
        },
        Key {
            name: "data_dir",
            kind: Kind::Path,
            value: Value::Default("\"./data\""),
            doc: "The folder of the database, media, lock and socket.",
            built: true,
        },
        Key {
            name: "signing_key_path",
            kind: Kind::Path,
            value: Value::Default("\"./data/signing.key\""),
            doc: "The key that signs events, made on first start. When not set: `signing.key` in `data_dir`. Keep a copy: \
                  nothing else can take its place. With PostgreSQL it is in the database, and this file is read on first start only.",
            built: true,
        },
        Key {
            name: "max_memory",
            kind: Kind::Text,
            value: Value::Default("\"256MiB\""),
            doc: "What all caches together may hold, in B, KiB, MiB or GiB.",
            built: true,
        },
    ],
};
