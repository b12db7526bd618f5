"""What members on two servers do in a room: they talk, change it, take things back, and send each other out."""

import threading

from conversation import VERSIONS, Conversation, each_way, in_versions
from harness.client import Refused
from person import Person, eventually

EVERYBODY_MAY = {"state_default": 0, "redact": 50}


class Talking(Conversation):
    """Ann made the room, and Ben of the other server is in it."""

    @in_versions(*VERSIONS)
    def test_words_state_and_redactions(self, version: str) -> None:
        room = self.shared_room(version, name="Tea", power_level_content_override=EVERYBODY_MAY)
        self.talk(room)
        for person, other in ((self.ann, self.ben), (self.ben, self.ann)):
            other.until_heard(room, person.set_state(room, "m.room.topic", {"topic": f"by {person.user_id}"}))
            other.until_heard(room, person.set_state(room, "org.example.thing", {"by": person.user_id}, "a key"))
            self._take_back(room, person, other)
        self.same_state(room)
        self.same_history(room)

    def _take_back(self, room: str, person: Person, other: Person) -> None:
        """Something is said and redacted, and the other no longer finds it."""
        said = person.say(room, "not meant so")
        other.until_heard(room, said)
        redaction = person.redact(room, said, "typo")
        told = other.until_heard(room, redaction)
        self.assertEqual(told["content"].get("reason"), "typo")

        def seen() -> dict:
            return other.event(room, said)

        gone = eventually(seen, lambda event: not event["content"])
        self.assertEqual(gone["content"], {})
        self.assertEqual(gone["unsigned"]["redacted_because"]["event_id"], redaction)

    @in_versions("1", "11", "12")
    def test_a_moderator_redacts_what_the_other_said(self, version: str) -> None:
        room = self.shared_room(version)
        said = self.ben.say(room, "rude")
        self.ann.until_heard(room, said)
        redaction = self.ann.redact(room, said)
        self.ben.until_heard(room, redaction)
        gone = eventually(lambda: self.ben.event(room, said), lambda event: not event["content"])
        self.assertEqual(gone["content"], {})
        kept = self.ann.say(room, "kind")
        self.ben.until_heard(room, kept)
        self.refused(403, "M_FORBIDDEN", self.ben.redact, room, kept)
        self.same_history(room)

    def test_redacted_state(self) -> None:
        room = self.shared_room(name="Tea")
        topic = self.ann.set_state(room, "m.room.topic", {"topic": "rude"})
        self.ben.until_heard(room, topic)
        self.ben.until_heard(room, self.ann.redact(room, topic))
        gone = eventually(lambda: self.ben.event(room, topic), lambda event: not event["content"])
        self.assertEqual(gone["content"], {})
        self.same_state(room)

    def test_reactions_edits_and_threads(self) -> None:
        room = self.shared_room()
        said = self.ann.say(room, "tee")
        self.ben.until_heard(room, said)
        reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": said, "key": "☕"}}
        self.ann.until_heard(room, self.ben.emit(room, "m.reaction", reaction))
        replaced = {"msgtype": "m.text", "body": "tea"}
        edit = {"m.new_content": replaced, "m.relates_to": {"rel_type": "m.replace", "event_id": said}}
        self.ben.until_heard(room, self.ann.say(room, "* tea", **edit))
        reply = {"m.relates_to": {"rel_type": "m.thread", "event_id": said}}
        self.ann.until_heard(room, self.ben.say(room, "a reply", **reply))
        for person in (self.ann, self.ben):
            related = person.call("GET", f"/v1/rooms/{room}/relations/{said}")["chunk"]
            kinds = {event["content"]["m.relates_to"]["rel_type"] for event in related}
            self.assertEqual(kinds, {"m.annotation", "m.replace", "m.thread"})
            shown = person.event(room, said)["unsigned"]["m.relations"]
            self.assertEqual(shown["m.thread"]["count"], 1)
            self.assertEqual(shown["m.replace"]["content"]["m.new_content"], replaced)

    @in_versions("1", "6", "11", "12")
    def test_a_kick_and_a_ban(self, version: str) -> None:
        room = self.shared_room(version)
        self.ann.change(room, "kick", self.ben)
        self.ben.until(lambda: room in self.ben.left, "the kick")
        self.refused(403, "M_FORBIDDEN", self.ben.say, room, "still here")
        self.ben.join(room, via=self.resident.name)
        self.both_are_in(room)
        self.ann.change(room, "ban", self.ben)
        self.ben.until(lambda: room in self.ben.left, "the ban")
        self.refused(403, "M_FORBIDDEN", self.ben.join, room, via=self.resident.name)
        self.ann.change(room, "unban", self.ben)
        self.ann.until_member(room, self.ben, "leave")
        self.ben.join(room, via=self.resident.name)
        self.both_are_in(room)
        self.talk(room)
        self.same_state(room)

    def test_a_moderator_of_the_other_server(self) -> None:
        """Power reaches over servers: Ben sends Cal out, who is of Ann's."""
        room = self.shared_room("11")
        cal = Person.of(self.resident, "cal")
        cal.join(room)
        self.ben.until_member(room, cal, "join")
        self.refused(403, "M_FORBIDDEN", self.ben.change, room, "kick", cal)
        levels = self.ann.state(room)[("m.room.power_levels", "")]["content"]
        levels["users"][self.ben.user_id] = 50
        self.ben.until_heard(room, self.ann.set_state(room, "m.room.power_levels", levels))
        self.ben.change(room, "kick", cal)
        cal.until(lambda: room in cal.left, "the kick")
        self.ben.change(room, "ban", cal)
        self.ann.until_member(room, cal, "ban")
        self.refused(403, "M_FORBIDDEN", cal.say, room, "still here")
        self.same_state(room)

    @in_versions("1", "2", "6", "11", "12")
    def test_both_at_the_same_time(self, version: str) -> None:
        """What crosses on the way is a fork, which heals."""
        room = self.shared_room(version, power_level_content_override=EVERYBODY_MAY)
        said = set[str]()
        faults = []

        def act(person: Person) -> None:
            try:
                for number in range(10):
                    said.add(person.say(room, f"{person.user_id} {number}"))
                    said.add(person.set_state(room, "m.room.topic", {"topic": f"{person.user_id} {number}"}))
            except (Refused, OSError) as fault:
                faults.append(fault)

        threads = [threading.Thread(target=act, args=(person,)) for person in (self.ann, self.ben)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
        # Each in turn: the history becomes one line again.
        self.ben.until_heard(room, self.ann.say(room, "the last of Ann"))
        self.ann.until_heard(room, self.ben.say(room, "the last of Ben"))
        self.same_state(room)
        self.assertLessEqual(said, self.same_events(room))


globals().update(each_way(Talking))
