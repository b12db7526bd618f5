"""Keys of messages that were said before a device or a member was there, on both engines: from the backup, from the user's
other device, from who invites."""

import asyncio
import unittest

from encrypted_conversation import ENCRYPTION, EncryptedConversation
from harness.driven_user import WAIT_S, Refused
from harness.engines import Postgres, Sqlite
from js_user import JsUser
from nio_user import EncryptingNioUser

# Every message has a session of its own, so each is a key in the backup.
OFTEN = ENCRYPTION | {"content": ENCRYPTION["content"] | {"rotation_period_msgs": 1}}


class KeyBackup(EncryptedConversation):
    """The tests; a subclass names the engine."""

    async def test_a_fresh_device_reads_everything_by_the_recovery_key(self) -> None:
        jon, nia = await asyncio.gather(self.js_person("jon"), self.nio_person("nia"))
        room = await self.room_of(jon, nia, encryption=OFTEN)
        old = [await self.say(jon, room, "before there is a backup", [nia])]
        await self.cross_sign(jon)
        recovery_key = await jon.do("backUp")
        await self._has_backed_up(jon, 1)
        first = await self._backup(jon)
        old += [await self.say(jon, room, f"line {n}", [nia]) for n in range(12)]
        old += [await self.say(nia, room, f"answer {n}", [jon]) for n in range(3)]
        await self.all_read(room)
        # Nia's three messages have one session.
        await self._has_backed_up(jon, 14)
        second = await self._backup(jon)
        self.assertEqual(first["version"], second["version"])
        self.assertNotEqual(first["etag"], second["etag"])

        phone = await self.js_device(jon.user_id)
        with self.assertRaises(Refused):
            await phone.do("recover", key=recovery_key[:-4] + "abcd")
        before = await phone.do("history", room=room)
        self.assertEqual({event["event_id"] for event in before if "failure" in event}, set(old))
        self.assertEqual(await phone.do("recover", key=recovery_key), {"total": 14, "imported": 14})
        await self._reads_history(phone, room, old)
        # It has signed itself with the keys from the secret storage, and goes on with the backup.
        trust = {"byOwner": True, "verified": True}
        for device in (jon, phone):
            await device.comes_to(
                lambda d=device: d.do("deviceTrust", user=jon.user_id, device=phone.device_id), trust, "the signature"
            )
        await self.knows_devices(nia, jon.user_id, [jon, phone])
        new = [await self.say(device, room, "from now on", [jon, phone, nia]) for device in (phone, nia)]
        await self.all_read(room)
        await self._has_backed_up(phone, 16)

        # Without any of the other devices.
        await jon.call("logout", True)
        tablet = await self.js_device(jon.user_id)
        self.assertEqual(await tablet.do("recover", key=recovery_key), {"total": 16, "imported": 16})
        await self._reads_history(tablet, room, old + new)

    async def _has_backed_up(self, device: JsUser, count: int) -> None:
        """Waits until the server says that so many keys are in the backup."""

        async with asyncio.timeout(WAIT_S):
            while (await self._backup(device))["count"] != count:
                await asyncio.sleep(0.05)

    async def _backup(self, device: JsUser) -> dict:
        """What the server says of the backup. The library itself remembers what it said once."""
        return await asyncio.to_thread((await self.raw(device)).call, "GET", "/v3/room_keys/version")

    async def _reads_history(self, device: JsUser, room: str, expected: list[str]) -> None:
        history = await device.do("history", room=room)
        encrypted = {event["event_id"]: event.get("failure") for event in history if event.get("session")}
        self.count.read += sum(failure is None for failure in encrypted.values())
        self.count.unreadable += sum(failure is not None for failure in encrypted.values())
        self.assertEqual(encrypted, dict.fromkeys(expected))

    async def test_a_new_device_asks_the_old_one_for_keys(self) -> None:
        nia, jon = await asyncio.gather(self.nio_person("nia"), self.js_person("jon"))
        room = await self.room_of(nia, jon)
        old = [await self.say(device, room, "before the tablet", [nia, jon]) for device in (nia, jon)]
        await self.all_read(room)
        tablet = await self.nio_device(nia.user_id)
        await tablet.until(lambda: len(tablet.unread(room)) == len(old), "the old messages, which it can't read")
        for device, other in ((nia, tablet), (tablet, nia)):
            await self.knows_devices(device, nia.user_id, [nia, tablet])
            self._trust(device, other)
        for event in old:
            await tablet.client.request_room_key(tablet.secret(room, event))
        await tablet.until(lambda: tablet.read(room).keys() >= set(old), "the keys")
        self.count.read += len(old)

    @staticmethod
    def _trust(device: EncryptingNioUser, other: EncryptingNioUser) -> None:
        device.client.verify_device(device.client.device_store[other.user_id][other.device_id])

    async def test_who_is_invited_reads_what_was_said_before(self) -> None:
        """Of the keys that may be passed on: matrix-nio doesn't say of its own that they may.

        What is uploaded goes by a stand-in; all else is the server's.
        """
        jon, kim, nia = await asyncio.gather(self.js_person("jon"), self.js_person("kim"), self.nio_person("nia"))
        await asyncio.gather(self.cross_sign(jon), self.cross_sign(kim))
        visible = {"type": "m.room.history_visibility", "content": {"history_visibility": "shared"}}
        room = await self.room_of(jon, nia, initial_state=[visible])
        old = [await self.say(jon, room, f"before Kim, {n}", [nia]) for n in range(3)]
        secret = await self.say(nia, room, "before Kim, by Nia", [jon])
        await self.all_read(room)
        await self.invite(jon, room, kim)
        await self.all_are_in(room, [jon, kim, nia])
        new = [await self.say(device, room, "with Kim", [jon, kim, nia]) for device in (jon, kim, nia)]
        await self.all_read(room)

        await kim.do("history", room=room)
        await kim.until(lambda: kim.read(room).keys() >= set(old + new), "the keys of what was said before")
        self.count.read += len(old)
        await self.cannot_read(kim, room, secret)


class KeyBackupOnSqlite(KeyBackup, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class KeyBackupOnPostgres(KeyBackup, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
