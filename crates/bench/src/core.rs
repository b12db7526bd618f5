//! `starling-bench core`: what state resolution and events cost, as tables in Markdown.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use serde::Serialize;
use starling_bench::{
    Disagreement, events,
    state_resolution::{self, Measured, Sample, Size},
    table::{Table, number},
    timing::{Repeat, Timing},
};
use starling_events::RoomVersion;
use thiserror::Error;

/// Of what rooms are made.
const SEED: u64 = 1;

/// What is run.
struct Plan {
    members: &'static [usize],
    forks: &'static [usize],
    conflicted: &'static [usize],
    repeat: Repeat,
}

const FULL: Plan = Plan {
    members: &[10_000, 100_000],
    forks: &[2, 10],
    conflicted: &[10, 1000, 10_000],
    repeat: Repeat {
        least: 5,
        most: 200,
        budget: Duration::from_secs(1),
    },
};

const SHORT: Plan = Plan {
    members: &[1000],
    forks: &[2, 10],
    conflicted: &[10, 200],
    repeat: Repeat {
        least: 3,
        most: 50,
        budget: Duration::from_millis(50),
    },
};

/// Why there are no tables.
#[derive(Debug, Error)]
pub(crate) enum CoreError {
    /// Implementations give different results.
    #[error(transparent)]
    Disagreement(#[from] Disagreement),
    /// The file of JSON cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// All that was measured, as JSON has it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    state_resolution: &'a [Measured],
    events: &'a [events::Measured],
}

/// Measures, prints the tables, and writes what was measured to `json`.
///
/// # Errors
/// When implementations give different results, or the file cannot be written.
pub(crate) fn run(is_short: bool, json: Option<&Path>) -> Result<(), CoreError> {
    let plan = if is_short { &SHORT } else { &FULL };
    let measured = measure_state_resolution(plan)?;
    let events = events::measure_all(plan.repeat)?;
    if let Some(path) = json {
        let report = Report {
            state_resolution: &measured,
            events: &events,
        };
        let text = serde_json::to_vec_pretty(&report).map_err(io::Error::from)?;
        fs::write(path, text)?;
    }
    println!(
        "## State resolution\n\n{}",
        state_resolution_table(&measured)
    );
    println!(
        "## Growth with the conflict: µs for each conflicted key\n\n{}",
        growth(plan, &measured)
    );
    println!(
        "## Growth with the room: ms for the same conflict\n\n{}",
        growth_with_room(plan, &measured)
    );
    println!("## Events\n\n{}", events_table(&events));
    Ok(())
}

fn measure_state_resolution(plan: &Plan) -> Result<Vec<Measured>, Disagreement> {
    let mut all = Vec::new();
    for version in [RoomVersion::V11, RoomVersion::V12] {
        for &members in plan.members {
            for &forks in plan.forks {
                for &conflicted in plan.conflicted {
                    let size = Size {
                        version,
                        members,
                        forks,
                        conflicted,
                    };
                    eprintln!("{size:?}");
                    all.push(state_resolution::measure(
                        &Sample::new(size, SEED),
                        plan.repeat,
                    )?);
                }
            }
        }
    }
    Ok(all)
}

fn milliseconds(time: Duration) -> String {
    number(time.as_secs_f64() * 1000.0)
}

/// Minimum and median.
fn both(timing: &Timing) -> String {
    format!(
        "{} / {}",
        milliseconds(timing.minimum),
        milliseconds(timing.median)
    )
}

fn state_resolution_table(measured: &[Measured]) -> Table {
    let mut table = Table::new(&[
        "room version",
        "members",
        "forks",
        "conflicted keys",
        "full conflicted set",
        "ours, ms",
        "of it the difference",
        "(applying, ms)",
        "documented, ms",
        "trimmed, ms",
        "documented : ours",
        "trimmed : ours",
    ]);
    for case in measured {
        table.row([
            case.size.version.to_string(),
            case.size.members.to_string(),
            case.size.forks.to_string(),
            case.conflicted.to_string(),
            case.full_conflicted_set.to_string(),
            both(&case.ours),
            milliseconds(case.ours_difference.median),
            milliseconds(case.applying.median),
            both(&case.documented),
            both(&case.trimmed),
            number(case.documented.ratio_to(&case.ours)),
            number(case.trimmed.ratio_to(&case.ours)),
        ]);
    }
    table
}

/// One row for each room and number of forks, with a column for each of `columns`.
fn grouped(
    measured: &[Measured],
    group: impl Fn(&Size) -> Vec<String>,
    cell: impl Fn(&Measured) -> String,
) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for case in measured {
        let head = group(&case.size);
        match rows.iter_mut().find(|row| row.starts_with(&head)) {
            Some(row) => row.push(cell(case)),
            None => rows.push(head.into_iter().chain([cell(case)]).collect()),
        }
    }
    rows
}

fn growth(plan: &Plan, measured: &[Measured]) -> Table {
    let columns = plan.conflicted.iter().map(|keys| format!("{keys} keys"));
    let heads = ["room version", "members", "forks"].map(str::to_owned);
    let group = |size: &Size| {
        vec![
            size.version.to_string(),
            size.members.to_string(),
            size.forks.to_string(),
        ]
    };
    let per_key = |case: &Measured| {
        number(
            case.ours.median.as_secs_f64() * 1e6
                / f64::from(u32::try_from(case.conflicted).unwrap_or(u32::MAX)),
        )
    };
    table_of(
        heads.into_iter().chain(columns),
        grouped(measured, group, per_key),
    )
}

fn growth_with_room(plan: &Plan, measured: &[Measured]) -> Table {
    let columns = plan
        .members
        .iter()
        .map(|members| format!("{members} members"));
    let heads = ["room version", "forks", "conflicted keys"].map(str::to_owned);
    let group = |size: &Size| {
        vec![
            size.version.to_string(),
            size.forks.to_string(),
            size.conflicted.to_string(),
        ]
    };
    let time = |case: &Measured| milliseconds(case.ours.median);
    table_of(
        heads.into_iter().chain(columns),
        grouped(measured, group, time),
    )
}

fn table_of(heads: impl Iterator<Item = String>, rows: Vec<Vec<String>>) -> Table {
    let heads: Vec<String> = heads.collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let mut table = Table::new(&heads);
    for row in rows {
        table.row(row);
    }
    table
}

fn events_table(measured: &[events::Measured]) -> Table {
    let mut table = Table::new(&[
        "operation",
        "on",
        "bytes each",
        "ours, per second",
        "ruma's, per second",
        "ours, MB/s",
        "ruma's, MB/s",
        "ours faster by",
    ]);
    let per_second = |count: usize, timing: &Timing| {
        f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / timing.median.as_secs_f64()
    };
    for case in measured {
        table.row([
            case.operation.to_owned(),
            case.on.to_owned(),
            (case.bytes / case.times).to_string(),
            number(per_second(case.times, &case.ours)),
            number(per_second(case.times, &case.other)),
            number(per_second(case.bytes, &case.ours) / 1e6),
            number(per_second(case.bytes, &case.other) / 1e6),
            number(case.other.ratio_to(&case.ours)),
        ]);
    }
    table
}
