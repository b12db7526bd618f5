"""Who is there and has read what, told by matrix-js-sdk: typing, receipts, unread counts, presence. On both engines."""

import unittest

from harness.engines import Postgres, Sqlite
from js_conversation import JsConversation


class Presence(JsConversation):
    """The tests; a subclass names the engine."""

    async def test_typing(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        for typing in (True, False):
            await ann.call("sendTyping", room, typing, 20_000)
            told = {"room": room, "user": ann.user_id, "typing": typing}
            await ben.until(lambda told=told: ben.was_told("typing", **told), f"typing: {typing}")

    async def test_what_is_unread_and_what_is_read(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        phone = await self.device_of(ben)

        def unread(device, total: int, highlight: int):
            expected = {"total": total, "highlight": highlight}
            return device.comes_to(lambda: device.do("unread", room=room), expected, "the count of unread")

        await ann.send(room, "one")
        await ann.send(room, "two")
        mention = {"msgtype": "m.text", "body": "you there?", "m.mentions": {"user_ids": [ben.user_id]}}
        last = (await ann.call("sendEvent", room, "m.room.message", mention))["event_id"]
        for device in (ben, phone):
            await unread(device, 3, 1)

        await ben.do("read", room=room, event=last)
        receipt = ann.was_told_of_receipt
        await ann.until(lambda: receipt(room, last, "m.read", ben.user_id), "the receipt")
        for device in (ben, phone):
            await unread(device, 0, 0)

        # What is read in private is told to nobody else.
        private = await ann.send(room, "three")
        await unread(phone, 1, 0)
        await ben.do("read", room=room, event=private, type="m.read.private")
        await phone.until(lambda: phone.was_told_of_receipt(room, private, "m.read.private", ben.user_id), "the receipt")
        await unread(phone, 0, 0)
        public = await ann.send(room, "four")
        await ben.until(lambda: len(ben.messages(room)) == 5, "the messages")
        await ben.do("read", room=room, event=public)
        await ann.until(lambda: receipt(room, public, "m.read", ben.user_id), "the next receipt")
        self.assertFalse(receipt(room, private, "m.read.private", ben.user_id))

        await ben.call("setRoomReadMarkers", room, public)
        marker = {"room": room, "type": "m.fully_read", "content": {"event_id": public}}
        await phone.until(lambda: phone.was_told("data", **marker), "the read marker")

    async def test_presence(self) -> None:
        ann, ben, _ = await self.two_in_a_room()
        await ben.until(lambda: ben.was_told("presence", user=ann.user_id, presence="online"), "Ann's being there")
        # Who syncs is there.
        await ann.do("stop")
        await ann.call("setPresence", {"presence": "unavailable", "status_msg": "tea"})
        told = {"user": ann.user_id, "presence": "unavailable", "status": "tea"}
        await ben.until(lambda: ben.was_told("presence", **told), "Ann's break")


class PresenceOnSqlite(Presence, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class PresenceOnPostgres(Presence, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
