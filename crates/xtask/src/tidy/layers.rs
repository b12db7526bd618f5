//! Who may depend on whom: the table of layers, and the libraries that only some crates may use.

use super::{Finding, Text};

/// Crates that don't depend on each other; each may depend on all rows above.
struct Row {
    layer: &'static str,
    crates: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row {
        layer: PURE,
        crates: &["config", "events"],
    },
    Row {
        layer: PURE,
        crates: &["pushrules", "stateres"],
    },
    Row {
        layer: STORAGE,
        crates: &["bus", "runtime"],
    },
    Row {
        layer: STORAGE,
        crates: &["db"],
    },
    Row {
        layer: STORAGE,
        crates: &["store"],
    },
    Row {
        layer: OUTBOUND,
        crates: &[SPEAKS_HTTP],
    },
    Row {
        layer: "3 domain",
        crates: &["accounts", "e2ee", "ephemeral", "rooms", "search", "sync"],
    },
    Row {
        layer: "3b after the domain",
        crates: &["delivery"],
    },
    Row {
        layer: EDGE,
        crates: &["http"],
    },
    Row {
        layer: EDGE,
        crates: &["admin-api", "client-api", "federation-api"],
    },
    Row {
        layer: "5 program",
        crates: &["starling"],
    },
    Row {
        layer: "development",
        crates: &["bench", "testkit", "xtask"],
    },
];

const PURE: &str = "0 pure";
const STORAGE: &str = "1 storage";
const OUTBOUND: &str = "2 outbound";
const EDGE: &str = "4 edge";

/// The crate below the edge that speaks HTTP: to other servers.
const SPEAKS_HTTP: &str = "outbound";

/// A crate that tests, and only tests, may use from any layer.
const TEST_SUPPORT: &str = "testkit";

/// Dependencies that the table forbids and that are right all the same: (crate, on what, reason).
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "bench",
    "testkit",
    "instructions are counted with the simulated writer and a server without sockets",
)];

enum Users {
    /// These crates only.
    Only(&'static [&'static str]),
    /// This layer and those after it.
    From(&'static str),
    /// The same, and this crate.
    FromAnd(&'static str, &'static str),
}

/// Libraries that belong to a layer.
const LIBRARIES: &[(&[&str], Users)] = &[
    (
        &["rusqlite", "tokio-postgres"],
        Users::Only(&["bench", "db", "testkit"]),
    ),
    (&["tokio-postgres-rustls"], Users::Only(&["db", "testkit"])),
    (
        &["http", "http-body-util", "hyper", "hyper-util"],
        Users::FromAnd(EDGE, SPEAKS_HTTP),
    ),
    (&["axum", "ruma", "tower"], Users::From(EDGE)),
    (&["tokio"], Users::From(STORAGE)),
    (
        &["ruma-signatures", "ruma-state-res"],
        Users::Only(&["bench"]),
    ),
];

/// A crate's place in the table.
fn rank(krate: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.crates.contains(&krate))
}

/// Whether HTTP and its error codes have no business in the crate.
pub(super) fn is_below_edge(krate: &str) -> bool {
    let edge = ROWS.iter().position(|row| row.layer == EDGE);
    krate != SPEAKS_HTTP && rank(krate) < edge && rank(krate).is_some()
}

pub(super) fn check(texts: &[Text]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for text in texts {
        let Some(krate) = text.krate() else { continue };
        if text.path == format!("crates/{krate}/Cargo.toml") {
            check_manifest(text, krate, &mut findings);
        }
    }
    findings
}

fn check_manifest(text: &Text, krate: &str, findings: &mut Vec<Finding>) {
    if rank(krate).is_none() {
        findings.push(text.finding(0, format!("`{krate}` is not in the table of layers")));
        return;
    }
    let manifest = match text.content.parse::<toml::Table>() {
        Ok(manifest) => manifest,
        Err(error) => {
            findings.push(text.finding(0, format!("not a manifest: {error}")));
            return;
        }
    };
    let mut tables = vec![&manifest];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().filter_map(toml::Value::as_table));
    }
    for table in tables {
        for (section, for_tests) in [
            ("dependencies", false),
            ("build-dependencies", false),
            ("dev-dependencies", true),
        ] {
            let Some(dependencies) = table.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            let problems = dependencies
                .keys()
                .filter_map(|name| problem(krate, name, for_tests));
            findings.extend(problems.map(|message| text.finding(0, message)));
        }
    }
}

/// Why `krate` must not depend on `name`.
fn problem(krate: &str, name: &str, for_tests: bool) -> Option<String> {
    let Some(other) = name.strip_prefix("starling-") else {
        return if for_tests {
            None
        } else {
            library_problem(krate, name)
        };
    };
    let is_exception = EXCEPTIONS
        .iter()
        .any(|(from, to, _)| (*from, *to) == (krate, other));
    if is_exception || (for_tests && other == TEST_SUPPORT) {
        return None;
    }
    match (rank(krate), rank(other)) {
        (Some(own), Some(below)) if below < own && other != TEST_SUPPORT => None,
        (Some(own), Some(_)) => {
            let layer = ROWS.get(own).map_or("", |row| row.layer);
            Some(format!(
                "`{krate}` (layer {layer}) must not depend on `{other}`"
            ))
        }
        _ => Some(format!("`{other}` is not in the table of layers")),
    }
}

fn is_from(krate: &str, layer: &str) -> bool {
    let first = ROWS.iter().position(|row| row.layer == layer);
    rank(krate) >= first
}

fn library_problem(krate: &str, name: &str) -> Option<String> {
    let (_, users) = LIBRARIES.iter().find(|(names, _)| names.contains(&name))?;
    let (allowed, who) = match users {
        Users::Only(crates) => (crates.contains(&krate), crates.join(", ")),
        Users::From(layer) => (is_from(krate, layer), format!("layer {layer} and above")),
        Users::FromAnd(layer, other) => (
            krate == *other || is_from(krate, layer),
            format!("`{other}` and layer {layer} and above"),
        ),
    };
    (!allowed).then(|| format!("the library `{name}` is for {who} only"))
}
