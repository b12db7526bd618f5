//! Variables that set keys: `STARLING__SECTION__KEY`, at the top level `STARLING__SERVER_NAME`.

use toml::{Table, Value};

use crate::keys::{self, Kind, SECTIONS, Section};
use crate::{Error, Place};

/// What the name of each of our variables begins with.
const PREFIX: &str = "STARLING__";

/// One variable, understood.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The variable's name.
    pub(crate) variable: String,
    /// The key's dotted path.
    pub(crate) path: String,
    /// Its value.
    pub(crate) value: Value,
}

/// Reads those of the variables that are ours; a section's own variable comes before those of its keys.
pub(crate) fn settings(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<Setting>, Error> {
    let mut ours: Vec<_> = environment
        .into_iter()
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    ours.sort();
    ours.into_iter()
        .map(|(name, text)| setting(name, &text))
        .collect()
}

fn setting(variable: String, text: &str) -> Result<Setting, Error> {
    let name = variable
        .strip_prefix(PREFIX)
        .unwrap_or_default()
        .to_lowercase();
    let path = name.replace("__", ".");
    let Some(kind) = kind(&path) else {
        return Err(Error {
            place: Place::Variable(variable),
            key: path.clone(),
            problem: "no such key".to_owned(),
            fix: known_keys(&path),
        });
    };
    let value = if kind.is_verbatim() {
        Ok(Value::String(text.to_owned()))
    } else {
        parse(text)
    };
    match value {
        Ok(value) => Ok(Setting {
            variable,
            path,
            value,
        }),
        Err(problem) => Err(Error {
            place: Place::Variable(variable),
            fix: fix(&path),
            key: path,
            problem,
        }),
    }
}

/// The type of what a path leads to: a key, or a whole section written as an inline table.
fn kind(path: &str) -> Option<Kind> {
    if let Some(section) = keys::section(path).filter(|section| !section.name.is_empty()) {
        return Some(if section.repeated {
            Kind::List
        } else {
            Kind::Table
        });
    }
    // The keys of a repeated section can only be set all together.
    let repeated = path
        .split('.')
        .next()
        .and_then(keys::section)
        .is_some_and(|section| section.repeated);
    keys::key(path).filter(|_| !repeated).map(|key| key.kind)
}

fn parse(text: &str) -> Result<Value, String> {
    let document = format!("value = {text}");
    let mut table = document
        .parse::<Table>()
        .map_err(|error| error.message().to_owned())?;
    match table.remove("value") {
        Some(value) if table.is_empty() => Ok(value),
        _ => Err("is not one value".to_owned()),
    }
}

/// How a key is written rightly.
pub(crate) fn fix(path: &str) -> String {
    match keys::key(path) {
        Some(key) => format!("for instance: {} = {}", key.name, key.value.toml()),
        None => "`starling config default` shows how it is written".to_owned(),
    }
}

/// What could have been meant by an unknown key.
pub(crate) fn known_keys(path: &str) -> String {
    let parent = path.split('.').next().unwrap_or_default();
    if let Some(section) = keys::section(parent).filter(|section| !section.name.is_empty()) {
        return format!("the keys of [{parent}] are {}", names(section));
    }
    let top: Vec<String> = SECTIONS
        .iter()
        .filter(|section| section.name.is_empty())
        .map(names)
        .collect();
    let sections: Vec<&str> = SECTIONS
        .iter()
        .map(|section| section.name)
        .filter(|name| !name.is_empty())
        .collect();
    format!(
        "there are {} and the sections {}",
        top.join(", "),
        sections.join(", ")
    )
}

fn names(section: &Section) -> String {
    section
        .keys
        .iter()
        .map(|key| key.name)
        .collect::<Vec<_>>()
        .join(", ")
}
