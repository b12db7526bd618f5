"""The servers that the tests share, as starting Synapse takes long. They are started when a test first wants them, and
ended with the program.

From the environment:
  BOTH=synapse   a second Synapse stands where Starling does, to tell whose fault a failure is
  LOGS=FOLDER    their logs go there, and stay
"""

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TypeVar

from authority import Authority
from harness.engines import Postgres, Sqlite
from harness.server import Process, Server, free_port
from synapse_server import Synapse

AnyServer = TypeVar("AnyServer", bound=Process)

# Different addresses, as a room's access control knows no ports.
SYNAPSE = "127.0.0.1"
STARLING = {"SQLite": "127.0.0.2", "PostgreSQL": "127.0.0.3"}

# Added to the configuration of a Starling that stands alone.
FEDERATION = """
[[listeners]]
address = "{listens}"
serves = ["federation"]
tls = {{ certificate = "{certificate}", key = "{key}" }}

[outbound]
extra_ca_files = ["{authority}"]
allow_private_addresses = true

[federation]
backoff_max_ms = 5000
"""


@cache
def authority() -> Authority:
    """Who certifies all of them."""
    folder = Path(tempfile.mkdtemp(prefix="starling-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Authority(folder)


@cache
def synapse() -> Synapse:
    """The peer."""
    return _begin(Synapse(authority(), SYNAPSE), "synapse")


@cache
def starling(engine: type[Sqlite] | type[Postgres]) -> Process:
    """The server under test, on an engine."""
    address = STARLING[engine.name]
    if os.environ.get("BOTH") == "synapse":
        return _begin(Synapse(authority(), address), f"synapse at {address}")
    name = f"{address}:{free_port(address)}"
    return begin_starling(engine, name, name)


def begin_starling(engine: type[Sqlite] | type[Postgres], name: str, listens: str) -> Server:
    """A Starling of this name, an address and a port, that listens for other servers there or elsewhere."""
    address = name.split(":")[0]
    certificate, key = authority().certify(address)
    more = FEDERATION.format(listens=listens, certificate=certificate, key=key, authority=authority().certificate)
    return _begin(Server(engine(), name=name, more=more), f"starling at {address} on {engine.name}")


def _begin(server: AnyServer, title: str) -> AnyServer:
    atexit.register(server.close)
    if folder := os.environ.get("LOGS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        server.log_path = Path(folder).resolve() / f"{title}.log"
    server.launch()
    return server
