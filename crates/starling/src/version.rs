//! `starling version` and `starling --version`.

use std::sync::LazyLock;

/// The version of the program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Version, commit and schema version in one line.
pub(crate) fn line() -> String {
    format!("starling {}", details())
}

/// The line without the program's name.
pub(crate) fn details() -> &'static str {
    static DETAILS: LazyLock<String> = LazyLock::new(|| {
        let commit = option_env!("STARLING_COMMIT").unwrap_or("unknown");
        let schema = starling_store::SCHEMA.migrations.len();
        format!("{VERSION} (commit {commit}, schema version {schema})")
    });
    &DETAILS
}
