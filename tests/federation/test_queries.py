"""What a user learns of another server without sharing a room with it."""

import secrets

from conversation import Conversation, each_way
from person import Person


class Queries(Conversation):
    """Ben's server asks Ann's."""

    def directory(self, term: str, limit: int | None = None, since: str | None = None) -> dict:
        """The resident server's public rooms, as Ben finds them."""
        body = {"filter": {"generic_search_term": term}}
        body |= {"limit": limit} if limit else {}
        body |= {"since": since} if since else {}
        return self.ben.post("publicRooms", body=body, server=self.resident.name)

    def test_a_profile(self) -> None:
        name, picture = "Ann ☕", f"mxc://{self.resident.name}/ann"
        self.ann.put("profile", self.ann.user_id, "displayname", body={"displayname": name})
        self.ann.put("profile", self.ann.user_id, "avatar_url", body={"avatar_url": picture})
        profile = self.ben.get("profile", self.ann.user_id)
        self.assertEqual((profile["displayname"], profile["avatar_url"]), (name, picture))
        self.assertEqual(self.ben.get("profile", self.ann.user_id, "displayname"), {"displayname": name})

    def test_a_profile_that_is_not_there(self) -> None:
        nobody = f"@nobody-{secrets.token_hex(3)}:{self.resident.name}"
        self.refused(404, "M_NOT_FOUND", self.ben.get, "profile", nobody)

    def test_an_alias(self) -> None:
        local = f"tea-{secrets.token_hex(3)}"
        room = self.public_room(room_alias_name=local)
        alias = f"#{local}:{self.resident.name}"
        found = self.ben.get("directory", "room", alias)
        self.assertEqual(found["room_id"], room)
        self.assertIn(self.resident.name, found["servers"])
        self.ann.delete("directory", "room", alias)
        self.refused(404, "M_NOT_FOUND", self.ben.get, "directory", "room", alias)

    def test_an_alias_that_is_not_there(self) -> None:
        alias = f"#nothing-{secrets.token_hex(3)}:{self.resident.name}"
        self.refused(404, "M_NOT_FOUND", self.ben.get, "directory", "room", alias)

    def test_the_directory_of_public_rooms(self) -> None:
        word = secrets.token_hex(6)
        names = [f"Tea {number} {word}" for number in range(3)]
        rooms = {self.public_room(name=name, topic="All of it", visibility="public"): name for name in names}
        self.public_room(name=f"Unpublished {word}")
        found = self.directory(word)["chunk"]
        self.assertEqual({listed["room_id"]: listed["name"] for listed in found}, rooms)
        for listed in found:
            shown = (listed["topic"], listed["num_joined_members"], listed["join_rule"])
            self.assertEqual(shown, ("All of it", 1, "public"))
        self.assertEqual(self.directory(secrets.token_hex(6))["chunk"], [])

    def test_the_directory_page_by_page(self) -> None:
        word = secrets.token_hex(6)
        rooms = {self.public_room(name=f"Tea {number} {word}", visibility="public") for number in range(3)}
        first = self.directory(word, limit=2)
        second = self.directory(word, limit=2, since=first["next_batch"])
        self.assertEqual((len(first["chunk"]), len(second["chunk"])), (2, 1))
        self.assertEqual({listed["room_id"] for listed in first["chunk"] + second["chunk"]}, rooms)

    def test_a_space_with_a_room_of_the_other_server(self) -> None:
        room = self.public_room(name="Tea")
        space = self.ben.create_room(creation_content={"type": "m.space"})
        self.ben.set_state(space, "m.space.child", {"via": [self.resident.name]}, room)
        found = self.ben.call("GET", f"/v1/rooms/{space}/hierarchy")["rooms"]
        self.assertEqual([listed["room_id"] for listed in found], [space, room])
        self.assertEqual((found[1]["name"], found[1]["num_joined_members"]), ("Tea", 1))

    def test_a_space_of_the_other_server_with_its_rooms(self) -> None:
        """A space inside Ben's: what is inside it comes along."""
        room = self.public_room(name="Tea")
        inner = self.public_room(name="Drinks", creation_content={"type": "m.space"})
        self.ann.set_state(inner, "m.space.child", {"via": [self.resident.name]}, room)
        space = self.ben.create_room(creation_content={"type": "m.space"})
        self.ben.set_state(space, "m.space.child", {"via": [self.resident.name]}, inner)
        found = self.ben.call("GET", f"/v1/rooms/{space}/hierarchy")["rooms"]
        self.assertEqual([listed["room_id"] for listed in found], [space, inner, room])

    def test_a_private_room_is_not_in_a_space_for_others(self) -> None:
        room = self.ann.create_room(preset="private_chat", name="Secrets")
        space = self.ben.create_room(creation_content={"type": "m.space"})
        self.ben.set_state(space, "m.space.child", {"via": [self.resident.name]}, room)
        found = self.ben.call("GET", f"/v1/rooms/{space}/hierarchy")["rooms"]
        self.assertEqual([listed["room_id"] for listed in found], [space])

    def test_a_profile_that_was_never_changed(self) -> None:
        """Who never set anything has a profile all the same."""
        cal = Person.of(self.resident, "cal")
        self.assertIsInstance(self.ben.get("profile", cal.user_id), dict)


globals().update(each_way(Queries))
