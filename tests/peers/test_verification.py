"""Verification by emoji and cross-signing, with users of matrix-js-sdk, matrix-sdk and matrix-nio, on both engines."""

import asyncio
import unittest

import nio
from encrypted_conversation import EncryptedConversation
from harness.driven_user import DrivenUser, Refused
from harness.engines import Postgres, Sqlite
from nio_user import EncryptingNioUser

VERIFIED = {"known": True, "verified": True}
KNOWN = {"known": True, "verified": False}


class Verification(EncryptedConversation):
    """The tests; a subclass names the engine."""

    async def test_two_users_verify_each_other_in_their_room(self) -> None:
        jon, kim = await asyncio.gather(self.js_person("jon"), self.js_person("kim"))
        await asyncio.gather(self.cross_sign(jon), self.cross_sign(kim))
        room = await self.room_of(jon, kim)
        await self.say(jon, room, "is it you?", [kim])
        await self.say(kim, room, "it is", [jon])
        await self.all_read(room)
        await self._trusts(jon, kim, KNOWN)
        await self._trusts(kim, jon, KNOWN)

        # What differs is not the same person.
        verification = await self._compare(jon, kim, user=kim.user_id, room=room)
        await kim.do("otherEmoji", id=verification)
        for device in (jon, kim):
            cancelled = {"of": verification, "phase": "cancelled", "code": "m.mismatched_sas"}
            await device.until(lambda d=device: d.was_told("verification", **cancelled), "the end of it")
        await self._trusts(jon, kim, KNOWN)

        await self._verify(jon, kim, user=kim.user_id, room=room)
        await self._trusts(jon, kim, VERIFIED)
        await self._trusts(kim, jon, VERIFIED)

        # Another device of Kim's, which the first has verified, needs no more: it is signed, and so is known to be Kim's.
        phone = await self.js_device(kim.user_id)
        await self.knows_devices(jon, kim.user_id, [kim, phone])
        self.assertEqual(await self._device_trust(jon, phone), {"byOwner": False, "verified": False})
        await self._verify(phone, kim)
        await self._device_trusted(jon, phone)
        await self._device_trusted(kim, phone)
        # Kim's first device gave it the private keys, so it vouches for Jon and for further devices.
        await self._trusts(phone, jon, VERIFIED)
        tablet = await self.js_device(kim.user_id)
        for device in (phone, tablet):
            await self.knows_devices(device, kim.user_id, [kim, phone, tablet])
        await self._verify(tablet, phone, user=kim.user_id, device=phone.device_id)
        await self._device_trusted(jon, tablet)

    async def test_users_of_two_libraries_verify_each_other(self) -> None:
        jon, sam = await asyncio.gather(self.js_person("jon"), self.sdk_person("sam"))
        await asyncio.gather(self.cross_sign(jon), sam.cross_sign())
        await self.room_of(jon, sam)
        for device, other in ((jon, sam), (sam, jon)):
            await self._trusts(device, other, KNOWN)
        await self._verify(jon, sam, user=sam.user_id, device=sam.device_id)
        for device, other in ((jon, sam), (sam, jon)):
            await self._trusts(device, other, VERIFIED)

    async def test_new_keys_need_the_password_and_are_not_trusted(self) -> None:
        jon, kim = await asyncio.gather(self.js_person("jon"), self.js_person("kim"))
        await asyncio.gather(self.cross_sign(jon), self.cross_sign(kim))
        room = await self.room_of(jon, kim)
        await self._verify(jon, kim, user=kim.user_id, room=room)
        await self._trusts(jon, kim, VERIFIED)
        with self.assertRaises(Refused) as caught:
            answers = self.password(kim.user_id)
            answers["m.login.password"]["password"] = "not it"
            await kim.do("crossSign", reset=True, answers=answers)
        self.assertEqual(caught.exception.errcode, "M_FORBIDDEN")
        self.assertEqual(await jon.do("userTrust", user=kim.user_id), VERIFIED)
        await kim.do("crossSign", reset=True, answers=self.password(kim.user_id))
        await self._trusts(jon, kim, KNOWN)
        await self._verify(jon, kim, user=kim.user_id, room=room)
        await self._trusts(jon, kim, VERIFIED)

    async def test_two_devices_of_matrix_nio_verify_each_other(self) -> None:
        nia, olm = await asyncio.gather(self.nio_person("nia"), self.nio_person("olm"))
        await self.room_of(nia, olm)
        theirs = nia.client.device_store[olm.user_id][olm.device_id]
        await nia.client.start_key_verification(theirs)
        await self._sas(olm, nia)
        accepted = await olm.client.accept_key_verification(self._sas_of(olm, nia).transaction_id)
        self.assertIsInstance(accepted, nio.ToDeviceResponse, accepted)
        for device, other in ((nia, olm), (olm, nia)):
            await device.until(lambda d=device, o=other: self._sas_of(d, o).established_sas, "the other's key")
        emoji = self._sas_of(nia, olm).get_emoji()
        self.assertEqual(len(emoji), 7)
        self.assertEqual(emoji, self._sas_of(olm, nia).get_emoji())
        for device, other in ((nia, olm), (olm, nia)):
            await device.client.confirm_short_auth_string(self._sas_of(device, other).transaction_id)
        for device, other in ((nia, olm), (olm, nia)):
            device_of = device.client.device_store[other.user_id][other.device_id]
            await device.until(lambda d=device, it=device_of: d.client.olm.is_device_verified(it), "verified")

    @staticmethod
    def _sas_of(device: EncryptingNioUser, other: EncryptingNioUser):
        return device.client.get_active_sas(other.user_id, other.device_id)

    async def _sas(self, device: EncryptingNioUser, other: EncryptingNioUser) -> None:
        await device.until(lambda: self._sas_of(device, other), "the beginning of a verification")

    async def _compare(self, asker: DrivenUser, other: DrivenUser, **whom) -> str:
        """Goes as far as showing the same emoji on both sides, and returns the verification's id."""
        verification = await asker.do("askToVerify", **whom)

        def reached(device: DrivenUser, phase: str) -> bool:
            return device.was_told("verification", of=verification, phase=phase)

        await other.until(lambda: reached(other, "requested"), "the request")
        await other.do("acceptToVerify", id=verification)
        await asker.until(lambda: reached(asker, "ready"), "the acceptance")
        await asker.do("startEmoji", id=verification)
        for device in (asker, other):
            await device.until(lambda d=device: self._emoji(d, verification), "the emoji")
        self.assertEqual(len(self._emoji(asker, verification)), 7)
        self.assertEqual(self._emoji(asker, verification), self._emoji(other, verification))
        return verification

    async def _verify(self, asker: DrivenUser, other: DrivenUser, **whom) -> None:
        verification = await self._compare(asker, other, **whom)
        for device in (asker, other):
            await device.do("sameEmoji", id=verification)
        for device in (asker, other):
            done = {"of": verification, "phase": "done"}
            await device.until(lambda d=device: d.was_told("verification", **done), "the end of it")

    @staticmethod
    def _emoji(device: DrivenUser, verification: str) -> list[str]:
        return next((t["emoji"] for t in device.told if t["event"] == "emoji" and t["of"] == verification), [])

    async def _trusts(self, device: DrivenUser, other: DrivenUser, expected: dict) -> None:
        """Waits until a device thinks so of another's user."""
        await device.comes_to(lambda: device.do("userTrust", user=other.user_id), expected, f"trust in {other.user_id}")

    async def _device_trusted(self, device: DrivenUser, other: DrivenUser) -> None:
        expected = {"byOwner": True, "verified": True}
        await device.comes_to(lambda: self._device_trust(device, other), expected, f"trust in {other.device_id}")

    @staticmethod
    async def _device_trust(device: DrivenUser, other: DrivenUser) -> dict:
        return await device.do("deviceTrust", user=other.user_id, device=other.device_id)


class VerificationOnSqlite(Verification, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class VerificationOnPostgres(Verification, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
