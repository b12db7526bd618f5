//! Counted instructions: what one message, one sync and one state resolution cost, compared with what was recorded.
//!
//! The benchmark program does each kind of work `n` times and `2n` times under callgrind; the difference, divided by
//! `n`, is what one time costs, without the start. Unlike time, it hardly depends on what else the machine does.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Error};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the numbers are recorded, from the root of the workspace.
pub const FILE: &str = "crates/bench/instructions.toml";

/// Each kind of work of `starling-bench instructions`, and `n`: so that a run takes seconds.
const WORK: [(&str, u64); 3] = [("send", 100), ("sync", 100), ("resolution", 10)];

/// What is written before the numbers.
const HEAD: &str = "\
# Instructions that each kind of work takes, written by `cargo xtask instructions --record`; docs/benchmarks.md says when.
";

/// The instructions of each kind of work, by its name.
pub type Counts = BTreeMap<String, u64>;

/// The numbers of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// By how much a count may differ, up or down.
    pub tolerance_percent: u64,
    /// What was counted.
    pub instructions: Counts,
}

/// How a count compares with the recorded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the same, within the tolerance.
    Same,
    /// It is larger.
    TooMany,
    /// It is smaller: the recorded one no longer guards what was gained.
    TooFew,
    /// Nothing was recorded for it.
    NotRecorded,
}

/// One line of the comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The kind of work.
    pub work: String,
    /// What was recorded.
    pub recorded: Option<u64>,
    /// What was counted now.
    pub counted: u64,
    /// How they compare.
    pub verdict: Verdict,
}

impl Recorded {
    /// Reads the file's text.
    ///
    /// # Errors
    /// When it is not as [`Recorded`] is printed.
    pub fn parse(text: &str) -> io::Result<Self> {
        let table: toml::Table = text.parse().map_err(Error::other)?;
        let tolerance_percent = table
            .get("tolerance_percent")
            .and_then(number)
            .ok_or_else(|| Error::other(format!("{FILE} has no tolerance_percent")))?;
        let counts = table.get("instructions").and_then(toml::Value::as_table);
        let counts = counts.into_iter().flatten();
        let instructions = counts.map(|(work, count)| {
            let count = number(count);
            let count =
                count.ok_or_else(|| Error::other(format!("{FILE}: {work} is not a number")));
            Ok((work.clone(), count?))
        });
        Ok(Self {
            tolerance_percent,
            instructions: instructions.collect::<io::Result<_>>()?,
        })
    }

    /// Compares all that was counted.
    #[must_use]
    pub fn compare(&self, counted: &Counts) -> Vec<Comparison> {
        let compare = |(work, &counted): (&String, &u64)| Comparison {
            work: work.clone(),
            recorded: self.instructions.get(work).copied(),
            counted,
            verdict: self.verdict(work, counted),
        };
        counted.iter().map(compare).collect()
    }

    fn verdict(&self, work: &str, counted: u64) -> Verdict {
        let Some(&recorded) = self.instructions.get(work) else {
            return Verdict::NotRecorded;
        };
        let differs = counted.abs_diff(recorded) * 100 > recorded * self.tolerance_percent;
        match (differs, counted > recorded) {
            (false, _) => Verdict::Same,
            (true, true) => Verdict::TooMany,
            (true, false) => Verdict::TooFew,
        }
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        writeln!(f, "tolerance_percent = {}", self.tolerance_percent)?;
        f.write_str("\n[instructions]\n")?;
        for (work, count) in &self.instructions {
            writeln!(f, "{work} = {count}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { work, counted, .. } = self;
        write!(f, "{work:<12} {counted:>12} instructions")?;
        if let Some(recorded) = self.recorded {
            write!(f, ", recorded {recorded:>12}")?;
            write!(f, " ({})", change(recorded, *counted))?;
        }
        f.write_str(match self.verdict {
            Verdict::Same => "",
            Verdict::TooMany => ": TOO MANY",
            Verdict::TooFew => ": fewer; record the better number",
            Verdict::NotRecorded => ": not recorded",
        })
    }
}

/// As `+1.2%`.
fn change(recorded: u64, counted: u64) -> String {
    let sign = if counted < recorded { '-' } else { '+' };
    let tenths = counted.abs_diff(recorded) * 1000 / recorded.max(1);
    format!("{sign}{}.{}%", tenths / 10, tenths % 10)
}

fn number(value: &toml::Value) -> Option<u64> {
    u64::try_from(value.as_integer()?).ok()
}

/// Counts what each kind of work of `binary`, a release build of `starling-bench`, takes.
///
/// # Errors
/// When there is no valgrind, or the binary fails.
pub fn count(binary: &Path) -> io::Result<Counts> {
    let folder = std::env::temp_dir().join(format!("starling-instructions-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let counts = count_in(&folder, binary);
    fs::remove_dir_all(&folder)?;
    counts
}

fn count_in(folder: &Path, binary: &Path) -> io::Result<Counts> {
    let mut counts = Counts::new();
    for (work, times) in WORK {
        let once = callgrind(folder, binary, (work, times))?;
        let twice = callgrind(folder, binary, (work, 2 * times))?;
        counts.insert(work.to_owned(), twice.saturating_sub(once) / times);
    }
    Ok(counts)
}

/// The instructions of a whole run that does `work` so many times.
fn callgrind(folder: &Path, binary: &Path, (work, times): (&str, u64)) -> io::Result<u64> {
    let profile = folder.join("profile");
    let mut out_file = std::ffi::OsString::from("--callgrind-out-file=");
    out_file.push(&profile);
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(out_file)
        .arg(binary)
        .args(["instructions", work, &times.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::new(error.kind(), format!("valgrind: {error}")))?;
    if !run.status.success() {
        let mut message = format!("{} instructions {work} {times} failed:", binary.display());
        write!(message, "\n{}", String::from_utf8_lossy(&run.stderr)).map_err(Error::other)?;
        return Err(Error::other(message));
    }
    total(&fs::read_to_string(&profile)?).ok_or_else(|| Error::other("callgrind wrote no total"))
}

/// The total of a profile as callgrind writes it.
#[must_use]
pub fn total(profile: &str) -> Option<u64> {
    let total = profile
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))?;
    total.trim().parse().ok()
}
