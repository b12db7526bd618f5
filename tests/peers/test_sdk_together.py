"""What clients of matrix-sdk and of matrix-js-sdk do for each other, also as devices of one user, on both engines."""

import asyncio
import unittest

from encrypted_conversation import EncryptedConversation
from harness.driven_user import DrivenUser
from harness.engines import Postgres, Sqlite


class SdkTogether(EncryptedConversation):
    """Jon's client is matrix-js-sdk, Sue's matrix-sdk. A subclass names the engine."""

    async def test_new_keys_after_somebody_left(self) -> None:
        jon, tom, sue = await asyncio.gather(self.js_person("jon"), self.js_person("tom"), self.sdk_person("sue"))
        ron = await self.sdk_person("ron")
        room = await self.room_of(jon, sue, tom, ron)
        stay = [jon, sue]
        before = [await self.say(device, room, "to four", [jon, sue, tom, ron]) for device in stay]
        await self.all_read(room)
        for leave in (lambda: tom.call("leave", room), lambda: ron.do("leave", room=room)):
            await leave()
        for device in stay:
            await self.sees_members(device, room, {jon.user_id, sue.user_id})
        after = [await self.say(device, room, "to two", stay) for device in stay]
        await self.all_read(room)
        for device, old, new in zip(stay, before, after, strict=True):
            self.assertNotEqual(device.session(room, new), device.session(room, old))
        for device in (tom, ron):
            self.assertEqual(device.read(room).keys() & set(after), set())

    async def test_emoji_between_devices_of_a_user(self) -> None:
        """The new device is signed, and gets the private keys of the old one, which is of the other library."""
        jon, sue = await asyncio.gather(self.js_person("jon"), self.sdk_person("sue"))
        await asyncio.gather(self.cross_sign(jon), sue.cross_sign())
        for old, new in ((jon, await self.sdk_device(jon.user_id)), (sue, await self.js_device(sue.user_id))):
            for device in (old, new):
                await self.knows_devices(device, old.user_id, [old, new])
                await self._trusts_device(device, new, {"byOwner": False, "verified": False})
            await self._verify(new, old)
            for device in (old, new):
                await self._trusts_device(device, new, {"byOwner": True, "verified": True})

    async def test_recovery_by_the_other_library(self) -> None:
        jon, sue = await asyncio.gather(self.js_person("jon"), self.sdk_person("sue"))
        room = await self.room_of(jon, sue)
        said = [await self.say(device, room, "before there is a backup", [jon, sue]) for device in (jon, sue)]
        await self.all_read(room)
        await asyncio.gather(self.cross_sign(jon), sue.cross_sign())
        keys = [await device.do("backUp") for device in (jon, sue)]
        said += [await self.say(device, room, "from now on", [jon, sue]) for device in (jon, sue)]
        await self.all_read(room)

        others = [await self.sdk_device(jon.user_id), await self.js_device(sue.user_id)]
        for old, new, key in zip((jon, sue), others, keys, strict=True):
            await new.until(lambda new=new: new.was_told("membership", room=room, membership="join"), "the room")
            await new.comes_to(lambda new=new, key=key: self._recovered(new, key, room), set(said), "the history")
            for device in (old, new):
                await self._trusts_device(device, new, {"byOwner": True, "verified": True})

    @staticmethod
    async def _recovered(device: DrivenUser, key: str, room: str) -> set[str]:
        """What a device can read with the keys of the backup, to which the other device may be adding still."""
        await device.do("recover", key=key)
        history = await device.do("history", room=room)
        return {event["event_id"] for event in history if event["type"] == "m.room.message" and "failure" not in event}

    async def _verify(self, asker: DrivenUser, other: DrivenUser) -> None:
        """They compare emoji."""
        number = await asker.do("askToVerify", user=other.user_id, device=other.device_id)

        def emoji(device: DrivenUser) -> list[str]:
            shown = (told for told in device.told if told["event"] == "emoji" and told["of"] == number)
            return next((told["emoji"] for told in shown), [])

        async def reaches(device: DrivenUser, phase: str) -> None:
            await device.until(lambda: device.was_told("verification", of=number, phase=phase), phase)

        await reaches(other, "requested")
        await other.do("acceptToVerify", id=number)
        await reaches(asker, "ready")
        await asker.do("startEmoji", id=number)
        for device in (asker, other):
            await device.until(lambda device=device: bool(emoji(device)), "the emoji")
        self.assertEqual(len(emoji(asker)), 7)
        self.assertEqual(emoji(asker), emoji(other))
        for device in (asker, other):
            await device.do("sameEmoji", id=number)
        for device in (asker, other):
            await reaches(device, "done")

    async def _trusts_device(self, device: DrivenUser, other: DrivenUser, expected: dict) -> None:
        request = {"user": other.user_id, "device": other.device_id}
        await device.comes_to(lambda: device.do("deviceTrust", **request), expected, f"trust in {other.device_id}")


class SdkTogetherOnSqlite(SdkTogether, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class SdkTogetherOnPostgres(SdkTogether, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
