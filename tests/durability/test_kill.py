"""kill -9 while many send: what was acknowledged is there, once, in order, and old tokens still work.

ROUNDS (10) and SEED (by the clock) come from the environment; the seed is printed.
On PostgreSQL every second round stops the cluster without a checkpoint, too.
"""

import copy
import os
import random
import threading
import time
import unittest
from dataclasses import dataclass, field

from harness.client import BROKEN, Client, Refused, texts
from harness.engines import Postgres, Sqlite
from harness.server import Server

ROOMS = 4
SENDERS = 8
JOIN_LIMIT_S = 60.0


@dataclass
class Message:
    """A message somebody sent, and its event id once the server said it."""

    room: str
    transaction: str
    body: str
    event_id: str | None = None


@dataclass
class Sender:
    """A user who sends as fast as the server answers, until it doesn't."""

    client: Client
    rooms: list[str]
    random: random.Random
    acknowledged: list[Message] = field(default_factory=list)
    unanswered: Message | None = None
    unexpected: Exception | None = None

    def run(self, round_number: int) -> None:
        self.unanswered = None
        count = 0
        try:
            while True:
                label = f"{self.client.user_id} {round_number}.{count}"
                message = Message(self.random.choice(self.rooms), label.replace(" ", "-"), label)
                self.unanswered = message
                message.event_id = self.client.send(message.room, message.transaction, message.body)
                self.acknowledged.append(message)
                self.unanswered = None
                count += 1
        except BROKEN:
            pass
        except Refused as refusal:
            # Right when the database is gone; a refusal of any other kind is not.
            if refusal.status < 500:
                self.unexpected = refusal
        finally:
            self.client.close()


class Reader:
    """A user who follows every room by /sync, filling gaps by /messages."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.token = client.sync()["next_batch"]
        self.seen: dict[str, list[tuple[str, str, str]]] = {}

    def step(self, timeout_ms: int) -> bool:
        """One /sync. Whether it brought anything."""
        answer = self.client.sync(self.token, timeout_ms)
        rooms = answer.get("rooms", {}).get("join", {})
        news = {room: self._news(room, part["timeline"]) for room, part in rooms.items() if "timeline" in part}
        for room, found in news.items():
            self.seen.setdefault(room, []).extend(found)
        self.token = answer["next_batch"]
        return any(news.values())

    def _news(self, room: str, timeline: dict) -> list[tuple[str, str, str]]:
        found = texts(timeline["events"])
        if not timeline.get("limited"):
            return found
        known = {event_id for event_id, _, _ in self.seen.get(room, [])}
        start = timeline["prev_batch"]
        while start:
            page = self.client.messages(room, dir="b", limit=100, **{"from": start})
            older = texts(page["chunk"])
            new = [entry for entry in older if entry[0] not in known]
            found = new[::-1] + found
            start = page.get("end") if len(new) == len(older) else None
        return found

    def follow(self) -> None:
        try:
            while True:
                self.step(10_000)
        except (*BROKEN, Refused):
            self.client.close()

    def catch_up(self) -> None:
        while self.step(0):
            pass


class Kill:
    """The test; a subclass names the engine."""

    engine_type: type

    def setUp(self) -> None:
        self.engine = self.engine_type()
        self.seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
        self.random = random.Random(self.seed)
        self.server = Server(self.engine)
        self.addCleanup(self.server.close)

    def test_nothing_acknowledged_is_lost(self) -> None:
        rounds = int(os.environ.get("ROUNDS", "10"))
        print(f"{self.engine.name}: {rounds} rounds, SEED={self.seed}", flush=True)
        self.server.start()
        self._populate()
        for number in range(rounds):
            with_cluster = self.engine_type is Postgres and number % 2 == 1
            before = copy.copy(self.reader), copy.deepcopy(self.reader.seen)
            sent = self._send_until_killed(number, with_cluster)
            restart_s = self.server.start()
            self._check_retries(self._check_history())
            self._check_readers(*before)
            what = "killed with its cluster" if with_cluster else "killed"
            print(f"round {number}: {sent} acknowledged, {what}, up again in {restart_s:.2f} s", flush=True)
        self.assertEqual(self.server.stop(), 0, self.server.log())
        self.assertGreater(sum(len(sender.acknowledged) for sender in self.senders), rounds * SENDERS)

    def _populate(self) -> None:
        owner = Client.register(self.server.url, "owner")
        self.rooms = [owner.create_room(preset="public_chat", name=f"Room {n}") for n in range(ROOMS)]
        clients = [Client.register(self.server.url, f"sender{n}") for n in range(SENDERS)]
        for client in clients:
            for room in self.rooms:
                client.join(room)
        self.owner = owner
        self.senders = [Sender(client, self.rooms, random.Random(self.random.random())) for client in clients]
        self.reader = Reader(owner.another())

    def _send_until_killed(self, number: int, with_cluster: bool) -> int:
        already = sum(len(sender.acknowledged) for sender in self.senders)
        threads = [threading.Thread(target=sender.run, args=(number,), daemon=True) for sender in self.senders]
        threads.append(threading.Thread(target=self.reader.follow, daemon=True))
        for thread in threads:
            thread.start()
        time.sleep(self.random.uniform(0.2, 1.5))
        if with_cluster:
            self.engine.crash()
        self.server.kill()
        self.owner.close()
        for thread in threads:
            thread.join(JOIN_LIMIT_S)
            self.assertFalse(thread.is_alive(), "a client didn't notice that the server died")
        for sender in self.senders:
            self.assertIsNone(sender.unexpected)
        if with_cluster:
            self.engine.restart()
        return sum(len(sender.acknowledged) for sender in self.senders) - already

    def _history(self) -> dict[str, list[tuple[str, str, str]]]:
        """Each room's messages, oldest first; both directions must agree."""
        histories = {}
        for room in self.rooms:
            backward = texts(self.owner.history(room, "b"))
            forward = texts(self.owner.history(room, "f"))
            self.assertEqual(backward[::-1], forward, f"{room}: forward and backward differ")
            histories[room] = forward
        return histories

    def _check_history(self) -> dict[str, list[tuple[str, str, str]]]:
        histories = self._history()
        for room, history in histories.items():
            ids = [event_id for event_id, _, _ in history]
            bodies = [body for _, _, body in history]
            self.assertEqual(len(set(ids)), len(ids), f"{room}: an event twice")
            self.assertEqual(len(set(bodies)), len(bodies), f"{room}: a message twice, as two events")
            for sender in self.senders:
                self._check_sender(sender, room, history)
        return histories

    def _check_sender(self, sender: Sender, room: str, history: list[tuple[str, str, str]]) -> None:
        stored = [(event_id, body) for event_id, user, body in history if user == sender.client.user_id]
        acknowledged = [(sent.event_id, sent.body) for sent in sender.acknowledged if sent.room == room]
        last = sender.unanswered
        if last is not None and last.room == room and stored and stored[-1][1] == last.body:
            # Stored, but the answer didn't get out.
            stored.pop()
        self.assertEqual(stored, acknowledged, f"{room}: not what {sender.client.user_id} was told")

    def _check_retries(self, histories: dict[str, list[tuple[str, str, str]]]) -> None:
        """The same transaction id gives the same event; one that was never stored is stored now, once."""
        for sender in self.senders:
            if sender.acknowledged:
                last = sender.acknowledged[-1]
                again = sender.client.send(last.room, last.transaction, last.body)
                self.assertEqual(again, last.event_id, f"{last.body}: another event for the same transaction id")
            if (message := sender.unanswered) is not None:
                stored = [event_id for event_id, _, body in histories[message.room] if body == message.body]
                message.event_id = sender.client.send(message.room, message.transaction, message.body)
                if stored:
                    self.assertEqual([message.event_id], stored, f"{message.body}: stored, but not found again")
                again = sender.client.send(message.room, message.transaction, message.body)
                self.assertEqual(again, message.event_id)
                sender.acknowledged.append(message)
                sender.unanswered = None
            sender.client.close()
        self._check_history()

    def _check_readers(self, before: Reader, seen_before: dict) -> None:
        """From the token of the last answer before the kill, and from one of before this round."""
        before.seen = seen_before
        before.client = self.owner
        histories = self._history()
        for what, reader in (("the last token", self.reader), ("an old token", before)):
            reader.catch_up()
            for room in self.rooms:
                self.assertEqual(reader.seen.get(room, []), histories[room], f"{room}: /sync from {what}")


class KillOnSqlite(Kill, unittest.TestCase):
    engine_type = Sqlite


class KillOnPostgres(Kill, unittest.TestCase):
    engine_type = Postgres
