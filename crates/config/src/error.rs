//! What is wrong with a configuration, where, and how to mend it.

use std::fmt;

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Where it was written.
    pub place: Place,
    /// The key, as a dotted path; empty when the text is not TOML.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub fix: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            key,
            problem,
            fix,
        } = self;
        if key.is_empty() {
            write!(f, "{place}: {problem}; {fix}")
        } else {
            write!(f, "{place}: {key}: {problem}; {fix}")
        }
    }
}

impl std::error::Error for Error {}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of the file, counted from 1.
    Line(usize),
    /// A variable of the environment.
    Variable(String),
    /// It is written nowhere: the default holds.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Default => f.write_str("not set"),
        }
    }
}

/// A value that a section refuses; the loader adds the place.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The key, as a dotted path.
    pub(crate) key: String,
    /// What is wrong.
    pub(crate) problem: String,
    /// What to write instead.
    pub(crate) fix: String,
}

impl Fault {
    /// A fault of this key.
    pub(crate) fn new(
        key: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
            fix: fix.into(),
        }
    }
}
