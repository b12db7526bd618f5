"""What conversations in encrypted rooms have in common: users of three libraries, and who can read what."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from urllib.parse import quote

import nio
from harness.client import Client
from harness.driven_user import PASSWORD, WAIT_S, DrivenUser
from harness.sdk_user import SdkUser
from harness.server import Server
from js_user import JsUser
from nio_user import EncryptingNioUser, new_client, new_encrypting_client

# A device, by any of the libraries.
Device = DrivenUser | EncryptingNioUser

ENCRYPTION = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


@dataclass
class Count:
    """Messages by what became of them; one that three devices should read counts three times, except as sent."""

    sent: int = 0
    read: int = 0
    unreadable: int = 0
    # Those that a device got and was not allowed to read.
    kept_secret: int = 0

    def __str__(self) -> str:
        return (
            f"{self.sent} messages sent, decrypted {self.read} times, undecryptable {self.unreadable}, "
            f"rightly kept from a device {self.kept_secret}"
        )


class EncryptedConversation:
    """A server and its users; a subclass has the tests, and one of that names the engine."""

    engine_type: type
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.engine = cls.engine_type()
        cls.server = Server(cls.engine)
        cls.addClassCleanup(cls.server.close)
        cls.server.start()
        # What clients upload, until the server keeps media.
        cls.media = cls.server.folder / "media"
        cls.media.mkdir()
        cls.users = 0
        cls.count = Count()
        cls.addClassCleanup(lambda: print(f"        {cls.__name__}: {cls.count}", flush=True))
        # A user without keys of their own, who looks from outside.
        cls.watcher = Client.register(cls.server.url, "watcher")

    async def asyncSetUp(self) -> None:
        # What was said in a room, and which devices must be able to read it: room, device, event id, body.
        self.said: dict[str, dict[Device, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))

    # Users and devices

    async def three(self) -> tuple[JsUser, EncryptingNioUser, SdkUser]:
        """A user of each library."""
        return await asyncio.gather(self.js_person("jon"), self.nio_person("nia"), self.sdk_person("sam"))

    async def js_client(self) -> JsUser:
        """A process of matrix-js-sdk in which nobody is logged in yet."""
        client = await JsUser.begin(self.server.url, media=self.media)
        self.addAsyncCleanup(client.close)
        return client

    async def js_person(self, name: str) -> JsUser:
        """A user of matrix-js-sdk, whose keys are on the server."""
        type(self).users += 1
        device = await self.js_client()
        await device.register(f"{name}{self.users}")
        await device.start_syncing()
        await self.has_keys(device)
        return device

    async def js_device(self, user_id: str) -> JsUser:
        """Another device of a user, in a process of its own."""
        device = await self.js_client()
        await device.login(user_id)
        await device.start_syncing()
        await self.has_keys(device)
        return device

    async def sdk_person(self, name: str) -> SdkUser:
        """A user of matrix-sdk, whose keys are on the server."""
        type(self).users += 1
        device = await self._sdk_client()
        await device.register(f"{name}{self.users}")
        await device.start_syncing()
        await self.has_keys(device)
        return device

    async def sdk_device(self, user_id: str) -> SdkUser:
        """Another device of a user, in a process of its own."""
        device = await self._sdk_client()
        await device.login(user_id)
        await device.start_syncing()
        await self.has_keys(device)
        return device

    async def _sdk_client(self) -> SdkUser:
        client = await SdkUser.begin(self.server.url)
        self.addAsyncCleanup(client.close)
        return client

    async def nio_person(self, name: str) -> EncryptingNioUser:
        """A user of matrix-nio, whose keys are on the server."""
        type(self).users += 1
        client = new_client(self.server.url)
        registered = await client.register(f"{name}{self.users}", PASSWORD)
        self.assertIsInstance(registered, nio.RegisterResponse, registered)
        await client.logout()
        await client.close()
        return await self.nio_device(registered.user_id)

    async def nio_device(self, user_id: str) -> EncryptingNioUser:
        """Another device of a user."""
        device = EncryptingNioUser(new_encrypting_client(self.server.url, user_id))
        self.addAsyncCleanup(device.close)
        logged_in = await device.client.login(PASSWORD)
        self.assertIsInstance(logged_in, nio.LoginResponse, logged_in)
        device.start_syncing()
        await self.has_keys(device)
        return device

    async def devices_on_server(self, user_id: str) -> dict:
        """The keys of a user's devices, as the server gives them to anybody."""
        query = {"device_keys": {user_id: []}}
        answer = await asyncio.to_thread(self.watcher.another().call, "POST", "/v3/keys/query", query)
        return answer["device_keys"].get(user_id, {})

    async def has_keys(self, device: Device) -> None:
        """Waits until the server has a device's keys: others can encrypt for it from then on."""
        async with asyncio.timeout(WAIT_S):
            while device.device_id not in await self.devices_on_server(device.user_id):
                await asyncio.sleep(0.02)

    async def raw(self, device: JsUser) -> Client:
        """The session of a device, to see what goes over the wire."""
        return Client(self.server.url, await device.call("getAccessToken"), device.user_id)

    async def knows_devices(self, device: Device, of: str, expected: list[Device]) -> None:
        """Waits until a device knows exactly these devices of a user."""
        ids = sorted(other.device_id for other in expected)
        if isinstance(device, EncryptingNioUser):
            # It doesn't count itself.
            ids = [known for known in ids if known != device.device_id]
            await device.until(lambda: device.devices(of) == ids, f"the devices {ids} of {of}")
            return
        await device.comes_to(lambda: device.do("devices", user=of), ids, f"the devices of {of}")

    # Rooms

    async def room_of(self, creator: Device, *others: Device, **options) -> str:
        """An encrypted room of these users. All know of all when it is done."""
        state = [*options.pop("initial_state", []), options.pop("encryption", ENCRYPTION)]
        if isinstance(creator, JsUser):
            request = {"name": "Tea", "preset": "private_chat", "initial_state": state} | options
            room = (await creator.call("createRoom", request))["room_id"]
        else:
            created = await creator.client.room_create(name="Tea", initial_state=state, **options)
            self.assertIsInstance(created, nio.RoomCreateResponse, created)
            room = created.room_id
        for other in others:
            await self.invite(creator, room, other)
        await self.all_are_in(room, [creator, *others])
        return room

    async def invite(self, inviter: Device, room: str, other: Device) -> None:
        """Invites a user, who joins with this device."""
        if isinstance(inviter, JsUser):
            await inviter.call("invite", room, other.user_id)
        else:
            invited = await inviter.client.room_invite(room, other.user_id)
            self.assertIsInstance(invited, nio.RoomInviteResponse, invited)
        if isinstance(other, DrivenUser):
            await other.until(lambda: other.was_told("membership", room=room, membership="invite"), "the invite")
            await other.do("join", room=room)
        else:
            await other.until(lambda: room in other.client.invited_rooms, "the invite")
            joined = await other.client.join(room)
            self.assertIsInstance(joined, nio.JoinResponse, joined)

    async def all_are_in(self, room: str, devices: list[Device]) -> None:
        """Waits until all of these devices know that their users are in the room, and that it is encrypted."""
        user_ids = {device.user_id for device in devices}
        for device in devices:
            await self.sees_members(device, room, user_ids)
            for user_id in user_ids if isinstance(device, EncryptingNioUser) else ():
                # It doesn't ask for keys when it sends, but when /sync has told of a user.
                there = [other for other in devices if other.user_id == user_id]
                await self.knows_devices(device, user_id, there)

    async def sees_members(self, device: Device, room: str, user_ids: set[str]) -> None:
        """Waits until a device knows exactly these members of an encrypted room."""
        if isinstance(device, EncryptingNioUser):
            rooms = device.client.rooms

            def there() -> bool:
                return room in rooms and rooms[room].encrypted and set(rooms[room].users) == user_ids

            await device.until(there, f"{user_ids} in {room}")
            return
        await device.comes_to(lambda: device.do("membersIfEncrypted", room=room), sorted(user_ids), f"members of {room}")

    # Messages

    async def say(self, sender: Device, room: str, body: str, readers: list[Device]) -> str:
        """Sends a message that these devices must be able to read; the sender can in any case."""
        event = await sender.say(room, body)
        self.count.sent += 1
        for device in {sender, *readers}:
            self.said[room][device][event] = body
        return event

    async def all_read(self, room: str) -> None:
        """Waits until every device has read all that it must be able to read in a room."""
        for device, expected in self.said[room].items():

            def read(device=device, expected=expected) -> bool:
                return expected.items() <= device.read(room).items()

            try:
                await device.until(read, f"{len(expected)} messages that it can read")
            except AssertionError as error:
                missing = expected.keys() - device.read(room).keys()
                self.count.unreadable += len(missing)
                why = {expected[event]: device.why_unread(room, event) for event in missing}
                raise AssertionError(f"{device.user_id} {device.device_id} can't read {why}; {error}") from None
            self.count.read += len(expected)
        self.said[room].clear()

    async def cannot_read(self, device: Device, room: str, *events: str) -> None:
        """Waits until a device has these events. The key of a message is sent before it, so none will come."""
        await device.until(lambda: device.unread(room) >= set(events), f"{len(events)} messages that it can't read")
        self.assertEqual(set(device.read(room)) & set(events), set())
        self.count.kept_secret += len(events)

    @staticmethod
    def password(user_id: str) -> dict:
        """What to say at the password stage."""
        return {"m.login.password": {"identifier": {"type": "m.id.user", "user": user_id}, "password": PASSWORD}}

    async def cross_sign(self, device: JsUser) -> None:
        """Makes and publishes keys for cross-signing. There are none before, so the server asks for no password."""
        await device.do("crossSign", answers={})

    async def on_server(self, reader: JsUser, room: str, event: str) -> dict:
        """An event as the server has it."""
        client = await self.raw(reader)
        return await asyncio.to_thread(client.call, "GET", f"/v3/rooms/{quote(room)}/event/{quote(event)}")
