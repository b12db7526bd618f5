"""How users come into rooms of the other server, and how they don't."""

import secrets

from conversation import VERSIONS, Conversation, each_way, in_versions
from harness.server import free_port
from person import Person


class Joining(Conversation):
    """Ben comes to rooms of Ann's server."""

    def private_room(self, version: str = "12", **options) -> str:
        return self.ann.create_room(preset="private_chat", room_version=version, **options)

    def room_with_rule(self, rule: dict, version: str, **options) -> str:
        join_rules = {"type": "m.room.join_rules", "state_key": "", "content": rule}
        return self.private_room(version, initial_state=[join_rules], **options)

    def club_and_room(self, version: str, rule: str = "restricted") -> tuple[str, str]:
        """A public room, and one that its members may join."""
        club = self.public_room(version)
        allow = [{"type": "m.room_membership", "room_id": club}]
        return club, self.room_with_rule({"join_rule": rule, "allow": allow}, version)

    def invited(self, room: str) -> None:
        """Ann invites Ben, and his client is told."""
        self.ann.change(room, "invite", self.ben)
        self.ben.until(lambda: room in self.ben.invited, f"the invite to {room}")

    @in_versions(*VERSIONS)
    def test_a_public_room_by_its_alias(self, version: str) -> None:
        local = f"tea-{secrets.token_hex(3)}"
        room = self.public_room(version, room_alias_name=local, name="Tea")
        self.ann.say(room, "before Ben")
        self.assertEqual(self.ben.join(f"#{local}:{self.resident.name}"), room)
        self.both_are_in(room)
        self.talk(room)
        self.same_state(room)
        self.same_history(room)

    def test_a_public_room_by_its_id(self) -> None:
        room = self.shared_room()
        self.talk(room)
        self.same_state(room)

    def test_a_public_room_by_the_second_server_that_is_named(self) -> None:
        room = self.public_room()
        dead = f"127.0.0.9:{free_port('127.0.0.9')}"
        self.ben.call("POST", f"/v3/join/{room}?via={dead}&via={self.resident.name}", {})
        self.both_are_in(room)
        self.same_state(room)

    def test_a_room_that_does_not_exist(self) -> None:
        local = f"nothing-{secrets.token_hex(3)}"
        self.refused(404, "M_NOT_FOUND", self.ben.join, f"#{local}:{self.resident.name}")

    def test_a_second_user_of_the_server_that_joined(self) -> None:
        room = self.shared_room()
        cal = Person.of(self.joining, "cal")
        cal.join(room)
        self.ann.until_member(room, cal, "join")
        said = cal.say(room, "hello")
        self.ann.until_heard(room, said)
        self.ben.until_heard(room, said)
        self.same_state(room)

    @in_versions(*VERSIONS)
    def test_an_invite(self, version: str) -> None:
        room = self.private_room(version, name="Tea")
        self.invited(room)
        told = {event["type"]: event["content"] for event in self.ben.invited[room]}
        self.assertLessEqual({"m.room.create", "m.room.join_rules", "m.room.member", "m.room.name"}, told.keys())
        self.assertEqual(told["m.room.name"], {"name": "Tea"})
        self.ben.join(room)
        self.both_are_in(room)
        self.talk(room)
        self.same_state(room)

    def test_an_invite_as_the_room_is_made(self) -> None:
        room = self.private_room(invite=[self.ben.user_id], is_direct=True)
        self.ben.until(lambda: room in self.ben.invited, "the invite")
        mine = [event for event in self.ben.invited[room] if event.get("state_key") == self.ben.user_id]
        self.assertIs(mine[0]["content"].get("is_direct"), True)
        self.ben.join(room)
        self.both_are_in(room)
        self.same_state(room)

    def test_an_invite_that_is_refused(self) -> None:
        room = self.private_room()
        self.invited(room)
        self.ben.change(room, "leave")
        self.ann.until_member(room, self.ben, "leave")
        self.ben.until(lambda: room not in self.ben.invited, "the end of the invite")
        self.refused(403, "M_FORBIDDEN", self.ben.join, room, via=self.resident.name)

    def test_an_invite_that_is_taken_back(self) -> None:
        room = self.private_room()
        self.invited(room)
        self.ann.change(room, "kick", self.ben)
        self.ben.until(lambda: room not in self.ben.invited, "the end of the invite")
        self.refused(403, "M_FORBIDDEN", self.ben.join, room, via=self.resident.name)

    def test_an_invite_into_a_room_that_the_server_is_in(self) -> None:
        room = self.private_room()
        self.invited(room)
        self.ben.join(room)
        self.both_are_in(room)
        cal = Person.of(self.joining, "cal")
        self.ann.change(room, "invite", cal)
        cal.until(lambda: room in cal.invited, "the invite")
        cal.join(room)
        self.ann.until_member(room, cal, "join")
        self.same_state(room)

    def test_a_room_by_invite_only(self) -> None:
        room = self.private_room()
        self.refused(403, "M_FORBIDDEN", self.ben.join, room, via=self.resident.name)

    @in_versions("7", "9", "10", "11", "12")
    def test_a_knock_that_is_answered(self, version: str) -> None:
        room = self.room_with_rule({"join_rule": "knock"}, version, name="Tea")
        self.ben.knock(room, self.resident.name, "please")
        knock = self.ann.until_member(room, self.ben, "knock")
        self.assertEqual(knock["content"].get("reason"), "please")
        self.ben.until(lambda: room in self.ben.knocked, "his knock")
        names = [event["content"] for event in self.ben.knocked[room] if event["type"] == "m.room.name"]
        self.assertEqual(names, [{"name": "Tea"}])
        self.invited(room)
        self.ben.join(room)
        self.both_are_in(room)
        self.talk(room)
        self.same_state(room)

    def knocked(self) -> str:
        """A room at which Ben knocked."""
        room = self.room_with_rule({"join_rule": "knock"}, "12")
        self.ben.knock(room, self.resident.name, "please")
        self.ann.until_member(room, self.ben, "knock")
        self.ben.until(lambda: room in self.ben.knocked, "his knock")
        return room

    def test_a_knock_that_is_refused(self) -> None:
        """Synapse doesn't tell the other server; who knocked may try again."""
        room = self.knocked()
        self.ann.change(room, "kick", self.ben)
        self.ann.until_member(room, self.ben, "leave")
        self.refused(403, "M_FORBIDDEN", self.ben.join, room, via=self.resident.name)
        self.ben.knock(room, self.resident.name, "pretty please")
        knock = self.ann.until_member(room, self.ben, "knock")
        self.assertEqual(knock["content"].get("reason"), "pretty please")

    def test_a_knock_that_is_taken_back(self) -> None:
        """Synapse doesn't tell the other server; for who knocked it's over."""
        room = self.knocked()
        self.ben.change(room, "leave")
        self.ben.until(lambda: room not in self.ben.knocked, "the end of the knock")

    @in_versions("8", "9", "10", "11", "12")
    def test_a_restricted_room(self, version: str) -> None:
        club, room = self.club_and_room(version)
        self.refused(403, "M_FORBIDDEN", self.ben.join, room, via=self.resident.name)
        self.ben.join(club, via=self.resident.name)
        self.both_are_in(club)
        self.ben.join(room, via=self.resident.name)
        self.both_are_in(room)
        join = self.ben.state(room)[("m.room.member", self.ben.user_id)]
        self.assertEqual(join["content"].get("join_authorised_via_users_server"), self.ann.user_id)
        self.talk(room)
        self.same_state(room)

    def test_a_restricted_room_that_the_server_is_in(self) -> None:
        """Nobody of the joining server may invite, so a second user of it needs the other server too."""
        club, room = self.club_and_room("10")
        levels = self.ann.state(room)[("m.room.power_levels", "")]["content"]
        self.ann.set_state(room, "m.room.power_levels", levels | {"invite": 50})
        self.ben.join(club, via=self.resident.name)
        self.ben.join(room, via=self.resident.name)
        self.both_are_in(room)
        cal = Person.of(self.joining, "cal")
        self.refused(403, "M_FORBIDDEN", cal.join, room)
        cal.join(club, via=self.resident.name)
        self.ann.until_member(club, cal, "join")
        cal.join(room, via=self.resident.name)
        self.ann.until_member(room, cal, "join")
        self.same_state(room)

    @in_versions("10", "11", "12")
    def test_a_knock_at_a_restricted_room(self, version: str) -> None:
        _, room = self.club_and_room(version, "knock_restricted")
        self.refused(403, "M_FORBIDDEN", self.ben.join, room, via=self.resident.name)
        self.ben.knock(room, self.resident.name, "please")
        self.ann.until_member(room, self.ben, "knock")
        self.invited(room)
        self.ben.join(room)
        self.both_are_in(room)
        self.same_state(room)

    @in_versions("1", "3", "6", "11", "12")
    def test_leaving_and_coming_back(self, version: str) -> None:
        room = self.shared_room(version)
        self.talk(room)
        self.ben.change(room, "leave")
        self.ann.until_member(room, self.ben, "leave")
        for number in range(5):
            self.ann.say(room, f"without Ben {number}")
        self.ann.set_state(room, "m.room.topic", {"topic": "Ben"})
        self.ben.join(room, via=self.resident.name)
        self.both_are_in(room)
        self.talk(room)
        self.same_state(room)
        self.same_history(room)

    def test_another_comes_after_the_last_left(self) -> None:
        room = self.shared_room()
        self.talk(room)
        self.ben.change(room, "leave")
        self.ann.until_member(room, self.ben, "leave")
        self.ann.say(room, "alone")
        cal = Person.of(self.joining, "cal")
        cal.join(room, via=self.resident.name)
        self.ben = cal
        self.both_are_in(room)
        self.talk(room)
        self.same_state(room)
        self.same_history(room)

    def test_the_room_goes_on_without_those_who_made_it(self) -> None:
        """Ann, its creator, leaves and comes back by the other server."""
        room = self.shared_room()
        self.ann.change(room, "leave")
        self.ben.until_member(room, self.ann, "leave")
        said = self.ben.say(room, "alone")
        self.ann.join(room, via=self.joining.name)
        self.ben.until_member(room, self.ann, "join")
        self.ann.until(lambda: room in self.ann.joined, "the room")
        self.ann.until_heard(room, self.ben.say(room, "welcome"))
        self.same_state(room)
        self.assertIn(said, self.same_events(room))


globals().update(each_way(Joining))
