"""A copy of the database is put back under clients that encrypt, on both engines."""

import asyncio
import unittest

from encrypted_conversation import EncryptedConversation
from harness.engines import Postgres, Sqlite


class Restoring(EncryptedConversation):
    """The tests; a subclass names the engine."""

    async def test_what_is_said_after_a_copy_was_put_back_is_read_by_everybody(self) -> None:
        jon, nia, sam = everyone = await self.three()
        room = await self.room_of(*everyone)
        for device in everyone:
            await self.say(device, room, f"in the copy, {device.user_id}", everyone)
        await self.all_read(room)
        copy = self.server.folder / "copy"
        await asyncio.to_thread(self.server.copy_database, copy)
        # Rooms, messages and keys that will be gone; who is new then is unknown.
        forgotten = await self.room_of(*everyone)
        for where in (room, forgotten):
            for device in everyone:
                await self.say(device, where, f"not in the copy, {device.user_id}", everyone)
            await self.all_read(where)
        lost = await self.js_device(jon.user_id)

        await asyncio.to_thread(self.server.stop)
        await asyncio.to_thread(self.server.put_database_back, copy)
        self.assertIn("the server can start now", await asyncio.to_thread(self.server.run, "restored"))
        await asyncio.to_thread(self.server.start)
        for device in (jon, lost):
            await device.call("retryImmediately")
        await lost.until(lambda: lost.was_told("logged out"), "the end of a session that the copy doesn't know")

        for device in (nia, sam):
            await self.knows_devices(device, jon.user_id, [jon])
        for n in range(2):
            for device in everyone:
                await self.say(device, room, f"afterwards, {n}, {device.user_id}", everyone)
        await self.all_read(room)
        # Devices have new one-time keys: a new one reaches them. matrix-nio makes no more where there are none left.
        phone = await self.js_device(jon.user_id)
        for device in everyone:
            await self.knows_devices(device, jon.user_id, [jon, phone])
        for device in everyone:
            await self.say(device, room, f"to the new device, {device.user_id}", [*everyone, phone])
        await self.say(phone, room, "from the new device", [jon, sam])
        await self.all_read(room)


class RestoringOnSqlite(Restoring, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class RestoringOnPostgres(Restoring, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
