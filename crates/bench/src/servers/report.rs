//! What was measured: as JSON, and as tables in Markdown.

use std::fmt::Write as _;

use serde::Serialize;

use super::meter::Round;
use crate::table::{Table, number};

/// What was measured of one server in one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was done.
    pub scenario: String,
    /// By which server.
    pub server: String,
    /// Each round.
    pub rounds: Vec<Round>,
    /// What a reader has to know of it.
    pub note: String,
}

/// One number of one server.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it is, with its unit.
    pub what: String,
    /// Of which server.
    pub server: String,
    /// The number.
    pub value: f64,
    /// What a reader has to know of it.
    pub note: String,
}

/// All that was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// What it was measured on.
    pub machine: String,
    /// The versions of what was measured, each with its name.
    pub versions: Vec<(String, String)>,
    /// What was done in rounds.
    pub rows: Vec<Row>,
    /// Everything else.
    pub figures: Vec<Figure>,
}

impl Report {
    /// Adds a number, where it is known.
    pub fn figure(&mut self, what: &str, server: &str, value: Option<f64>, note: &str) {
        self.figures.extend(value.map(|value| Figure {
            what: what.to_owned(),
            server: server.to_owned(),
            value,
            note: note.to_owned(),
        }));
    }

    /// The tables. Ratios compare with the server called `reference` or, for one on PostgreSQL, `reference_postgres`.
    #[must_use]
    pub fn markdown(&self, reference: &str, reference_postgres: &str) -> String {
        let mut text = format!("Measured on {}.\n\n", self.machine);
        for (name, version) in &self.versions {
            writeln!(text, "* {name}: {version}").ok();
        }
        text.push('\n');
        writeln!(
            text,
            "### What was done in rounds\n\n{}",
            self.rounds(reference, reference_postgres)
        )
        .ok();
        writeln!(
            text,
            "### Other figures\n\n{}",
            self.other(reference, reference_postgres)
        )
        .ok();
        text
    }

    fn rounds(&self, reference: &str, reference_postgres: &str) -> Table {
        let mut table = Table::new(&[
            "scenario",
            "server",
            "per second (least to most)",
            "Starling is … times as fast",
            "CPU, µs each",
            "Starling needs 1/… of the CPU",
            "median, ms",
            "99 %, ms",
            "clients busy, %",
            "note",
        ]);
        for row in &self.rows {
            let wanted = if row.server.contains("PostgreSQL") {
                reference_postgres
            } else {
                reference
            };
            let base = self
                .rows
                .iter()
                .find(|base| base.scenario == row.scenario && base.server == wanted);
            let rate = median(row.rounds.iter().map(Round::rate));
            let cpu = median(row.rounds.iter().filter_map(Round::cpu_us));
            let base_rate = base.and_then(|base| median(base.rounds.iter().map(Round::rate)));
            let base_cpu =
                base.and_then(|base| median(base.rounds.iter().filter_map(Round::cpu_us)));
            let rates = row.rounds.iter().map(Round::rate);
            let least = rates.clone().min_by(f64::total_cmp);
            let most = rates.max_by(f64::total_cmp);
            table.row([
                row.scenario.clone(),
                row.server.clone(),
                if row.rounds.len() > 1 {
                    let (least, most) = (or_dash(least), or_dash(most));
                    format!("{} ({least} to {most})", or_dash(rate))
                } else {
                    or_dash(rate)
                },
                or_dash(base_rate.zip(rate).map(|(base, rate)| base / rate)),
                or_dash(cpu),
                or_dash(cpu.zip(base_cpu).map(|(cpu, base)| cpu / base)),
                or_dash(median(
                    row.rounds.iter().filter_map(|round| round.median_ms),
                )),
                or_dash(median(row.rounds.iter().filter_map(|round| round.p99_ms))),
                or_dash(median(row.rounds.iter().map(Round::client_busy))),
                row.note.clone(),
            ]);
        }
        table
    }

    fn other(&self, reference: &str, reference_postgres: &str) -> Table {
        let mut table = Table::new(&["figure", "server", "value", "… times Starling's", "note"]);
        for figure in &self.figures {
            let wanted = if figure.server.contains("PostgreSQL") {
                reference_postgres
            } else {
                reference
            };
            let base = self
                .figures
                .iter()
                .find(|base| base.what == figure.what && base.server == wanted);
            table.row([
                figure.what.clone(),
                figure.server.clone(),
                number(figure.value),
                or_dash(base.map(|base| figure.value / base.value)),
                figure.note.clone(),
            ]);
        }
        table
    }
}

fn or_dash(value: Option<f64>) -> String {
    // Where nothing was used there is no ratio, and where nothing was done there is nothing.
    let value = value.filter(|value| value.is_finite());
    value.map_or_else(|| "–".to_owned(), number)
}

/// The value in the middle, or the mean of the two.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let middle = values.get(last / 2..=last.div_ceil(2))?;
    Some(f64::midpoint(*middle.first()?, *middle.last()?))
}
