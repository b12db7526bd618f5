"""What somebody finds who comes late."""

from conversation import Conversation, each_way, in_versions


class History(Conversation):
    """Ann spoke before Ben came."""

    @in_versions("1", "12")
    def test_all_that_was_said_before(self, version: str) -> None:
        """More than servers hand each other at a time."""
        room = self.public_room(version, name="Tea")
        for number in range(110):
            self.ann.say(room, f"line {number}")
            if number % 40 == 0:
                self.ann.set_state(room, "m.room.topic", {"topic": f"line {number}"})
        taken_back = self.ann.say(room, "not meant so")
        self.ann.redact(room, taken_back)
        self.ben.join(room, via=self.resident.name)
        self.both_are_in(room)
        self.talk(room)
        self.same_history(room)
        self.same_state(room)

    def _bodies_that_ben_finds(self, visibility: str) -> list[str]:
        rule = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": visibility}}
        room = self.ann.create_room(preset="private_chat", room_version="11", initial_state=[rule])
        self.ann.say(room, "before")
        self.ann.change(room, "invite", self.ben)
        self.ben.until(lambda: room in self.ben.invited, "the invite")
        self.ann.say(room, "invited")
        self.ben.join(room)
        self.both_are_in(room)
        self.ben.until_heard(room, self.ann.say(room, "joined"))
        # Twice: what the first time fetched is there the second time.
        events = [self.ben.history(room) for _ in range(2)][-1]
        return [event["content"].get("body") for event in events if event["type"] == "m.room.message"][::-1]

    def test_shared_history(self) -> None:
        self.assertEqual(self._bodies_that_ben_finds("shared"), ["before", "invited", "joined"])

    def test_history_since_the_invite(self) -> None:
        self.assertEqual(self._bodies_that_ben_finds("invited"), ["invited", "joined"])

    def test_history_since_the_join(self) -> None:
        self.assertEqual(self._bodies_that_ben_finds("joined"), ["joined"])

    def test_an_event_by_its_time(self) -> None:
        room = self.public_room()
        said = [self.ann.say(room, f"line {number}") for number in range(30)]
        times = [self.ann.event(room, event_id)["origin_server_ts"] for event_id in said]
        # One that shares its millisecond with no other.
        index = next(index for index in range(10, 20) if times.count(times[index]) == 1)
        self.ben.join(room, via=self.resident.name)
        self.both_are_in(room)
        for direction in ("f", "b"):
            query = {"ts": times[index], "dir": direction}
            found = self.ben.call("GET", f"/v1/rooms/{room}/timestamp_to_event", query=query)
            self.assertEqual(found, {"event_id": said[index], "origin_server_ts": times[index]})

    def test_the_gap_of_who_was_away(self) -> None:
        """Between two stays of Ben, longer than one page."""
        room = self.shared_room()
        self.talk(room)
        self.ben.change(room, "leave")
        self.ann.until_member(room, self.ben, "leave")
        for number in range(60):
            self.ann.say(room, f"without Ben {number}")
        self.ben.join(room, via=self.resident.name)
        self.both_are_in(room)
        self.talk(room)
        self.same_history(room)


globals().update(each_way(History))
