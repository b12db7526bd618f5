"""Conversations between two users of matrix-nio, on both engines."""

import asyncio
import unittest

import nio
from harness.engines import Postgres, Sqlite
from nio import MessageDirection
from nio.responses import RegisterErrorResponse
from nio_conversation import NioConversation
from nio_user import PASSWORD, NioUser


class Conversation(NioConversation):
    """The tests; a subclass names the engine."""

    async def page(self, person: NioUser, room: str, direction: MessageDirection, start: str | None = None) -> list:
        """Everything from `start` (or from where that direction begins) on, in pages of seven."""
        events = []
        while True:
            request = person.client.room_messages(room, start, direction=direction, limit=7)
            answer = await self.ok(request, nio.RoomMessagesResponse)
            self.assertLessEqual(len(answer.chunk), 7)
            events += answer.chunk
            if not answer.end:
                return events
            start = answer.end

    async def test_register_twice_and_wrong_password(self) -> None:
        ann = await self.person("ann")
        again = self.client()
        self.addAsyncCleanup(again.close)
        taken = await self.ok(again.register(ann.user_id[1:].split(":")[0], PASSWORD), RegisterErrorResponse)
        self.assertEqual(taken.status_code, "M_USER_IN_USE")
        wrong = self.client(ann.user_id)
        self.addAsyncCleanup(wrong.close)
        refused = await self.ok(wrong.login("not it"), nio.LoginError)
        self.assertEqual(refused.status_code, "M_FORBIDDEN")

    async def test_both_send_and_receive_live(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        expected = []
        for n in range(10):
            person = (ann, ben)[n % 2]
            await self.send(person, room, f"message {n} ☕")
            expected.append((room, person.user_id, f"message {n} ☕"))
        await self.both_saw([ann, ben], expected)

    async def test_history_in_both_directions(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        bodies = [f"line {n}" for n in range(30)]
        for n, body in enumerate(bodies):
            await self.send((ann, ben)[n % 2], room, body)
        await ben.until(lambda: len(ben.seen) == 30, "30 messages")

        def texts(events: list) -> list[str]:
            return [event.body for event in events if isinstance(event, nio.RoomMessageText)]

        backward = await self.page(ben, room, MessageDirection.back, ben.client.next_batch)
        self.assertEqual(texts(backward), bodies[::-1])
        self.assertIsInstance(backward[-1], nio.RoomCreateEvent)
        forward = await self.page(ben, room, MessageDirection.front)
        self.assertEqual([e.event_id for e in forward], [e.event_id for e in reversed(backward)])
        latest = await self.ok(
            ben.client.room_messages(room, ben.client.next_batch, limit=10), nio.RoomMessagesResponse
        )
        self.assertEqual(texts(latest.chunk), bodies[:19:-1])
        onward = await self.page(ben, room, MessageDirection.front, latest.end)
        self.assertEqual(texts(onward), bodies[20:])

    async def test_redaction(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        gone: list[tuple[str, str]] = []

        async def redaction(_: nio.MatrixRoom, event: nio.RedactionEvent) -> None:
            gone.append((event.redacts, event.reason))

        ben.client.add_event_callback(redaction, nio.RedactionEvent)
        event_id = await self.send(ann, room, "a mistake")
        await self.send(ann, room, "no mistake")
        await self.ok(ann.client.room_redact(room, event_id, reason="typo"), nio.RoomRedactResponse)
        await ben.until(lambda: bool(gone), "the redaction")
        self.assertEqual(gone, [(event_id, "typo")])

        found = await self.ok(ben.client.room_get_event(room, event_id), nio.RoomGetEventResponse)
        self.assertIsInstance(found.event, nio.RedactedEvent)
        self.assertEqual((found.event.redacter, found.event.reason), (ann.user_id, "typo"))
        self.assertEqual(found.event.source["content"], {})
        history = await self.page(ben, room, MessageDirection.back, ben.client.next_batch)
        self.assertEqual([e.body for e in history if isinstance(e, nio.RoomMessageText)], ["no mistake"])
        self.assertEqual([e.event_id for e in history if isinstance(e, nio.RedactedEvent)], [event_id])

    async def test_rooms_of_other_versions(self) -> None:
        ann, ben = await self.person("ann"), await self.person("ben")
        ann.start_syncing()
        ben.start_syncing()
        gone: list[tuple[str, str]] = []

        async def redaction(room: nio.MatrixRoom, event: nio.RedactionEvent) -> None:
            gone.append((room.room_id, event.redacts))

        ben.client.add_event_callback(redaction, nio.RedactionEvent)
        messages, redacted = [], []
        for version in ("1", "3", "6", "10", "11", "12"):
            room = await self.room_of(ann, ben, version)
            self.assertEqual(ben.client.rooms[room].room_version, version)
            self.assertEqual(ben.client.rooms[room].name, "Tea")
            event_id = await self.send(ann, room, f"version {version}")
            messages.append((room, ann.user_id, f"version {version}"))
            await self.both_saw([ann, ben], messages)
            await self.ok(ann.client.room_redact(room, event_id), nio.RoomRedactResponse)
            redacted.append((room, event_id))
            await ben.until(lambda: len(gone) == len(redacted), "the redaction")
            self.assertEqual(gone, redacted)
            found = await self.ok(ben.client.room_get_event(room, event_id), nio.RoomGetEventResponse)
            self.assertIsInstance(found.event, nio.RedactedEvent)

    async def test_state_and_members(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        self.assertEqual(ben.client.rooms[room].name, "Tea")
        for kind, key, value in (("m.room.name", "name", "Coffee"), ("m.room.topic", "topic", "All of it")):
            await self.ok(ann.client.room_put_state(room, kind, {key: value}), nio.RoomPutStateResponse)
        for person in (ann, ben):
            await person.until(lambda p=person: p.client.rooms[room].topic == "All of it", "the topic")
            self.assertEqual(person.client.rooms[room].name, "Coffee")
        topic = await self.ok(ben.client.room_get_state_event(room, "m.room.topic"), nio.RoomGetStateEventResponse)
        self.assertEqual(topic.content["topic"], "All of it")
        refused = await self.ok(
            ben.client.room_put_state(room, "m.room.name", {"name": "Mine"}), nio.RoomPutStateError
        )
        self.assertEqual(refused.status_code, "M_FORBIDDEN")
        members = await self.ok(ben.client.joined_members(room), nio.JoinedMembersResponse)
        self.assertEqual({member.user_id for member in members.members}, {ann.user_id, ben.user_id})

    async def test_leave_and_forget(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        await self.ok(ben.client.room_leave(room), nio.RoomLeaveResponse)
        await ben.until(lambda: room in ben.left, "his leaving")
        await ann.until(lambda: ann.client.rooms[room].joined_count == 1, "Ben's leaving")
        await self.send(ann, room, "alone")
        await ann.until(lambda: len(ann.seen) == 1, "her own message")
        refused = await self.ok(
            ben.client.room_send(room, "m.room.message", {"msgtype": "m.text", "body": "still here"}),
            nio.RoomSendError,
        )
        self.assertEqual(refused.status_code, "M_FORBIDDEN")
        await self.ok(ben.client.room_forget(room), nio.RoomForgetResponse)
        hidden = await ben.client.room_messages(room, ben.client.next_batch)
        self.assertIsInstance(hidden, nio.RoomMessagesError)
        self.assertEqual(hidden.status_code, "M_FORBIDDEN")
        self.assertEqual(ben.seen, [])

    async def test_a_restart_in_the_middle(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        await self.send(ann, room, "before")
        expected = [(room, ann.user_id, "before")]
        await self.both_saw([ann, ben], expected)
        for person in (ann, ben):
            await person.stop_syncing()

        # In a thread: the clients' connections must go on being served by this loop.
        self.assertEqual(await asyncio.to_thread(self.server.stop), 0)
        await asyncio.to_thread(self.server.start)
        await self.send(ben, room, "after")
        expected.append((room, ben.user_id, "after"))
        for person in (ann, ben):
            person.start_syncing()
        await self.send(ann, room, "and on")
        expected.append((room, ann.user_id, "and on"))
        await self.both_saw([ann, ben], expected)


class ConversationOnSqlite(Conversation, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class ConversationOnPostgres(Conversation, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
