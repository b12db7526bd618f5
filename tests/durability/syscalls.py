"""Reads a log of strace, and finds answers that left before what they say was on the disk.

Expects `strace -f -ttt -T -y -xx -s 262144 -e trace=` with the calls of `TRACED`. Of two logs of one
machine (a server and its database), the calls can be put together: both are read by the same clock.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

WRITES = {"write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg"}
SYNCS = {"fsync", "fdatasync"}
TRACED = ",".join(sorted(WRITES | SYNCS))

# strace prints microseconds: two roundings of a start and a duration.
ROUNDING_S = 2e-6

_LINE = re.compile(r"^(?:(?P<pid>\d+)\s+)?(?P<time>\d+\.\d+)\s+(?P<rest>.*)$")
_RESUMED = re.compile(r"^<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)$")
_CALL = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\d+)[^<]*(?:<(?P<duration>[\d.]+)>)?$")
_UNFINISHED = " <unfinished ...>"
_FILE = re.compile(r"^\d+<(?P<path>[^>]*)>")
_HEX = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass
class Call:
    """One finished system call: seconds since 1970, the path of its file, the bytes it wrote."""

    start: float
    end: float
    name: str
    path: str
    data: bytes
    result: int


def read(lines: Iterable[str]) -> list[Call]:
    """The calls of a log, in the order of their start. What isn't a finished call is left out."""
    unfinished: dict[str, tuple[float, str]] = {}
    calls = []
    for line in lines:
        if not (match := _LINE.match(line.rstrip("\n"))):
            continue
        pid, at, rest = match["pid"] or "", float(match["time"]), match["rest"]
        if rest.endswith(_UNFINISHED):
            unfinished[pid] = (at, rest.removesuffix(_UNFINISHED))
            continue
        if resumed := _RESUMED.match(rest):
            start, begun = unfinished.pop(pid, (None, ""))
            if start is None:
                continue
            call = _call(start, begun + resumed["rest"], at)
        else:
            call = _call(at, rest, at)
        if call is not None:
            calls.append(call)
    return sorted(calls, key=lambda call: call.start)


def _call(start: float, text: str, seen: float) -> Call | None:
    if not (match := _CALL.match(text)):
        return None
    # Without a duration (-T), the end is when the line was written.
    end = start + float(match["duration"]) if match["duration"] else seen
    file = _FILE.match(match["arguments"])
    path = _plain(file["path"]) if file else ""
    pieces = _HEX.findall(match["arguments"])
    data = bytes.fromhex("".join(pieces).replace("\\x", "")) if match["name"] in WRITES else b""
    return Call(start, end, match["name"], path, data, int(match["result"]))


def _plain(path: str) -> str:
    """-xx prints paths in hexadecimal, too."""
    return bytes.fromhex(path.replace("\\x", "")).decode(errors="replace") if path.startswith("\\x") else path


@dataclass
class Sent:
    """A message: text that occurs in its body and nowhere else, and the event id it was answered with."""

    marker: bytes
    event_id: bytes


def early_answers_sqlite(calls: list[Call], messages: list[Sent]) -> list[str]:
    """Messages whose answer left before a sync of the WAL that follows the commit of their transaction.

    A frame of the WAL is a header of 24 bytes and a page; bytes 4 to 8 of the header are not zero in
    the last frame of a transaction. https://www.sqlite.org/fileformat2.html#the_write_ahead_log
    """
    log = [call for call in calls if call.path.endswith("-wal")]
    frames = [
        (page, header.data[4:8] != bytes(4))
        for header, page in zip(log, log[1:])
        if header.name in WRITES and len(header.data) == 24 and page.name in WRITES
    ]
    syncs = [call for call in log if call.name in SYNCS and call.result == 0]

    def durable_at(marker: bytes) -> tuple[float | None, str]:
        first = next((n for n, (page, _) in enumerate(frames) if marker in page.data), None)
        if first is None:
            return None, "not found in the WAL"
        commit = next((page for page, commits in frames[first:] if commits), None)
        if commit is None:
            return None, "no commit in the WAL"
        return _synced(syncs, commit.end)

    return _early(calls, messages, durable_at)


def early_answers_postgres(calls: list[Call], messages: list[Sent]) -> list[str]:
    """Messages whose answer left before a sync of the WAL segment to which they were written."""
    log = [call for call in calls if re.search(r"/pg_wal/[0-9A-F]{24}$", call.path)]
    writes = [call for call in log if call.name in WRITES]
    syncs = [call for call in log if call.name in SYNCS and call.result == 0]

    def durable_at(marker: bytes) -> tuple[float | None, str]:
        written = next((call for call in writes if marker in call.data), None)
        if written is None:
            return None, "not found in the WAL"
        return _synced([call for call in syncs if call.path == written.path], written.end)

    return _early(calls, messages, durable_at)


def _synced(syncs: list[Call], written: float) -> tuple[float | None, str]:
    sync = next((call for call in syncs if call.start + ROUNDING_S >= written), None)
    return (sync.end, "") if sync else (None, "no sync after its commit")


def _early(calls: list[Call], messages: list[Sent], durable_at) -> list[str]:
    out = [call for call in calls if call.name in WRITES and not call.path.startswith("/")]
    problems = []
    for message in messages:
        name = message.marker.decode()
        # In an answer to a client, of any kind; a statement to the database holds the bare id.
        told = re.compile(rb'"event_id"\s*:\s*"' + re.escape(message.event_id) + b'"')
        answer = next((call for call in out if told.search(call.data)), None)
        if answer is None:
            problems.append(f"{name}: its answer is not in the trace")
            continue
        durable, why = durable_at(message.marker)
        if durable is None:
            problems.append(f"{name}: {why}")
        elif durable > answer.start + ROUNDING_S:
            problems.append(f"{name}: answered {(durable - answer.start) * 1000:.3f} ms before it was durable")
    return problems
