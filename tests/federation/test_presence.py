"""What passes between servers and is no event: typing, receipts, presence; and names that change."""

import secrets

from conversation import Conversation, each_way
from person import Person, eventually


class Presence(Conversation):
    """Ann and Ben share a room; Ben hears of Ann."""

    def setUp(self) -> None:
        super().setUp()
        self.room = self.shared_room()

    def test_typing(self) -> None:
        path = ("rooms", self.room, "typing", self.ann.user_id)
        heard = self.ben.heard[self.room]
        self.ann.put(*path, body={"typing": True, "timeout": 30_000})
        self.ben.until(lambda: heard.typing == {self.ann.user_id}, "typing")
        self.ann.put(*path, body={"typing": False})
        self.ben.until(lambda: not heard.typing, "the end of typing")

    def _read(self, event_id: str, kind: str = "m.read", body: dict | None = None) -> None:
        self.ann.post("rooms", self.room, "receipt", kind, event_id, body=body)

    def _receipt_of_ann(self, event_id: str, kind: str = "m.read") -> dict | None:
        return self.ben.heard[self.room].receipts.get(event_id, {}).get(kind, {}).get(self.ann.user_id)

    def test_receipts(self) -> None:
        said = [self.ben.say(self.room, f"line {number}") for number in range(2)]
        for event_id in said:
            self.ann.until_heard(self.room, event_id)
            self._read(event_id)
            self.ben.until(lambda event_id=event_id: bool(self._receipt_of_ann(event_id)), "the receipt")
        self.assertGreater(self._receipt_of_ann(said[1])["ts"], 0)

    def test_a_receipt_in_a_thread(self) -> None:
        root = self.ben.say(self.room, "root")
        reply = self.ben.say(self.room, "reply", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
        self.ann.until_heard(self.room, reply)
        self._read(reply, body={"thread_id": root})
        self.ben.until(lambda: bool(self._receipt_of_ann(reply)), "the receipt")
        self.assertEqual(self._receipt_of_ann(reply).get("thread_id"), root)

    def test_a_private_receipt_stays_private(self) -> None:
        said = [self.ben.say(self.room, f"line {number}") for number in range(2)]
        for event_id in said:
            self.ann.until_heard(self.room, event_id)
        self._read(said[0], "m.read.private")
        self._read(said[1])
        self.ben.until(lambda: bool(self._receipt_of_ann(said[1])), "the public receipt")
        self.assertIsNone(self._receipt_of_ann(said[0]))
        self.assertIsNone(self._receipt_of_ann(said[0], "m.read.private"))

    def test_presence(self) -> None:
        path = ("presence", self.ann.user_id, "status")
        for presence, text in (("online", "here"), ("unavailable", f"asleep {secrets.token_hex(2)}")):
            self.ann.put(*path, body={"presence": presence, "status_msg": text})

            def told(presence: str = presence, text: str = text) -> bool:
                last = self.ben.presence.get(self.ann.user_id, {})
                return (last.get("presence"), last.get("status_msg")) == (presence, text)

            self.ben.until(told, f"{presence}, {text}")
        asked = self.ben.get("presence", self.ann.user_id, "status")
        self.assertEqual((asked["presence"], asked["status_msg"]), ("unavailable", text))

    def test_a_new_name(self) -> None:
        name = f"Ann {secrets.token_hex(2)}"
        self.ann.put("profile", self.ann.user_id, "displayname", body={"displayname": name})

        def named() -> bool:
            events = self.ben.events(self.room)
            hers = [event["content"] for event in events if event.get("state_key") == self.ann.user_id]
            return bool(hers) and hers[-1].get("displayname") == name

        self.ben.until(named, "the new name")
        asked = eventually(
            lambda: self.ben.get("profile", self.ann.user_id), lambda profile: profile.get("displayname") == name
        )
        self.assertEqual(asked.get("displayname"), name)
        self.same_state(self.room)
        self._finds(self.ben, name, self.ann.user_id)

    def test_the_user_directory(self) -> None:
        self._finds(self.ben, self.ann.user_id, self.ann.user_id)
        self._finds(self.ann, self.ben.user_id, self.ben.user_id)

    def _finds(self, who: Person, term: str, wanted: str) -> None:
        def found() -> list[str]:
            answer = who.post("user_directory", "search", body={"search_term": term})
            return [user["user_id"] for user in answer["results"]]

        self.assertIn(wanted, eventually(found, lambda users: wanted in users))


globals().update(each_way(Presence))
