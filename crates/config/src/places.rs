//! Where each key was written, so that an error can name the line or the variable.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use crate::Place;

/// The places of all keys that were set, by dotted path (`listeners.0.tls.key`).
#[derive(Debug, Default)]
pub(crate) struct Places {
    places: BTreeMap<String, Place>,
    spans: Vec<(String, Range<usize>)>,
}

impl Places {
    /// The places of the keys of a file.
    pub(crate) fn of_file(text: &str) -> Result<Self, toml::de::Error> {
        let mut places = Self::default();
        places.add_table(text, "", DeTable::parse(text)?.get_ref());
        Ok(places)
    }

    fn add_table(&mut self, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            self.add(text, join(prefix, key.get_ref()), key.span(), value);
        }
    }

    fn add(
        &mut self,
        text: &str,
        path: String,
        written: Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) {
        match value.get_ref() {
            DeValue::Table(table) => self.add_table(text, &path, table),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.add(text, join(&path, &index.to_string()), item.span(), item);
                }
            }
            _ => {}
        }
        self.places
            .insert(path.clone(), Place::Line(line(text, written.start)));
        self.spans
            .push((path, written.start..value.span().end.max(written.end)));
    }

    /// A variable sets a key, and with it all that is below.
    pub(crate) fn set_by_variable(&mut self, path: &str, value: &Value, variable: &str) {
        let below = format!("{path}.");
        self.places.retain(|known, _| !known.starts_with(&below));
        self.places
            .insert(path.to_owned(), Place::Variable(variable.to_owned()));
        for (key, value) in value.as_table().into_iter().flatten() {
            self.set_by_variable(&join(path, key), value, variable);
        }
    }

    /// Whether somebody wrote this key.
    pub(crate) fn is_set(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// Where a key was written; for a part of a value, where the value was.
    pub(crate) fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return place.clone();
            }
            match path.rsplit_once('.') {
                Some((parent, _)) => path = parent,
                None => return Place::Default,
            }
        }
    }

    /// The key whose value stands at this offset of the file, as near as can be.
    pub(crate) fn key_at(&self, offset: usize) -> Option<&str> {
        let around = self.spans.iter().filter(|(_, span)| span.contains(&offset));
        around
            .min_by_key(|(_, span)| span.len())
            .map(|(path, _)| path.as_str())
    }
}

/// The line, counted from 1, that an offset of the text lies on.
pub(crate) fn line(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}
