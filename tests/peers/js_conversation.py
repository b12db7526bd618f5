"""What conversations between users of matrix-js-sdk have in common."""

import asyncio

from harness.driven_user import PASSWORD, Refused
from harness.server import Server
from js_user import JsUser


class JsConversation:
    """A server and its users; a subclass has the tests, and one of that names the engine."""

    engine_type: type
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server(cls.engine_type())
        cls.addClassCleanup(cls.server.close)
        cls.server.start()
        cls.users = 0

    async def client(self) -> JsUser:
        user = await JsUser.begin(self.server.url)
        self.addAsyncCleanup(user.close)
        return user

    async def person(self, name: str) -> JsUser:
        type(self).users += 1
        user = await self.client()
        await user.register(f"{name}{self.users}")
        self.assertEqual(user.user_id, f"@{name}{self.users}:localhost")
        return user

    async def two_in_a_room(self) -> tuple[JsUser, JsUser, str]:
        ann, ben = await self.person("ann"), await self.person("ben")
        await asyncio.gather(ann.start_syncing(), ben.start_syncing())
        room = (await ann.call("createRoom", {"name": "Tea", "preset": "private_chat"}))["room_id"]
        await ann.call("invite", room, ben.user_id)
        await ben.until(lambda: ben.was_told("membership", room=room, membership="invite"), "the invite")
        await ben.do("join", room=room)
        await ben.until(lambda: ben.was_told("membership", room=room, membership="join"), "the room")
        joined = {"room": room, "type": "m.room.member", "state_key": ben.user_id, "content": {"membership": "join"}}
        await ann.until(lambda: ann.was_told("timeline", **joined), "Ben's joining")
        return ann, ben, room

    async def device_of(self, user: JsUser) -> JsUser:
        """Another device of a user, which syncs."""
        other = await self.client()
        await other.login(user.user_id)
        await other.start_syncing()
        return other

    async def refused(self, request, errcode: str) -> None:
        with self.assertRaises(Refused) as caught:
            await request
        self.assertEqual(caught.exception.errcode, errcode, caught.exception)

    @staticmethod
    def password(user_id: str, password: str = PASSWORD) -> dict:
        """What to say at the password stage."""
        return {"m.login.password": {"identifier": {"type": "m.id.user", "user": user_id}, "password": password}}
