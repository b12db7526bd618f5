"""What tests of two servers share: two users, talking, and looking whether both servers hold the same."""

import json
import re
import unittest
from collections.abc import Callable

from harness.client import Refused
from harness.engines import Postgres, Sqlite
from harness.server import Process
from person import Person, eventually
from servers import starling, synapse

# Those that both servers can do. Restricted joins came with 8, knocking with 7, and both at once with 10.
VERSIONS = tuple(str(number) for number in range(1, 13))

# How many lines of its log a failed test shows of each server.
LOG_LINES = 20


class Conversation:
    """The tests' base: Ann is a user of the server that has the room, Ben of the one that comes to it.

    A subclass, made by `each_way`, says which is which.
    """

    maxDiff = None
    resident_server: Callable[[], Process]
    joining_server: Callable[[], Process]

    def setUp(self) -> None:
        # Both start before one is waited for.
        self.resident, self.joining = type(self).resident_server(), type(self).joining_server()
        self._logs = {server: _size_of_log(server) for server in (self.resident, self.joining)}
        for server in (self.resident, self.joining):
            if not server.runs():
                server.launch()
            server.wait_until_healthy()
        self.ann, self.ben = Person.of(self.resident, "ann"), Person.of(self.joining, "ben")

    def after_failure(self) -> str:
        """What the servers warned of during the test."""
        return "".join(f"\n{server.name}:\n{_warnings(server, start)}" for server, start in self._logs.items())

    def public_room(self, version: str = "12", **options) -> str:
        """A room of Ann's that anybody may join."""
        return self.ann.create_room(preset="public_chat", room_version=version, **options)

    def shared_room(self, version: str = "12", **options) -> str:
        """A room of Ann's that anybody may join, in which Ben is."""
        room = self.public_room(version, **options)
        self.ben.join(room, via=self.resident.name)
        self.both_are_in(room)
        return room

    def both_are_in(self, room: str) -> None:
        """Both clients are told that both are in the room."""
        self.ben.until(lambda: room in self.ben.joined, f"{room}, which he joined")
        self.ann.until_member(room, self.ben, "join")

    def talk(self, room: str, lines: int = 4) -> None:
        """They say things in turn, and both hear the same in the same order."""
        said = []
        for number in range(lines):
            person = (self.ann, self.ben)[number % 2]
            said.append(person.say(room, f"line {number} — 茶"))
            # Each hears the other before answering, or the history would be no line.
            for listener in (self.ann, self.ben):
                listener.until_heard(room, said[-1])
        for person in (self.ann, self.ben):
            # Who comes back is told again of what was said before.
            self.assertEqual(person.messages_heard(room)[-lines:], said)

    def same_state(self, room: str) -> None:
        """Both servers come to the same current state, event for event."""

        def states() -> list[dict]:
            return [_essence(person.state(room)) for person in (self.ann, self.ben)]

        of_resident, of_joining = eventually(states, lambda both: both[0] == both[1])
        self.assertEqual(of_joining, of_resident, f"{room}: the state on {self.joining.name}, and {self.resident.name}")
        self.assertIn(("m.room.create", ""), of_resident)

    def same_history(self, room: str) -> None:
        """Both users page through the same history, in the same order, from now to the room's creation."""

        def histories() -> list[list[str]]:
            return [_line(person.history(room)) for person in (self.ann, self.ben)]

        of_resident, of_joining = eventually(histories, lambda both: both[0] == both[1])
        self.assertEqual(of_joining, of_resident, f"{room}: the history on {self.joining.name}, {self.resident.name}")
        self.assertIn('"m.room.create"', of_resident[-1])

    def same_events(self, room: str) -> set[str]:
        """Both come to the same set of events, in whatever order: what servers sent at the same time has none. Their ids."""

        def histories() -> list[list[str]]:
            return [sorted(_line(person.history(room))) for person in (self.ann, self.ben)]

        of_resident, of_joining = eventually(histories, lambda both: both[0] == both[1])
        self.assertEqual(of_joining, of_resident, f"{room}: the events on {self.joining.name}, {self.resident.name}")
        return {json.loads(line.split(" ")[0]) for line in of_resident}

    def refused(self, status: int, code: str, request: Callable, *arguments, **named) -> None:
        """The request is answered with this error."""
        with self.assertRaises(Refused) as raised:
            request(*arguments, **named)
        self.assertEqual((raised.exception.status, raised.exception.errcode), (status, code), raised.exception)


def in_versions(*versions: str) -> Callable[[Callable], Callable]:
    """A test for each of these versions of rooms: of `test_x` it makes `test_x_in_version_1`, and so on."""

    def mark(test: Callable) -> Callable:
        test.versions = versions
        return test

    return mark


def each_way(tests: type, case: type[unittest.TestCase] = unittest.TestCase) -> dict[str, type]:
    """The test cases of a class of tests: with the room on Synapse and on Starling, and Starling on each engine."""
    cases = {}
    for engine in (Sqlite, Postgres):
        ours = staticmethod(lambda engine=engine: starling(engine))
        for place, servers in (("Synapse", (synapse, ours)), ("Starling", (ours, synapse))):
            name = f"{tests.__name__}At{place}With{engine.name}"
            members = _by_version(tests) | {"__module__": tests.__module__}
            members["resident_server"], members["joining_server"] = servers
            cases[name] = type(name, (tests, case), members)
    return cases


def _by_version(tests: type) -> dict[str, Callable | None]:
    members: dict[str, Callable | None] = {}
    for name, test in vars(tests).items():
        for version in getattr(test, "versions", ()):
            members[f"{name}_in_version_{version}"] = lambda self, test=test, version=version: test(self, version)
            members[name] = None
    return members


def _essence(state: dict[tuple[str, str], dict]) -> dict[tuple[str, str], tuple]:
    """What servers must agree on."""
    return {
        key: (event["event_id"], event["sender"], event["origin_server_ts"], event["content"])
        for key, event in state.items()
    }


def _line(events: list[dict]) -> list[str]:
    """Each event as one line of text, from its id on: what a test that failed shows can be read."""
    keys = ("event_id", "sender", "type", "state_key", "content")
    return [" ".join(json.dumps(event[key], sort_keys=True) for key in keys if key in event) for event in events]


def _size_of_log(server: Process) -> int:
    return server.log_path.stat().st_size if server.log_path.exists() else 0


def _warnings(server: Process, start: int) -> str:
    if not server.log_path.exists():
        return ""
    with server.log_path.open("rb") as log:
        log.seek(start)
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join([line for line in lines if re.search(r"\b(WARN(ING)?|ERROR|CRITICAL)\b", line)][-LOG_LINES:])
