//! The table of keys and the structs name the same keys: each side is compared with the other.

use std::collections::BTreeSet;

use serde::de::value::Error;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use starling_config::{
    Appservices, Compat, Config, Database, Directory, Federation, Listener, Logging, Media,
    Outbound, Passwords, Presence, RateLimits, Registration, Rooms, SECTIONS, Sessions, Smtp, Tls,
    Turn, Value, WellKnown,
};

use crate::file;

/// A deserializer that only hears which fields a struct asks for.
struct Fields<'a>(&'a mut Vec<&'static str>);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        self.0.extend(fields);
        Err(Error::custom("heard enough"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The fields of a struct, as dotted paths below this section.
fn fields<'de, T: Deserialize<'de>>(section: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let heard = T::deserialize(Fields(&mut fields));
    assert!(heard.is_err() && !fields.is_empty());
    fields
        .iter()
        .map(|field| format!("{section}{field}"))
        .collect()
}

#[test]
fn every_field_is_in_the_table_and_every_key_has_a_field() {
    let sections: BTreeSet<String> = SECTIONS
        .iter()
        .map(|section| section.name.to_owned())
        .collect();
    let top = fields::<Config>("")
        .into_iter()
        .filter(|field| !sections.contains(field));
    let structs: BTreeSet<String> = top
        .chain(fields::<Listener>("listeners."))
        .chain(fields::<Tls>("listeners.tls."))
        .chain(fields::<Database>("database."))
        .chain(fields::<Registration>("registration."))
        .chain(fields::<Passwords>("passwords."))
        .chain(fields::<Sessions>("sessions."))
        .chain(fields::<RateLimits>("rate_limits."))
        .chain(fields::<Outbound>("outbound."))
        .chain(fields::<Federation>("federation."))
        .chain(fields::<Rooms>("rooms."))
        .chain(fields::<Directory>("directory."))
        .chain(fields::<Presence>("presence."))
        .chain(fields::<Appservices>("appservices."))
        .chain(fields::<Media>("media."))
        .chain(fields::<Smtp>("smtp."))
        .chain(fields::<Turn>("turn."))
        .chain(fields::<Compat>("compat."))
        .chain(fields::<WellKnown>("well_known."))
        .chain(fields::<Logging>("logging."))
        .collect();
    let table: BTreeSet<String> = SECTIONS
        .iter()
        .flat_map(|section| {
            section
                .keys
                .iter()
                .map(|key| format!("{}.{}", section.name, key.name))
        })
        .map(|path| path.trim_start_matches('.').to_owned())
        .collect();
    assert_eq!(structs, table);
    let asked: BTreeSet<String> = fields::<Config>("")
        .into_iter()
        .filter(|field| sections.contains(field))
        .collect();
    assert_eq!(
        asked,
        sections
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect(),
        "sections"
    );
}

#[test]
fn what_the_table_calls_unbuilt_gives_a_warning_when_it_is_set() {
    for section in SECTIONS.iter().filter(|section| !section.repeated) {
        for key in section.keys {
            let path = format!("{}.{}", section.name, key.name);
            // Any value but the default.
            let value = match (path.as_str(), key.value.toml()) {
                (_, "true") => "false".to_owned(),
                (_, "false") => "true".to_owned(),
                ("turn.uris", _) => "[\"turn:a\"]\nshared_secret = \"s\"".to_owned(),
                (_, "[]") => "[\"a\"]".to_owned(),
                ("smtp.from", _) => "\"a@b\"".to_owned(),
                ("smtp.host", _) => "\"a\"\nfrom = \"a@b\"".to_owned(),
                (_, number) if number.parse::<u64>().is_ok() => {
                    (number.parse::<u64>().unwrap() + 1).to_string()
                }
                _ => continue,
            };
            let lines = file(&format!("[{}]\n{} = {value}", section.name, key.name))
                .expect(&path)
                .warnings();
            let warned = lines
                .iter()
                .any(|line| line.starts_with(&format!("{path}: ")));
            assert_eq!(warned, !key.built, "{path}: {lines:?}");
        }
    }
}

#[test]
fn only_keys_without_a_default_are_left_out_of_the_example() {
    for key in SECTIONS.iter().flat_map(|section| section.keys) {
        let shown = starling_config::example()
            .lines()
            .any(|line| line.starts_with(&format!("{} = ", key.name)));
        let expected = !matches!(key.value, Value::Absent(_)) && !key.name.contains('.');
        assert_eq!(shown, expected, "{}", key.name);
    }
}
