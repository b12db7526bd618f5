"""Runs the tests of folders: one line for each test, then `N passed, N failed, N skipped`.

    python3 tests/run.py FOLDER… [-k PART_OF_A_NAME] [--only FILE]
"""

import argparse
import signal
import sys
import time
import unittest
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))


class Lines(unittest.TestResult):
    """Prints a line when a test ends, and what it said when it failed."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0
        self.failed: set[str] = set()
        self._began = 0.0

    def startTest(self, test) -> None:
        super().startTest(test)
        self._began = time.monotonic()

    def addSuccess(self, test) -> None:
        super().addSuccess(test)
        self.passed += 1
        self._line("ok", test)

    def addError(self, test, err) -> None:
        super().addError(test, err)
        self.failed.add(test.id())
        self._line("FAILED", test, self.errors[-1][1])

    def addFailure(self, test, err) -> None:
        super().addFailure(test, err)
        self.failed.add(test.id())
        self._line("FAILED", test, self.failures[-1][1])

    def addSkip(self, test, reason) -> None:
        super().addSkip(test, reason)
        self._line("skipped", test, reason)

    def addExpectedFailure(self, test, err) -> None:
        self.addSkip(test, "an expected failure is not a pass")

    def addUnexpectedSuccess(self, test) -> None:
        self.addSkip(test, "an unexpected success: remove the expectation")

    def addSubTest(self, test, subtest, err) -> None:
        if err is not None:
            self.addFailure(subtest, err)

    def _line(self, outcome: str, test, detail: str = "") -> None:
        seconds = time.monotonic() - self._began if self._began else 0.0
        print(f"{outcome:7} {test.id()} ({seconds:.1f} s)", flush=True)
        if outcome == "FAILED":
            # What a test knows besides: that of a part of a test is the test's.
            whole = getattr(test, "test_case", test)
            detail += getattr(whole, "after_failure", str)()
        if detail:
            print("    " + detail.rstrip().replace("\n", "\n    "), flush=True)


def tests_of(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The tests in a suite and in those inside it, in order."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from tests_of(item)
        else:
            yield item


class Only:
    """The tests that a file names: one pattern on a line, as in a shell, and comments after `#`."""

    def __init__(self, path: Path) -> None:
        lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
        self.unused = {line for line in lines if line}
        self._patterns = frozenset(self.unused)

    def allows(self, test: unittest.TestCase) -> bool:
        # A file that cannot be imported becomes a test of its own, which fails.
        matching = {pattern for pattern in self._patterns if fnmatchcase(test.id(), pattern)}
        self.unused -= matching
        return bool(matching) or test.id().startswith("unittest.loader.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("-k", dest="names", action="append", help="only tests whose name contains this")
    parser.add_argument("--only", type=Path, metavar="FILE", help="only tests that this file names")
    arguments = parser.parse_args()
    # What tests started ends with them, also when they are ended from outside.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    loader = unittest.TestLoader()
    if arguments.names:
        loader.testNamePatterns = [f"*{name}*" for name in arguments.names]
    only = Only(arguments.only) if arguments.only else None
    result = Lines()
    for folder in arguments.folders:
        found = loader.discover(str(folder.resolve()), pattern="test_*.py", top_level_dir=str(folder.resolve()))
        if only:
            found = unittest.TestSuite(test for test in tests_of(found) if only.allows(test))
        found.run(result)
    unused = sorted(only.unused) if only and not arguments.names else []
    for pattern in unused:
        print(f"FAILED  {arguments.only}: there is no test {pattern}", flush=True)
    failed = len(result.failed) + len(unused)
    skipped = len(result.skipped)
    print(f"{result.passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if result.passed and not failed and not skipped else 1


if __name__ == "__main__":
    sys.exit(main())
