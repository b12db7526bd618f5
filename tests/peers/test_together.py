"""A user of matrix-nio and one of matrix-js-sdk in the same rooms, of every version, on both engines."""

import asyncio
import unittest

import nio
from harness.engines import Postgres, Sqlite
from harness.server import Server
from js_user import JsUser
from nio_user import PASSWORD, NioUser, new_client

VERSIONS = [str(version) for version in range(1, 13)]


class Together:
    """The tests; a subclass names the engine."""

    engine_type: type

    async def asyncSetUp(self) -> None:
        self.server = Server(self.engine_type())
        self.addCleanup(self.server.close)
        self.server.start()

        client = new_client(self.server.url)
        registered = await client.register("nia", PASSWORD)
        self.assertIsInstance(registered, nio.RegisterResponse, registered)
        self.nia = NioUser(client)
        self.addAsyncCleanup(self.nia.close)
        self.redacted: list[tuple[str, str]] = []
        client.add_event_callback(self._redacted, nio.RedactionEvent)

        self.jon = await JsUser.begin(self.server.url)
        self.addAsyncCleanup(self.jon.close)
        await self.jon.register("jon")
        await self.jon.start_syncing()
        self.nia.start_syncing()

    async def _redacted(self, room: nio.MatrixRoom, event: nio.RedactionEvent) -> None:
        self.redacted.append((room.room_id, event.redacts))

    async def test_every_version_of_rooms(self) -> None:
        for number, version in enumerate(VERSIONS):
            with self.subTest(version=version):
                room = await self._room_of_nia(version) if number % 2 else await self._room_of_jon(version)
                await self._talk(room, version)

    async def test_tags_and_ignored_users(self) -> None:
        """What Jon sets with one library counts on his device with the other."""
        client = new_client(self.server.url, self.jon.user_id)
        phone = NioUser(client)
        self.addAsyncCleanup(phone.close)
        logged_in = await client.login(PASSWORD)
        self.assertIsInstance(logged_in, nio.LoginResponse, logged_in)
        tags: list[tuple[str, dict]] = []

        async def tagged(where: nio.MatrixRoom, event: nio.TagEvent) -> None:
            tags.append((where.room_id, event.tags))

        client.add_room_account_data_callback(tagged, nio.TagEvent)
        phone.start_syncing()
        room = await self._room_of_jon("12")
        await phone.until(lambda: room in client.rooms, "the room")
        await self.jon.call("setRoomTag", room, "m.favourite", {"order": 0.25})
        await phone.until(lambda: bool(tags), "the tag")
        self.assertEqual(tags, [(room, {"m.favourite": {"order": 0.25}})])

        await self.jon.call("setIgnoredUsers", [self.nia.user_id])
        said = await self.nia.client.room_send(room, "m.room.message", {"msgtype": "m.text", "body": "unheard"})
        self.assertIsInstance(said, nio.RoomSendResponse, said)
        await self.jon.send(room, "heard")
        await phone.until(lambda: bool(phone.seen), "Jon's own words")
        self.assertEqual(phone.seen, [(room, self.jon.user_id, "heard")])
        await self.jon.call("setIgnoredUsers", [])
        missed = (room, self.nia.user_id, "unheard")
        await phone.until(lambda: missed in phone.seen, "what Nia said meanwhile")

    async def _room_of_nia(self, version: str) -> str:
        created = await self.nia.client.room_create(name="Tea", room_version=version, invite=[self.jon.user_id])
        self.assertIsInstance(created, nio.RoomCreateResponse, created)
        room = created.room_id
        await self.jon.until(lambda: self.jon.was_told("membership", room=room, membership="invite"), "the invite")
        await self.jon.do("join", room=room)
        await self._both_are_in(room)
        return room

    async def _room_of_jon(self, version: str) -> str:
        request = {"name": "Tea", "room_version": version, "invite": [self.nia.user_id]}
        room = (await self.jon.call("createRoom", request))["room_id"]
        await self.nia.until(lambda: room in self.nia.client.invited_rooms, "the invite")
        joined = await self.nia.client.join(room)
        self.assertIsInstance(joined, nio.JoinResponse, joined)
        await self._both_are_in(room)
        return room

    async def _both_are_in(self, room: str) -> None:
        await self.jon.until(lambda: self.jon.was_told("membership", room=room, membership="join"), "the room")
        for user_id in (self.jon.user_id, self.nia.user_id):
            joined = {"room": room, "type": "m.room.member", "state_key": user_id, "content": {"membership": "join"}}
            await self.jon.until(lambda joined=joined: self.jon.was_told("timeline", **joined), "both in the room")
        rooms = self.nia.client.rooms
        await self.nia.until(lambda: room in rooms and rooms[room].joined_count == 2, "both in the room")

    async def _talk(self, room: str, version: str) -> None:
        """Both say things; both see the same in the same order; one thing is taken back; the history is one."""
        self.assertEqual(self.nia.client.rooms[room].room_version, version)
        seen_by_jon = await self.jon.do("room", room=room)
        self.assertEqual((seen_by_jon["name"], seen_by_jon["version"]), ("Tea", version))

        said, ids = [], []
        for n in range(4):
            body = f"version {version}, line {n} — 茶"
            if n % 2:
                content = {"msgtype": "m.text", "body": body}
                answer = await self.nia.client.room_send(room, "m.room.message", content)
                self.assertIsInstance(answer, nio.RoomSendResponse, answer)
                ids.append(answer.event_id)
            else:
                ids.append(await self.jon.send(room, body))
            said.append(((self.jon, self.nia)[n % 2].user_id, body))

        def heard_by_nia() -> list[tuple[str, str]]:
            return [(sender, body) for (where, sender, body) in self.nia.seen if where == room]

        await self.nia.until(lambda: len(heard_by_nia()) == 4, "4 messages")
        await self.jon.until(lambda: len(self.jon.messages(room)) == 4, "4 messages")
        self.assertEqual(heard_by_nia(), said)
        self.assertEqual(self.jon.messages(room), said)

        await self.jon.call("redactEvent", room, ids[0])
        await self.nia.until(lambda: (room, ids[0]) in self.redacted, "the redaction")
        answer = await self.nia.client.room_messages(room, limit=100)
        self.assertIsInstance(answer, nio.RoomMessagesResponse, answer)
        # Not its timeline, in which what it sends itself stands where it was when it was sent.
        history = (await self.jon.call("createMessagesRequest", room, None, 100, "b"))["chunk"]
        self.assertEqual([e["event_id"] for e in history], [e.event_id for e in answer.chunk])
        redacted = [e["event_id"] for e in history if "redacted_because" in e.get("unsigned", {})]
        self.assertEqual(redacted, [ids[0]])


class TogetherOnSqlite(Together, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class TogetherOnPostgres(Together, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
