"""What users of matrix-nio do besides talking: typing, receipts, presence, profiles, knocking, upgrades, the directory,
relations. On both engines."""

import unittest

import nio
from harness.engines import Postgres, Sqlite
from nio.api import ReceiptType, RelationshipType, RoomPreset, RoomVisibility
from nio.responses import RoomUpgradeResponse
from nio_conversation import NioConversation
from nio_user import NioUser


class Rooms(NioConversation):
    """The tests; a subclass names the engine."""

    def heard(self, person: NioUser, kind: type, add: str = "add_ephemeral_callback") -> list:
        """What of this kind arrives by /sync from now on."""
        events: list = []

        async def arrived(*words) -> None:
            events.append(words[-1])

        getattr(person.client, add)(arrived, kind)
        return events

    async def test_typing_and_receipts(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        typing, receipts = self.heard(ann, nio.TypingNoticeEvent), self.heard(ann, nio.ReceiptEvent)
        for state, users in ((True, [ben.user_id]), (False, [])):
            await self.ok(ben.client.room_typing(room, state), nio.RoomTypingResponse)
            await ann.until(lambda users=users: bool(typing) and typing[-1].users == users, f"typing: {state}")

        said = [await self.send(ann, room, f"line {n}") for n in range(3)]
        await ben.until(lambda: ben.client.rooms[room].unread_notifications == 3, "3 unread messages")

        def read(event: str, kind: ReceiptType) -> bool:
            told = [receipt for event in receipts for receipt in event.receipts]
            return any((r.event_id, r.receipt_type, r.user_id) == (event, kind.value, ben.user_id) for r in told)

        await self.ok(ben.client.update_receipt_marker(room, said[1]), nio.UpdateReceiptMarkerResponse)
        await ann.until(lambda: read(said[1], ReceiptType.read), "the receipt")
        await ben.until(lambda: ben.client.rooms[room].unread_notifications == 1, "1 unread message")
        markers = self.heard(ben, nio.FullyReadEvent, "add_room_account_data_callback")
        marked = ben.client.room_read_markers(room, said[2], read_event=said[2])
        await self.ok(marked, nio.RoomReadMarkersResponse)
        await ann.until(lambda: read(said[2], ReceiptType.read), "the last receipt")
        await ben.until(lambda: bool(markers), "the read marker")
        self.assertEqual(markers[-1].event_id, said[2])
        await ben.until(lambda: ben.client.rooms[room].unread_notifications == 0, "nothing unread")

    async def test_presence_and_profile(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        told = self.heard(ann, nio.PresenceEvent, "add_presence_callback")
        await ben.stop_syncing()
        await self.ok(ben.client.set_presence("unavailable", "at tea"), nio.PresenceSetResponse)

        def is_at_tea() -> bool:
            states = [(event.user_id, event.presence, event.status_msg) for event in told]
            return (ben.user_id, "unavailable", "at tea") in states

        await ann.until(is_at_tea, "Ben's break")
        asked = await self.ok(ann.client.get_presence(ben.user_id), nio.PresenceGetResponse)
        self.assertEqual((asked.presence, asked.status_msg), ("unavailable", "at tea"))

        await self.ok(ben.client.set_displayname("Benjamin"), nio.ProfileSetDisplayNameResponse)
        await self.ok(ben.client.set_avatar("mxc://localhost/ben"), nio.ProfileSetAvatarResponse)
        users = ann.client.rooms[room].users
        await ann.until(lambda: users[ben.user_id].display_name == "Benjamin", "the name")
        await ann.until(lambda: users[ben.user_id].avatar_url == "mxc://localhost/ben", "the picture")
        profile = await self.ok(ann.client.get_profile(ben.user_id), nio.ProfileGetResponse)
        self.assertEqual((profile.displayname, profile.avatar_url), ("Benjamin", "mxc://localhost/ben"))

    async def test_knocking(self) -> None:
        ann, ben = await self.person("ann"), await self.person("ben")
        ann.start_syncing()
        ben.start_syncing()
        room = (await self.ok(ann.client.room_create(name="Tea"), nio.RoomCreateResponse)).room_id
        await self.ok(ann.client.room_enable_knocking(room), nio.RoomPutStateResponse)
        members = self.heard(ann, nio.RoomMemberEvent, "add_event_callback")
        await self.ok(ben.client.room_knock(room, "please"), nio.RoomKnockResponse)
        knock = (ben.user_id, "knock", "please")

        def knocked() -> bool:
            told = [(event.state_key, event.membership, event.content.get("reason")) for event in members]
            return knock in told

        await ann.until(knocked, "the knock")
        await self.ok(ann.client.room_invite(room, ben.user_id), nio.RoomInviteResponse)
        await ben.until(lambda: room in ben.client.invited_rooms, "the invite")
        await self.ok(ben.client.join(room), nio.JoinResponse)
        await ben.until(lambda: room in ben.client.rooms, "the room")

    async def test_an_upgrade_by_the_client(self) -> None:
        ann, ben, old = await self.two_in_a_room()
        tombstones = self.heard(ben, nio.RoomUpgradeEvent, "add_event_callback")
        upgraded = await self.ok(ann.client.room_upgrade(old, "12"), RoomUpgradeResponse)
        await ben.until(lambda: bool(tombstones), "the end of the old room")
        self.assertEqual(tombstones[0].replacement_room, upgraded.room_id)
        await ann.until(lambda: upgraded.room_id in ann.client.rooms, "the new room")
        self.assertEqual(ann.client.rooms[upgraded.room_id].name, "Tea")

    async def test_the_directory_and_aliases(self) -> None:
        ann, ben = await self.person("ann"), await self.person("ben")
        name, alias = f"Tea of {ann.user_id}", f"#{ann.user_id[1:].split(':')[0]}:localhost"
        create = ann.client.room_create(RoomVisibility.public, name=name, preset=RoomPreset.public_chat)
        room = (await self.ok(create, nio.RoomCreateResponse)).room_id
        await self.ok(ann.client.room_put_alias(alias, room), nio.RoomPutAliasResponse)
        resolved = await self.ok(ben.client.room_resolve_alias(alias), nio.RoomResolveAliasResponse)
        self.assertEqual((resolved.room_id, resolved.servers), (room, ["localhost"]))
        visibility = await self.ok(ben.client.room_get_visibility(room), nio.RoomGetVisibilityResponse)
        self.assertEqual(visibility.visibility, "public")
        found = await ben.client.list_public_rooms(filter_generic_search_term=name)
        self.assertEqual([listed.room_id for listed in found.public_rooms], [room])
        await self.ok(ann.client.room_delete_alias(alias), nio.RoomDeleteAliasResponse)
        gone = await self.ok(ben.client.room_resolve_alias(alias), nio.RoomResolveAliasError)
        self.assertEqual(gone.status_code, "M_NOT_FOUND")

        space = (await self.ok(ann.client.room_create(space=True), nio.RoomCreateResponse)).room_id
        child = ann.client.room_put_state(space, "m.space.child", {"via": ["localhost"]}, room)
        await self.ok(child, nio.RoomPutStateResponse)
        hierarchy = await self.ok(ann.client.space_get_hierarchy(space), nio.SpaceGetHierarchyResponse)
        self.assertEqual([listed["room_id"] for listed in hierarchy.rooms], [space, room])

    async def test_relations_threads_and_context(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        said = [await self.send(ann, room, f"line {n}") for n in range(5)]
        reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": said[0], "key": "☕"}}
        sent = await self.ok(ben.client.room_send(room, "m.reaction", reaction), nio.RoomSendResponse)
        relation = {"rel_type": "m.thread", "event_id": said[1]}
        reply = {"msgtype": "m.text", "body": "a reply", "m.relates_to": relation}
        replied = await self.ok(ben.client.room_send(room, "m.room.message", reply), nio.RoomSendResponse)
        for target, rel_type, expected in (
            (said[0], RelationshipType.annotation, sent.event_id),
            (said[1], RelationshipType.thread, replied.event_id),
        ):
            related = ann.client.room_get_event_relations(room, target, rel_type)
            self.assertEqual([event.event_id async for event in related], [expected])
        roots = [event.event_id async for event in ann.client.room_get_threads(room)]
        self.assertEqual(roots, [said[1]])
        context = await self.ok(ben.client.room_context(room, said[2], limit=4), nio.RoomContextResponse)
        self.assertEqual(context.event.event_id, said[2])
        self.assertEqual([event.event_id for event in context.events_before], [said[1], said[0]])
        self.assertEqual([event.event_id for event in context.events_after], [said[3], said[4]])


class RoomsOnSqlite(Rooms, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class RoomsOnPostgres(Rooms, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
