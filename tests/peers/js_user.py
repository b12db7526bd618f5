"""A user of matrix-js-sdk: the program js/peer.js, driven by lines of JSON."""

import asyncio
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

PASSWORD = "a good secret"
WAIT_S = 30.0
# A line may hold a room's whole history.
LINE_BYTES = 16 << 20


class Refused(Exception):
    """The library's request failed."""

    def __init__(self, error: dict) -> None:
        super().__init__(f"{error.get('status')} {error.get('errcode')}: {error.get('message')}")
        self.errcode = error.get("errcode")
        self.status = error.get("status")


class JsUser:
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
    async def begin(cls, url: str) -> "JsUser":
        folder = Path(os.environ["STARLING_PEERS_JS"])
        process = await asyncio.create_subprocess_exec(
            folder / "node_modules/node/bin/node",
            folder / "peer.js",
            url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=LINE_BYTES,
        )
        return cls(process)

    async def _read(self) -> None:
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            if "id" in told:
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
        """One command of js/peer.js. Raises `Refused`."""
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": number, "do": name, "with": request}) + "\n"
        self._process.stdin.write(line.encode())
        answer = await asyncio.wait_for(self._asked[number], WAIT_S)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["ok"]

    async def call(self, method: str, *args):
        """Calls a method of the library's client."""
        return await self.do("call", method=method, args=list(args))

    async def with_auth(self, method: str, *before, after: tuple = (), **answers):
        """Calls a method that takes the answers of an interactive authentication."""
        return await self.do("withAuth", method=method, before=list(before), after=list(after), answers=answers)

    async def register(self, username: str, answers: dict | None = None) -> None:
        session = await self.do(
            "register", username=username, password=PASSWORD, answers=answers or {"m.login.dummy": {}}
        )
        self.user_id, self.device_id = session["user_id"], session["device_id"]

    async def login(self, user_id: str, password: str = PASSWORD, **more) -> None:
        identifier = {"type": "m.id.user", "user": user_id}
        session = await self.do("login", type="m.login.password", identifier=identifier, password=password, **more)
        self.user_id, self.device_id = session["user_id"], session["device_id"]

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for what the client must tell."""
        try:
            async with asyncio.timeout(WAIT_S), self._news:
                await self._news.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"{self.user_id} waited {WAIT_S} s for {what}; was told {self.told[-20:]}") from None

    async def start_syncing(self) -> None:
        await self.do("start")
        await self.until(lambda: {"event": "sync", "state": "SYNCING"} in self.told, "the first sync")

    def messages(self, room: str) -> list[tuple[str, str]]:
        """(sender, body) of the messages that arrived live in a room."""
        return [
            (told["sender"], told["content"].get("body"))
            for told in self.told
            if told["event"] == "timeline" and told["room"] == room and told["type"] == "m.room.message"
        ]

    def was_told(self, event: str, **fields) -> bool:
        return any(told["event"] == event and fields.items() <= told.items() for told in self.told)

    def was_told_of_receipt(self, room: str, event: str, kind: str, user: str) -> bool:
        return any(
            told["event"] == "receipt" and told["room"] == room and user in told["content"].get(event, {}).get(kind, {})
            for told in self.told
        )

    async def send(self, room: str, body: str) -> str:
        return (await self.call("sendTextMessage", room, body))["event_id"]

    async def close(self) -> None:
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), WAIT_S)
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            await self._reader
