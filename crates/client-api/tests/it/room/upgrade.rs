//! Room upgrades. <https://spec.matrix.org/v1.19/client-server-api/#room-upgrades>

use serde_json::{Value, json};

use super::caller::{Answer, Caller, Server, on_servers, segment};

const VERSIONS: [&str; 12] = [
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12",
];

async fn upgrade(user: &Caller, room: &str, wanted: &Value) -> Answer {
    let path = format!("rooms/{}/upgrade", segment(room));
    user.post(&path, wanted).await
}

/// The room that takes the place of `room`.
async fn upgraded(user: &Caller, room: &str, version: &str) -> String {
    let answer = upgrade(user, room, &json!({ "new_version": version })).await;
    let answer = answer.ok_for(version);
    answer["replacement_room"].as_str().unwrap().to_owned()
}

/// The content of state that a room has, or null.
async fn state(user: &Caller, room: &str, kind: &str) -> Value {
    let answer = user.state(room, kind, "").await;
    match answer.status {
        404 => Value::Null,
        _ => answer.ok(),
    }
}

async fn set(user: &Caller, room: &str, kind: &str, content: &Value) {
    let path = format!("rooms/{}/state/{kind}/", segment(room));
    user.put(&path, content).await.ok();
}

/// What a room is and has, as far as it is taken over.
const CARRIED: [&str; 8] = [
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
];

/// A room with something of everything.
async fn full_room(alice: &Caller, version: &str) -> String {
    let event = |kind: &str, content: Value| json!({ "type": kind, "content": content });
    alice
        .create(json!({
            "room_version": version, "preset": "public_chat", "room_alias_name": format!("full{version}"),
            "creation_content": { "type": "org.example.kind", "m.federate": false },
            "initial_state": [
                event("m.room.server_acl", json!({ "allow": ["*"], "deny": ["evil.example"] })),
                event("m.room.encryption", json!({ "algorithm": "m.megolm.v1.aes-sha2" })),
                event("m.room.avatar", json!({ "url": "mxc://localhost/a" })),
                event("m.room.guest_access", json!({ "guest_access": "can_join" })),
                event("m.room.history_visibility", json!({ "history_visibility": "joined" })),
                event("org.example.state", json!({ "mine": true })),
            ],
            "name": "Name", "topic": "Topic",
        }))
        .await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
#[tokio::test]
async fn the_new_room_has_what_the_old_one_had_from_and_to_every_version() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let pairs = VERSIONS.map(|version| (version, "12"));
        let back = VERSIONS.map(|version| ("12", version));
        for (number, (from, to)) in pairs.into_iter().chain(back).enumerate() {
            let case = format!("{from} to {to}");
            let old = full_room(&alice, from).await;
            let mut before = Vec::new();
            for kind in CARRIED {
                before.push(state(&alice, &old, kind).await);
            }
            let new = upgraded(&alice, &old, to).await;
            for (kind, before) in CARRIED.into_iter().zip(before) {
                assert_ne!(before, Value::Null, "{kind}");
                assert_eq!(state(&alice, &new, kind).await, before, "{kind}, {case}");
            }
            assert_eq!(
                state(&alice, &new, "org.example.state").await,
                Value::Null,
                "{case}"
            );
            let create = state(&alice, &new, "m.room.create").await;
            assert_eq!(create["room_version"], to);
            assert_eq!(
                (&create["type"], &create["m.federate"]),
                (&json!("org.example.kind"), &json!(false)),
                "{case}"
            );
            assert_eq!(create["predecessor"]["room_id"], old, "{case}");

            let path = format!(
                "rooms/{}/state/m.room.tombstone/?format=event",
                segment(&old)
            );
            let tombstone = alice.get(&path).await.ok();
            assert_eq!(tombstone["content"]["replacement_room"], new, "{case}");
            assert!(tombstone["content"]["body"].is_string());
            let last = create["predecessor"]["event_id"].as_str().unwrap();
            if to == "12" {
                // The tombstone names the room, whose id is a hash of this: it is the event before that.
                let path = format!("rooms/{}/context/{}?limit=2", segment(&old), segment(last));
                let context = alice.get(&path).await.ok();
                let next = &context["events_after"][0]["event_id"];
                assert_eq!(*next, tombstone["event_id"], "{case}");
            } else {
                assert_eq!(last, tombstone["event_id"], "{case}");
            }

            // The alias and its event go along.
            let alias = format!("#full{from}:localhost");
            let target = alice
                .get(&format!("directory/room/{}", segment(&alias)))
                .await
                .ok();
            assert_eq!(target["room_id"], new, "{case}");
            assert_eq!(
                state(&alice, &new, "m.room.canonical_alias").await,
                json!({ "alias": alias })
            );
            alice
                .delete(&format!("directory/room/{}", segment(&alias)))
                .await
                .ok();
            alice
                .send(
                    &new,
                    "m.room.message",
                    &number.to_string(),
                    &json!({ "body": "here" }),
                )
                .await
                .ok_for(&case);
        }
    })
    .await;
}

async fn levels(user: &Caller, room: &str) -> Value {
    state(user, room, "m.room.power_levels").await
}

/// Bob in a room of Alice's with this content of power levels.
async fn room_with_levels(
    server: &Server,
    version: &str,
    content: &Value,
) -> (Caller, Caller, String) {
    let name = |name: &str| format!("{name}{version}");
    let (alice, bob) = (
        server.user(&name("alice")).await,
        server.user(&name("bob")).await,
    );
    let room = alice
        .create(json!({ "room_version": version, "preset": "public_chat" }))
        .await;
    bob.join(&room).await.ok();
    let mut content = content.clone();
    if version != "12" {
        content["users"][&alice.user_id] = json!(100);
    }
    content["users"][&bob.user_id] = json!(60);
    set(&alice, &room, "m.room.power_levels", &content).await;
    (alice, bob, room)
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
#[tokio::test]
async fn power_levels_are_taken_over_and_the_old_room_is_closed() {
    on_servers(async |server| {
        let content = json!({
            "events": { "m.room.name": 40, "m.room.tombstone": 60, "m.room.server_acl": 90, "m.room.power_levels": 100 }, "kick": 55, "invite": 10,
            "users": {}, "users_default": 5, "notifications": { "room": 20 },
        });
        for version in ["6", "11"] {
            let (alice, bob, old) = room_with_levels(&server, version, &content).await;
            set(&alice, &old, "m.room.server_acl", &json!({ "allow": ["*"] })).await;
            let before = levels(&bob, &old).await;
            // Bob could not set the access list himself, and has no more power afterwards than before.
            let new = upgraded(&bob, &old, "11").await;
            assert_eq!(levels(&bob, &new).await, before, "version {version}");
            assert_eq!(state(&bob, &new, "m.room.server_acl").await, json!({ "allow": ["*"] }));
            let closed = levels(&bob, &old).await;
            // Bob may not change the levels of the old room, so it stays as it is.
            assert_eq!(closed, before, "version {version}");

            let again = upgraded(&alice, &old, "12").await;
            let mut expected = before.clone();
            expected["users"].as_object_mut().unwrap().remove(&alice.user_id);
            assert_eq!(levels(&alice, &again).await, expected, "version {version}");
            let mut expected = before;
            expected["events_default"] = json!(50);
            expected["invite"] = json!(50);
            assert_eq!(levels(&alice, &old).await, expected, "version {version}");
            bob.send(&old, "m.room.message", "1", &json!({ "body": "moderators still speak" })).await.ok();
            let carol = server.user(&format!("carol{version}")).await;
            carol.join(&old).await.ok();
            carol.send(&old, "m.room.message", "1", &json!({ "body": "nobody else" })).await.fails(403, "M_FORBIDDEN");
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
#[tokio::test]
async fn creators_of_version_12_are_named_anew_and_never_in_the_levels() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let (bob, carol) = (server.user("bob").await, server.user("carol").await);
        let wanted = json!({ "preset": "trusted_private_chat", "invite": [bob.user_id] });
        let first = alice.create(wanted).await;
        bob.join(&first).await.ok();
        set(
            &alice,
            &first,
            "m.room.power_levels",
            &json!({ "users": { (carol.user_id.as_str()): 70 } }),
        )
        .await;

        // Another of the creators may upgrade it. They are not taken over, but named.
        let wanted =
            json!({ "new_version": "12", "additional_creators": [carol.user_id, carol.user_id] });
        let answer = upgrade(&bob, &first, &wanted).await.ok();
        let second = answer["replacement_room"].as_str().unwrap();
        let create = state(&bob, second, "m.room.create").await;
        assert_eq!(create["additional_creators"], json!([carol.user_id]));
        let content = levels(&bob, second).await;
        assert_eq!(content["users"], json!({}));
        assert_eq!(content["events"]["m.room.tombstone"], 150);

        // Where levels say it, who was above all of them gets the highest.
        let wanted =
            json!({ "new_version": "11", "additional_creators": [carol.user_id, "nonsense"] });
        let answer = upgrade(&bob, second, &wanted).await.ok();
        let third = answer["replacement_room"].as_str().unwrap();
        assert_eq!(
            levels(&bob, third).await["users"],
            json!({ (bob.user_id.as_str()): 150 })
        );
        let create = state(&bob, third, "m.room.create").await;
        assert_eq!(create.get("additional_creators"), None);
        // And back again.
        let fourth = upgraded(&bob, third, "12").await;
        assert_eq!(levels(&bob, &fourth).await["users"], json!({}));
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
#[tokio::test]
async fn levels_and_join_rules_are_written_as_the_new_version_reads_them() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let old = alice.create(json!({ "room_version": "5", "preset": "public_chat" })).await;
        let loose = json!({ "users": { (alice.user_id.as_str()): "100" }, "ban": " 7 ", "events": { "a": "60" } });
        set(&alice, &old, "m.room.power_levels", &loose).await;
        let new = upgraded(&alice, &old, "10").await;
        let expected = json!({ "users": { (alice.user_id.as_str()): 100 }, "ban": 7, "events": { "a": 60 } });
        assert_eq!(levels(&alice, &new).await, expected);

        // From, to, the rule before, the rule after: who is invited must be able to come.
        let cases = [
            ("10", "9", "knock_restricted", "restricted"),
            ("10", "7", "knock_restricted", "invite"),
            ("8", "7", "restricted", "invite"),
            ("7", "6", "knock", "invite"),
            ("6", "7", "invite", "invite"),
            ("7", "12", "knock", "knock"),
            ("9", "12", "restricted", "restricted"),
        ];
        for (from, to, before, after) in cases {
            let rules = json!({ "join_rule": before, "allow": [] });
            let initial = json!([{ "type": "m.room.join_rules", "content": rules }]);
            let old = alice.create(json!({ "room_version": from, "initial_state": initial })).await;
            let new = upgraded(&alice, &old, to).await;
            let rules = state(&alice, &new, "m.room.join_rules").await;
            assert_eq!(rules["join_rule"], after, "{before} from {from} to {to}");
            assert_eq!(rules.get("allow").is_some(), after != "invite" || before == "invite");
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
#[tokio::test]
async fn a_space_keeps_its_rooms() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let child = |room: &str, content: Value| json!({ "type": "m.space.child", "state_key": room, "content": content });
        let children = json!([child("!a:localhost", json!({ "via": ["localhost"] })), child("!gone:localhost", json!({}))]);
        for (kind, expected) in [("m.space", 200), ("org.example", 404)] {
            let wanted = json!({ "creation_content": { "type": kind }, "initial_state": children });
            let old = alice.create(wanted).await;
            let new = upgraded(&alice, &old, "11").await;
            assert_eq!(alice.state(&new, "m.space.child", "!a:localhost").await.status, expected, "{kind}");
            assert_eq!(alice.state(&new, "m.space.child", "!gone:localhost").await.status, 404);
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
#[tokio::test]
async fn who_may_not_upgrade_or_asks_for_nonsense_changes_nothing() {
    on_servers(async |server| {
        let (alice, bob, eve) = (
            server.user("alice").await,
            server.user("bob").await,
            server.user("eve").await,
        );
        let room = alice
            .create(json!({ "preset": "public_chat", "room_alias_name": "here" }))
            .await;
        bob.join(&room).await.ok();
        let before = alice.page_all(&room, "dir=f", None).await;
        let to_12 = json!({ "new_version": "12" });
        upgrade(&bob, &room, &to_12).await.fails(403, "M_FORBIDDEN");
        upgrade(&eve, &room, &to_12).await.fails(403, "M_FORBIDDEN");
        upgrade(&alice, "!unknown:localhost", &to_12)
            .await
            .fails(403, "M_FORBIDDEN");
        let cases = [
            (json!({ "new_version": "0" }), "M_UNSUPPORTED_ROOM_VERSION"),
            (json!({ "new_version": 12 }), "M_BAD_JSON"),
            (json!({}), "M_BAD_JSON"),
            (
                json!({ "new_version": "12", "additional_creators": "bob" }),
                "M_BAD_JSON",
            ),
            (
                json!({ "new_version": "12", "additional_creators": ["bob"] }),
                "M_INVALID_PARAM",
            ),
        ];
        for (wanted, errcode) in cases {
            upgrade(&alice, &room, &wanted)
                .await
                .fails_for(&wanted.to_string(), 400, errcode);
        }
        assert_eq!(alice.page_all(&room, "dir=f", None).await, before);
        let target = alice.get("directory/room/%23here%3Alocalhost").await.ok();
        assert_eq!(target["room_id"], room);
        assert_eq!(
            alice.get("joined_rooms").await.ok(),
            json!({ "joined_rooms": [room] })
        );
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`, `GET /_matrix/client/v3/directory/list/room/{roomId}`
#[tokio::test]
async fn the_new_room_takes_the_old_ones_place_in_the_directory() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        for (visibility, afterwards) in [("public", "private"), ("private", "private")] {
            let old = alice.create(json!({ "visibility": visibility })).await;
            let new = upgraded(&alice, &old, "12").await;
            for (room, expected) in [(&new, visibility), (&old, afterwards)] {
                let path = format!("directory/list/room/{}", segment(room));
                let listed = alice.get(&path).await.ok();
                assert_eq!(listed, json!({ "visibility": expected }));
            }
        }
    })
    .await;
}

async fn account_data(user: &Caller, path: &str) -> Value {
    let answer = user
        .get(&format!("user/{}/{path}", segment(&user.user_id)))
        .await;
    match answer.status {
        404 => Value::Null,
        _ => answer.ok(),
    }
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`, `POST /_matrix/client/v3/rooms/{roomId}/join`
#[tokio::test]
async fn tags_and_direct_chats_go_along_with_whoever_joins() {
    on_servers(async |server| {
        let (alice, bob, eve) = (server.user("alice").await, server.user("bob").await, server.user("eve").await);
        let old = alice.create(json!({ "preset": "public_chat" })).await;
        bob.join(&old).await.ok();
        let tags = json!({ "tags": { "m.favourite": { "order": 0.5 } } });
        for user in [&alice, &bob, &eve] {
            let own = format!("user/{}", segment(&user.user_id));
            user.put(&format!("{own}/rooms/{}/account_data/m.tag", segment(&old)), &tags).await.ok();
            let direct = json!({ "@x:localhost": ["!other:localhost", old], "@y:localhost": [] });
            user.put(&format!("{own}/account_data/m.direct"), &direct).await.ok();
        }
        let new = upgraded(&alice, &old, "12").await;
        let tag_path = format!("rooms/{}/account_data/m.tag", segment(&new));
        let with_new = json!({ "@x:localhost": ["!other:localhost", old, new], "@y:localhost": [] });
        assert_eq!(account_data(&alice, &tag_path).await, tags);
        assert_eq!(account_data(&alice, "account_data/m.direct").await, with_new);
        assert_eq!(account_data(&bob, &tag_path).await, Value::Null);

        let since = bob.get("sync").await.ok()["next_batch"].clone();
        bob.join(&new).await.ok();
        let sync = bob.get(&format!("sync?since={}", since.as_str().unwrap())).await.ok();
        let told = &sync["rooms"]["join"][&new]["account_data"]["events"];
        assert_eq!(told, &json!([{ "type": "m.tag", "content": tags }]));
        assert_eq!(account_data(&bob, "account_data/m.direct").await, with_new);
        // What he then changes stays changed, also when he is renamed or comes again.
        let direct = format!("user/{}/account_data/m.direct", segment(&bob.user_id));
        bob.put(&direct, &json!({ "@x:localhost": [old] })).await.ok();
        let member = format!("rooms/{}/state/m.room.member/{}", segment(&new), segment(&bob.user_id));
        bob.put(&member, &json!({ "membership": "join", "displayname": "B" })).await.ok();
        assert_eq!(account_data(&bob, "account_data/m.direct").await, json!({ "@x:localhost": [old] }));

        // Eve was never there, and a room that only says so replaces nothing.
        eve.join(&new).await.ok();
        assert_eq!(account_data(&eve, &tag_path).await, Value::Null);
        let wanted = json!({ "preset": "public_chat", "creation_content": { "predecessor": { "room_id": old } } });
        let false_one = eve.create(wanted).await;
        bob.join(&false_one).await.ok();
        let tag_path = format!("rooms/{}/account_data/m.tag", segment(&false_one));
        assert_eq!(account_data(&bob, &tag_path).await, Value::Null);
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`, `POST /_matrix/client/v3/rooms/{roomId}/join`
#[tokio::test]
async fn push_rules_for_a_room_go_along_with_whoever_joins() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let old = alice.create(json!({ "preset": "public_chat" })).await;
        bob.join(&old).await.ok();
        for user in [&alice, &bob] {
            let condition = json!({ "kind": "event_match", "key": "room_id", "pattern": old });
            let mute = json!({ "conditions": [condition], "actions": [] });
            let notify = json!({ "actions": ["notify"] });
            for (rule, body) in [
                (format!("override/{old}"), &mute),
                ("override/own".to_owned(), &mute),
                (format!("room/{old}"), &notify),
            ] {
                user.put(&format!("pushrules/global/{rule}"), body)
                    .await
                    .ok();
            }
            user.put(
                &format!("pushrules/global/room/{old}/enabled"),
                &json!({ "enabled": false }),
            )
            .await
            .ok();
        }
        let new = upgraded(&alice, &old, "12").await;
        let since = bob.get("sync").await.ok()["next_batch"].clone();
        bob.join(&new).await.ok();
        let sync = bob
            .get(&format!("sync?since={}", since.as_str().unwrap()))
            .await
            .ok();
        let told = sync["account_data"]["events"]
            .as_array()
            .unwrap()
            .iter()
            .find(|event| event["type"] == "m.push_rules");
        let rules = alice.get("pushrules/").await.ok();
        assert_eq!(
            told.unwrap()["content"]["global"]["override"][1]["rule_id"],
            rules["global"]["override"][1]["rule_id"]
        );
        for user in [&alice, &bob] {
            let rules = user.get("pushrules/").await.ok()["global"].clone();
            let ids = |kind: &str| -> Vec<String> {
                let rules = rules[kind].as_array().unwrap().iter();
                let ids = rules.map(|rule| rule["rule_id"].as_str().unwrap().to_owned());
                ids.filter(|id| !id.starts_with('.')).collect()
            };
            assert_eq!(
                ids("override"),
                [
                    "own".to_owned(),
                    format!("own-{new}"),
                    old.clone(),
                    new.clone()
                ]
            );
            assert_eq!(ids("room"), [old.clone(), new.clone()]);
            for at in [2, 4] {
                let rule = &rules["override"][at];
                assert_eq!(
                    (&rule["conditions"][0]["pattern"], &rule["actions"]),
                    (&json!(new), &json!([]))
                );
            }
            assert_eq!(rules["room"][1]["enabled"], false);
        }
        // What is removed there doesn't come back.
        let rule = format!("pushrules/global/override/{new}");
        bob.delete(&rule).await.ok();
        bob.leave(&new).await.ok();
        bob.join(&new).await.ok();
        assert_eq!(bob.get(&rule).await.error(), (404, "M_NOT_FOUND"));
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
#[tokio::test]
async fn an_upgrade_survives_a_restart_whole() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let old = alice
            .create(json!({ "preset": "public_chat", "room_alias_name": "kept" }))
            .await;
        let new = upgraded(&alice, &old, "12").await;
        let server = server.restarted().await;
        let alice = server.again(&alice);
        assert_eq!(
            state(&alice, &old, "m.room.tombstone").await["replacement_room"],
            new
        );
        assert_eq!(
            state(&alice, &new, "m.room.create").await["predecessor"]["room_id"],
            old
        );
        assert_eq!(levels(&alice, &old).await["events_default"], 50);
        let target = alice.get("directory/room/%23kept%3Alocalhost").await.ok();
        assert_eq!(target["room_id"], new);
        for room in [&old, &new] {
            alice
                .send(room, "m.room.message", "1", &json!({ "body": "hello" }))
                .await
                .ok();
        }
    })
    .await;
}
