"""matrix-js-sdk goes on when its server goes back to an older copy of the database. On both engines."""

import os
import subprocess
import unittest
from pathlib import Path

from harness.engines import Postgres, Sqlite
from harness.server import Server


class Restoring:
    """The test; a subclass names the engine."""

    engine_type: type

    def test_keys_are_backed_up_again_and_one_time_keys_are_made_anew(self) -> None:
        server = Server(self.engine_type())
        self.addCleanup(server.close)
        server.start()
        folder = Path(os.environ["STARLING_PEERS_JS"])
        program = [folder / "node_modules/node/bin/node", folder / "restoring.js", server.url]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        client = subprocess.Popen(program, text=True, **pipes)
        self.addCleanup(client.communicate)
        self.addCleanup(client.kill)
        copy = server.folder / "copy"

        def put_back() -> None:
            server.stop()
            server.put_database_back(copy)
            server.run("restored")
            server.start()

        steps = {"copy": lambda: server.copy_database(copy), "put back": put_back, "done": lambda: None}
        for name, act in steps.items():
            told = client.stdout.readline().strip()
            self.assertEqual(told, name, told or client.stderr.read())
            act()
            client.stdin.write("\n")
            client.stdin.flush()


class RestoringOnSqlite(Restoring, unittest.TestCase):
    engine_type = Sqlite


class RestoringOnPostgres(Restoring, unittest.TestCase):
    engine_type = Postgres
