"""A user of matrix-nio."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable

import nio
from nio import AsyncClient, AsyncClientConfig
from nio.crypto import GroupSessionStore, InboundGroupSession
from nio.store import SqliteMemoryStore

# It warns of what is normal, as of a device that it has no session with yet.
logging.getLogger("nio").setLevel(logging.ERROR)

PASSWORD = "a good secret"
WAIT_S = 20.0
LONG_POLL_MS = 10_000
# Of a longer gap the library would not look for the rest: what a busy machine lets it miss at once is more than the usual ten.
WHOLE = {"room": {"timeline": {"limit": 100}}}


def new_client(url: str, user: str = "") -> AsyncClient:
    """A client whose failed request is a failure, not something to try again until it works."""
    config = AsyncClientConfig(max_limit_exceeded=0, max_timeouts=0, request_timeout=30)
    return AsyncClient(url, user, config=config)


class NioUser:
    """A user, their client, and what it saw arrive by /sync, in order."""

    long_poll_ms = LONG_POLL_MS

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.seen: list[tuple[str, str, str]] = []
        # The client itself keeps no list of rooms that it left.
        self.left: set[str] = set()
        self._news = asyncio.Condition()
        self._loop: asyncio.Task | None = None
        client.add_event_callback(self._message, nio.RoomMessageText)
        client.add_response_callback(self._synced, nio.SyncResponse)

    @property
    def user_id(self) -> str:
        return self.client.user_id

    async def _message(self, room: nio.MatrixRoom, event: nio.RoomMessageText) -> None:
        self.seen.append((room.room_id, event.sender, event.body))

    async def _synced(self, answer: nio.SyncResponse) -> None:
        self.left.update(answer.rooms.leave)
        async with self._news:
            self._news.notify_all()

    def start_syncing(self) -> None:
        self._loop = asyncio.create_task(self.client.sync_forever(timeout=self.long_poll_ms, sync_filter=WHOLE))

    async def stop_syncing(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for what /sync must bring."""
        try:
            async with asyncio.timeout(WAIT_S), self._news:
                await self._news.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"{self.user_id} waited {WAIT_S} s for {what}; saw {self.seen[-20:]}") from None

    async def close(self) -> None:
        await self.stop_syncing()
        await self.client.close()


def new_encrypting_client(url: str, user: str) -> AsyncClient:
    """A client that encrypts. It forgets its keys when it ends, and tries until the server is there."""
    config = AsyncClientConfig(store=SqliteMemoryStore, max_limit_exceeded=0, max_timeout_retry_wait_time=0.2)
    return AsyncClient(url, user, config=config)


class BetterKeys(GroupSessionStore):
    """Of two keys of a session the one that reads more. The library itself takes the later one, and other clients send another
    one when both sides have begun to encrypt for each other: then it couldn't read what came along with that.
    """

    def add(self, session: InboundGroupSession) -> bool:
        known = self.get(session.room_id, session.sender_key, session.id)
        if known and known.first_known_index <= session.first_known_index:
            return False
        return super().add(session)


class EncryptingNioUser(NioUser):
    """A user whose client encrypts, trusting any device, and what it could read."""

    # Some of what it has to tell other devices waits for the end of a poll.
    long_poll_ms = 500

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(client)
        self._bodies: dict[str, dict[str, str]] = defaultdict(dict)
        self._secrets: dict[str, dict[str, nio.MegolmEvent]] = defaultdict(dict)
        self._sessions: dict[str, str] = {}
        client.add_event_callback(self._secret, nio.MegolmEvent)
        client.add_response_callback(self._learned, (nio.KeysQueryResponse, nio.ToDeviceResponse))

    @property
    def device_id(self) -> str:
        return self.client.device_id

    def start_syncing(self) -> None:
        self.client.olm.inbound_group_store = BetterKeys()
        super().start_syncing()

    async def _message(self, room: nio.MatrixRoom, event: nio.RoomMessageText) -> None:
        await super()._message(room, event)
        self._bodies[room.room_id][event.event_id] = event.body
        self._sessions[event.event_id] = event.session_id

    async def _secret(self, room: nio.MatrixRoom, event: nio.MegolmEvent) -> None:
        self._secrets[room.room_id][event.event_id] = event
        self._sessions[event.event_id] = event.session_id

    async def _learned(self, _: nio.Response) -> None:
        async with self._news:
            self._news.notify_all()

    async def say(self, room: str, body: str) -> str:
        """Sends an encrypted message and returns its event id."""
        content = {"msgtype": "m.text", "body": body}
        answer = await self.client.room_send(room, "m.room.message", content, ignore_unverified_devices=True)
        if not isinstance(answer, nio.RoomSendResponse):
            raise AssertionError(answer)
        return answer.event_id

    def read(self, room: str) -> dict[str, str]:
        """The messages of a room that this client can read: event ids and bodies."""
        self._try_again(room)
        return self._bodies[room]

    def unread(self, room: str) -> set[str]:
        """The encrypted events of a room that came and can't be read."""
        self._try_again(room)
        return set(self._secrets[room])

    def why_unread(self, room: str, event: str) -> str:
        """Why an encrypted event can't be read."""
        if event not in self._secrets[room]:
            return "it didn't come"
        try:
            self.client.decrypt_event(self._secrets[room][event])
        except nio.EncryptionError as error:
            return str(error)
        return "it can be read"

    def session(self, room: str, event: str) -> str:
        """The Megolm session that an event was encrypted with."""
        return self._sessions[event]

    def secret(self, room: str, event: str) -> nio.MegolmEvent:
        """An event that can't be read."""
        return self._secrets[room][event]

    def devices(self, user: str) -> list[str]:
        """The devices of a user that this client knows of."""
        return sorted(device.id for device in self.client.device_store.active_user_devices(user))

    def _try_again(self, room: str) -> None:
        """Keys may have come after their messages."""
        sessions = self.client.olm.inbound_group_store
        for event_id, event in list(self._secrets[room].items()):
            # A try without the key would have the client ask others for it.
            if not sessions.get(room, event.sender_key, event.session_id):
                continue
            try:
                self._bodies[room][event_id] = self.client.decrypt_event(event).body
            except nio.EncryptionError:
                # The key is one for later messages.
                continue
            del self._secrets[room][event_id]
