"""Rooms that have names on both servers, that move on, and that keep a server out."""

import secrets

from conversation import Conversation, each_way, in_versions
from person import Person

EVERYBODY = {"users_default": 100}


class Rooms(Conversation):
    """Ann made the room, and Ben of the other server is in it."""

    def local_name(self) -> str:
        return f"tea-{secrets.token_hex(3)}"

    @in_versions("1", "6", "10", "11")
    def test_an_upgrade(self, version: str) -> None:
        old = self.shared_room(version, name="Tea")
        self.talk(old)
        upgraded = self.ann.post("rooms", old, "upgrade", body={"new_version": "12"})["replacement_room"]
        self._follow(self.ben, old, upgraded, self.resident.name)
        self.both_are_in(upgraded)
        self.talk(upgraded)
        for room in (old, upgraded):
            self.same_state(room)
        self.assertEqual(self.ben.state(upgraded)[("m.room.name", "")]["content"], {"name": "Tea"})

    def test_an_upgrade_by_a_user_of_the_other_server(self) -> None:
        old = self.shared_room("10", name="Tea", power_level_content_override=EVERYBODY)
        upgraded = self.ben.post("rooms", old, "upgrade", body={"new_version": "11"})["replacement_room"]
        self._follow(self.ann, old, upgraded, self.joining.name)
        self.ben.until_member(upgraded, self.ann, "join")
        for room in (old, upgraded):
            self.same_state(room)

    def _follow(self, person: Person, old: str, upgraded: str, via: str) -> None:
        """They are told that the room moved on, and where to."""

        def replacements() -> list[str]:
            tombstones = [event for event in person.events(old) if event["type"] == "m.room.tombstone"]
            return [event["content"]["replacement_room"] for event in tombstones]

        person.until(lambda: bool(replacements()), f"the end of {old}")
        self.assertEqual(replacements(), [upgraded])
        person.join(upgraded, via=via)
        person.until(lambda: upgraded in person.joined, "the new room")

    def test_an_alias_moves_with_the_room(self) -> None:
        local = self.local_name()
        old = self.shared_room("10", room_alias_name=local)
        alias = f"#{local}:{self.resident.name}"
        self.assertEqual(self.ben.get("directory", "room", alias)["room_id"], old)
        upgraded = self.ann.post("rooms", old, "upgrade", body={"new_version": "12"})["replacement_room"]
        self.assertEqual(self.ben.get("directory", "room", alias)["room_id"], upgraded)
        self.assertEqual(self.ben.join(alias), upgraded)
        self.both_are_in(upgraded)
        self.same_state(upgraded)

    def test_an_alias_on_the_other_server(self) -> None:
        room = self.shared_room()
        alias = f"#{self.local_name()}:{self.joining.name}"
        self.ben.put("directory", "room", alias, body={"room_id": room})
        found = self.ann.get("directory", "room", alias)
        self.assertEqual(found["room_id"], room)
        # Both servers are in it, and who asks may try either.
        self.assertLessEqual({self.resident.name, self.joining.name}, set(found["servers"]))
        cal = Person.of(self.resident, "cal")
        self.assertEqual(cal.join(alias), room)
        self.ben.until_member(room, cal, "join")
        named = self.ann.set_state(room, "m.room.canonical_alias", {"alias": alias})
        self.ben.until_heard(room, named)
        self.same_state(room)

    def test_a_canonical_alias_that_leads_elsewhere(self) -> None:
        """Whose server is asked where it leads."""
        room = self.shared_room()
        local = self.local_name()
        elsewhere = f"#{local}:{self.joining.name}"
        self.ben.create_room(room_alias_name=local)
        self.refused(400, "M_BAD_ALIAS", self.ann.set_state, room, "m.room.canonical_alias", {"alias": elsewhere})

    def test_a_room_in_the_directory_of_the_other_server(self) -> None:
        word = secrets.token_hex(6)
        room = self.shared_room(name=f"Tea {word}", power_level_content_override=EVERYBODY)
        self.ben.put("directory", "list", "room", room, body={"visibility": "public"})
        body = {"filter": {"generic_search_term": word}}
        found = self.ann.post("publicRooms", body=body, server=self.joining.name)["chunk"]
        self.assertEqual([(listed["room_id"], listed["num_joined_members"]) for listed in found], [(room, 2)])

    def test_a_server_that_is_kept_out(self) -> None:
        room, other = self.shared_room(), self.shared_room()
        host = self.joining.name.rsplit(":", 1)[0]
        rules = {"allow": ["*"], "deny": [host + "*"], "allow_ip_literals": True}
        self.ben.until_heard(room, self.ann.set_state(room, "m.room.server_acl", rules))
        unheard = self.ben.say(room, "let me in")
        # What comes in a later transaction comes after it.
        for number in range(2):
            self.ann.until_heard(other, self.ben.say(other, f"later {number}"))
        self.assertNotIn(unheard, [event["event_id"] for event in self.ann.history(room)])
        cal = Person.of(self.joining, "cal")
        self.ben.change(room, "leave")
        self.refused(403, "M_FORBIDDEN", cal.join, room, via=self.resident.name)

    @in_versions("8", "11", "12")
    def test_members_agree_on_who_is_there(self, version: str) -> None:
        room = self.shared_room(version)
        cal, dan = Person.of(self.resident, "cal"), Person.of(self.joining, "dan")
        cal.join(room)
        dan.join(room)
        self.ben.until_member(room, cal, "join")
        self.ann.until_member(room, dan, "join")
        joined = [person.get("rooms", room, "joined_members")["joined"] for person in (self.ann, self.ben)]
        for members in joined:
            for profile in members.values():
                # Of what a member hasn't, one server says nothing, the other that it is null.
                for field in [field for field, said in profile.items() if said is None]:
                    del profile[field]
        self.assertEqual(joined[0], joined[1])
        self.assertEqual(set(joined[0]), {person.user_id for person in (self.ann, self.ben, cal, dan)})
        self.same_state(room)


globals().update(each_way(Rooms))
