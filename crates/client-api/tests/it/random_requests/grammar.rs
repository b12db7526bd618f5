//! What random requests are made of: plausible parts, and hostile ones in their places.

use serde_json::{Map, Value, json};
use starling_runtime::Chance;

use crate::caller::segment;

/// What there is, to be named.
#[derive(Default)]
pub(super) struct Known {
    pub(super) room: String,
    pub(super) event: String,
    pub(super) alias: String,
    pub(super) alice: String,
    pub(super) bob: String,
    /// Who is in no room.
    pub(super) carol: String,
    pub(super) device: String,
    pub(super) filter_id: String,
    pub(super) since: String,
}

/// Makes the parts of requests.
pub(super) struct Grammar {
    chance: Chance,
    pub(super) known: Known,
}

/// Texts that somebody may have forgotten.
const HOSTILE: [&str; 38] = [
    "",
    " ",
    ".",
    "..",
    "/",
    "a/b",
    "a b",
    "%",
    "+",
    "&",
    "=",
    "?",
    "\0",
    "a\0",
    "\u{1}",
    "\r\n",
    "\u{feff}",
    "\u{202e}",
    "é",
    "💥",
    "\u{10ffff}",
    "'",
    "\"",
    "\\",
    "' OR 1=1 --",
    "<script>",
    "{}",
    "[]",
    "null",
    "-1",
    "18446744073709551616",
    "$",
    "@:localhost",
    "!:localhost",
    "$a\0",
    "!a\0:localhost",
    "@a\0:localhost",
    "#a\0:localhost",
];

/// What is no percent-encoding of UTF-8.
const BROKEN: [&str; 4] = ["%FF", "%C0%80", "%ED%A0%80", "%zz"];

/// Bodies that are none.
const JUNK: [&[u8]; 12] = [
    b"",
    b"{",
    b"}",
    b"null",
    b"[]",
    b"\"text\"",
    b"\xff\xfe",
    b"{\"a\":\"\xff\"}",
    b"{\"a\":1e999}",
    b"{\"a\":1,\"a\":2}",
    b"{\"a\":\"\\ud800\"}",
    b"session=x&token=y",
];

/// Types of events.
const TYPES: [&str; 18] = [
    "m.room.message",
    "m.room.member",
    "m.room.create",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.aliases",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.redaction",
    "m.room.third_party_invite",
    "m.room.tombstone",
    "m.room.encryption",
    "m.room.server_acl",
    "org.example.kind",
];

/// Parameters of queries.
const QUERY: [&str; 33] = [
    "version",
    "dir",
    "limit",
    "from",
    "to",
    "since",
    "timeout",
    "filter",
    "at",
    "membership",
    "not_membership",
    "kind",
    "username",
    "token",
    "session",
    "format",
    "full_state",
    "set_presence",
    "use_state_after",
    "access_token",
    "via",
    "server",
    "suggested_only",
    "max_depth",
    "user_id",
    "batch_token",
    "alias",
    "userid",
    "ts",
    "recurse",
    "include",
    "room_id",
    "archived",
];

impl Grammar {
    pub(super) fn new(chance: Chance) -> Self {
        Self {
            chance,
            known: Known::default(),
        }
    }

    pub(super) fn below(&self, end: usize) -> usize {
        usize::try_from(self.chance.within(0..end as u64)).unwrap()
    }

    pub(super) fn one_of<'a, T>(&self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }

    fn hostile(&self) -> String {
        match self.below(16) {
            0 => "a".repeat(256),
            1 => "💥".repeat(1000),
            _ => (*self.one_of(&HOSTILE)).to_owned(),
        }
    }

    /// The declared path with values for its parameters, and a query.
    pub(super) fn path(&self, declared: &str) -> String {
        let part = |part: &str| match part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'))
        {
            None => part.to_owned(),
            Some(_) if self.below(60) == 0 => (*self.one_of(&BROKEN)).to_owned(),
            Some(_) if self.below(12) == 0 => segment(&self.hostile()),
            Some(name) => segment(&self.parameter(name)),
        };
        let parts: Vec<String> = declared.split('/').map(part).collect();
        let mut query = Vec::new();
        let takes_direction =
            declared.ends_with("/messages") || declared.ends_with("/timestamp_to_event");
        if takes_direction && self.below(10) > 0 {
            query.push(format!("dir={}", self.one_of(&["b", "f"])));
        }
        for _ in 0..self.below(4) {
            let name = self.one_of(&QUERY);
            query.push(format!("{name}={}", segment(&self.query_value(name))));
        }
        let path = parts.join("/");
        if query.is_empty() {
            path
        } else {
            format!("{path}?{}", query.join("&"))
        }
    }

    fn parameter(&self, name: &str) -> String {
        let Known {
            room,
            event,
            alias,
            alice,
            bob,
            device,
            filter_id,
            ..
        } = &self.known;
        let some: &[&str] = match name {
            "roomId" => &[room, room, room, "!unknown:localhost", "!a", alias],
            "roomIdOrAlias" => &[room, alias, "#unknown:localhost"],
            "roomAlias" => &[alias, "#other:localhost", "#a:elsewhere"],
            "eventId" => &[event, event, "$unknown", "$a:localhost"],
            "userId" => &[alice, alice, bob, "@nobody:localhost", "@a:elsewhere"],
            "eventType" => &TYPES,
            "stateKey" => &["a", alice, bob],
            "receiptType" => &["m.read", "m.read.private", "m.fully_read", "m.seen"],
            "txnId" => &["1", "2", "3", "first"],
            "deviceId" => &[device, "PHONE"],
            "type" => &["org.example", "m.direct", "m.push_rules", "m.fully_read"],
            "filterId" => &[filter_id, "0", "1000"],
            "kind" => &["override", "underride", "content", "room", "sender"],
            "relType" => &[
                "m.thread",
                "m.replace",
                "m.annotation",
                "m.reference",
                "org.example",
            ],
            "ruleId" => &[".m.rule.master", ".m.rule.message", "none"],
            "protocol" => &["irc", "x"],
            "tag" => &["m.favourite", "u.work"],
            "version" => &["1", "1", "2", "x"],
            "sessionId" => &["session", "other"],
            "keyName" => &["displayname", "avatar_url", "org.example"],
            "authType" => &[
                "m.login.dummy",
                "m.login.registration_token",
                "m.login.password",
            ],
            _ => unreachable!("what stands for {{{name}}}?"),
        };
        (*self.one_of(some)).to_owned()
    }

    fn query_value(&self, name: &str) -> String {
        let Known {
            event,
            filter_id,
            room,
            since,
            ..
        } = &self.known;
        let some: &[&str] = match name {
            // Nobody waits for what doesn't come.
            "timeout" => return (*self.one_of(&["0", "1", "-1", "x"])).to_owned(),
            _ if self.below(5) == 0 => return self.hostile(),
            "dir" => &["b", "f"],
            "limit" => &["0", "1", "10", "1000000"],
            "from" | "to" | "since" | "at" => &[since, since, "s1_1_1", event],
            "filter" => &[
                filter_id,
                "{}",
                r#"{"room":{"timeline":{"limit":1}}}"#,
                r#"{"types":["m.*"]}"#,
                r#"{"room":{"state":{"lazy_load_members":true}}}"#,
                r#"{"room":1}"#,
            ],
            "membership" | "not_membership" => &["join", "invite", "leave", "ban", "knock"],
            "kind" => &["user", "guest"],
            "format" => &["content", "event"],
            "server" => &["localhost", "elsewhere"],
            "max_depth" => &["0", "1", "4294967296"],
            "user_id" | "userid" => return self.known.bob.clone(),
            "batch_token" => &["m0", "m1", "m"],
            "full_state" | "use_state_after" | "recurse" | "suggested_only" | "archived" => {
                &["true", "false"]
            }
            "ts" => &[
                "0",
                "1700000000000",
                "9223372036854775807",
                "-9223372036854775808",
            ],
            "version" => &["1", "1", "2", "x"],
            "include" => &["all", "participated"],
            "room_id" => &[room, "!unknown:localhost"],
            "set_presence" => &["online", "offline", "unavailable"],
            _ => &["x", "alice"],
        };
        (*self.one_of(some)).to_owned()
    }

    /// A body for this route: what it wants, or something near it, or nothing like it.
    pub(super) fn body(&self, path: &str) -> Vec<u8> {
        match self.below(24) {
            0 => return self.one_of(&JUNK).to_vec(),
            1 => return [b"[".repeat(5000), b"]".repeat(5000)].concat(),
            2 => {
                return json!({ "body": "x".repeat(70_000) })
                    .to_string()
                    .into_bytes();
            }
            _ => {}
        }
        let mut body = self.wanted(path);
        for _ in 0..[0, 0, 0, 1, 2][self.below(5)] {
            self.damage(&mut body);
        }
        body.to_string().into_bytes()
    }

    /// Changes something somewhere.
    fn damage(&self, value: &mut Value) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                let name = fields
                    .keys()
                    .nth(self.below(fields.len()))
                    .cloned()
                    .unwrap();
                match self.below(4) {
                    0 => drop(fields.remove(&name)),
                    1 => drop(fields.insert(self.hostile(), self.value())),
                    2 => fields[&name] = self.value(),
                    _ => self.damage(&mut fields[&name]),
                }
            }
            Value::Array(values) if !values.is_empty() => {
                let index = self.below(values.len());
                self.damage(&mut values[index]);
            }
            other => *other = self.value(),
        }
    }

    fn value(&self) -> Value {
        match self.below(16) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(0),
            3 => json!(-1),
            4 => json!(1.5),
            5 => json!(9_007_199_254_740_992_u64),
            6 => json!([]),
            7 => json!({}),
            8 => json!([self.hostile()]),
            9 => json!({ self.hostile(): 1 }),
            10 => (0..40).fold(json!(1), |inner, _| json!([inner])),
            11 => json!(self.known.alice),
            12 => json!(self.known.room),
            _ => json!(self.hostile()),
        }
    }

    /// What a route wants.
    fn wanted(&self, path: &str) -> Value {
        let Known {
            room,
            alice,
            bob,
            device,
            ..
        } = &self.known;
        let name = alice.trim_start_matches('@').trim_end_matches(":localhost");
        let auth = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": alice }, "password": name });
        let ending = path.trim_start_matches("/_matrix/client/");
        match ending {
            "v3/login" => json!({
                "type": "m.login.password", "identifier": auth["identifier"], "password": name,
                "device_id": device, "initial_device_display_name": "x", "refresh_token": true,
            }),
            "v3/register" => json!({
                "username": format!("new{}", self.chance.number()), "password": "x", "auth": { "type": "m.login.dummy" },
                "inhibit_login": false, "device_id": "x", "initial_device_display_name": "x",
            }),
            "v3/keys/upload" => json!({
                "device_keys": { "user_id": alice, "device_id": device, "algorithms": ["x"], "keys": {}, "signatures": {} },
                "one_time_keys": { "signed_curve25519:A": { "key": "x" } }, "fallback_keys": { "x:y": "z" },
            }),
            "v3/keys/query" => {
                json!({ "device_keys": { alice: [], bob: [device] }, "timeout": 10 })
            }
            "v3/keys/claim" => {
                json!({ "one_time_keys": { alice: { device: "signed_curve25519" } } })
            }
            "v3/keys/device_signing/upload" => json!({
                "master_key": { "user_id": alice, "usage": ["master"], "keys": { "ed25519:x": "x" } }, "auth": auth,
            }),
            "v3/keys/signatures/upload" => {
                json!({ alice: { device: {} }, bob: { "x": { "signatures": {} } } })
            }
            "v3/refresh" => json!({ "refresh_token": "x" }),
            "v3/account/password" => {
                json!({ "new_password": name, "logout_devices": false, "auth": auth })
            }
            "v3/account/deactivate" => json!({ "auth": auth, "erase": true }),
            "v3/delete_devices" => json!({ "devices": ["PHONE", "x"], "auth": auth }),
            "v3/devices/{deviceId}" => json!({ "display_name": "x", "auth": auth }),
            "v1/login/get_token" => json!({ "auth": auth }),
            "v1/admin/lock/{userId}" => json!({ "locked": false }),
            "v1/admin/suspend/{userId}" => json!({ "suspended": false }),
            "v3/profile/{userId}/{keyName}" => {
                json!({ "displayname": "x", "avatar_url": "mxc://localhost/x", "m.tz": "x", "org.example": [null] })
            }
            "v3/user/{userId}/filter" => json!({
                "room": { "timeline": { "limit": 3, "types": ["m.*"], "not_senders": [bob] }, "rooms": [room] },
                "event_fields": ["content.body"], "event_format": "client",
            }),
            "v3/sendToDevice/{eventType}/{txnId}" => json!({
                "messages": { alice: { "*": { "n": 1 } }, bob: { device: {} }, "@a:elsewhere": { "x": {} } },
            }),
            "unstable/org.matrix.msc3814.v1/dehydrated_device" => json!({
                "device_id": "x", "device_data": { "algorithm": "x" }, "initial_device_display_name": "x",
                "device_keys": { "user_id": alice, "device_id": "x", "algorithms": ["x"], "keys": {}, "signatures": {} },
                "one_time_keys": { "signed_curve25519:A": { "key": "x" } }, "fallback_keys": { "x:y": "z" },
            }),
            "unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events" => {
                json!({ "next_batch": self.known.since })
            }
            _ if ending.starts_with("v3/room_keys/") => self.wanted_of_backup(ending),
            _ => self.wanted_of_room(path, ending),
        }
    }

    /// What a route wants that is of backups of keys.
    fn wanted_of_backup(&self, ending: &str) -> Value {
        let key = json!({
            "first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": { "x": "x" },
        });
        match ending.trim_start_matches("v3/room_keys/") {
            "keys" => json!({ "rooms": { &self.known.room: { "sessions": { "session": key } } } }),
            "keys/{roomId}" => json!({ "sessions": { "session": key } }),
            "keys/{roomId}/{sessionId}" => key,
            _ => json!({ "algorithm": "m.x", "auth_data": { "x": "x" } }),
        }
    }

    /// What a route wants that is of rooms, or of what is told of them.
    fn wanted_of_room(&self, path: &str, ending: &str) -> Value {
        let Known {
            room,
            alice,
            bob,
            carol,
            event,
            ..
        } = &self.known;
        match ending {
            "v3/directory/room/{roomAlias}" => json!({ "room_id": room }),
            "v3/createRoom" => self.creation(),
            "v3/rooms/{roomId}/upgrade" => {
                json!({ "new_version": (self.below(12) + 1).to_string(), "additional_creators": [bob] })
            }
            "v3/rooms/{roomId}/join" => {
                let signed =
                    json!({ "sender": alice, "mxid": bob, "token": "a", "signatures": {} });
                json!({ "reason": "x", "third_party_signed": signed })
            }
            "v3/user/{userId}/rooms/{roomId}/tags/{tag}" => json!({ "order": 0.5 }),
            "v3/rooms/{roomId}/receipt/{receiptType}/{eventId}" => {
                json!({ "thread_id": self.one_of(&["main", event, "$unknown"]) })
            }
            "v3/rooms/{roomId}/typing/{userId}" => json!({ "typing": true, "timeout": 100 }),
            "v3/presence/{userId}/status" => {
                json!({ "presence": self.one_of(&["online", "offline", "unavailable"]), "status_msg": "x" })
            }
            "v3/rooms/{roomId}/read_markers" => {
                json!({ "m.fully_read": event, "m.read": event, "m.read.private": "$unknown" })
            }
            "v3/directory/list/room/{roomId}" => {
                json!({ "visibility": self.one_of(&["public", "private"]) })
            }
            "v3/publicRooms" => json!({
                "limit": 2, "since": self.one_of(&["n1_1", "p1_1", "n9_9_"]), "include_all_networks": true,
                "filter": { "generic_search_term": "room", "room_types": [null, "m.space"] },
            }),
            "v3/user_directory/search" => json!({ "search_term": "alice", "limit": 2 }),
            _ if path.contains("/report") => json!({ "reason": "x", "score": -100 }),
            "v3/pushers/set" => json!({
                "kind": *self.one_of(&[json!("http"), json!("http"), Value::Null]), "app_id": "com.example", "pushkey": "x",
                "app_display_name": "x", "device_display_name": "x", "lang": "en", "append": true,
                "data": { "url": "https://push.example/_matrix/push/v1/notify" },
            }),
            _ if path.contains("/pushrules/") => json!({
                "enabled": true, "pattern": *self.one_of(&["x", "x*y?", "*"]),
                "actions": ["notify", { "set_tweak": "highlight" }],
                "conditions": [
                    { "kind": "event_match", "key": "content.body", "pattern": "x" },
                    { "kind": "room_member_count", "is": *self.one_of(&["2", ">1"]) },
                    { "kind": *self.one_of(&["contains_display_name", "x"]) },
                ],
            }),
            _ if path.contains("/state/") || path.contains("/send/") => self.content(),
            _ if path.contains("/rooms/") => {
                json!({ "user_id": self.one_of(&[bob, bob, carol, alice]), "reason": "x" })
            }
            _ => json!({ "reason": "x" }),
        }
    }

    fn creation(&self) -> Value {
        let Known { alice, bob, .. } = &self.known;
        let all = json!({
            "visibility": self.one_of(&["public", "private"]),
            "preset": self.one_of(&["private_chat", "public_chat", "trusted_private_chat"]),
            "room_version": (self.below(12) + 1).to_string(),
            "room_alias_name": format!("new{}", self.chance.number()),
            "name": "x",
            "topic": "x",
            "invite": [bob],
            "is_direct": true,
            "creation_content": { "type": "m.space", "m.federate": false, "additional_creators": [bob] },
            "initial_state": [{ "type": *self.one_of(&TYPES), "state_key": "", "content": self.content() }],
            "power_level_content_override": { "users": { alice: 100 }, "events": { "m.room.name": 50 }, "ban": 50 },
        });
        let Value::Object(all) = all else {
            unreachable!("an object")
        };
        let some = all.into_iter().filter(|_| self.below(3) == 0);
        Value::Object(some.collect::<Map<String, Value>>())
    }

    fn content(&self) -> Value {
        let Known {
            event,
            alias,
            alice,
            bob,
            room,
            ..
        } = &self.known;
        match self.below(14) {
            0 => {
                json!({ "membership": self.one_of(&["join", "invite", "leave", "ban", "knock"]), "displayname": "x" })
            }
            1 => {
                json!({ "users": { alice: 100, bob: 50 }, "events": { "m.room.name": 50 }, "ban": 50, "users_default": 0 })
            }
            2 => {
                json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": room }] })
            }
            3 => json!({ "alias": alias, "alt_aliases": [alias] }),
            4 => {
                json!({ "history_visibility": self.one_of(&["joined", "shared", "invited", "world_readable"]) })
            }
            5 => {
                json!({ "guest_access": "can_join", "name": "x", "topic": "x", "url": "mxc://localhost/x" })
            }
            6 => json!({ "redacts": event, "reason": "x" }),
            7 => json!({ "body": "x", "replacement_room": room }),
            8 => {
                json!({ "algorithm": "m.megolm.v1.aes-sha2", "allow": ["*"], "deny": [], "public_key": "x" })
            }
            9 => json!({
                "msgtype": "m.text", "body": "* x", "m.new_content": { "body": "x" },
                "m.relates_to": { "rel_type": "m.replace", "event_id": event },
            }),
            10 | 11 => json!({
                "msgtype": "m.text", "body": "x", "m.relates_to": {
                    "rel_type": *self.one_of(&["m.thread", "m.reference", "m.annotation", "org.example"]),
                    "event_id": event, "key": "x",
                },
                "m.mentions": { "room": true, "user_ids": [bob, alice] },
            }),
            _ => json!({ "msgtype": "m.text", "body": "x" }),
        }
    }
}
