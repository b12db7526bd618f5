"""Conversations between users of matrix-js-sdk, on both engines."""

import asyncio
import unittest

from harness.engines import Postgres, Sqlite
from js_conversation import JsConversation


class Conversation(JsConversation):
    """The tests; a subclass names the engine."""

    async def test_both_send_and_receive_live(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        expected = []
        for n in range(10):
            person = (ann, ben)[n % 2]
            await person.send(room, f"message {n} ☕")
            expected.append((person.user_id, f"message {n} ☕"))
        for person in (ann, ben):
            await person.until(lambda person=person: len(person.messages(room)) >= 10, "10 messages")
            self.assertEqual(person.messages(room), expected)
            seen = await person.do("room", room=room)
            self.assertEqual((seen["name"], seen["version"], seen["joined"]), ("Tea", "12", 2))

    async def test_history_redaction_and_state(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        ids = [await ann.send(room, f"line {n}") for n in range(30)]
        await ben.until(lambda: len(ben.messages(room)) == 30, "30 messages")
        await ann.call("redactEvent", room, ids[5])
        await ben.until(lambda: ben.was_told("redaction", room=room, redacts=ids[5]), "the redaction")
        await ann.call("sendStateEvent", room, "m.room.topic", {"topic": "All of it"})
        await ben.until(lambda: ben.was_told("timeline", room=room, type="m.room.topic"), "the topic")
        self.assertEqual((await ben.do("room", room=room))["topic"], "All of it")
        await self.refused(ben.call("sendStateEvent", room, "m.room.name", {"name": "Mine"}), "M_FORBIDDEN")

        # Somebody whose client begins later reads all of it, in order, page by page.
        late = await self.client()
        await late.login(ben.user_id)
        await late.start_syncing()
        history = await late.do("history", room=room)
        self.assertEqual(history[0]["type"], "m.room.create")
        lines = [event for event in history if event["event_id"] in ids]
        self.assertEqual([event["event_id"] for event in lines], ids)
        self.assertEqual([event["redacted"] for event in lines], [n == 5 for n in range(30)])
        self.assertEqual(lines[5]["content"], {})

    async def test_leave_and_forget(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        await ben.call("leave", room)
        await ben.until(lambda: ben.was_told("membership", room=room, membership="leave"), "his leaving")
        await self.refused(ben.send(room, "still here"), "M_FORBIDDEN")
        await ben.call("forget", room, True)
        self.assertIsNone(await ben.do("room", room=room))
        await ann.send(room, "alone")
        await ann.until(lambda: len(ann.messages(room)) == 1, "her own message")
        self.assertEqual((await ann.do("room", room=room))["joined"], 1)
        self.assertEqual(ben.messages(room), [])

    async def test_devices_end_when_their_user_says_so(self) -> None:
        ann = await self.person("ann")
        others = [await self.client() for _ in range(3)]
        for other in others:
            await other.login(ann.user_id, initial_device_display_name="a phone")
            await other.start_syncing()
        listed = {device["device_id"] for device in (await ann.call("getDevices"))["devices"]}
        self.assertEqual(listed, {ann.device_id, *(other.device_id for other in others)})
        await ann.call("setDeviceDetails", others[0].device_id, {"display_name": "the old phone"})
        renamed = await ann.call("getDevice", others[0].device_id)
        self.assertEqual(renamed["display_name"], "the old phone")

        wrong = self.password(ann.user_id, "not it")
        await self.refused(ann.with_auth("deleteDevice", others[0].device_id, **wrong), "M_FORBIDDEN")
        right = self.password(ann.user_id)
        await ann.with_auth("deleteDevice", others[0].device_id, **right)
        await others[0].until(lambda: others[0].was_told("logged out"), "the end of the session")
        await ann.with_auth("deleteMultipleDevices", [other.device_id for other in others[1:]], **right)
        for other in others[1:]:
            await other.until(lambda other=other: other.was_told("logged out"), "the end of the session")
        self.assertEqual(len((await ann.call("getDevices"))["devices"]), 1)

    async def test_a_new_password_ends_other_sessions(self) -> None:
        ann, other = await self.person("ann"), await self.client()
        await other.login(ann.user_id)
        await other.start_syncing()
        right = self.password(ann.user_id)
        await self.refused(ann.call("setPassword", {"type": "m.login.password"}, "another secret"), "M_MISSING_PARAM")
        await ann.do("setPassword", answers=right, password="another secret")
        await other.until(lambda: other.was_told("logged out"), "the end of the session")
        await ann.call("whoami")
        await self.refused(other.login(ann.user_id), "M_FORBIDDEN")
        await other.login(ann.user_id, "another secret")

    async def test_a_token_for_another_device(self) -> None:
        ann, other = await self.person("ann"), await self.client()
        token = (await ann.with_auth("requestLoginToken", **self.password(ann.user_id)))["login_token"]
        session = await other.do("login", type="m.login.token", token=token)
        self.assertEqual(session["user_id"], ann.user_id)
        self.assertNotEqual(session["device_id"], ann.device_id)
        await self.refused(other.do("login", type="m.login.token", token=token), "M_FORBIDDEN")

    async def test_a_restart_in_the_middle(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        await ann.send(room, "before")
        await ben.until(lambda: len(ben.messages(room)) == 1, "the message")
        # In a thread: this loop must go on reading what the clients tell.
        self.assertEqual(await asyncio.to_thread(self.server.stop), 0)
        await asyncio.to_thread(self.server.start)
        await ann.send(room, "after")
        await ben.until(lambda: len(ben.messages(room)) == 2, "the message after the restart")
        self.assertEqual(ben.messages(room), [(ann.user_id, "before"), (ann.user_id, "after")])

    async def test_deactivation(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        await ben.with_auth("deactivateAccount", after=(True,), **self.password(ben.user_id))
        left = {"room": room, "type": "m.room.member", "state_key": ben.user_id, "content": {"membership": "leave"}}
        await ann.until(lambda: ann.was_told("timeline", **left), "Ben's leaving")
        again = await self.client()
        await self.refused(again.login(ben.user_id), "M_FORBIDDEN")


class ConversationOnSqlite(Conversation, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class ConversationOnPostgres(Conversation, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
