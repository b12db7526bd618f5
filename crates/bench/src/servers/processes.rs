//! What processes use, read from `/proc`: CPU time and memory of a server, its children and its database.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// Processes with all their children.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    roots: Vec<u32>,
}

/// One line of `/proc/PID/stat`, as far as it is needed.
struct Stat {
    parent: u32,
    /// Of it and of the children that ended, in ticks.
    ticks: u64,
}

impl Processes {
    /// These and their children.
    #[must_use]
    pub fn of(roots: Vec<u32>) -> Self {
        Self { roots }
    }

    /// This one, and its children, too.
    pub fn add(&mut self, root: u32) {
        self.roots.push(root);
    }

    /// The CPU time that they have used so far, in user and system mode, in steps of a tick (10 ms).
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        let ticks: u64 = self.alive().iter().map(|(_, stat)| stat.ticks).sum();
        Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / ticks_per_second.max(1)))
    }

    /// The memory that they hold, in bytes; what several share counts once (the proportional set size).
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.alive().iter().map(|(pid, _)| memory_of(*pid)).sum()
    }

    /// From now on the most memory is counted.
    pub fn forget_most_memory(&self) {
        for (pid, _) in self.alive() {
            // Where that isn't allowed, it is the most since the start.
            fs::write(format!("/proc/{pid}/clear_refs"), "5").ok();
        }
    }

    /// The most memory that each of them has held since [`Processes::forget_most_memory`], in bytes; what several share
    /// counts more than once.
    #[must_use]
    pub fn most_memory(&self) -> u64 {
        let most = |pid| number_of_kilobytes(&format!("/proc/{pid}/status"), "VmHWM:");
        self.alive().iter().map(|(pid, _)| most(*pid)).sum()
    }

    fn alive(&self) -> Vec<(u32, Stat)> {
        let mut stats: HashMap<u32, Stat> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, stat_of(pid)?)))
            .collect();
        let mut found: Vec<u32> = self.roots.clone();
        let mut next = 0;
        while let Some(&parent) = found.get(next) {
            let children = stats.iter().filter(|(_, stat)| stat.parent == parent);
            found.extend(children.map(|(pid, _)| *pid));
            next += 1;
        }
        found
            .into_iter()
            .filter_map(|pid| stats.remove_entry(&pid))
            .collect()
    }
}

fn stat_of(pid: u32) -> Option<Stat> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = line.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    // utime, stime, cutime, cstime: fields 14 to 17, counted from 1 with pid and name.
    let ticks = (11..15).filter_map(number).sum();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        ticks,
    })
}

fn memory_of(pid: u32) -> u64 {
    number_of_kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// The number of a line of a file, in bytes.
fn number_of_kilobytes(file: &str, what: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix(what))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
