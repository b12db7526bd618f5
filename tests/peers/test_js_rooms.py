"""What users of matrix-js-sdk do with rooms: upgrades, knocking, restricted rooms, the directory, spaces. On both
engines."""

import unittest

from harness.engines import Postgres, Sqlite
from js_conversation import JsConversation


class Rooms(JsConversation):
    """The tests; a subclass names the engine."""

    async def test_an_upgrade(self) -> None:
        ann, ben = await self.person("ann"), await self.person("ben")
        await ann.start_syncing()
        await ben.start_syncing()
        request = {"name": "Tea", "preset": "public_chat", "room_version": "10"}
        old = (await ann.call("createRoom", request))["room_id"]
        await ben.do("join", room=old)
        await ben.until(lambda: ben.was_told("membership", room=old, membership="join"), "the room")
        new = (await ann.call("upgradeRoom", old, "12"))["replacement_room"]

        def tombstones() -> list[str]:
            told = [line for line in ben.told if line["event"] == "timeline" and line["room"] == old]
            return [line["content"]["replacement_room"] for line in told if line["type"] == "m.room.tombstone"]

        await ben.until(lambda: bool(tombstones()), "the end of the old room")
        self.assertEqual(tombstones(), [new])
        await self.refused(ben.send(old, "still here"), "M_FORBIDDEN")
        await ben.do("join", room=new)
        await ben.until(lambda: ben.was_told("membership", room=new, membership="join"), "the new room")
        seen = await ben.do("room", room=new)
        self.assertEqual((seen["name"], seen["version"], seen["joined"]), ("Tea", "12", 2))
        create = seen["timeline"][0]
        self.assertEqual((create["type"], create["content"]["predecessor"]["room_id"]), ("m.room.create", old))

    async def room_with_rule(self, owner, rule: dict) -> str:
        state = [{"type": "m.room.join_rules", "state_key": "", "content": rule}]
        request = {"name": "Tea", "preset": "private_chat", "initial_state": state}
        return (await owner.call("createRoom", request))["room_id"]

    async def test_knocking(self) -> None:
        ann, ben = await self.person("ann"), await self.person("ben")
        await ann.start_syncing()
        await ben.start_syncing()
        room = await self.room_with_rule(ann, {"join_rule": "knock"})
        await self.refused(ben.do("join", room=room), "M_FORBIDDEN")
        await ben.call("knockRoom", room, {"reason": "please"})
        await ben.until(lambda: ben.was_told("membership", room=room, membership="knock"), "his knock")

        def knocks() -> list[str]:
            told = [line for line in ann.told if line["event"] == "timeline" and line.get("state_key") == ben.user_id]
            return [line["content"].get("reason") for line in told if line["content"]["membership"] == "knock"]

        await ann.until(lambda: bool(knocks()), "the knock")
        self.assertEqual(knocks(), ["please"])
        await ann.call("invite", room, ben.user_id)
        await ben.until(lambda: ben.was_told("membership", room=room, membership="invite"), "the invite")
        await ben.do("join", room=room)
        await ben.until(lambda: ben.was_told("membership", room=room, membership="join"), "the room")

    async def test_a_restricted_room(self) -> None:
        ann, ben, club = await self.two_in_a_room()
        carl = await self.person("carl")
        allow = [{"type": "m.room_membership", "room_id": club}]
        room = await self.room_with_rule(ann, {"join_rule": "restricted", "allow": allow})
        await self.refused(carl.do("join", room=room), "M_FORBIDDEN")
        await ben.do("join", room=room)
        await ben.until(lambda: ben.was_told("membership", room=room, membership="join"), "the room")
        await ben.send(room, "let in")
        # Once there, a changed name keeps him there.
        await ben.call("setDisplayName", "Benjamin")
        named = {"room": room, "user": ben.user_id, "name": "Benjamin"}
        await ann.until(lambda: ann.was_told("name", **named), "the name")

    async def test_the_directory(self) -> None:
        ann, ben = await self.person("ann"), await self.person("ben")
        name = f"Tea of {ann.user_id}"
        alias = f"tea-{ann.user_id[1:].split(':')[0]}"
        request = {"name": name, "preset": "public_chat", "visibility": "public", "room_alias_name": alias}
        room = (await ann.call("createRoom", request))["room_id"]

        async def found() -> list[str]:
            search = {"filter": {"generic_search_term": name}, "limit": 10}
            chunk = (await ben.call("publicRooms", search))["chunk"]
            return [listed["room_id"] for listed in chunk]

        self.assertEqual(await found(), [room])
        summary = await ben.call("getRoomSummary", f"#{alias}:localhost")
        self.assertEqual((summary["room_id"], summary["name"], summary["num_joined_members"]), (room, name, 1))
        self.assertEqual((await ben.call("getRoomIdForAlias", f"#{alias}:localhost"))["room_id"], room)
        self.assertEqual(await ben.do("join", room=f"#{alias}:localhost"), room)
        await ann.call("setRoomDirectoryVisibility", room, "private")
        self.assertEqual(await found(), [])

    async def test_the_directory_of_users(self) -> None:
        ann, ben, _ = await self.two_in_a_room()
        found = await ann.call("searchUserDirectory", {"term": ben.user_id[1:].split(":")[0]})
        self.assertEqual([user["user_id"] for user in found["results"]], [ben.user_id])

    async def test_a_space(self) -> None:
        ann = await self.person("ann")
        rooms = [(await ann.call("createRoom", {"name": f"Room {n}"}))["room_id"] for n in range(3)]
        request = {"name": "Space", "creation_content": {"type": "m.space"}}
        space = (await ann.call("createRoom", request))["room_id"]
        for room in rooms:
            await ann.call("sendStateEvent", space, "m.space.child", {"via": ["localhost"]}, room)
        listed = (await ann.call("getRoomHierarchy", space))["rooms"]
        self.assertEqual(listed[0]["room_id"], space)
        self.assertEqual({room["room_id"] for room in listed[1:]}, set(rooms))


class RoomsOnSqlite(Rooms, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class RoomsOnPostgres(Rooms, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
