"""How users of matrix-js-sdk find their way in a room's history: relations, dates. On both engines."""

import unittest

from harness.engines import Postgres, Sqlite
from js_conversation import JsConversation


class History(JsConversation):
    """The tests; a subclass names the engine."""

    async def test_relations(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        said = await ann.send(room, "tee")
        annotation = {"m.relates_to": {"rel_type": "m.annotation", "event_id": said, "key": "☕"}}
        reaction = (await ben.call("sendEvent", room, "m.reaction", annotation))["event_id"]
        edit = {
            "msgtype": "m.text",
            "body": "* tea",
            "m.new_content": {"msgtype": "m.text", "body": "tea"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": said},
        }
        edited = (await ann.call("sendEvent", room, "m.room.message", edit))["event_id"]
        for rel_type, kind, expected in (
            ("m.annotation", "m.reaction", [reaction]),
            ("m.replace", "m.room.message", [edited]),
            (None, None, [edited, reaction]),
        ):
            answer = await ben.call("fetchRelations", room, said, rel_type, kind, {"dir": "b"})
            self.assertEqual([event["event_id"] for event in answer["chunk"]], expected)
        found = await ben.call("fetchRoomEvent", room, said)
        self.assertEqual(found["unsigned"]["m.relations"]["m.replace"]["event_id"], edited)

    async def test_a_date(self) -> None:
        _, ben, room = await self.two_in_a_room()
        created = await ben.call("timestampToEvent", room, 0, "f")
        first = await ben.call("fetchRoomEvent", room, created["event_id"])
        self.assertEqual(first["type"], "m.room.create")


class HistoryOnSqlite(History, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class HistoryOnPostgres(History, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
