"""Messages from device to device: each comes once, in order, whatever happens to the servers meanwhile."""

import time

from conversation import Conversation, each_way
from person import Person

# The other server must notice that it is away, and begin to leave it alone.
AWAY_S = 3.0


class ToDevice(Conversation):
    """Ann and Ben share a room, so that their servers know each other; and send messages to each other's devices."""

    def setUp(self) -> None:
        super().setUp()
        # The other tests want it too.
        self.addCleanup(lambda: self.resident.runs() or self.resident.start())
        self.shared_room()

    def _sends(self, sender: Person, receiver: Person, numbers: range, device: str | None = None) -> None:
        device = device or receiver.device()
        for number in numbers:
            sender.tell(receiver, device, {"number": number, "text": "茶\n"})

    def _has_heard(self, receiver: Person, sender: Person, numbers: range) -> None:
        def heard() -> list[int]:
            return [message["content"]["number"] for message in receiver.told if message["sender"] == sender.user_id]

        receiver.until(lambda: len(heard()) >= len(numbers), "messages to the device")
        self.assertEqual(heard(), list(numbers))

    def test_messages_come_in_order(self) -> None:
        for sender, receiver in ((self.ann, self.ben), (self.ben, self.ann)):
            self._sends(sender, receiver, range(30))
            self._has_heard(receiver, sender, range(30))
            self.assertEqual(receiver.told[0]["type"], "org.example.test")

    def test_a_message_to_all_devices(self) -> None:
        for sender, receiver in ((self.ann, self.ben), (self.ben, self.ann)):
            self._sends(sender, receiver, range(2), "*")
            self._has_heard(receiver, sender, range(2))

    def _away(self) -> None:
        device = self.ann.device()
        self._sends(self.ann, self.ben, range(5))
        self._go_away()
        self._sends(self.ben, self.ann, range(150), device)
        time.sleep(AWAY_S)
        self.resident.start()
        self._has_heard(self.ann, self.ben, range(150))
        self._has_heard(self.ben, self.ann, range(5))

    def _go_away(self) -> None:
        self.resident.stop()

    def test_messages_wait_for_a_server_that_was_stopped(self) -> None:
        self._away()

    def test_messages_wait_for_a_server_that_was_killed(self) -> None:
        self._go_away = self.resident.kill
        self._away()


globals().update(each_way(ToDevice))
