"""A user of one of the servers, and what /sync told them."""

import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote

from harness.client import Client
from harness.server import Process

WAIT_S = float(os.environ.get("WAIT", "60"))
LONG_POLL_MS = 2_000

Answer = TypeVar("Answer")


@dataclass
class Heard:
    """What a user heard of a joined room."""

    events: list[dict] = field(default_factory=list)
    typing: set[str] = field(default_factory=set)
    # event id → type of receipt → user → the receipt
    receipts: dict[str, dict[str, dict[str, dict]]] = field(default_factory=dict)


class Person(Client):
    """A user. Each request has a connection of its own: servers restart under them."""

    def __init__(self, server: Process, token: str, user_id: str) -> None:
        super().__init__(server.url, token, user_id)
        self.server = server
        self.heard: dict[str, Heard] = {}
        self.joined: set[str] = set()
        self.left: set[str] = set()
        # Rooms that the user is invited to and knocked at, with the state that is told of them.
        self.invited: dict[str, list[dict]] = {}
        self.knocked: dict[str, list[dict]] = {}
        self.presence: dict[str, dict] = {}
        # Messages to the device.
        self.told: list[dict] = []
        self._since: str | None = None

    @classmethod
    def of(cls, server: Process, name: str) -> "Person":
        """A new user whose name begins so."""
        account = Client.register(server.url, f"{name}-{secrets.token_hex(3)}")
        account.close()
        return cls(server, account.token, account.user_id)

    def call(self, method: str, path: str, body: dict | None = None, query: dict | None = None) -> dict:
        try:
            return super().call(method, path, body, query)
        finally:
            self.close()

    # What they ask for: parts of a path are quoted here.

    def get(self, *path: str, **query: str | int) -> dict:
        return self.call("GET", _path(path), query=query)

    def put(self, *path: str, body: dict) -> dict:
        return self.call("PUT", _path(path), body)

    def post(self, *path: str, body: dict | None = None, **query: str | int) -> dict:
        return self.call("POST", _path(path), body or {}, query)

    def delete(self, *path: str) -> None:
        self.call("DELETE", _path(path))

    # What they do.

    def join(self, room: str, via: str | None = None) -> str:
        """Joins by id or alias, by this server. The id of the room."""
        return self.post("join", room, **({"via": via} if via else {}))["room_id"]

    def knock(self, room: str, via: str, reason: str) -> None:
        self.post("knock", room, body={"reason": reason}, via=via)

    def change(self, room: str, how: str, whom: "Person | None" = None) -> None:
        """leave; or invite, kick, ban, unban somebody."""
        self.post("rooms", room, how, body={"user_id": whom.user_id} if whom else {})

    def say(self, room: str, text: str, **content) -> str:
        """Sends a text. The event id."""
        content = {"msgtype": "m.text", "body": text} | content
        return self.emit(room, "m.room.message", content)

    def emit(self, room: str, kind: str, content: dict) -> str:
        """Sends an event. Its id."""
        return self.put("rooms", room, "send", kind, secrets.token_hex(8), body=content)["event_id"]

    def set_state(self, room: str, kind: str, content: dict, key: str = "") -> str:
        """Sets state. The event id."""
        keys = (key,) if key else ()
        return self.put("rooms", room, "state", kind, *keys, body=content)["event_id"]

    def redact(self, room: str, event_id: str, reason: str = "a mistake") -> str:
        path = ("rooms", room, "redact", event_id, secrets.token_hex(8))
        return self.put(*path, body={"reason": reason})["event_id"]

    def device(self) -> str:
        return self.get("account", "whoami")["device_id"]

    def tell(self, whom: "Person", device: str, content: dict, kind: str = "org.example.test") -> None:
        """Sends a message to a device."""
        self.put("sendToDevice", kind, secrets.token_hex(8), body={"messages": {whom.user_id: {device: content}}})

    # What they see.

    def event(self, room: str, event_id: str) -> dict:
        return self.get("rooms", room, "event", event_id)

    def state(self, room: str) -> dict[tuple[str, str], dict]:
        """The room's current state."""
        return {(event["type"], event["state_key"]): event for event in self.get("rooms", room, "state")}

    def hear(self, timeout_ms: int = 0) -> None:
        """One /sync."""
        query = {"timeout": timeout_ms, "set_presence": "offline"}
        query["filter"] = json.dumps({"room": {"timeline": {"limit": 100}}})
        if self._since:
            query["since"] = self._since
        answer = self.get("sync", **query)
        self._since = answer["next_batch"]
        rooms = answer.get("rooms", {})
        for room, part in rooms.get("leave", {}).items():
            self._is_now(room, self.left)
            self._hear_of(room, part)
        for room, part in rooms.get("join", {}).items():
            self._is_now(room, self.joined)
            self._hear_of(room, part)
        for section, kept in (("invite", self.invited), ("knock", self.knocked)):
            for room, part in rooms.get(section, {}).items():
                self._is_now(room, None)
                kept[room] = part[f"{section}_state"]["events"]
        for event in answer.get("presence", {}).get("events", []):
            self.presence[event["sender"]] = event["content"]
        self.told += answer.get("to_device", {}).get("events", [])

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for what /sync must bring."""
        limit = time.monotonic() + WAIT_S
        while not condition():
            if time.monotonic() > limit:
                raise AssertionError(f"{self.user_id} waited {WAIT_S} s for {what}")
            self.hear(LONG_POLL_MS)

    def until_heard(self, room: str, event_id: str) -> dict:
        """Waits for an event, which is returned."""

        def matching() -> list[dict]:
            return [event for event in self.events(room) if event["event_id"] == event_id]

        self.until(lambda: bool(matching()), f"{event_id} in {room}")
        return matching()[0]

    def until_member(self, room: str, whom: "Person", membership: str) -> dict:
        """Waits for somebody's membership, as an event of the timeline, which is returned."""

        def matching() -> list[dict]:
            last = [event for event in self.events(room) if event.get("state_key") == whom.user_id][-1:]
            return [event for event in last if event["content"].get("membership") == membership]

        self.until(lambda: bool(matching()), f"{membership} of {whom.user_id} in {room}")
        return matching()[0]

    def messages_heard(self, room: str) -> list[str]:
        """The ids of the messages among what was heard, in order."""
        return [event["event_id"] for event in self.events(room) if event["type"] == "m.room.message"]

    def events(self, room: str) -> list[dict]:
        """What was heard of a room, in order."""
        return self.heard[room].events if room in self.heard else []

    def _is_now(self, room: str, where: set[str] | None) -> None:
        for rooms in (self.joined, self.left):
            rooms.discard(room)
        for rooms in (self.invited, self.knocked):
            rooms.pop(room, None)
        if where is not None:
            where.add(room)

    def _hear_of(self, room: str, part: dict) -> None:
        heard = self.heard.setdefault(room, Heard())
        heard.events += part.get("timeline", {}).get("events", [])
        for event in part.get("ephemeral", {}).get("events", []):
            if event["type"] == "m.typing":
                heard.typing = set(event["content"]["user_ids"])
            if event["type"] == "m.receipt":
                self._hear_receipts(heard, event["content"])

    @staticmethod
    def _hear_receipts(heard: Heard, content: dict) -> None:
        for event_id, by_type in content.items():
            for kind, by_user in by_type.items():
                heard.receipts.setdefault(event_id, {}).setdefault(kind, {}).update(by_user)


def eventually(ask: Callable[[], Answer], is_right: Callable[[Answer], bool]) -> Answer:
    """Asks until the answer is right, or too long. The last answer."""
    limit = time.monotonic() + WAIT_S
    while not is_right(answer := ask()) and time.monotonic() < limit:
        time.sleep(0.1)
    return answer


def _path(parts: tuple[str, ...]) -> str:
    return "/v3/" + "/".join(quote(part, safe="") for part in parts)
