"""What stands in front of a server and can be shut: then nobody reaches it, and nothing else is different."""

import asyncio
import threading
from contextlib import suppress

from harness.server import free_port


class Gate:
    """Passes connections to one port of an address on to another, in a thread of its own."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.port = free_port(address)
        self._passing: set[asyncio.Task] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.open()
        # The port of who is behind it.
        self.behind = free_port(address)

    def open(self) -> None:
        """Lets connections through."""
        self._run(self._open())

    def shut(self) -> None:
        """Cuts all connections, and takes no new ones."""
        self._run(self._shut())

    def _run(self, work) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._pass, self.address, self.port)

    async def _shut(self) -> None:
        self._server.close()
        for passing in self._passing:
            passing.cancel()
        await self._server.wait_closed()
        self._server = None

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._passing.add(task)
        inner = None
        try:
            inner_reader, inner = await asyncio.open_connection(self.address, self.behind)
            await asyncio.gather(self._copy(reader, inner), self._copy(inner_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._passing.discard(task)
            for end in (writer, inner):
                if end is not None:
                    end.transport.abort()

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()
