"""Two Starlings and an encrypted room, while one of them is killed or halted, or they can't reach each other: in the end
everybody can read all that was said."""

import asyncio
import os
import random
import signal
import time
import unittest
from collections.abc import Awaitable, Callable
from functools import cache

from encrypted_room import EncryptedRoom
from gate import Gate
from harness.engines import Postgres, Sqlite
from harness.sdk_user import SdkUser
from servers import begin_starling

# Apart from those that stand alone.
ADDRESSES = {Sqlite: "127.0.0.4", Postgres: "127.0.0.5"}

# The other server must notice that it is away, and begin to leave it alone.
AWAY_S = 2.0
PAUSE_S = 0.1


class Side:
    """A server, behind a gate for other servers; a user there, and all their devices."""

    def __init__(self, engine: type[Sqlite] | type[Postgres]) -> None:
        self.gate = Gate(ADDRESSES[engine])
        name, listens = (f"{self.gate.address}:{port}" for port in (self.gate.port, self.gate.behind))
        self.server = begin_starling(engine, name, listens)
        self.devices: list[SdkUser] = []
        self.recovery_key = ""

    @property
    def first(self) -> SdkUser:
        """The device that was there from the beginning."""
        return self.devices[0]

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self.server.process.pid, number)


@cache
def sides() -> tuple[Side, Side]:
    """One on each engine."""
    return Side(Sqlite), Side(Postgres)


class EncryptedOutages(EncryptedRoom, unittest.IsolatedAsyncioTestCase):
    """Ann is on a Starling with SQLite, Ben on one with PostgreSQL. Both have a backup of their keys."""

    def setUp(self) -> None:
        self.sides = sides()
        for side in self.sides:
            side.gate.open()
            if not side.server.runs():
                side.server.launch()
            side.server.wait_until_healthy()

    async def asyncSetUp(self) -> None:
        for side, name in zip(self.sides, ("ann", "ben"), strict=True):
            user = await self.user(side.server, name)
            await user.cross_sign()
            side.devices, side.recovery_key = [user], await user.back_up()
        first = [side.first for side in self.sides]
        self.room = await self.room_of(*first)
        # Nobody can encrypt for a device for the first time while its server is away.
        await self.all_read(self.room, await self.all_say(self.room, *first), *first)

    async def test_kill_9_with_sqlite(self) -> None:
        await self._kill(*self.sides)

    async def test_kill_9_with_postgresql(self) -> None:
        await self._kill(*reversed(self.sides))

    async def _kill(self, killed: Side, other: Side) -> None:
        async def outage() -> None:
            killed.server.kill()
            await self._log_in(other)
            await asyncio.sleep(AWAY_S)
            await asyncio.to_thread(killed.server.start)
            await self._log_in(killed)

        said = await self._talk_during(outage)
        await self._read_all(said | await self._all_talk())

    async def test_servers_that_are_cut_off(self) -> None:
        async def outage() -> None:
            for side in self.sides:
                side.gate.shut()
            for side in self.sides:
                visitor = await self.device_of(side.first, side.server)
                await self._log_in(side)
                await visitor.do("logout")
            await asyncio.sleep(AWAY_S)
            for side in self.sides:
                side.gate.open()

        said = await self._talk_during(outage)
        await self._read_all(said | await self._all_talk())

    async def test_outages_at_random(self) -> None:
        """Many short ones, and devices that come and go. SEED (by the clock) and ROUNDS (5) are from the environment."""
        seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
        rounds = int(os.environ.get("ROUNDS", "5"))
        print(f"    {rounds} rounds, SEED={seed}", flush=True)
        chance = random.Random(seed)

        async def outages() -> None:
            for _ in range(rounds):
                side, away_s = chance.choice(self.sides), chance.uniform(0, AWAY_S)
                await chance.choice((self._killed, self._halted, self._cut_off))(side, away_s)
                if chance.random() < 0.5:
                    await self._log_in(side)
                elif side.devices[1:]:
                    await side.devices.pop().do("logout")
                await asyncio.sleep(chance.uniform(0, 1))

        # A client that got no key for a device, as a server was away, leaves that server alone for a while: of what is said
        # then, the device has the keys from its user's first one.
        said = await self._talk_during(outages)
        await self._read_all(said)

    async def _killed(self, side: Side, away_s: float) -> None:
        side.server.kill()
        await asyncio.sleep(away_s)
        await asyncio.to_thread(side.server.start)

    async def _halted(self, side: Side, away_s: float) -> None:
        side.signal(signal.SIGSTOP)
        self.addCleanup(side.signal, signal.SIGCONT)
        await asyncio.sleep(away_s)
        side.signal(signal.SIGCONT)

    async def _cut_off(self, side: Side, away_s: float) -> None:
        """Nobody reaches it, but it reaches others."""
        side.gate.shut()
        await asyncio.sleep(away_s)
        side.gate.open()

    async def _log_in(self, side: Side) -> None:
        side.devices.append(await self.device_of(side.first, side.server))

    async def _talk_during(self, outage: Callable[[], Awaitable[None]]) -> set[str]:
        """Both users talk, on their first devices, while it happens. What they said comes to both in the end."""
        said: set[str] = set()
        over = asyncio.Event()

        async def talk(user: SdkUser) -> None:
            while not over.is_set():
                said.add(await user.say(self.room, f"{len(said)} — 茶"))
                await asyncio.sleep(PAUSE_S)

        talking = [asyncio.create_task(talk(side.first)) for side in self.sides]
        await outage()
        over.set()
        await asyncio.gather(*talking)
        await self.all_read(self.room, said, *(side.first for side in self.sides))
        return said

    async def _all_talk(self) -> set[str]:
        """All devices come to know each other, and what each says all can read at once."""
        devices = self._devices()
        for device in devices:
            await device.until_it_knows(*devices)
        said = await self.all_say(self.room, *devices)
        await self.all_read(self.room, said, *devices)
        return said

    async def _read_all(self, said: set[str]) -> None:
        """Each device pages through the room and can read all of it: with the keys of the backup, those that came later."""
        for side in self.sides:
            await side.first.do("backedUp")
            for device in side.devices[1:]:
                await device.do("recover", key=side.recovery_key)
        undecryptable = 0
        for device in self._devices():
            events = {event["event_id"]: event for event in await device.history(self.room)}
            undecryptable += sum("failure" in event for event in events.values())
            read = {id for id, event in events.items() if event["type"] == "m.room.message"}
            self.assertEqual(said - read, set(), [event for event in events.values() if "failure" in event])
        print(f"    {len(said)} messages, {len(self._devices())} devices, {undecryptable} undecryptable", flush=True)
        self.assertEqual(undecryptable, 0)

    def _devices(self) -> list[SdkUser]:
        return [device for side in self.sides for device in side.devices]
