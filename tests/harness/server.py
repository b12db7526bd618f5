"""The process of a server for a test: its folder, its configuration, its start, its end."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STOP_LIMIT_S = 15.0

CONFIGURATION = """\
server_name = "{name}"
data_dir = "{folder}/data"
signing_key_path = "{folder}/data/signing.key"

[[listeners]]
address = "127.0.0.1:{port}"
serves = ["client"]

[database]
url = "{database}"

[registration]
mode = "open"

[passwords]
memory_kib = 64
iterations = 1

[rate_limits]
enabled = false
{more}"""


def binary() -> Path:
    """The program under test: $STARLING_BIN, or what was built last."""
    given = os.environ.get("STARLING_BIN")
    if given:
        return Path(given).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [path for path in (target / profile / "starling" for profile in ("release", "debug")) if path.exists()]
    if not built:
        raise FileNotFoundError(f"no starling under {target}: run `cargo build -p starling`, or set STARLING_BIN")
    return max(built, key=lambda path: path.stat().st_mtime).resolve()


def free_port(address: str = "127.0.0.1") -> int:
    """A port of a loopback address nobody listens on, below the range from which the system picks ports itself."""
    for _ in range(100):
        port = random.randint(20000, 30000)
        with socket.socket() as probe:
            # What a server that was just stopped left behind doesn't make its port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                return port
            except OSError:
                continue
    raise OSError("no free port between 20000 and 30000")


class DidNotStart(Exception):
    """A server ended, or didn't answer in time. `log` is what it wrote to standard error."""

    def __init__(self, why: str, status: int | None, log: str) -> None:
        super().__init__(f"{why}\n{log}")
        self.status = status
        self.log = log


class Process:
    """A server's process with one folder and one port for clients, both kept over restarts."""

    # What answers 200 once it is up, and how long that may take.
    health_path = "/_starling/health"
    start_limit_s = 20.0

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="starling-test-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = self.folder / "server.log"
        self.process: subprocess.Popen | None = None

    def command(self) -> list[str]:
        """What is run."""
        raise NotImplementedError

    def start(self) -> float:
        """Starts it, waits until it is healthy, and returns the seconds that took."""
        began = time.monotonic()
        self.launch()
        self.wait_until_healthy()
        return time.monotonic() - began

    def launch(self) -> None:
        """Starts it, and waits for nothing."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_healthy(self) -> None:
        """Waits for it after `launch`."""
        began = time.monotonic()
        while not self._is_healthy():
            status = self.process.poll()
            if status is not None:
                raise DidNotStart(f"it ended with status {status}", status, self.log())
            if time.monotonic() - began > self.start_limit_s:
                self.kill()
                raise DidNotStart(f"it is not healthy after {self.start_limit_s} s", None, self.log())
            time.sleep(0.01)

    def runs(self) -> bool:
        """Whether it was started and hasn't ended."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """kill -9, and what it started."""
        if self.runs():
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_LIMIT_S)

    def stop(self) -> int:
        """Asks it to end, and returns its exit status."""
        os.killpg(self.process.pid, signal.SIGTERM)
        return self.process.wait(STOP_LIMIT_S)

    def close(self) -> None:
        """Ends it, if it still runs, and removes its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self, lines: int = 40) -> str:
        """The last lines of its log."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}{self.health_path}", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


class Server(Process):
    """A Starling.

    `wrapper` is put in front of the command, as in `strace -o FILE`; `more` is added to the configuration.
    """

    def __init__(self, engine, wrapper: list[str] | None = None, name: str = "localhost", more: str = "") -> None:
        super().__init__()
        self.name = name
        self.wrapper = wrapper or []
        self._more = more
        self._engine = engine
        self.database = engine.create(self.folder)
        self.configure(self.database)

    def configure(self, database_url: str) -> None:
        """Writes the configuration for the next start."""
        text = CONFIGURATION.format(
            name=self.name, folder=self.folder, port=self.port, database=database_url, more=self._more
        )
        (self.folder / "starling.toml").write_text(text)

    def command(self) -> list[str]:
        return [*self.wrapper, str(binary()), "serve", "--config", str(self.folder / "starling.toml")]

    def run(self, *command: str) -> str:
        """What a command prints."""
        done = subprocess.run(
            [str(binary()), *command, "--config", str(self.folder / "starling.toml")],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {done.stderr.strip()}")
        return done.stdout

    def copy_database(self, copy: Path) -> None:
        """Takes a copy of the database, while the server runs or not."""
        self._engine.copy(self.database, copy)

    def put_database_back(self, copy: Path) -> None:
        """Puts a copy in place of the database; the server doesn't run."""
        self._engine.put_back(self.database, copy)

    def close(self) -> None:
        self.kill()
        self._engine.drop(self.database)
        super().close()
