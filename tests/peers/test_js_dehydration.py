"""A dehydrated device of matrix-js-sdk receives keys while its user has no other device. On both engines."""

import json
import os
import subprocess
import unittest
from pathlib import Path

from harness.engines import Postgres, Sqlite
from harness.server import Server

LIMIT_S = 120


class Dehydration:
    """The test; a subclass names the engine."""

    engine_type: type

    def test_what_was_said_while_nobody_was_there_is_read(self) -> None:
        server = Server(self.engine_type())
        self.addCleanup(server.close)
        server.start()
        folder = Path(os.environ["STARLING_PEERS_JS"])
        program = [folder / "node_modules/node/bin/node", folder / "dehydration.js", server.url]
        done = subprocess.run(program, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["body"], "while nobody was there")


class DehydrationOnSqlite(Dehydration, unittest.TestCase):
    engine_type = Sqlite


class DehydrationOnPostgres(Dehydration, unittest.TestCase):
    engine_type = Postgres
