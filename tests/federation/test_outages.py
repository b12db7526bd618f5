"""A server that was away learns what it missed, and nothing is lost that was acknowledged."""

import threading
import time

from conversation import Conversation, each_way
from harness.client import BROKEN, Refused
from person import Person

# The other server must notice that it is away, and begin to leave it alone.
AWAY_S = 3.0

# Between two words of who talks on and on.
PAUSE_S = 0.02


class Outages(Conversation):
    """Ann's server is stopped, or killed, and comes back."""

    def setUp(self) -> None:
        super().setUp()
        # The other tests want it too.
        self.addCleanup(lambda: self.resident.runs() or self.resident.start())

    def _a_line(self, room: str, lines: int) -> str:
        """Ben says so much, and the last of it is returned."""
        return [self.ben.say(room, f"while away {number}") for number in range(lines)][-1]

    def _catches_up(self) -> None:
        """Few events, many, and state."""
        rooms = [self.shared_room("11", power_level_content_override={"state_default": 0}) for _ in range(3)]
        for room in rooms:
            self.talk(room, 2)
        few, many, state = rooms
        self._go_away()
        last = [self._a_line(few, 3), self._a_line(many, 55)]
        said = self.ben.say(state, "not meant so")
        self.ben.redact(state, said)
        last.append(self.ben.set_state(state, "m.room.topic", {"topic": "while away"}))
        time.sleep(AWAY_S)
        self.resident.start()
        for room, event_id in zip(rooms, last, strict=True):
            self.ann.until_heard(room, event_id)
            self.same_history(room)
            self.same_state(room)
            self.talk(room, 2)
            self.same_history(room)

    def _go_away(self) -> None:
        self.resident.stop()

    def test_a_server_that_was_stopped_catches_up(self) -> None:
        self._catches_up()

    def test_a_server_that_was_killed_catches_up(self) -> None:
        self._go_away = self.resident.kill
        self._catches_up()

    def test_kill_9_while_both_send(self) -> None:
        """Whatever either server acknowledged is on both in the end."""
        rooms = [self.shared_room("12") for _ in range(2)]
        acknowledged: dict[str, set[str]] = {room: set() for room in rooms}
        enough = threading.Event()
        faults: list[Exception] = []

        def act(person: Person) -> None:
            count = 0
            try:
                while not enough.is_set():
                    room = rooms[count % len(rooms)]
                    acknowledged[room].add(person.say(room, f"{person.user_id} {count}"))
                    count += 1
                    time.sleep(PAUSE_S)
            except BROKEN:
                pass
            except Refused as refusal:
                if refusal.status < 500:
                    faults.append(refusal)

        threads = [threading.Thread(target=act, args=(person,)) for person in (self.ann, self.ben)]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        self.resident.kill()
        time.sleep(1.5)
        enough.set()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
        self.resident.start()
        for room in rooms:
            self.assertGreater(len(acknowledged[room]), 4)
            # A word of each makes the history one line again, and tells of what is missing.
            self.ann.until_heard(room, self.ben.say(room, "the last of Ben"))
            self.ben.until_heard(room, self.ann.say(room, "the last of Ann"))
            self.assertLessEqual(acknowledged[room], self.same_events(room))
            self.same_state(room)


globals().update(each_way(Outages))
