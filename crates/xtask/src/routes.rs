//! The routes of the server, each with the behaviour tests that name it in their doc comments.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Methods that a name of a route begins with.
const METHODS: [&str; 5] = ["DELETE", "GET", "PATCH", "POST", "PUT"];
/// Pages and addresses for operators: they are no endpoints of an API, and not in the table.
const OUTSIDE: &str = "/_starling/";

/// One route, as the program prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Method and path as they are declared, with a space between.
    pub name: String,
    /// Who may call.
    pub auth: String,
    /// What a call counts as for the rate limits.
    pub limit: String,
    /// `closed` or `open` to suspended users.
    pub suspended: String,
    /// The behaviour tests that name it, sorted.
    pub tests: BTreeSet<String>,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            auth,
            limit,
            suspended,
            tests,
        } = self;
        let tests: Vec<&str> = tests.iter().map(String::as_str).collect();
        let tests = tests.join(",");
        write!(
            f,
            "{name}  auth={auth} limit={limit} suspended={suspended} tests={tests}"
        )
    }
}

/// A behaviour test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// Crate, modules and function, parted by `::`.
    pub name: String,
    /// The routes that its doc comment names.
    pub routes: Vec<String>,
}

/// Routes and tests, brought together.
#[derive(Debug)]
pub struct Report {
    /// In the order of the table.
    pub routes: Vec<Route>,
    /// What tests name and no route is, a line each.
    pub unknown: Vec<String>,
}

impl Report {
    /// The routes that no test names.
    pub fn untested(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(|route| route.tests.is_empty())
    }
}

/// Builds the server of the workspace at `root`, asks it for its routes and looks for them in the workspace's tests.
///
/// # Errors
/// The server cannot be built or run, or a file cannot be read.
pub fn report(root: &Path) -> io::Result<Report> {
    let table = table(root)?;
    let tests = tests(root)?;
    let routes = parse_table(&table)
        .ok_or_else(|| io::Error::other("`starling routes` prints no table of routes"))?;
    Ok(bring_together(routes, &tests))
}

/// The table as the server prints it. It is asked, and not linked, so that the other commands are built without it.
fn table(root: &Path) -> io::Result<String> {
    let cargo = env!("CARGO");
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--package", "starling", "--", "routes"])
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other("`starling routes` failed"));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

/// The routes of a table as `starling routes` prints it; `None` if it is none.
#[must_use]
pub fn parse_table(table: &str) -> Option<Vec<Route>> {
    let route = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [method, path, auth, limit, suspended] = fields.as_slice() else {
            return None;
        };
        Some(Route {
            name: format!("{method} {path}"),
            auth: (*auth).to_owned(),
            limit: (*limit).to_owned(),
            suspended: (*suspended).to_owned(),
            tests: BTreeSet::new(),
        })
    };
    let routes: Vec<Route> = table.lines().map(route).collect::<Option<_>>()?;
    (!routes.is_empty()).then_some(routes)
}

/// Gives each route the tests that name it.
#[must_use]
pub fn bring_together(mut routes: Vec<Route>, tests: &[Test]) -> Report {
    let mut unknown = Vec::new();
    for test in tests {
        for name in &test.routes {
            match routes.iter_mut().find(|route| route.name == *name) {
                Some(route) => drop(route.tests.insert(test.name.clone())),
                None => unknown.push(format!("{}: `{name}` is no route", test.name)),
            }
        }
    }
    Report { routes, unknown }
}

/// The behaviour tests of all crates: those below `tests/it`.
///
/// # Errors
/// A folder or file cannot be read.
pub fn tests(root: &Path) -> io::Result<Vec<Test>> {
    let mut tests = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let entry = entry?;
        let folder = entry.path().join("tests/it");
        if let (true, Ok(krate)) = (folder.is_dir(), entry.file_name().into_string()) {
            collect(&folder, &krate, &mut tests)?;
        }
    }
    tests.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(tests)
}

fn collect(folder: &Path, module: &str, tests: &mut Vec<Test>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        let inner = if stem == "main" {
            module.to_owned()
        } else {
            format!("{module}::{stem}")
        };
        if path.is_dir() {
            collect(&path, &inner, tests)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            tests.extend(tests_of(&inner, &fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// The tests of one source file, which is the module of this name.
#[must_use]
pub fn tests_of(module: &str, source: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    let mut above = Above::default();
    for line in source.lines().map(str::trim) {
        if above.in_attribute || line.starts_with("#[") {
            above.is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            above.in_attribute = !line.ends_with(']');
        } else if let Some(text) = line.strip_prefix("///") {
            above.doc.push('\n');
            above.doc.push_str(text);
        } else {
            let above = std::mem::take(&mut above);
            if let (true, Some(function)) = (above.is_test, function(line)) {
                tests.push(Test {
                    name: format!("{module}::{function}"),
                    routes: named(&above.doc),
                });
            }
        }
    }
    tests
}

/// What stands above a function.
#[derive(Default)]
struct Above {
    doc: String,
    is_test: bool,
    /// Whether the last line belongs to an attribute that goes on.
    in_attribute: bool,
}

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split('(').next()
}

/// The names of routes in backticks.
fn named(doc: &str) -> Vec<String> {
    let is_route = |text: &&str| {
        text.split_once(' ').is_some_and(|(method, path)| {
            METHODS.contains(&method)
                && path.starts_with('/')
                && !path.starts_with(OUTSIDE)
                && !path.contains(char::is_whitespace)
        })
    };
    let in_backticks = doc.split('`').skip(1).step_by(2);
    in_backticks.filter(is_route).map(str::to_owned).collect()
}
