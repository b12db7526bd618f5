"""A copy of Starling's database is put back: what was said since comes back from the other server."""

import secrets
from pathlib import Path

from conversation import Conversation, each_way
from harness.client import Refused
from harness.server import DidNotStart, Server
from person import Person


class Restoring(Conversation):
    """The server of Ann or Ben, whichever is Starling, goes back to an older copy."""

    def setUp(self) -> None:
        super().setUp()
        is_ours = isinstance(self.resident, Server)
        self.ours, self.us, self.other = (
            (self.resident, self.ann, self.ben) if is_ours else (self.joining, self.ben, self.ann)
        )
        # The other tests want it too.
        self.addCleanup(lambda: self.ours.runs() or self.ours.start())

    def _copy(self) -> Path:
        copy = self.ours.folder / f"copy-{secrets.token_hex(4)}"
        self.ours.copy_database(copy)
        return copy

    def _put_back(self, copy: Path) -> None:
        self.ours.stop()
        self.ours.put_database_back(copy)
        # It notices by itself.
        with self.assertRaises(DidNotStart) as raised:
            self.ours.start()
        self.assertRegex(raised.exception.log, "run `starling restored --config [^`]+` first")
        self.assertIn("the server can start now", self.ours.run("restored"))
        self.ours.start()

    def test_what_was_said_since_comes_back(self) -> None:
        room = self.shared_room("12", power_level_content_override={"state_default": 0})
        few, many = room, self.shared_room("10")
        for each in (few, many):
            self.talk(each, 2)
        copy = self._copy()
        # Both go on; who comes only now is forgotten.
        newcomer, old = Person.of(self.ours, "new"), self.us
        self.talk(few, 4)
        old.set_state(few, "m.room.topic", {"topic": "since the copy"})
        for number in range(30):
            self.other.say(many, f"since the copy {number}")
        last = old.say(many, "the last before the end")
        last_of_few = old.say(few, "the last here, too")
        for each, event_id in ((many, last), (few, last_of_few)):
            self.other.until_heard(each, event_id)
        self._put_back(copy)
        with self.assertRaises(Refused) as raised:
            newcomer.get("sync")
        self.assertEqual((raised.exception.status, raised.exception.errcode), (401, "M_UNKNOWN_TOKEN"))
        # The token from before is good for a sync that begins anew.
        for each, event_id in ((many, last), (few, last_of_few)):
            old.until_heard(each, event_id)
            self.same_state(each)
            self.talk(each, 2)
            self.same_events(each)

    def test_who_came_and_went_since_did_so(self) -> None:
        room = self.shared_room("11")
        stays, goes = Person.of(self.ours, "stays"), Person.of(self.ours, "goes")
        goes.join(room, via=self.resident.name)
        self.other.until_member(room, goes, "join")
        copy = self._copy()
        stays.join(room, via=self.resident.name)
        goes.change(room, "leave")
        self.other.until_member(room, stays, "join")
        self.other.until_member(room, goes, "leave")
        self._put_back(copy)
        stays.until(lambda: room in stays.joined, f"{room}, which they joined since the copy")
        self.same_state(room)
        self.assertEqual(goes.get("joined_rooms")["joined_rooms"], [])
        self.other.until_heard(room, stays.say(room, "still here"))


globals().update(each_way(Restoring))
