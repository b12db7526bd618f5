//! `[database]`: where the data are kept.

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::Secret;
use crate::error::Fault;
use crate::keys::{Key, Kind, Section, Value};

/// Where the data are kept.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Database {
    /// SQLite or PostgreSQL.
    pub url: DatabaseUrl,
}

/// A database.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A `postgres://` URL; it may hold a password.
    Postgres(Secret),
}

impl DatabaseUrl {
    /// The file, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// The file, if it is one.
    pub(crate) fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl Default for DatabaseUrl {
    fn default() -> Self {
        Self::Sqlite(PathBuf::from("./data/starling.db"))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(_) => f.write_str("postgres://[secret]"),
        }
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Secret::deserialize(deserializer)?;
        let url = text.expose();
        if let Some(path) = url.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(text));
        }
        Err(D::Error::custom(
            "is neither sqlite:PATH nor postgres://USER@HOST/DATABASE",
        ))
    }
}

impl Database {
    /// Refuses settings under which an answer would come before the data are safe.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let DatabaseUrl::Postgres(url) = &self.url else {
            return Ok(());
        };
        if acknowledges_early(url.expose()) {
            return Err(Fault::new(
                "database.url",
                "synchronous_commit is off: what was acknowledged could be lost",
                "take synchronous_commit out of the options",
            ));
        }
        Ok(())
    }
}

/// Whether the options of the URL switch `synchronous_commit` off, in any of the spellings that PostgreSQL takes.
fn acknowledges_early(url: &str) -> bool {
    let Some((_, query)) = url.split_once('?') else {
        return false;
    };
    let options = percent_decode_str(query)
        .decode_utf8_lossy()
        .to_ascii_lowercase()
        .replace(['-', '+'], "_");
    let settings = options.split("synchronous_commit").skip(1);
    let values = settings.map(|rest| rest.trim_start_matches([' ', '_', '=', '\'', '"', '\\']));
    values.into_iter().any(|value| {
        let word: String = value
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        matches!(
            word.as_str(),
            "off" | "of" | "false" | "fals" | "fal" | "fa" | "f" | "no" | "n" | "0"
        )
    })
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "database",
    repeated: false,
    doc: "Where the data are kept.",
    keys: &[Key {
        name: "url",
        kind: Kind::Secret,
        value: Value::Default("\"sqlite:./data/starling.db\""),
        doc: "`sqlite:PATH`, or `postgres://USER@HOST/DATABASE`. When not set: `starling.db` in `data_dir`.",
        built: true,
    }],
};
