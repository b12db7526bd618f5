"""`serve` refuses a PostgreSQL that would acknowledge before it syncs, with a line that says why."""

import unittest

from harness.engines import Postgres, database_name
from harness.server import DidNotStart, Server

ROLE = "starling_unsafe"


class SynchronousCommitOff(unittest.TestCase):
    def setUp(self) -> None:
        self.engine = Postgres()
        self.server = Server(self.engine)
        self.addCleanup(self.server.close)
        self.database = database_name(self.server.database)

    def assert_refused(self) -> None:
        with self.assertRaises(DidNotStart) as caught:
            self.server.start()
        self.assertIsNotNone(caught.exception.status, "serve neither ended nor got healthy")
        self.assertNotEqual(caught.exception.status, 0)
        named = [line for line in caught.exception.log.splitlines() if "synchronous_commit" in line]
        self.assertEqual(len(named), 1, caught.exception.log)

    def test_it_starts_with_the_default(self) -> None:
        self.server.start()
        self.assertEqual(self.server.stop(), 0)

    def test_off_for_the_database(self) -> None:
        self.engine.run(f"ALTER DATABASE {self.database} SET synchronous_commit = off")
        self.assert_refused()

    def test_off_for_the_role(self) -> None:
        self.engine.run(f"CREATE ROLE {ROLE} SUPERUSER LOGIN")
        self.addCleanup(self.engine.run, f"DROP ROLE {ROLE}")
        self.engine.run(f"ALTER ROLE {ROLE} SET synchronous_commit = off")
        self.server.configure(self.engine.url(self.database, ROLE))
        self.assert_refused()

    def test_off_in_the_address(self) -> None:
        self.server.configure(self.engine.url(self.database) + "?options=-csynchronous_commit%3Doff")
        self.assert_refused()
