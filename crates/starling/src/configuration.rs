//! The configuration, from a file and the environment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use starling_config::{Config, Source, Tls};
use starling_events::RoomVersion;
use starling_http::Certificates;

use crate::cli::print;
use crate::failure::Failure;
use crate::logs;

/// The largest file that is read, in bytes.
const FILE_BYTES: u64 = 1 << 20;

/// The configuration, and where it is from.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) config: Config,
    /// `rooms.default_version`.
    pub(crate) default_version: RoomVersion,
    /// The file, as it was named on the command line; without one, this is the development profile.
    pub(crate) file: Option<PathBuf>,
}

impl Configuration {
    /// Reads `file`, or takes the development profile, and then the environment.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, Failure> {
        let text = file.map(read).transpose()?;
        let folder = folder(file)?;
        let source = Source {
            text: text.as_deref(),
            folder: &folder,
            environment: environment(),
            readable: &is_readable,
            pair: &is_pair,
            authorities: &holds_authorities,
            filter: &|filter| logs::filter(filter).map(drop),
        };
        let file_name = file.map_or_else(
            || "the configuration".to_owned(),
            |file| file.display().to_string(),
        );
        let config =
            Config::load(source).map_err(|error| Failure::new(format!("{file_name}: {error}")))?;
        let version = RoomVersion::parse(&config.rooms.default_version).ok_or_else(|| {
            Failure::new(format!(
                "{file_name}: rooms.default_version is not a room version"
            ))
        })?;
        Ok(Self {
            config,
            default_version: version,
            file: file.map(Path::to_owned),
        })
    }

    /// Whether this is the development profile.
    pub(crate) fn is_development(&self) -> bool {
        self.file.is_none()
    }

    /// A command for this server, as its administrator types it.
    pub(crate) fn command(&self, words: &str) -> String {
        let file = self.file.as_ref();
        let file = file.map(|file| format!(" --config {}", file.display()));
        format!("`starling {words}{}`", file.unwrap_or_default())
    }
}

/// `starling config check FILE`.
pub(crate) fn check(file: &Path) -> Result<(), Failure> {
    let configuration = Configuration::load(Some(file))?;
    let (warnings, notes) = (
        configuration.config.warnings(),
        configuration.config.notes(),
    );
    let warnings = warnings.iter().map(|line| format!("warning: {line}\n"));
    let notes = notes.iter().map(|line| format!("note: {line}\n"));
    let lines: Vec<String> = warnings.chain(notes).collect();
    print(format!("{}{}: no errors", lines.concat(), file.display()))
}

fn read(file: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::of(format!("cannot read {}", file.display()), &error);
    if fs::metadata(file).map_err(failed)?.len() > FILE_BYTES {
        return Err(Failure::new(format!(
            "{} has more than {FILE_BYTES} bytes",
            file.display()
        )));
    }
    fs::read_to_string(file).map_err(failed)
}

/// The folder that the paths of the configuration start from, as an absolute path.
fn folder(file: Option<&Path>) -> Result<PathBuf, Failure> {
    let file = file.unwrap_or(Path::new("configuration"));
    let absolute = std::path::absolute(file)
        .map_err(|error| Failure::of("there is no current folder", &error))?;
    Ok(absolute.parent().map(Path::to_owned).unwrap_or_default())
}

/// The variables that are text; ours are.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn is_pair(files: &Tls) -> Result<(), String> {
    Certificates::check(files)
        .map_err(|error| Failure::of("TLS does not work", &error).line().to_owned())
}

fn holds_authorities(path: &Path) -> Result<(), String> {
    starling_outbound::check_authorities(path).map_err(|error| {
        Failure::of("no server can be trusted by it", &error)
            .line()
            .to_owned()
    })
}

fn is_readable(path: &Path) -> io::Result<()> {
    fs::File::open(path).map(drop)
}
