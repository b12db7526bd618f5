//! From text and variables to a checked configuration.

use std::io;
use std::path::Path;

use toml::{Table, Value};

use crate::environment::{self, Setting};
use crate::error::Fault;
use crate::places::{Places, line};
use crate::{Config, DatabaseUrl, Error, Place, RegistrationMode, Tls};

/// Says whether a path can be read; the program asks the file system, a test whatever it likes.
pub type Readable<'a> = &'a dyn Fn(&Path) -> io::Result<()>;

/// Says whether TLS works with a certificate and its key, or why not.
pub type Pair<'a> = &'a dyn Fn(&Tls) -> Result<(), String>;

/// Says whether a file holds certificates of authorities, or why not.
pub type Authorities<'a> = &'a dyn Fn(&Path) -> Result<(), String>;

/// Says whether a text is a filter of the log, or why not.
pub type Filter<'a> = &'a dyn Fn(&str) -> Result<(), String>;

/// What a configuration is made from.
pub struct Source<'a> {
    /// The text of the file; without one, the development profile holds: server name `localhost`, SQLite under `./data`,
    /// listening on `127.0.0.1:8008` only, registration open.
    pub text: Option<&'a str>,
    /// The folder that relative paths start from: the file's, or the current one.
    pub folder: &'a Path,
    /// All variables of the environment; those that are not ours are passed over.
    pub environment: Vec<(String, String)>,
    /// Asked about each path that must exist before the start.
    pub readable: Readable<'a>,
    /// Asked about each listener's certificate and key, once both can be read.
    pub pair: Pair<'a>,
    /// Asked about each file of authorities, once it can be read.
    pub authorities: Authorities<'a>,
    /// Asked about `logging.filter`.
    pub filter: Filter<'a>,
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// The error is the first thing that is wrong: text that is no TOML, an unknown key, a bad value, a file that cannot
    /// be used, or settings that would be dangerous together.
    pub fn load(source: Source<'_>) -> Result<Self, Error> {
        let text = source.text.unwrap_or_default();
        let mut places =
            Places::of_file(text).map_err(|error| file_error(text, &Places::default(), &error))?;
        check_file(text, &places)?;
        let settings = environment::settings(source.environment)?;
        let mut table: Table = text
            .parse()
            .map_err(|error| file_error(text, &places, &error))?;
        for setting in settings {
            check_variable(&setting)?;
            places.set_by_variable(&setting.path, &setting.value, &setting.variable);
            insert(&mut table, &setting.path, setting.value);
        }
        let mut config: Self = table
            .try_into()
            .map_err(|error| file_error(text, &places, &error))?;
        if source.text.is_none() && !places.is_set("registration.mode") {
            config.registration.mode = RegistrationMode::Open;
        }
        if source.text.is_some() && !places.is_set("server_name") {
            return Err(missing_server_name());
        }
        config.follow_data_dir(&places);
        config.resolve(source.folder);
        let checked = config
            .check()
            .and_then(|()| config.check_open_registration(places.is_set("registration.mode")))
            .and_then(|()| config.check_filter(source.filter))
            .and_then(|()| config.check_paths(source.readable))
            .and_then(|()| config.check_tls(source.pair))
            .and_then(|()| config.check_authorities(source.authorities));
        match checked {
            Ok(()) => Ok(config),
            Err(Fault { key, problem, fix }) => Err(Error {
                place: places.place(&key),
                key,
                problem,
                fix,
            }),
        }
    }

    /// What lies in the data folder by default moves with it.
    fn follow_data_dir(&mut self, places: &Places) {
        if !places.is_set("signing_key_path") {
            self.signing_key_path = self.data_dir.join("signing.key");
        }
        if !places.is_set("database.url") {
            self.database.url = DatabaseUrl::Sqlite(self.data_dir.join("starling.db"));
        }
    }
}

fn missing_server_name() -> Error {
    Error {
        place: Place::Default,
        key: "server_name".to_owned(),
        problem: "is missing".to_owned(),
        fix: "write the name that follows the colon in your users' ids: server_name = \"example.org\"".to_owned(),
    }
}

/// Every key and value of the file, with lines in the errors.
fn check_file(text: &str, places: &Places) -> Result<(), Error> {
    let mut unknown = Vec::new();
    let file = toml::Deserializer::parse(text).map_err(|error| file_error(text, places, &error))?;
    let parsed: Result<Config, _> =
        serde_ignored::deserialize(file, |path| unknown.push(path.to_string()));
    parsed.map_err(|error| file_error(text, places, &error))?;
    match unknown.first() {
        Some(path) => Err(unknown_key(path, places)),
        None => Ok(()),
    }
}

fn unknown_key(path: &str, places: &Places) -> Error {
    // serde_ignored writes a question mark for the inside of an Option.
    let path = path.replace(".?", "");
    Error {
        place: places.place(&path),
        problem: "no such key".to_owned(),
        fix: environment::known_keys(&path),
        key: path,
    }
}

fn file_error(text: &str, places: &Places, error: &toml::de::Error) -> Error {
    let offset = error.span().map_or(0, |span| span.start);
    let key = places.key_at(offset).unwrap_or_default().to_owned();
    Error {
        place: Place::Line(line(text, offset)),
        problem: error.message().replace('\n', ", "),
        fix: environment::fix(&key),
        key,
    }
}

/// One variable, alone: whatever is wrong is its fault.
fn check_variable(setting: &Setting) -> Result<(), Error> {
    let mut table = Table::new();
    insert(&mut table, &setting.path, setting.value.clone());
    let mut unknown = Vec::new();
    let parsed: Result<Config, toml::de::Error> =
        serde_ignored::deserialize(table, |path| unknown.push(path.to_string()));
    let (problem, fix) = match (parsed, unknown.first()) {
        (Ok(_), None) => return Ok(()),
        (Ok(_), Some(path)) => (
            format!("no such key: {}", path.replace(".?", "")),
            environment::known_keys(path),
        ),
        (Err(error), _) => (
            error.message().replace('\n', ", "),
            environment::fix(&setting.path),
        ),
    };
    Err(Error {
        place: Place::Variable(setting.variable.clone()),
        key: setting.path.clone(),
        problem,
        fix,
    })
}

/// Puts a value at a dotted path of at most two parts.
fn insert(table: &mut Table, path: &str, value: Value) {
    let Some((section, key)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return;
    };
    let inner = table
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(inner) = inner {
        inner.insert(key.to_owned(), value);
    }
}
