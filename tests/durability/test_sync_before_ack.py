"""An event id is sent to nobody before the event is on the disk: read from the system calls (strace).

What is acknowledged must survive power loss, which kill -9 does not show: the kernel keeps what was
written without a sync.
"""

import os
import signal
import subprocess
import threading
import time
import unittest
from pathlib import Path

from harness.client import Client
from harness.engines import Postgres, Sqlite
from harness.server import Server
from syscalls import TRACED, Call, Sent, early_answers_postgres, early_answers_sqlite, read

ONE_BY_ONE = 20
CONCURRENT_SENDERS = 6
EACH = 15
STRACE = ["strace", "-f", "-ttt", "-T", "-y", "-xx", "-s", "262144", "-e", f"trace={TRACED}", "-e", "signal=none"]
ATTACH_LIMIT_S = 20.0


def send_all(url: str) -> list[Sent]:
    """Messages one after the other, then several senders at once, while a reader waits in /sync."""
    owner = Client.register(url, "owner")
    room = owner.create_room(preset="public_chat")
    sent: list[Sent] = []

    def send(client: Client, name: str, count: int) -> None:
        for n in range(count):
            marker = f"marker-{name}-{n}-end"
            # Twice, since the header of a page of a WAL may stand in the middle of one.
            event_id = client.send(room, f"{name}-{n}", f"{marker} and again {marker}")
            sent.append(Sent(marker.encode(), event_id.encode()))

    def follow(reader: Client, since: str, done: threading.Event) -> None:
        while not done.is_set():
            since = reader.sync(since, timeout_ms=500)["next_batch"]

    done = threading.Event()
    reader = threading.Thread(target=follow, args=(owner.another(), owner.sync()["next_batch"], done), daemon=True)
    reader.start()
    send(owner, "owner", ONE_BY_ONE)
    clients = [Client.register(url, f"sender{n}") for n in range(CONCURRENT_SENDERS)]
    for client in clients:
        client.join(room)
    threads = [threading.Thread(target=send, args=(client, f"s{n}", EACH)) for n, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reader.join()
    return sent


class SyncBeforeAck(unittest.TestCase):
    def traced_server(self, engine) -> tuple[Server, Path]:
        server = Server(engine)
        self.addCleanup(server.close)
        log = server.folder / "trace"
        server.wrapper = [*STRACE, "-o", str(log)]
        server.start()
        return server, log

    def assert_all_sent(self, sent: list[Sent]) -> None:
        self.assertEqual(len(sent), ONE_BY_ONE + CONCURRENT_SENDERS * EACH)

    def test_sqlite(self) -> None:
        server, log = self.traced_server(Sqlite())
        sent = send_all(server.url)
        server.stop()
        self.assert_all_sent(sent)
        self.assertEqual(early_answers_sqlite(read_file(log), sent), [])

    def test_postgres(self) -> None:
        engine = Postgres()
        server, log = self.traced_server(engine)
        with traced_cluster(server.folder / "cluster") as cluster_log:
            sent = send_all(server.url)
        server.stop()
        self.assert_all_sent(sent)
        calls = sorted(read_file(log) + read_file(cluster_log), key=lambda call: call.start)
        self.assertEqual(early_answers_postgres(calls, sent), [])


def read_file(path: Path) -> list[Call]:
    with path.open(errors="replace") as lines:
        return read(lines)


class traced_cluster:
    """Traces the processes of the test's PostgreSQL cluster, and those that they start."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __enter__(self) -> Path:
        postmaster = int((Postgres.data_folder() / "postmaster.pid").read_text().split("\n", 1)[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        attached = self.log.with_suffix(".attached")
        command = [*STRACE, "-o", str(self.log), "-p", ",".join([str(postmaster), *children])]
        with attached.open("wb") as errors:
            self.process = subprocess.Popen(command, stderr=errors, start_new_session=True)
        until = time.monotonic() + ATTACH_LIMIT_S
        while attached.read_text().count(" attached") < 1 + len(children):
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"strace could not attach: {attached.read_text()}")
            time.sleep(0.01)
        return self.log

    def __exit__(self, *_: object) -> None:
        os.kill(self.process.pid, signal.SIGINT)
        self.process.wait(ATTACH_LIMIT_S)
