//! `starling version`.

/// The version of the program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Version, commit and schema version in one line.
pub(crate) fn line() -> String {
    let commit = option_env!("STARLING_COMMIT").unwrap_or("unknown");
    let schema = starling_store::SCHEMA.migrations.len();
    format!("starling {VERSION} (commit {commit}, schema version {schema})")
}
