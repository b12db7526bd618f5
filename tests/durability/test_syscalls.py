"""The reader of traces finds what it is for: an answer before its sync, in traces made by hand."""

import unittest

from syscalls import Sent, early_answers_postgres, early_answers_sqlite, read

MESSAGE = Sent(b"marker-1", b"$event1")
WAL = "/data/starling.db-wal"
SEGMENT = "/data/pg_wal/000000010000000000000001"


def hexadecimal(data: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def write(at: float, path: str, data: bytes) -> str:
    return f"7 {at:.6f} pwrite64(12<{path}>, {hexadecimal(data)}, {len(data)}, 0) = {len(data)} <0.000010>"


def frame(at: float, page: bytes, commit: bool) -> list[str]:
    header = bytes(4) + (9 if commit else 0).to_bytes(4, "big") + bytes(16)
    return [write(at, WAL, header), write(at + 0.0001, WAL, page)]


def sync(at: float, path: str = WAL, result: str = "0") -> str:
    return f"7 {at:.6f} fdatasync(12<{path}>) = {result} <0.002000>"


def answer(at: float) -> str:
    parts = [b"HTTP/1.1 200 OK\r\n\r\n", b'{"event_id":"$event1"}']
    vectors = ", ".join(f"{{iov_base={hexadecimal(part)}, iov_len={len(part)}}}" for part in parts)
    return f"8 {at:.6f} writev(15<socket:[4711]>, [{vectors}], 2) = 41 <0.000020>"


class Sqlite(unittest.TestCase):
    def problems(self, *lines: str) -> list[str]:
        return early_answers_sqlite(read(lines), [MESSAGE])

    def test_an_answer_after_the_sync_is_right(self) -> None:
        lines = [*frame(1.0, b"..marker-1..", False), *frame(1.1, b"....", True), sync(1.2), answer(1.3)]
        self.assertEqual(self.problems(*lines), [])

    def test_an_answer_before_the_sync_is_found(self) -> None:
        problems = self.problems(*frame(1.0, b"..marker-1..", True), answer(1.1), sync(1.2))
        self.assertEqual(problems, ["marker-1: answered 102.000 ms before it was durable"])

    def test_an_answer_during_the_sync_is_found(self) -> None:
        lines = [
            *frame(1.0, b"..marker-1..", True),
            f"7 1.200000 fdatasync(12<{WAL}> <unfinished ...>",
            answer(1.201),
            "7 1.202000 <... fdatasync resumed>) = 0 <0.002000>",
        ]
        self.assertEqual(self.problems(*lines), ["marker-1: answered 1.000 ms before it was durable"])

    def test_a_sync_before_the_commit_frame_does_not_count(self) -> None:
        lines = [*frame(1.0, b"..marker-1..", False), sync(1.1), *frame(1.2, b"....", True), answer(1.3)]
        self.assertEqual(self.problems(*lines), ["marker-1: no sync after its commit"])

    def test_a_sync_of_another_file_or_one_that_failed_does_not_count(self) -> None:
        lines = frame(1.0, b"..marker-1..", True)
        for other in (sync(1.1, "/data/starling.db"), sync(1.1, WAL, "-1 EIO (Input/output error)")):
            self.assertEqual(self.problems(*lines, other, answer(1.3)), ["marker-1: no sync after its commit"])

    def test_what_is_missing_from_the_trace_is_a_problem(self) -> None:
        lines = frame(1.0, b"..marker-1..", True)
        self.assertEqual(self.problems(*lines, sync(1.1)), ["marker-1: its answer is not in the trace"])
        self.assertEqual(self.problems(sync(1.1), answer(1.2)), ["marker-1: not found in the WAL"])


class Postgres(unittest.TestCase):
    def problems(self, *lines: str) -> list[str]:
        return early_answers_postgres(read(lines), [MESSAGE])

    def test_an_answer_after_the_sync_is_right(self) -> None:
        self.assertEqual(self.problems(write(1.0, SEGMENT, b"marker-1"), sync(1.1, SEGMENT), answer(1.2)), [])

    def test_an_answer_before_the_sync_is_found(self) -> None:
        problems = self.problems(write(1.0, SEGMENT, b"marker-1"), answer(1.1), sync(1.2, SEGMENT))
        self.assertEqual(problems, ["marker-1: answered 102.000 ms before it was durable"])

    def test_a_sync_of_another_segment_does_not_count(self) -> None:
        problems = self.problems(write(1.0, SEGMENT, b"marker-1"), sync(1.1, SEGMENT[:-1] + "2"), answer(1.2))
        self.assertEqual(problems, ["marker-1: no sync after its commit"])
