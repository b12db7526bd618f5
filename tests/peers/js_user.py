"""A user of matrix-js-sdk: the program js/peer.js, driven by lines of JSON."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Self

from harness.driven_user import PASSWORD, DrivenUser


class JsUser(DrivenUser):
    """A user and one device of theirs."""

    @classmethod
    async def begin(cls, url: str, media: Path | None = None) -> Self:
        """Starts the client.

        With `media`, a folder for what it uploads, it encrypts; what it knows of keys is lost when it ends.
        """
        folder = Path(os.environ["STARLING_PEERS_JS"])
        return await cls.run(folder / "node_modules/node/bin/node", folder / "peer.js", url, *([media] if media else []))

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

    def was_told_of_receipt(self, room: str, event: str, kind: str, user: str) -> bool:
        return any(
            told["event"] == "receipt" and told["room"] == room and user in told["content"].get(event, {}).get(kind, {})
            for told in self.told
        )

    async def send(self, room: str, body: str) -> str:
        return (await self.call("sendTextMessage", room, body))["event_id"]

    async def say(self, room: str, body: str) -> str:
        """Like `send`, and tries again while the server isn't there."""
        return await self.do("say", room=room, body=body)

    def freeze(self) -> None:
        """Goes offline: the process does nothing until `thaw`."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def close(self) -> None:
        # It may have ended.
        with suppress(ProcessLookupError):
            self.thaw()
        await super().close()
