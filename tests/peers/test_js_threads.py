"""What users of matrix-js-sdk read of threads. On both engines."""

import unittest

from harness.engines import Postgres, Sqlite
from js_conversation import JsConversation
from js_user import JsUser


class Threads(JsConversation):
    """The tests; a subclass names the engine."""

    async def unread(self, user: JsUser, room: str, thread: str | None, total: int) -> None:
        counts = {"total": total, "highlight": 0}
        what = f"{total} unread in the {'thread' if thread else 'room'}"
        await user.comes_to(lambda: user.do("unread", room=room, thread=thread), counts, what)

    async def say_in(self, user: JsUser, room: str, thread: str, body: str) -> str:
        sent = await user.call("sendMessage", room, thread, {"msgtype": "m.text", "body": body})
        return sent["event_id"]

    async def test_a_thread_is_read_apart_from_its_room(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        root = await ben.send(room, "tea?")
        await ben.until(lambda: (ben.user_id, "tea?") in ben.messages(room), "his own message")
        await self.say_in(ben, room, root, "or coffee")
        last = await self.say_in(ben, room, root, "or milk")
        await ann.until(lambda: ann.was_told("timeline", event_id=last), "the last of the thread")
        await self.unread(ann, room, root, 2)
        await self.unread(ann, room, None, 1)
        await ann.do("read", room=room, event=root, type="m.read")
        await self.unread(ann, room, None, 0)
        await self.unread(ann, room, root, 2)
        await ann.do("read", room=room, event=last, type="m.read")
        await self.unread(ann, room, root, 0)
        # Her other device learns the same.
        other = await self.device_of(ann)
        await self.unread(other, room, root, 0)
        await self.unread(other, room, None, 0)

    async def test_the_last_event_of_a_thread_may_be_redacted(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        root = await ann.send(room, "tea?")
        await ben.until(lambda: ben.was_told("timeline", event_id=root), "the root")
        await self.say_in(ben, room, root, "yes")
        last = await self.say_in(ben, room, root, "no")
        await ann.until(lambda: ann.was_told("timeline", event_id=last), "the last of the thread")
        await self.unread(ann, room, root, 2)
        await ben.call("redactEvent", room, last)
        # The client says nothing of a redaction that comes while it fetches the thread; the count is of the same sync.
        await self.unread(ann, room, root, 1)


class ThreadsOnSqlite(Threads, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class ThreadsOnPostgres(Threads, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
