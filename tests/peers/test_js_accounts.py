"""What users of matrix-js-sdk say of themselves and keep: profiles, account data, push rules. On both
engines."""

import unittest

from harness.engines import Postgres, Sqlite
from js_conversation import JsConversation


class Accounts(JsConversation):
    """The tests; a subclass names the engine."""

    async def test_a_changed_profile_is_seen_in_rooms(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        phone = await self.device_of(ben)
        await ben.call("setDisplayName", "Benjamin ☂")
        named = {"room": room, "user": ben.user_id, "name": "Benjamin ☂"}
        for device in (ann, phone):
            await device.until(lambda device=device: device.was_told("name", **named), "the name")
        await ben.call("setAvatarUrl", "mxc://localhost/ben")
        content = {"membership": "join", "displayname": "Benjamin ☂", "avatar_url": "mxc://localhost/ben"}
        member = {"room": room, "type": "m.room.member", "state_key": ben.user_id, "content": content}
        await ann.until(lambda: ann.was_told("timeline", **member), "the picture")

        self.assertTrue(await ben.call("doesServerSupportExtendedProfiles"))
        await ben.call("setExtendedProfileProperty", "m.tz", "Europe/London")
        await ben.call("setExtendedProfileProperty", "org.example.pets", ["Tom"])
        profile = {"displayname": "Benjamin ☂", "avatar_url": "mxc://localhost/ben"}
        self.assertEqual(
            await ann.call("getExtendedProfile", ben.user_id),
            profile | {"m.tz": "Europe/London", "org.example.pets": ["Tom"]},
        )
        self.assertEqual(await ann.call("getExtendedProfileProperty", ben.user_id, "org.example.pets"), ["Tom"])
        await ben.call("deleteExtendedProfileProperty", "org.example.pets")
        await ben.call("deleteExtendedProfileProperty", "m.tz")
        self.assertEqual(await ann.call("getExtendedProfile", ben.user_id), profile)

    async def test_account_data(self) -> None:
        ann = await self.person("ann")
        await ann.start_syncing()
        phone = await self.device_of(ann)
        data = {"room": None, "type": "org.example.x"}
        for content in ({"a": 1}, {}):
            # The library waits until a sync tells what it set.
            if content:
                await ann.call("setAccountData", "org.example.x", content)
            else:
                await ann.call("deleteAccountData", "org.example.x")
            await phone.until(lambda told=data | {"content": content}: phone.was_told("data", **told), str(content))
            self.assertEqual(await phone.call("getAccountDataFromServer", "org.example.x"), content)
        late = await self.device_of(ann)
        self.assertFalse(late.was_told("data", **data))
        self.assertIsNone(await late.call("getAccountDataFromServer", "org.example.x"))

    async def test_tags(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        phone = await self.device_of(ann)
        favourite = {"m.favourite": {"order": 0.25}}

        def tagged(tags: dict) -> dict:
            return {"room": room, "type": "m.tag", "content": {"tags": tags}}

        await ann.call("setRoomTag", room, "m.favourite", {"order": 0.25})
        await phone.until(lambda: phone.was_told("data", **tagged(favourite)), "the tag")
        self.assertEqual((await phone.call("getRoomTags", room))["tags"], favourite)
        late = await self.device_of(ann)
        await late.until(lambda: late.was_told("data", **tagged(favourite)), "the tag from before")
        await phone.call("deleteRoomTag", room, "m.favourite")
        await ann.until(lambda: ann.was_told("data", **tagged({})), "no tag")
        self.assertEqual(await ben.call("getRoomTags", room), {"tags": {}})
        self.assertFalse(ben.was_told("data", type="m.tag"))

    async def test_ignored_users(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        phone = await self.device_of(ann)
        await ann.call("setIgnoredUsers", [ben.user_id])
        await phone.until(lambda: phone.was_told("data", type="m.ignored_user_list"), "the list")
        await ben.send(room, "unheard")
        await ann.send(room, "heard")
        for device in (ann, phone):
            await device.until(lambda device=device: bool(device.messages(room)), "Ann's own words")
            self.assertEqual(device.messages(room), [(ann.user_id, "heard")])
        await ben.send(room, "missed")
        # The room is told anew. Of it, the library takes what is after all that it knows.
        await ann.call("setIgnoredUsers", [])
        await ben.send(room, "heard again")
        since = [(ben.user_id, "missed"), (ben.user_id, "heard again")]
        for device in (ann, phone):
            await device.until(lambda device=device: device.messages(room)[1:] == since, "what Ben says and said")
        late = await self.device_of(ann)
        known = (await late.do("room", room=room))["timeline"]
        said = [event["content"]["body"] for event in known if event["type"] == "m.room.message"]
        self.assertEqual(said, ["unheard", "heard", "missed", "heard again"])

    async def test_push_rules(self) -> None:
        ann, ben, room = await self.two_in_a_room()
        rule = {"pattern": "tea", "actions": ["notify", {"set_tweak": "highlight"}]}
        await ann.call("addPushRule", "global", "content", "org.example.tea", rule)
        await ann.until(lambda: ann.was_told("data", type="m.push_rules"), "the rules")
        rules = (await ann.call("getPushRules"))["global"]["content"]
        self.assertIn("org.example.tea", [rule["rule_id"] for rule in rules])

        def unread(total: int, highlight: int):
            expected = {"total": total, "highlight": highlight}
            return ann.comes_to(lambda: ann.do("unread", room=room), expected, "the count of unread")

        await ben.send(room, "coffee?")
        await unread(1, 0)
        await ben.send(room, "or some tea?")
        await unread(2, 1)
        await ann.call("setPushRuleEnabled", "global", "content", "org.example.tea", False)
        await ben.send(room, "tea!")
        await unread(3, 1)
        await ann.call("deletePushRule", "global", "content", "org.example.tea")
        rules = (await ann.call("getPushRules"))["global"]["content"]
        self.assertNotIn("org.example.tea", [rule["rule_id"] for rule in rules])


class AccountsOnSqlite(Accounts, unittest.IsolatedAsyncioTestCase):
    engine_type = Sqlite


class AccountsOnPostgres(Accounts, unittest.IsolatedAsyncioTestCase):
    engine_type = Postgres
