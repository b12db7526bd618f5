//! What the machine is, read from `/proc`.

use std::fs;
use std::path::Path;

use super::Error;

/// Folders of these file systems are in memory: there is no disk to wait for.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// Checks that files in `folder` are on a disk.
///
/// # Errors
/// When they aren't, or it can't be told.
pub fn check_disk(folder: &Path) -> Result<(), Error> {
    let system = rustix::fs::statfs(folder).map_err(std::io::Error::from)?;
    if IN_MEMORY.contains(&system.f_type) {
        let folder = folder.display();
        let why = format!("{folder} is in memory: TMPDIR must name a folder on a disk");
        return Err(Error::Start(why));
    }
    Ok(())
}

/// The processors, the memory and the kernel, in words.
#[must_use]
pub fn describe() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let models: Vec<&str> = models.map(|(_, model)| model).collect();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{} × {}, {} GB of memory, Linux {}",
        models.len(),
        models.first().unwrap_or(&"unknown processor"),
        kilobytes * 1024 / 1_000_000_000,
        kernel.trim(),
    )
}
