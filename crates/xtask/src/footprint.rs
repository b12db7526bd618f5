//! What an idle server costs: the time from its start to its first answer, and its resident memory right then.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Runs of which the median counts.
const RUNS: usize = 5;
/// The longest that the first answer may take.
pub const READY_LIMIT: Duration = Duration::from_millis(300);
/// The most memory that may be resident.
pub const RESIDENT_LIMIT_BYTES: u64 = 40_000_000;
/// When a start is given up.
const GIVE_UP: Duration = Duration::from_secs(20);

/// One start.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    /// From the start of the process to the first answer to `GET /_matrix/client/versions`.
    pub ready: Duration,
    /// `VmRSS` right after.
    pub resident_bytes: u64,
}

impl Footprint {
    /// Whether both values are within what the project promises.
    #[must_use]
    pub fn within_limits(&self) -> bool {
        self.ready <= READY_LIMIT && self.resident_bytes <= RESIDENT_LIMIT_BYTES
    }
}

/// Bytes as megabytes of 1,000,000.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "printed with one decimal")]
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Starts `binary` five times, each on an empty folder and a free port, and returns the median of each value.
///
/// # Errors
/// The binary doesn't start, or doesn't answer in 20 seconds.
pub fn median(binary: &Path) -> io::Result<Footprint> {
    let mut ready = Vec::new();
    let mut resident = Vec::new();
    for run in 0..RUNS {
        let footprint = measure(binary, run)?;
        ready.push(footprint.ready);
        resident.push(footprint.resident_bytes);
    }
    ready.sort_unstable();
    resident.sort_unstable();
    match (ready.get(RUNS / 2), resident.get(RUNS / 2)) {
        (Some(&ready), Some(&resident_bytes)) => Ok(Footprint {
            ready,
            resident_bytes,
        }),
        _ => Err(io::Error::other("nothing was measured")),
    }
}

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn measure(binary: &Path, run: usize) -> io::Result<Footprint> {
    let folder = Folder::create(run)?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let configuration = folder.0.join("starling.toml");
    fs::write(
        &configuration,
        format!(
            "server_name = \"localhost\"\ndata_dir = \"./data\"\n\n[[listeners]]\naddress = \"127.0.0.1:{port}\"\nserves = [\"client\"]\n"
        ),
    )?;
    let began = Instant::now();
    let mut server = Server(
        Command::new(binary)
            .args(["serve", "--config"])
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.0.join("log"))?)
            .spawn()?,
    );
    while !answers(port) {
        if server.0.try_wait()?.is_some() || began.elapsed() > GIVE_UP {
            let log = fs::read_to_string(folder.0.join("log"))?;
            return Err(io::Error::other(format!(
                "{} did not start:\n{log}",
                binary.display()
            )));
        }
        sleep(Duration::from_millis(1));
    }
    let ready = began.elapsed();
    Ok(Footprint {
        ready,
        resident_bytes: resident_bytes(server.0.id())?,
    })
}

/// Whether `GET /_matrix/client/versions` is answered with 200.
fn answers(port: u16) -> bool {
    let ask = || -> io::Result<bool> {
        let mut connection = TcpStream::connect(("127.0.0.1", port))?;
        connection.set_read_timeout(Some(GIVE_UP))?;
        connection.write_all(
            b"GET /_matrix/client/versions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"versions\""))
    };
    ask().unwrap_or(false)
}

fn resident_bytes(process: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        })
        .map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("no VmRSS in /proc"))
}

/// A process that ends with its owner.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}

/// A new folder, removed with its owner.
struct Folder(PathBuf);

impl Folder {
    fn create(run: usize) -> io::Result<Self> {
        let path =
            std::env::temp_dir().join(format!("starling-footprint-{}-{run}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
