//! The table of all keys: the example, the reference page and the reading of variables are made from it.

use crate::{
    appservices, compat, database, directory, federation, listeners, logging, media, outbound,
    passwords, presence, rate_limits, registration, rooms, server, sessions, smtp, turn,
    well_known,
};

/// One key of a section.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name in the file; a dot separates the name of an inline table from the key in it.
    pub name: &'static str,
    /// What may be written there.
    pub kind: Kind,
    /// What holds when it is not written.
    pub value: Value,
    /// What it means, in one or two sentences.
    pub doc: &'static str,
    /// Whether the part that it steers exists; if not, setting it gives a warning.
    pub built: bool,
}

/// The type of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A path, relative to the file's folder.
    Path,
    /// A string that no log or error shows.
    Secret,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// An array of strings.
    List,
    /// An inline table.
    Table,
}

impl Kind {
    /// The word for it in the reference page.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Text | Self::Secret => "string",
            Self::Path => "path",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::List => "array of strings",
            Self::Table => "table",
        }
    }

    /// Whether a variable's text is the value as it stands, and not TOML.
    pub(crate) fn is_verbatim(self) -> bool {
        matches!(self, Self::Text | Self::Path | Self::Secret)
    }
}

/// A key's default, as TOML.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    /// The default.
    Default(&'static str),
    /// There is none and the key must be written; this is an example.
    Required(&'static str),
    /// There is none and the key may be left out; this is an example.
    Absent(&'static str),
}

impl Value {
    /// The default or the example, as TOML.
    #[must_use]
    pub fn toml(self) -> &'static str {
        match self {
            Self::Default(text) | Self::Required(text) | Self::Absent(text) => text,
        }
    }
}

/// One section of the file.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The name in brackets; empty for the keys at the top of the file.
    pub name: &'static str,
    /// Whether it may stand several times, in double brackets.
    pub repeated: bool,
    /// What it is about, in one sentence.
    pub doc: &'static str,
    /// Its keys, in the order of the example.
    pub keys: &'static [Key],
}

/// Every section, in the order of the example.
pub const SECTIONS: &[Section] = &[
    server::SECTION,
    listeners::SECTION,
    database::SECTION,
    registration::SECTION,
    passwords::SECTION,
    sessions::SECTION,
    rate_limits::SECTION,
    outbound::SECTION,
    federation::SECTION,
    rooms::SECTION,
    directory::SECTION,
    presence::SECTION,
    appservices::SECTION,
    media::SECTION,
    smtp::SECTION,
    turn::SECTION,
    compat::SECTION,
    well_known::SECTION,
    logging::SECTION,
];

/// The section of this name.
pub(crate) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// The key that a dotted path (`registration.mode`, `listeners.0.tls.key`) leads to.
pub(crate) fn key(path: &str) -> Option<&'static Key> {
    let named: Vec<&str> = path
        .split('.')
        .filter(|part| part.parse::<usize>().is_err())
        .collect();
    let (section_name, name) = match named.split_first() {
        Some((first, rest)) if !rest.is_empty() => (*first, rest.join(".")),
        _ => ("", path.to_owned()),
    };
    section(section_name)?
        .keys
        .iter()
        .find(|key| key.name == name)
}
