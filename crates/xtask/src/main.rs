//! `cargo xtask`: checks and measurements of the house.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks to its terminal"
)]

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use xtask::instructions::{Recorded, Verdict};
use xtask::{footprint, instructions, routes, tidy};

const USAGE: &str = "\
usage: cargo xtask COMMAND
  docs               writes docs/configuration.md from the table of keys
  tidy               checks the rules that neither the compiler nor clippy knows
  routes             prints every route: who may call, its rate limit, and the behaviour tests that name it
  routes --untested  prints the routes that no test names
  footprint BINARY   measures start and idle memory of a release build on an empty folder
  instructions BINARY
                     counts what parts of the server take, by a release build of starling-bench, and compares it
                     with what was recorded
  instructions --record BINARY
                     counts, and records it";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let clean = match words.as_slice() {
        ["docs"] => write_docs(),
        ["tidy"] => run_tidy(),
        ["routes"] => print_routes(),
        ["routes", "--untested"] => print_untested(),
        ["footprint", binary] => run_footprint(Path::new(binary)),
        ["instructions", "--record", binary] => record_instructions(Path::new(binary)),
        ["instructions", binary] => compare_instructions(Path::new(binary)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match clean {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_tidy() -> io::Result<bool> {
    let report = tidy::tidy(root()?)?;
    for finding in &report.findings {
        println!("{finding}");
    }
    println!(
        "tidy: {} files, {} findings",
        report.files,
        report.findings.len()
    );
    Ok(report.findings.is_empty())
}

fn write_docs() -> io::Result<bool> {
    let page = root()?.join("docs/configuration.md");
    fs::write(page, starling_config::reference()).map(|()| true)
}

fn print_routes() -> io::Result<bool> {
    let report = routes::report(root()?)?;
    for route in &report.routes {
        println!("{route}");
    }
    Ok(are_known(&report))
}

fn print_untested() -> io::Result<bool> {
    let report = routes::report(root()?)?;
    for route in report.untested() {
        println!("{}", route.name);
    }
    Ok(are_known(&report) && report.untested().next().is_none())
}

/// Whether each route that a test names is one; says which are not.
fn are_known(report: &routes::Report) -> bool {
    for line in &report.unknown {
        eprintln!("{line}");
    }
    report.unknown.is_empty()
}

fn run_footprint(binary: &Path) -> io::Result<bool> {
    let median = footprint::median(binary)?;
    println!(
        "footprint: first answer after {} ms (limit {}), then {:.1} MB resident (limit {})",
        median.ready.as_millis(),
        footprint::READY_LIMIT.as_millis(),
        footprint::megabytes(median.resident_bytes),
        footprint::megabytes(footprint::RESIDENT_LIMIT_BYTES),
    );
    Ok(median.within_limits())
}

fn compare_instructions(binary: &Path) -> io::Result<bool> {
    let recorded = Recorded::parse(&fs::read_to_string(root()?.join(instructions::FILE))?)?;
    let comparisons = recorded.compare(&instructions::count(binary)?);
    for comparison in &comparisons {
        println!("{comparison}");
    }
    Ok(comparisons
        .iter()
        .all(|comparison| comparison.verdict == Verdict::Same))
}

fn record_instructions(binary: &Path) -> io::Result<bool> {
    let file = root()?.join(instructions::FILE);
    let mut recorded = Recorded::parse(&fs::read_to_string(&file)?)?;
    recorded.instructions = instructions::count(binary)?;
    fs::write(file, recorded.to_string())?;
    print!("{recorded}");
    Ok(true)
}

/// The root of the workspace: two folders above this crate.
fn root() -> io::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .ok_or_else(|| io::Error::other("no workspace around xtask"))
}
