"""A user of matrix-nio."""

import asyncio
from collections.abc import Callable

import nio
from nio import AsyncClient, AsyncClientConfig

PASSWORD = "a good secret"
WAIT_S = 20.0
LONG_POLL_MS = 10_000


def new_client(url: str, user: str = "") -> AsyncClient:
    """A client whose failed request is a failure, not something to try again until it works."""
    config = AsyncClientConfig(max_limit_exceeded=0, max_timeouts=0, request_timeout=30)
    return AsyncClient(url, user, config=config)


class NioUser:
    """A user, their client, and what it saw arrive by /sync, in order."""

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
        self._loop = asyncio.create_task(self.client.sync_forever(timeout=LONG_POLL_MS))

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
            raise AssertionError(f"{self.user_id} waited {WAIT_S} s for {what}; saw {self.seen}") from None

    async def close(self) -> None:
        await self.stop_syncing()
        await self.client.close()
