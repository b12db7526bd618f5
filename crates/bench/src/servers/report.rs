//! What was measured: as JSON, and as tables in Markdown.

use std::fmt::Write as _;

use serde::Serialize;

use super::meter::Round;
use super::site::Site;
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
    /// Adds what was measured of a server in one scenario, or that it has failed.
    pub fn row(&mut self, scenario: &str, site: &Site, rounds: Vec<Round>, note: String) {
        let failed = |failure| format!("failed: {failure}");
        self.rows.push(Row {
            scenario: scenario.to_owned(),
            server: site.target.name.clone(),
            rounds,
            note: site.failure.as_ref().map_or(note, failed),
        });
    }

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
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let middle = values.get(last / 2..=last.div_ceil(2))?;
    Some(f64::midpoint(*middle.first()?, *middle.last()?))
}

#[cfg(test)]
mod tests {
    use super::{Report, median, or_dash};
    use crate::servers::Error;
    use crate::servers::meter::Round;
    use crate::servers::site::Site;

    /// A second in which so much was done, with so much CPU time for each.
    fn round(operations: u64, cpu_us: f64) -> Round {
        Round {
            operations,
            seconds: 1.0,
            cpu_seconds: Some(cpu_us * super::super::meter::as_number(operations) / 1e6),
            client_cpu_seconds: 0.5,
            median_ms: Some(2.0),
            p99_ms: None,
        }
    }

    fn site(name: &str) -> Site {
        Site::new(format!("{name}=http://127.0.0.1:1").parse().unwrap(), None)
    }

    /// The cells of the rows that say `what` in a table.
    fn cells(markdown: &str, what: &str) -> Vec<Vec<String>> {
        let rows = markdown.lines().filter(|line| line.contains(what));
        rows.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect())
            .collect()
    }

    #[test]
    fn ratios_compare_with_the_server_on_the_same_database() {
        let mut report = Report::default();
        for (server, rounds) in [
            ("ours", vec![round(100, 10.0), round(300, 10.0)]),
            ("other", vec![round(50, 40.0)]),
            ("ours, PostgreSQL", vec![round(60, 10.0)]),
            ("other, PostgreSQL", vec![round(20, 30.0)]),
        ] {
            report.row("send", &site(server), rounds, String::new());
            let memory = if server.contains("ours") { 8.0 } else { 20.0 };
            report.figure("memory", server, Some(memory), "");
        }
        report.figure("memory", "nobody's", None, "");
        let markdown = report.markdown("ours", "ours, PostgreSQL");
        let rows = cells(&markdown, "| send |");
        // Per second, how many times as fast ours is, CPU time, and how many times less of it ours needs.
        let figures: Vec<&[String]> = rows.iter().map(|row| &row[3..7]).collect();
        assert_eq!(
            figures,
            [
                ["200 (100 to 300)", "1.00", "10.0", "1.00"],
                ["50.0", "4.00", "40.0", "4.00"],
                ["60.0", "1.00", "10.0", "1.00"],
                ["20.0", "3.00", "30.0", "3.00"],
            ]
        );
        let rows = cells(&markdown, "| memory |");
        let figures: Vec<&[String]> = rows.iter().map(|row| &row[3..5]).collect();
        let other = ["20.0", "2.50"];
        assert_eq!(figures, [["8.00", "1.00"], other, ["8.00", "1.00"], other]);
    }

    #[test]
    fn where_nothing_is_known_there_is_a_dash() {
        let mut report = Report::default();
        let mut here = site("here");
        report.row("send", &here, Vec::new(), "too slow".to_owned());
        here.fail(&Error::Start("no\ndisk | left".to_owned()));
        report.row("sync", &here, vec![round(0, 0.0)], "not told".to_owned());
        let markdown = report.markdown("here", "elsewhere");
        let nothing = cells(&markdown, "| send |").remove(0);
        assert_eq!(nothing[3..10], ["–"; 7]);
        assert_eq!(nothing[10], "too slow");
        let failed = cells(&markdown, "| sync |").remove(0);
        assert_eq!(failed[4..7], ["–"; 3]);
        assert_eq!(failed[10], "failed: did not start: no disk / left");
        assert_eq!(or_dash(Some(f64::INFINITY)), "–");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
    }
}
