"""A user whose client is a program of its own, driven by lines of JSON."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

PASSWORD = "a good secret"
WAIT_S = 30.0
ASK_AGAIN_S = 0.05
# A line may hold a room's whole history.
LINE_BYTES = 16 << 20


class Refused(Exception):
    """The library's request failed."""

    def __init__(self, error: dict) -> None:
        super().__init__(f"{error.get('status')} {error.get('errcode')}: {error.get('message')}")
        self.errcode = error.get("errcode")
        self.status = error.get("status")


class DrivenUser:
    """A user, their client in a process of its own, and what it told, in order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.user_id = ""
        self.device_id = ""
        self.told: list[dict] = []
        self._process = process
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future] = {}
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def run(cls, *command: str | Path) -> Self:
        """Starts the client's program."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=LINE_BYTES,
        )
        return cls(process)

    async def _read(self) -> None:
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            if "id" in told and "event" not in told:
                self._answered(self._asked.pop(told["id"]), told)
            else:
                async with self._news:
                    self.told.append(told)
                    self._news.notify_all()
        for asked in self._asked.values():
            self._answered(asked, {"error": {"message": "the process ended"}})

    @staticmethod
    def _answered(asked: asyncio.Future, answer: dict) -> None:
        # Whoever asked may have stopped waiting.
        if not asked.done():
            asked.set_result(answer)

    async def do(self, name: str, **request):
        """One command of the program. Raises `Refused`."""
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": number, "do": name, "with": request}) + "\n"
        self._process.stdin.write(line.encode())
        answer = await asyncio.wait_for(self._asked[number], WAIT_S)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["ok"]

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for what the client must tell."""
        try:
            async with asyncio.timeout(WAIT_S), self._news:
                await self._news.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"{self.user_id} waited {WAIT_S} s for {what}; was told {self.told[-20:]}") from None

    async def comes_to(self, ask: Callable[[], Awaitable], expected, what: str) -> None:
        """Asks for what the library works out by itself, until it is as expected."""
        answer = None
        try:
            async with asyncio.timeout(WAIT_S):
                while (answer := await ask()) != expected:
                    await asyncio.sleep(ASK_AGAIN_S)
        except TimeoutError:
            raise AssertionError(f"{self.user_id}: {what}: {answer} instead of {expected}") from None

    async def start_syncing(self) -> None:
        await self.do("start")
        await self.until(lambda: {"event": "sync", "state": "SYNCING"} in self.told, "the first sync")

    def was_told(self, event: str, **fields) -> bool:
        return any(told["event"] == event and fields.items() <= told.items() for told in self.told)

    def messages(self, room: str) -> list[tuple[str, str]]:
        """(sender, body) of the messages that arrived live in a room."""
        return [
            (told["sender"], told["content"].get("body"))
            for told in self.told
            if told["event"] == "timeline" and told["room"] == room and told["type"] == "m.room.message"
        ]

    def read(self, room: str) -> dict[str, str]:
        """The messages of a room that this client can read: event ids and bodies."""
        return {told["event_id"]: told["content"].get("body") for told in self._last(room) if self._is_read(told)}

    def unread(self, room: str) -> set[str]:
        """The encrypted events of a room that came and can't be read."""
        return {told["event_id"] for told in self._last(room) if "failure" in told}

    def why_unread(self, room: str, event: str) -> str:
        """Why an encrypted event can't be read."""
        told = [told for told in self._last(room) if told["event_id"] == event]
        return told[0].get("failure", "it can be read") if told else "it didn't come"

    def session(self, room: str, event: str) -> str:
        """The Megolm session that an event was encrypted with."""
        return next(told["session"] for told in self._last(room) if told["event_id"] == event)

    def _last(self, room: str) -> list[dict]:
        """What was told last of each event of a room."""
        lines = (told for told in self.told if told["event"] in ("timeline", "decrypted") and told["room"] == room)
        return list({told["event_id"]: told for told in lines}.values())

    @staticmethod
    def _is_read(told: dict) -> bool:
        return told["type"] == "m.room.message" and "failure" not in told

    async def close(self) -> None:
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), WAIT_S)
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            await self._reader
