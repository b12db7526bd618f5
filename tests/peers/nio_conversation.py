"""What conversations between users of matrix-nio have in common."""

from collections.abc import Awaitable

import nio
from harness.server import Server
from nio import AsyncClient
from nio_user import PASSWORD, NioUser, new_client


class NioConversation:
    """A server and its users; a subclass has the tests, and one of that names the engine."""

    engine_type: type
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server(cls.engine_type())
        cls.addClassCleanup(cls.server.close)
        cls.server.start()
        cls.users = 0

    def client(self, user: str = "") -> AsyncClient:
        return new_client(self.server.url, user)

    async def ok(self, request: Awaitable, kind: type):
        answer = await request
        self.assertIsInstance(answer, kind, answer)
        return answer

    async def person(self, name: str) -> NioUser:
        """Registers a user, who then logs in on a device of their own."""
        type(self).users += 1
        username = f"{name}{self.users}"
        registering = self.client()
        registered = await self.ok(registering.register(username, PASSWORD), nio.RegisterResponse)
        await registering.close()
        self.assertEqual(registered.user_id, f"@{username}:localhost")

        client = self.client(registered.user_id)
        logged_in = await self.ok(client.login(PASSWORD, device_name="a laptop"), nio.LoginResponse)
        self.assertEqual(logged_in.user_id, registered.user_id)
        self.assertNotEqual(logged_in.device_id, registered.device_id)
        self.assertNotEqual(logged_in.access_token, registered.access_token)
        person = NioUser(client)
        self.addAsyncCleanup(person.close)
        return person

    async def send(self, person: NioUser, room: str, body: str) -> str:
        content = {"msgtype": "m.text", "body": body}
        return (await self.ok(person.client.room_send(room, "m.room.message", content), nio.RoomSendResponse)).event_id

    async def two_in_a_room(self) -> tuple[NioUser, NioUser, str]:
        ann, ben = await self.person("ann"), await self.person("ben")
        ann.start_syncing()
        ben.start_syncing()
        return ann, ben, await self.room_of(ann, ben)

    async def room_of(self, ann: NioUser, ben: NioUser, version: str | None = None) -> str:
        """Ann makes a private room and invites Ben, who joins once /sync shows the invite."""
        created = await self.ok(ann.client.room_create(name="Tea", room_version=version), nio.RoomCreateResponse)
        room = created.room_id
        await self.ok(ann.client.room_invite(room, ben.user_id), nio.RoomInviteResponse)
        await ben.until(lambda: room in ben.client.invited_rooms, "the invite")
        self.assertEqual(ben.client.invited_rooms[room].inviter, ann.user_id)
        await self.ok(ben.client.join(room), nio.JoinResponse)
        await ben.until(lambda: room in ben.client.rooms, "the room")
        await ann.until(
            lambda: room in ann.client.rooms and ann.client.rooms[room].joined_count == 2, "Ben's joining"
        )
        return room

    async def both_saw(self, people: list[NioUser], expected: list[tuple[str, str, str]]) -> None:
        for person in people:
            await person.until(lambda person=person: len(person.seen) >= len(expected), f"{len(expected)} messages")
            self.assertEqual(person.seen, expected)
