"""Encrypted rooms with users of matrix-js-sdk, matrix-sdk and matrix-nio in them, on both engines."""

import asyncio
import unittest
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path

import nio
from encrypted_conversation import ENCRYPTION, Device, EncryptedConversation
from harness.driven_user import WAIT_S
from harness.engines import Postgres, Sqlite
from js_user import JsUser
from nio_user import EncryptingNioUser


class EncryptedRooms(EncryptedConversation):
    """The tests; a subclass names the engine."""

    async def test_all_libraries_read_what_the_server_cannot(self) -> None:
        jon, nia, sam = everyone = await self.three()
        for creator, others in ((jon, (nia, sam)), (nia, (sam, jon))):
            room = await self.room_of(creator, *others, topic="Bergamot")
            events = [await self.say(device, room, f"Lapsang, {device.user_id}?", everyone) for device in (*everyone, jon)]
            await self.all_read(room)
            for event in events:
                stored = await self.on_server(jon, room, event)
                self.assertEqual(stored["type"], "m.room.encrypted")
                self.assertEqual(stored["content"]["algorithm"], "m.megolm.v1.aes-sha2")
                self.assertNotIn("Lapsang", str(stored))
        self.assertTrue(await asyncio.to_thread(self._is_on_disk, b"Bergamot"), "the search finds what is there")
        self.assertFalse(await asyncio.to_thread(self._is_on_disk, b"Lapsang"))

    def _is_on_disk(self, word: bytes) -> bool:
        if isinstance(self.engine, Postgres):
            self.engine.run("CHECKPOINT")
            folder = Postgres.data_folder() / "base"
        else:
            folder = self.server.folder
        return any(word in _bytes_of(path) for path in folder.rglob("*"))

    async def test_a_new_device_reads_what_is_said_from_then_on(self) -> None:
        jon, nia, sam = old = await self.three()
        room = await self.room_of(*old)
        before = [await self.say(device, room, "before", old) for device in old]
        await self.all_read(room)
        new = await asyncio.gather(
            self.js_device(jon.user_id), self.nio_device(nia.user_id), self.sdk_device(sam.user_id)
        )
        everyone = [*old, *new]
        for device in everyone:
            for first, second in zip(old, new, strict=True):
                await self.knows_devices(device, first.user_id, [first, second])
        for device in everyone:
            await self.say(device, room, f"from {device.device_id}", everyone)
        await self.all_read(room)
        for device in new:
            await self.cannot_read(device, room, *before)

    async def test_a_device_that_is_gone_gets_no_more_keys(self) -> None:
        jon, nia = await asyncio.gather(self.js_person("jon"), self.nio_person("nia"))
        room = await self.room_of(jon, nia)
        phone, tablet = await asyncio.gather(self.js_device(jon.user_id), self.nio_device(nia.user_id))
        for device in (jon, nia):
            await self.knows_devices(device, jon.user_id, [jon, phone])
            await self.knows_devices(device, nia.user_id, [nia, tablet])
        first = [await self.say(device, room, "to four devices", [jon, nia, phone, tablet]) for device in (jon, nia)]
        await self.all_read(room)

        # One is deleted by its user's other device, the other logs out.
        await jon.with_auth("deleteDevice", phone.device_id, **self.password(jon.user_id))
        await phone.until(lambda: phone.was_told("logged out"), "the end of the session")
        await tablet.stop_syncing()
        self.assertIsInstance(await tablet.client.logout(), nio.LogoutResponse)
        for device in (jon, nia):
            await self.knows_devices(device, jon.user_id, [jon])
            await self.knows_devices(device, nia.user_id, [nia])
        self.assertEqual(set(await self.devices_on_server(jon.user_id)), {jon.device_id})
        self.assertEqual(set(await self.devices_on_server(nia.user_id)), {nia.device_id})
        second = [await self.say(device, room, "to two devices", [jon, nia]) for device in (jon, nia)]
        await self.all_read(room)
        sessions = {nia.session(room, event) for event in first + second}
        self.assertEqual(len(sessions), 4, "those who send use new keys, which the old devices never get")

    async def test_who_left_or_was_kicked_reads_nothing_more(self) -> None:
        jon, kim, nia = await asyncio.gather(self.js_person("jon"), self.js_person("kim"), self.nio_person("nia"))
        room = await self.room_of(jon, kim, nia)
        everyone = [jon, kim, nia]
        first = [await self.say(device, room, "with Kim", everyone) for device in (jon, nia)]
        await self.all_read(room)
        await jon.call("kick", room, kim.user_id, "no tea")
        await kim.until(lambda: kim.was_told("membership", room=room, membership="leave"), "the kick")
        for device in (jon, nia):
            await self.sees_members(device, room, {jon.user_id, nia.user_id})
        second = [await self.say(device, room, "without Kim", [jon, nia]) for device in (jon, nia)]
        await self.all_read(room)

        # Who comes back reads from then on, and not what was said meanwhile.
        await self.invite(jon, room, kim)
        await self.all_are_in(room, everyone)
        third = [await self.say(device, room, "Kim is back", everyone) for device in everyone]
        await self.all_read(room)
        seen = await kim.do("history", room=room)
        self.assertEqual({e["event_id"] for e in seen if "failure" in e}, set(second) & {e["event_id"] for e in seen})
        self.assertEqual(set(kim.read(room)) & set(second), set())
        self.count.kept_secret += len(second)

        await nia.client.room_leave(room)
        for device in (jon, kim):
            await self.sees_members(device, room, {jon.user_id, kim.user_id})
        fourth = [await self.say(device, room, "without Nia", [jon, kim]) for device in (jon, kim)]
        await self.all_read(room)
        self.assertEqual(set(nia.read(room)) & set(fourth), set())
        for before, after in ((first[0], second[0]), (first[1], second[1]), (third[0], fourth[0])):
            self.assertNotEqual(jon.session(room, before), jon.session(room, after), "who is gone has no key of this")

    async def test_a_session_ends_after_as_many_messages_as_the_room_says(self) -> None:
        jon, nia = await asyncio.gather(self.js_person("jon"), self.nio_person("nia"))
        content = ENCRYPTION["content"] | {"rotation_period_msgs": 3}
        room = await self.room_of(jon, nia, encryption=ENCRYPTION | {"content": content})
        events = [await self.say(jon, room, f"line {n}", [nia]) for n in range(7)]
        await self.all_read(room)
        sessions = [nia.session(room, event) for event in events]
        self.assertEqual([sessions.index(session) for session in sessions], [0, 0, 0, 3, 3, 3, 6])

    async def test_without_one_time_keys_the_fallback_key_serves(self) -> None:
        jon, kim, nia = await asyncio.gather(self.js_person("jon"), self.js_person("kim"), self.nio_person("nia"))
        room = await self.room_of(jon, kim, nia)
        session = await self.raw(jon)
        before = await asyncio.to_thread(session.sync)
        self.assertEqual(before["device_unused_fallback_key_types"], ["signed_curve25519"])
        ready = before["device_one_time_keys_count"]["signed_curve25519"]
        self.assertGreater(ready, 0)

        jon.freeze()
        claimed = await asyncio.to_thread(self._claim_all, jon)
        self.assertEqual(len(claimed), ready, "each one-time key is given out once")
        empty = await asyncio.to_thread(session.sync)
        self.assertEqual(empty["device_one_time_keys_count"].get("signed_curve25519"), 0)
        self.assertEqual(empty["device_unused_fallback_key_types"], [])
        for device in (kim, nia):
            await self.say(device, room, f"by the fallback key, {device.user_id}", [jon, kim, nia])
        jon.thaw()
        await self.all_read(room)
        async with asyncio.timeout(WAIT_S):
            while (await asyncio.to_thread(session.sync))["device_one_time_keys_count"]["signed_curve25519"] < ready:
                await asyncio.sleep(0.05)
        await self.say(jon, room, "back again", [kim, nia])
        await self.all_read(room)

    def _claim_all(self, device: JsUser) -> list[str]:
        """Claims a device's one-time keys until it gets the fallback key, and returns their ids."""
        wanted = {"one_time_keys": {device.user_id: {device.device_id: "signed_curve25519"}}}
        claimed: list[str] = []
        while True:
            answer = self.watcher.call("POST", "/v3/keys/claim", wanted)
            ((key_id, key),) = answer["one_time_keys"][device.user_id][device.device_id].items()
            if key.get("fallback"):
                return claimed
            self.assertNotIn(key_id, claimed)
            claimed.append(key_id)

    async def test_what_was_said_around_crashes_is_read_by_everybody(self) -> None:
        """While three users talk and change their keys often, the server is stopped, and killed when a new device logs in."""
        jon, nia, sam = everyone = await self.three()
        content = ENCRYPTION["content"] | {"rotation_period_msgs": 4}
        room = await self.room_of(*everyone, encryption=ENCRYPTION | {"content": content})
        phone = await self.js_client()
        sent = 0

        async def talk(device: Device) -> None:
            nonlocal sent
            for n in range(16):
                if isinstance(device, EncryptingNioUser) and n % 4 == 0:
                    device.client.invalidate_outbound_session(room)
                await self.say(device, room, f"line {n} of {device.user_id}", everyone)
                sent += 1

        async def interruptions() -> None:
            await self._until(lambda: sent >= 9)
            await self._down(self.server.stop, everyone)
            await self._until(lambda: sent >= 24)
            await phone.login(jon.user_id)
            await self._down(self.server.kill, [*everyone, phone], phone.start_syncing())

        await asyncio.gather(*(talk(device) for device in everyone), interruptions())
        await self.has_keys(phone)
        await self.all_read(room)
        history = await asyncio.to_thread((await self.raw(jon)).history, room)
        self.assertEqual(sum(event["type"] == "m.room.encrypted" for event in history), sent, "nothing is there twice")

        for device in (nia, sam):
            await self.knows_devices(device, jon.user_id, [jon, phone])
        for device in [*everyone, phone]:
            await self.say(device, room, f"afterwards, {device.device_id}", [*everyone, phone])
        await self.all_read(room)

    @staticmethod
    async def _until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.005)

    async def _down(self, end: Callable[[], object], users: list[Device], *meanwhile: Coroutine) -> None:
        """Ends the server, and starts it on the same folder and port. What is done `meanwhile` begins without a server."""
        await asyncio.to_thread(end)
        tasks = [asyncio.create_task(coroutine) for coroutine in meanwhile]
        await asyncio.to_thread(self.server.start)
        for user in users:
            if isinstance(user, JsUser):
                # Not after the seconds that a client waits otherwise.
                await user.call("retryImmediately")
        await asyncio.gather(*tasks)


def _bytes_of(path: Path) -> bytes:
    # A database removes files as it likes.
    with suppress(FileNotFoundError):
        return path.read_bytes() if path.is_file() else b""
    return b""


class EncryptedRoomsOnSqlite(EncryptedRooms, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class EncryptedRoomsOnPostgres(EncryptedRooms, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
