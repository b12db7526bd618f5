//! The log: to standard error, for people or as JSON.

use starling_config::{LogFormat, Logging};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::failure::Failure;

/// The filter of this text, or what is wrong with it.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, String> {
    // A word that is no level would be the name of a part, and silence all others.
    let is_word = |part: &&str| !part.contains(['=', '[']) && part.parse::<LevelFilter>().is_err();
    // Between brackets, a comma parts the fields of one span.
    let mut parts = text.split(',').map(str::trim);
    if !text.contains('[')
        && let Some(word) = parts.find(is_word)
    {
        return Err(format!("{text:?} is no filter: {word:?} is no level"));
    }
    EnvFilter::try_new(text).map_err(|error| format!("{text:?} is no filter: {error}"))
}

/// Begins to log.
pub(crate) fn start(logging: &Logging) -> Result<(), Failure> {
    let filter = filter(&logging.filter)
        .map_err(|problem| Failure::new(format!("the filter of the log {problem}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_timer(SystemTime);
    let started = match logging.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::of("cannot start the log", &*error))
}
