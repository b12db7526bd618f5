"""What tests of encrypted rooms across servers share: users of matrix-sdk, and who can read what."""

import secrets

from harness.sdk_user import SdkUser
from harness.server import Process


class EncryptedRoom:
    """The tests' base; beside it stands `unittest.IsolatedAsyncioTestCase`."""

    async def user(self, server: Process, name: str) -> SdkUser:
        """A new user whose name begins so, who syncs."""
        user = await self._client(server)
        await user.register(f"{name}-{secrets.token_hex(3)}")
        await user.start_syncing()
        return user

    async def device_of(self, user: SdkUser, server: Process) -> SdkUser:
        """A new device of theirs, which syncs."""
        device = await self._client(server)
        await device.login(user.user_id)
        await device.start_syncing()
        return device

    async def _client(self, server: Process) -> SdkUser:
        client = await SdkUser.begin(server.url)
        self.addAsyncCleanup(client.close)
        return client

    async def room_of(self, maker: SdkUser, *guests: SdkUser) -> str:
        """An encrypted room in which they all are and know each other's devices."""
        room = await maker.do("createRoom", public=True)
        via = maker.user_id.split(":", 1)[1]
        for guest in guests:
            await guest.do("join", room=room, via=[via])
        for user in (maker, *guests):
            await user.until(lambda user=user: user.was_told("membership", room=room, membership="join"), room)
            await user.until_it_knows(maker, *guests)
        return room

    async def all_say(self, room: str, *speakers: SdkUser) -> set[str]:
        """Each says something. The event ids."""
        return {await speaker.say(room, f"I am {speaker.user_id} on {speaker.device_id} — 茶") for speaker in speakers}

    async def all_read(self, room: str, said: set[str], *readers: SdkUser) -> None:
        """All of it comes to all of them, and they can read it. As long as something comes they wait for the rest."""
        for reader in readers:
            while missing := said - reader.read(room).keys():
                try:
                    await reader.until(lambda r=reader, m=missing: not m.isdisjoint(r.read(room)), "a message")
                except AssertionError:
                    self.fail(f"{reader.user_id} on {reader.device_id}: {_missing(reader, room, said)}")


def _missing(reader: SdkUser, room: str, said: set[str]) -> list[str]:
    """What didn't come, and what can't be read."""
    came = {told["event_id"]: told for told in reader.told if told["event"] == "timeline" and told["room"] == room}
    lines = [f"{event} didn't come" for event in said - came.keys()]
    for told in (came[event] for event in reader.unread(room) & said):
        device = told["content"].get("device_id")
        lines.append(f"{told['event_id']} of {told['sender']} on {device}, can't be read: {told['failure']}")
    return lines
