"""A user of matrix-sdk: the program of clients/peer, which encrypts, and forgets its keys when it ends."""

import os
from typing import Self

from harness.driven_user import PASSWORD, DrivenUser


class SdkUser(DrivenUser):
    """A user and one device of theirs."""

    @classmethod
    async def begin(cls, url: str) -> Self:
        return await cls.run(os.environ["STARLING_PEER_SDK"], url)

    async def register(self, username: str) -> None:
        session = await self.do("register", username=username, password=PASSWORD)
        self.user_id, self.device_id = session["user_id"], session["device_id"]

    async def login(self, user_id: str) -> None:
        session = await self.do("login", identifier={"user": user_id}, password=PASSWORD)
        self.user_id, self.device_id = session["user_id"], session["device_id"]

    async def say(self, room: str, body: str) -> str:
        """Sends a message and returns its event id. Tries again while the server isn't there."""
        return await self.do("say", room=room, body=body)

    async def devices(self, user_id: str) -> list[str]:
        """The devices of a user that this client knows of."""
        return await self.do("devices", user=user_id)

    async def until_it_knows(self, *users: DrivenUser) -> None:
        """Waits until this client knows exactly these devices of their users."""
        for user_id in {user.user_id for user in users}:
            known = sorted(user.device_id for user in users if user.user_id == user_id)
            await self.comes_to(lambda user_id=user_id: self.devices(user_id), known, f"{user_id}'s devices")

    async def cross_sign(self) -> None:
        """Makes keys for cross-signing and publishes them."""
        await self.do("crossSign", password=PASSWORD)

    async def back_up(self) -> str:
        """Makes the secret storage and a backup of all keys. The recovery key."""
        return await self.do("backUp")

    async def history(self, room: str) -> list[dict]:
        """All of a room that the server gives, oldest first."""
        return await self.do("history", room=room)
