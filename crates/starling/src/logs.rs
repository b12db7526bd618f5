//! The log: to standard error, for people or as JSON.

use starling_config::{LogFormat, Logging};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::failure::Failure;

/// Begins to log.
pub(crate) fn start(logging: &Logging) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&logging.filter).map_err(|error| {
        Failure::of(
            format!("logging.filter: {:?} is no filter", logging.filter),
            &error,
        )
    })?;
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
