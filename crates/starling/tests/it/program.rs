//! The program under test: a folder with its configuration, its commands, and a server that runs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder for one server.
pub(crate) struct Folder {
    folder: TempDir,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            status: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Ended {
    /// The one line of an error.
    pub(crate) fn error(&self) -> &str {
        assert_eq!(self.status, Some(1), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        self.err.trim_end()
    }

    /// What a command that succeeded printed.
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.status, Some(0), "{self:?}");
        self.out.trim_end()
    }
}

impl Folder {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
        }
    }

    /// A folder with a configuration: two listeners on free ports, the first for clients, the second for operators.
    pub(crate) fn with(more: &str) -> Self {
        let folder = Self::new();
        folder.configure("localhost", "./data", more);
        folder
    }

    /// Writes the configuration for the next start.
    pub(crate) fn configure(&self, server_name: &str, data_dir: &str, more: &str) {
        let text = format!(
            "server_name = \"{server_name}\"\ndata_dir = \"{data_dir}\"\n\
             [passwords]\nmemory_kib = 8\niterations = 1\n\
             [rate_limits]\nenabled = false\n\
             [[listeners]]\naddress = \"127.0.0.1:0\"\nserves = [\"client\"]\n\
             [[listeners]]\naddress = \"127.0.0.1:0\"\nserves = [\"admin\", \"metrics\"]\n\
             [registration]\nmode = \"open\"\n{more}\n"
        );
        std::fs::write(self.path().join("starling.toml"), text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
        command.current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.command().args(args).output().unwrap().into()
    }

    /// Runs `user …` with the configuration and this standard input.
    pub(crate) fn user(&self, args: &[&str], input: &str) -> Ended {
        let mut child = self
            .command()
            .arg("user")
            .args(args)
            .args(["--config", "starling.toml"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Starts a server with the configuration, and waits until it listens.
    pub(crate) fn serve(&self) -> Running {
        let args = ["serve", "--config", "starling.toml", "--log-format", "json"];
        Running::start(self.command().args(args), 2)
    }

    /// Starts a server with the development profile on a free port.
    pub(crate) fn serve_for_development(&self) -> Running {
        let mut command = self.command();
        let listeners = r#"[{ address = "127.0.0.1:0" }]"#;
        Running::start(
            command
                .args(["serve", "--log-format", "json"])
                .env("STARLING__LISTENERS", listeners),
            1,
        )
    }
}

/// A server that runs. It is killed when this value is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// What it wrote to standard error until it listened.
    pub(crate) started: Vec<String>,
    /// Where it listens.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Running {
    fn start(command: &mut Command, listeners: usize) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            errors
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let mut running = Self {
            child,
            lines,
            started: Vec::new(),
            addresses: Vec::new(),
        };
        while running.addresses.len() < listeners {
            let line = running.line_with("");
            running.started.push(line.clone());
            if !line.contains("listening") {
                continue;
            }
            let line: Value = serde_json::from_str(&line).unwrap();
            let address = line["url"]
                .as_str()
                .unwrap()
                .strip_prefix("http://")
                .unwrap();
            running.addresses.push(address.parse().unwrap());
        }
        running
    }

    /// The next line on standard error that holds this text.
    pub(crate) fn line_with(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line with {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal (`TERM`, `HUP`, …).
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Asks it to end, and gives its status.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait()
    }

    /// Asks it to end, and gives what it has written to standard error since it listened.
    pub(crate) fn stop_and_read(mut self) -> Vec<String> {
        self.signal("TERM");
        assert_eq!(self.wait(), Some(0));
        self.lines.iter().collect()
    }

    /// As kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    /// Calls the client API with JSON.
    pub(crate) fn call(&self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let head = format!("Authorization: Bearer {token}\r\n");
        let answer = self.http(0, method, path, &head, &body.to_string());
        (
            answer.status,
            serde_json::from_str(&answer.body).unwrap_or_default(),
        )
    }

    /// Logs in by password; the token, if it is right.
    pub(crate) fn login(&self, user: &str, password: &str) -> Option<String> {
        let body = json!({ "type": "m.login.password", "user": user, "password": password });
        let (_, answer) = self.call("POST", "/_matrix/client/v3/login", "", &body);
        answer["access_token"].as_str().map(str::to_owned)
    }

    /// Whether this token is a session's.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.call(
            "GET",
            "/_matrix/client/v3/account/whoami",
            token,
            &Value::Null,
        )
        .0 == 200
    }

    /// Calls one of its listeners.
    pub(crate) fn http(
        &self,
        listener: usize,
        method: &str,
        path: &str,
        head: &str,
        body: &str,
    ) -> HttpAnswer {
        let mut stream = self.connect(listener);
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n{body}"
        )
        .unwrap();
        HttpAnswer::read(stream)
    }

    pub(crate) fn connect(&self, listener: usize) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[listener]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An answer of HTTP/1.1.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl HttpAnswer {
    /// Reads it to the end of the connection.
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }
}
