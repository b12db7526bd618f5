//! What ends a command: one clear line on standard error, and a status that isn't zero.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

/// The status of a command that failed.
const FAILED: u8 = 1;
/// The status of a command whose arguments are wrong.
const MISUSED: u8 = 2;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    line: String,
    status: u8,
}

impl Failure {
    /// A failure in these words.
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            status: FAILED,
        }
    }

    /// Wrong arguments, in these words.
    pub(crate) fn misuse(line: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            status: MISUSED,
        }
    }

    /// While doing `what`, `error` came up, with all that caused it.
    pub(crate) fn of(what: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        let mut line = what.into();
        let mut cause = Some(error);
        while let Some(error) = cause {
            line.extend([": ", &error.to_string()]);
            cause = error.source();
        }
        Self::new(line)
    }

    /// The line.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    /// Writes the line to standard error.
    pub(crate) fn report(&self) -> ExitCode {
        let line = self.line.replace(['\n', '\r'], " ");
        // Nobody is left to tell when standard error is closed.
        writeln!(std::io::stderr(), "starling: {line}").ok();
        ExitCode::from(self.status)
    }
}
