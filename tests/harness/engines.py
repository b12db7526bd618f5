"""The database engines that a test runs on. Each gives a fresh, empty database by its URL."""

import contextlib
import os
import secrets
import shutil
import sqlite3
import subprocess
import unittest
from pathlib import Path


class Sqlite:
    """A file in the server's folder."""

    name = "SQLite"

    def create(self, folder: Path) -> str:
        return f"sqlite:{folder}/data/starling.db"

    def drop(self, url: str) -> None:
        """The file goes with the folder."""

    def copy(self, url: str, copy: Path) -> None:
        """Takes a copy, whether a server runs or not."""
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:"))) as database:
            database.execute("VACUUM INTO ?", (str(copy),))

    def put_back(self, url: str, copy: Path) -> None:
        """Puts a copy back; no server runs."""
        database = url.removeprefix("sqlite:")
        for beside in ("-wal", "-shm"):
            Path(database + beside).unlink(missing_ok=True)
        shutil.copyfile(copy, database)


def database_name(url: str) -> str:
    """The name of the database in a PostgreSQL URL."""
    return url.rsplit("/", 1)[1].split("?")[0]


class Postgres:
    """A database in the cluster that scripts/with-postgres.sh made."""

    name = "PostgreSQL"

    def __init__(self) -> None:
        base = os.environ.get("STARLING_TEST_POSTGRES")
        if not base:
            raise unittest.SkipTest("no PostgreSQL: run this by scripts/with-postgres.sh")
        self.base = base

    def create(self, folder: Path) -> str:
        name = f"starling_{secrets.token_hex(4)}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS {database_name(url)} WITH (FORCE)")

    def copy(self, url: str, copy: Path) -> None:
        """Takes a copy, whether a server runs or not."""
        subprocess.run(["pg_dump", "--format=custom", f"--file={copy}", url], check=True, capture_output=True)

    def put_back(self, url: str, copy: Path) -> None:
        """Puts a copy back; no server runs."""
        self.drop(url)
        self.run(f"CREATE DATABASE {database_name(url)}")
        subprocess.run(["pg_restore", f"--dbname={url}", str(copy)], check=True, capture_output=True)

    def url(self, database: str, user: str = "postgres") -> str:
        host = self.base.removeprefix("postgres://postgres@").rsplit("/", 1)[0]
        return f"postgres://{user}@{host}/{database}"

    def run(self, statement: str) -> str:
        """Runs a statement as the superuser and returns its output."""
        done = subprocess.run(
            ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", self.base, "--command", statement],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{statement}: {done.stderr.strip()}")
        return done.stdout.strip()

    def crash(self) -> None:
        """Stops the cluster at once: what it hasn't written is gone."""
        self._control("crash")

    def restart(self) -> None:
        """Starts the cluster after a crash."""
        self._control("start")

    @staticmethod
    def data_folder() -> Path:
        return Path(os.environ["STARLING_TEST_POSTGRES_CONTROL"]).parent / "data"

    @staticmethod
    def _control(verb: str) -> None:
        subprocess.run([os.environ["STARLING_TEST_POSTGRES_CONTROL"], verb], check=True, capture_output=True)
