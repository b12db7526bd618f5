"""Encrypted rooms with users of matrix-sdk on both servers: everybody who may can read what is said, and nobody else."""

import unittest

from conversation import each_way
from encrypted_room import EncryptedRoom
from harness.driven_user import PASSWORD
from harness.sdk_user import SdkUser


class EncryptedRooms(EncryptedRoom):
    """Ann is on the server that has the room, Ben on the one that comes to it."""

    def setUp(self) -> None:
        self.resident, self.joining = type(self).resident_server(), type(self).joining_server()
        for server in (self.resident, self.joining):
            if not server.runs():
                server.launch()
            server.wait_until_healthy()

    async def asyncSetUp(self) -> None:
        self.ann, self.ben = await self.user(self.resident, "ann"), await self.user(self.joining, "ben")

    async def test_the_first_messages(self) -> None:
        room = await self.room_of(self.ann, self.ben)
        said = await self.all_say(room, self.ann, self.ben)
        await self.all_read(room, said, self.ann, self.ben)

    async def test_a_new_device_on_either_side(self) -> None:
        room = await self.room_of(self.ann, self.ben)
        await self.all_read(room, await self.all_say(room, self.ann, self.ben), self.ann, self.ben)
        devices = [self.ann, self.ben]
        for user, server in ((self.ann, self.resident), (self.ben, self.joining)):
            devices.append(await self.device_of(user, server))
            for device in devices:
                await device.until_it_knows(*devices)
            await self.all_read(room, await self.all_say(room, *devices), *devices)

    async def test_a_device_that_is_deleted(self) -> None:
        room = await self.room_of(self.ann, self.ben)
        for user, server, other in ((self.ann, self.resident, self.ben), (self.ben, self.joining, self.ann)):
            device = await self.device_of(user, server)
            await other.until_it_knows(user, device)
            before = await other.say(room, "to both devices")
            await self.all_read(room, {before}, user, device)
            await user.do("deleteDevice", device=device.device_id, password=PASSWORD)
            await other.until_it_knows(user)
            after = await other.say(room, "to one device")
            await self.all_read(room, {after}, user)
            self.assertNotEqual(user.session(room, after), user.session(room, before))

    async def test_emoji_and_identities(self) -> None:
        """Each sees the other's identity, and after they compared emoji both are verified."""
        await self.room_of(self.ann, self.ben)
        for user, other in ((self.ann, self.ben), (self.ben, self.ann)):
            self.assertEqual(await other.do("userTrust", user=user.user_id), {"known": False, "verified": False})
            await user.cross_sign()
            await self._sees(other, user, verified=False)
            # The device's signature goes its own way.
            await other.comes_to(
                lambda user=user, other=other: other.do("deviceTrust", user=user.user_id, device=user.device_id),
                {"byOwner": True, "verified": False},
                f"{user.user_id}'s device",
            )
        await self._compare_emoji(self.ann, self.ben)
        await self._sees(self.ann, self.ben, verified=True)
        await self._sees(self.ben, self.ann, verified=True)

    async def _sees(self, user: SdkUser, other: SdkUser, verified: bool) -> None:
        expected = {"known": True, "verified": verified}
        what = f"{other.user_id}'s identity"
        await user.comes_to(lambda: user.do("userTrust", user=other.user_id), expected, what)

    async def _compare_emoji(self, asker: SdkUser, asked: SdkUser) -> None:
        number = await asker.do("askToVerify", user=asked.user_id, device=asked.device_id)

        def emoji(user: SdkUser) -> list[list[str]]:
            return [told["emoji"] for told in user.told if told["event"] == "emoji" and told["of"] == number]

        async def phase(user: SdkUser, phase: str) -> None:
            await user.until(lambda: user.was_told("verification", of=number, phase=phase), phase)

        await phase(asked, "requested")
        await asked.do("acceptToVerify", id=number)
        await phase(asker, "ready")
        await asker.do("startEmoji", id=number)
        for user in (asker, asked):
            await user.until(lambda user=user: bool(emoji(user)), "the emoji")
        self.assertEqual(emoji(asker), emoji(asked))
        self.assertEqual(len(emoji(asker)[0]), 7)
        for user in (asker, asked):
            await user.do("sameEmoji", id=number)
        for user in (asker, asked):
            await phase(user, "done")

    async def test_new_keys_after_somebody_left(self) -> None:
        cid, dan = await self.user(self.resident, "cid"), await self.user(self.joining, "dan")
        room = await self.room_of(self.ann, self.ben, cid, dan)
        stay = [self.ann, self.ben]
        before = [await user.say(room, "to four") for user in stay]
        await self.all_read(room, set(before), self.ann, self.ben, cid, dan)
        for leaver in (cid, dan):
            await leaver.do("leave", room=room)
            left = {"type": "m.room.member", "state_key": leaver.user_id, "content": {"membership": "leave"}}
            for user in stay:
                await user.until(lambda user=user, left=left: user.was_told("timeline", room=room, **left), "the leave")
            after = [await user.say(room, "without one of us") for user in stay]
            await self.all_read(room, set(after), *stay)
            for user, old, new in zip(stay, before, after, strict=True):
                self.assertNotEqual(user.session(room, new), user.session(room, old))
                self.assertNotIn(new, leaver.read(room))
            before = after


globals().update(each_way(EncryptedRooms, unittest.IsolatedAsyncioTestCase))
