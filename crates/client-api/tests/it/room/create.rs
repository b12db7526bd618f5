//! `createRoom`. <https://spec.matrix.org/v1.19/client-server-api/#creation>

use serde_json::{Value, json};

use super::caller::{Caller, on_servers, segment};

/// The types of a room's events in their order, members with what they become.
async fn timeline(caller: &Caller, room: &str) -> Vec<String> {
    let path = format!("rooms/{}/messages?dir=f&limit=50", segment(room));
    let page = caller.get(&path).await.ok();
    let name = |event: &Value| {
        let kind = event["type"].as_str().unwrap();
        match event["content"]["membership"].as_str() {
            Some(membership) => format!("{kind} {membership}"),
            None => kind.to_owned(),
        }
    };
    page["chunk"].as_array().unwrap().iter().map(name).collect()
}

/// `POST /_matrix/client/v3/createRoom`
#[tokio::test]
async fn the_first_events_come_in_the_order_of_the_specification() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        for version in ["11", "12"] {
            let wanted = json!({
                "room_version": version, "preset": "public_chat", "room_alias_name": format!("v{version}"),
                "name": "A", "topic": "B", "invite": [bob.user_id, bob.user_id],
                "initial_state": [{ "type": "org.example.first", "content": {} },
                    { "type": "org.example.second", "state_key": "key", "content": { "a": 1 } }],
            });
            let room = alice.create(wanted).await;
            let expected = [
                "m.room.create", "m.room.member join", "m.room.power_levels", "m.room.canonical_alias",
                "m.room.join_rules", "m.room.history_visibility", "m.room.guest_access", "org.example.first",
                "org.example.second", "m.room.name", "m.room.topic", "m.room.member invite",
            ];
            assert_eq!(timeline(&alice, &room).await, expected, "version {version}");
            let second = alice.state(&room, "org.example.second", "key").await.ok();
            assert_eq!(second, json!({ "a": 1 }));
            let alias = alice.state(&room, "m.room.canonical_alias", "").await.ok();
            assert_eq!(alias, json!({ "alias": format!("#v{version}:localhost") }));
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/createRoom`
#[tokio::test]
async fn presets_set_join_rules_history_visibility_and_guest_access() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let private = ("invite", "shared", "can_join");
        let public = ("public", "shared", "forbidden");
        let cases = [
            (json!({}), private),
            (json!({ "visibility": "private" }), private),
            (json!({ "visibility": "public" }), public),
            (
                json!({ "visibility": "public", "preset": "private_chat" }),
                private,
            ),
            (json!({ "preset": "private_chat" }), private),
            (json!({ "preset": "trusted_private_chat" }), private),
            (json!({ "preset": "public_chat" }), public),
        ];
        for (wanted, (join_rule, visibility, guests)) in cases {
            let room = alice.create(wanted.clone()).await;
            let rules = alice.state(&room, "m.room.join_rules", "").await.ok();
            assert_eq!(rules["join_rule"], join_rule, "{wanted}");
            let history = alice
                .state(&room, "m.room.history_visibility", "")
                .await
                .ok();
            assert_eq!(history["history_visibility"], visibility, "{wanted}");
            let access = alice.state(&room, "m.room.guest_access", "").await.ok();
            assert_eq!(access["guest_access"], guests, "{wanted}");
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/createRoom`
#[tokio::test]
async fn the_creator_has_power_as_the_room_version_gives_it() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let wanted = |version: &str| {
            json!({ "room_version": version, "preset": "trusted_private_chat", "invite": [bob.user_id] })
        };

        for version in ["1", "10", "11"] {
            let room = alice.create(wanted(version)).await;
            assert!(room.ends_with(":localhost"), "{room}");
            let levels = alice.state(&room, "m.room.power_levels", "").await.ok();
            assert_eq!(levels["users"], json!({ (alice.user_id.as_str()): 100, (bob.user_id.as_str()): 100 }));
        }

        let room = alice.create(wanted("12")).await;
        assert!(!room.contains(':'), "{room}");
        let levels = alice.state(&room, "m.room.power_levels", "").await.ok();
        assert_eq!(levels["users"], json!({}));
        let level = |value: &Value| value.as_i64().unwrap();
        assert!(level(&levels["events"]["m.room.tombstone"]) > level(&levels["state_default"]));
        let create = alice.state(&room, "m.room.create", "").await.ok();
        assert_eq!(create["additional_creators"], json!([bob.user_id]));
        assert_eq!(create["room_version"], "12");
    })
    .await;
}

/// `POST /_matrix/client/v3/createRoom`
#[tokio::test]
async fn name_and_topic_override_initial_state_and_that_overrides_the_preset() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let initial = |kind: &str, content: Value| json!({ "type": kind, "state_key": "", "content": content });
        let wanted = json!({
            "name": "Name", "topic": "Topic", "preset": "public_chat",
            "initial_state": [
                initial("m.room.name", json!({ "name": "other" })),
                initial("m.room.topic", json!({ "topic": "other" })),
                initial("m.room.join_rules", json!({ "join_rule": "invite" })),
            ],
        });
        let room = alice.create(wanted).await;
        assert_eq!(alice.state(&room, "m.room.name", "").await.ok(), json!({ "name": "Name" }));
        let topic = alice.state(&room, "m.room.topic", "").await.ok();
        assert_eq!(topic["topic"], "Topic");
        assert_eq!(topic["m.topic"], json!({ "m.text": [{ "mimetype": "text/plain", "body": "Topic" }] }));
        assert_eq!(alice.state(&room, "m.room.join_rules", "").await.ok(), json!({ "join_rule": "invite" }));
        let kinds = timeline(&alice, &room).await;
        for kind in ["m.room.name", "m.room.topic", "m.room.join_rules"] {
            assert_eq!(kinds.iter().filter(|other| *other == kind).count(), 1, "{kind} in {kinds:?}");
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/createRoom`
#[tokio::test]
async fn more_of_the_create_event_and_of_the_power_levels_is_the_creators_choice() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let wanted = json!({
            "creation_content": { "m.federate": false, "type": "m.space", "creator": "@other:localhost", "room_version": "1" },
            "power_level_content_override": { "events_default": 7, "invite": 60 },
            "room_version": "11",
        });
        let room = alice.create(wanted).await;
        let create = alice.state(&room, "m.room.create", "").await.ok();
        assert_eq!(create, json!({ "m.federate": false, "type": "m.space", "room_version": "11" }));
        let levels = alice.state(&room, "m.room.power_levels", "").await.ok();
        assert_eq!((&levels["events_default"], &levels["invite"]), (&json!(7), &json!(60)));
        assert_eq!(levels["ban"], 50);
    })
    .await;
}

/// `POST /_matrix/client/v3/createRoom`
#[tokio::test]
async fn who_is_invited_to_a_direct_chat_is_told_so() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let room = alice
            .create(json!({ "is_direct": true, "invite": [bob.user_id] }))
            .await;
        let member = alice.state(&room, "m.room.member", &bob.user_id).await.ok();
        assert_eq!(
            (&member["membership"], &member["is_direct"]),
            (&json!("invite"), &json!(true))
        );
        let own = alice
            .state(&room, "m.room.member", &alice.user_id)
            .await
            .ok();
        assert_eq!(own.get("is_direct"), None);
    })
    .await;
}

/// `POST /_matrix/client/v3/createRoom`
#[tokio::test]
async fn a_room_that_cannot_be_is_refused_and_leaves_nothing_behind() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let other = alice.create(json!({ "room_alias_name": "taken" })).await;
        let powerless = json!({
            "room_version": "11", "room_alias_name": "free", "name": "A",
            "power_level_content_override": { "users": { (alice.user_id.as_str()): 0 } },
        });
        let many: Vec<String> = (0..101).map(|number| format!("@user{number}:localhost")).collect();
        let third_party = json!([{
            "id_server": "example.org", "id_access_token": "abc", "medium": "email", "address": "bob@example.org",
        }]);
        let creator_in_levels = json!({ "users": { (alice.user_id.as_str()): 100 } });
        let cases = [
            (json!({ "room_version": "0" }), 400, "M_UNSUPPORTED_ROOM_VERSION"),
            (json!({ "room_version": "org.example.own" }), 400, "M_UNSUPPORTED_ROOM_VERSION"),
            (json!({ "room_version": 12 }), 400, "M_BAD_JSON"),
            (json!({ "room_alias_name": "taken" }), 400, "M_ROOM_IN_USE"),
            (json!({ "room_alias_name": "" }), 400, "M_INVALID_PARAM"),
            (json!({ "room_alias_name": "a b" }), 400, "M_INVALID_PARAM"),
            (json!({ "room_alias_name": "a:b" }), 400, "M_INVALID_PARAM"),
            (json!({ "room_alias_name": "a".repeat(255) }), 400, "M_INVALID_PARAM"),
            (powerless, 400, "M_INVALID_ROOM_STATE"),
            (
                json!({ "room_version": "12", "power_level_content_override": creator_in_levels }),
                400,
                "M_INVALID_ROOM_STATE",
            ),
            (json!({ "power_level_content_override": { "ban": "50" } }), 400, "M_INVALID_ROOM_STATE"),
            (
                json!({ "room_version": "9", "power_level_content_override": { "ban": "high" } }),
                400,
                "M_INVALID_ROOM_STATE",
            ),
            (json!({ "power_level_content_override": [] }), 400, "M_BAD_JSON"),
            (json!({ "creation_content": { "a": 1.5 } }), 400, "M_BAD_JSON"),
            (
                json!({ "room_version": "12", "creation_content": { "additional_creators": ["bob"] } }),
                400,
                "M_INVALID_ROOM_STATE",
            ),
            (json!({ "initial_state": [{ "type": "a", "content": { "a": 1.5 } }] }), 400, "M_BAD_JSON"),
            (json!({ "initial_state": [{ "type": "a", "content": [] }] }), 400, "M_BAD_JSON"),
            (json!({ "initial_state": [{ "content": {} }] }), 400, "M_BAD_JSON"),
            (json!({ "initial_state": [{ "type": "m.room.create", "content": {} }] }), 400, "M_INVALID_ROOM_STATE"),
            (json!({ "initial_state": [{ "type": "a".repeat(256), "content": {} }] }), 413, "M_TOO_LARGE"),
            (json!({ "topic": "a".repeat(70_000) }), 413, "M_TOO_LARGE"),
            (json!({ "preset": "open_house" }), 400, "M_BAD_JSON"),
            (json!({ "visibility": "secret" }), 400, "M_BAD_JSON"),
            (json!({ "invite": ["bob"] }), 400, "M_INVALID_PARAM"),
            // As when they are invited to a room that there is.
            (json!({ "invite": ["@nobody:localhost"] }), 404, "M_NOT_FOUND"),
            (json!({ "invite": ["@bob:example.org"] }), 403, "M_FORBIDDEN"),
            (json!({ "invite": [alice.user_id] }), 400, "M_INVALID_ROOM_STATE"),
            (json!({ "invite": many }), 400, "M_INVALID_PARAM"),
            (json!({ "invite_3pid": third_party }), 400, "M_SERVER_NOT_TRUSTED"),
        ];
        for (wanted, status, errcode) in cases {
            let shown: String = wanted.to_string().chars().take(200).collect();
            let answer = alice.post("createRoom", &wanted).await;
            answer.fails_for(&shown, status, errcode);
        }
        let joined = alice.get("joined_rooms").await.ok();
        assert_eq!(joined, json!({ "joined_rooms": [other] }));
        alice.get("directory/room/%23free%3Alocalhost").await.fails(404, "M_NOT_FOUND");
    })
    .await;
}

/// `POST /_matrix/client/v3/createRoom`
#[tokio::test]
async fn ending_a_room_takes_more_power_than_other_state_unless_its_creator_says_so() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let cases = [
            (json!({}), json!(150)),
            (json!({ "events": { "m.room.name": 10 } }), json!(150)),
            (json!({ "state_default": 200 }), json!(201)),
            (json!({ "events": { "m.room.tombstone": 60 } }), json!(60)),
        ];
        for (levels, expected) in cases {
            let wanted = json!({ "room_version": "12", "power_level_content_override": levels });
            let room = alice.create(wanted).await;
            let content = alice.state(&room, "m.room.power_levels", "").await.ok();
            assert_eq!(content["events"]["m.room.tombstone"], expected, "{levels}");
        }
        // Before, whoever may change power levels may do so, and a replaced list is what it says.
        let wanted =
            json!({ "room_version": "11", "power_level_content_override": { "events": {} } });
        let room = alice.create(wanted).await;
        let content = alice.state(&room, "m.room.power_levels", "").await.ok();
        assert_eq!(content["events"], json!({}));
    })
    .await;
}
