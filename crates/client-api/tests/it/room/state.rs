//! A room's state. <https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room>

use serde_json::{Value, json};

use super::caller::{on_servers, segment};

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`,
/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}`,
/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/`,
/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`,
/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}`,
/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/`
#[tokio::test]
async fn state_is_set_and_read_by_type_and_key() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let base = format!("rooms/{}/state/org.example.kind", segment(&room));
        // With an empty key, with and without the slash.
        let first = alice.put(&base, &json!({ "n": 1 })).await.event_id();
        assert_eq!(alice.get(&format!("{base}/")).await.ok(), json!({ "n": 1 }));
        let second = alice
            .put(&format!("{base}/"), &json!({ "n": 2 }))
            .await
            .event_id();
        assert_ne!(first, second);
        assert_eq!(alice.get(&base).await.ok(), json!({ "n": 2 }));
        // With keys of all kinds.
        for key in ["key", "a/b", "ключ", "%2F", " ", "a\u{1}b", "?x=1#y"] {
            let path = format!("{base}/{}", segment(key));
            alice.put(&path, &json!({ "key": key })).await.ok_for(key);
            assert_eq!(alice.get(&path).await.ok(), json!({ "key": key }));
        }
        let event = alice.get(&format!("{base}?format=event")).await.ok();
        assert_eq!(
            (&event["event_id"], &event["content"]),
            (&json!(second), &json!({ "n": 2 }))
        );
        assert_eq!(
            (&event["state_key"], &event["room_id"]),
            (&json!(""), &json!(room))
        );
        assert_eq!(
            (
                &event["unsigned"]["replaces_state"],
                &event["unsigned"]["prev_content"]
            ),
            (&json!(first), &json!({ "n": 1 }))
        );
        assert_eq!(
            alice.get(&format!("{base}?format=content")).await.ok(),
            json!({ "n": 2 })
        );
        alice
            .get(&format!("{base}?format=other"))
            .await
            .fails(400, "M_INVALID_PARAM");
        alice
            .get(&format!("{base}/none"))
            .await
            .fails(404, "M_NOT_FOUND");
        alice
            .get(&format!("rooms/{}/state/org.example.none", segment(&room)))
            .await
            .fails(404, "M_NOT_FOUND");
    })
    .await;
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state`
#[tokio::test]
async fn the_whole_state_is_that_of_the_room_or_of_when_one_left() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let room = alice
            .create(json!({ "preset": "public_chat", "name": "before" }))
            .await;
        let whole = format!("rooms/{}/state", segment(&room));
        let name = format!("rooms/{}/state/m.room.name", segment(&room));
        bob.get(&whole).await.fails(403, "M_FORBIDDEN");
        bob.get(&name).await.fails(403, "M_FORBIDDEN");
        bob.join(&room).await.ok();
        let kinds = |state: &Value| {
            let mut kinds: Vec<String> = state
                .as_array()
                .unwrap()
                .iter()
                .map(|event| event["type"].as_str().unwrap().to_owned())
                .collect();
            kinds.sort();
            kinds
        };
        let expected = [
            "m.room.create",
            "m.room.guest_access",
            "m.room.history_visibility",
            "m.room.join_rules",
            "m.room.member",
            "m.room.member",
            "m.room.name",
            "m.room.power_levels",
        ];
        assert_eq!(kinds(&bob.get(&whole).await.ok()), expected);
        bob.leave(&room).await.ok();
        alice.put(&name, &json!({ "name": "after" })).await.ok();
        alice
            .put(
                &format!("rooms/{}/state/m.room.topic", segment(&room)),
                &json!({ "topic": "new" }),
            )
            .await
            .ok();
        assert_eq!(bob.get(&name).await.ok(), json!({ "name": "before" }));
        assert_eq!(kinds(&bob.get(&whole).await.ok()), expected);
        assert_eq!(alice.get(&name).await.ok(), json!({ "name": "after" }));
    })
    .await;
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state`,
/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
#[tokio::test]
async fn who_was_only_invited_or_banned_reads_no_state_but_of_what_anyone_may_read() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let carol = server.user("carol").await;
        let room = alice.create(json!({ "invite": [bob.user_id] })).await;
        alice.act(&room, "ban", &carol).await.ok();
        let whole = format!("rooms/{}/state", segment(&room));
        bob.get(&whole).await.fails(403, "M_FORBIDDEN");
        carol.get(&whole).await.fails(403, "M_FORBIDDEN");
        let visibility = format!("rooms/{}/state/m.room.history_visibility", segment(&room));
        alice
            .put(
                &visibility,
                &json!({ "history_visibility": "world_readable" }),
            )
            .await
            .ok();
        for caller in [&bob, &carol] {
            assert_eq!(
                caller.get(&visibility).await.ok()["history_visibility"],
                "world_readable"
            );
        }
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
#[tokio::test]
async fn state_that_the_rules_forbid_is_refused() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let state = |kind: &str, key: &str| {
            format!("rooms/{}/state/{kind}/{}", segment(&room), segment(key))
        };
        bob.put(&state("m.room.name", ""), &json!({ "name": "mine" }))
            .await
            .fails(403, "M_FORBIDDEN");
        alice
            .put(
                &state("m.room.create", ""),
                &json!({ "room_version": "12" }),
            )
            .await
            .fails(403, "M_FORBIDDEN");
        alice
            .put(&state("m.room.power_levels", ""), &json!({ "ban": "1" }))
            .await
            .fails(400, "M_BAD_JSON");
        // The state key that is another's user id is theirs.
        alice
            .put(&state("org.example.own", &bob.user_id), &json!({}))
            .await
            .fails(403, "M_FORBIDDEN");
        alice
            .get(&state("m.room.name", ""))
            .await
            .fails(404, "M_NOT_FOUND");
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
#[tokio::test]
async fn a_canonical_alias_must_lead_to_its_room() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({ "room_alias_name": "here" })).await;
        alice.create(json!({ "room_alias_name": "there" })).await;
        let path = format!("rooms/{}/state/m.room.canonical_alias", segment(&room));
        for content in [
            json!({ "alias": "#there:localhost" }),
            json!({ "alias": "#none:localhost" }),
            json!({ "alias": "#here:localhost", "alt_aliases": ["#there:localhost"] }),
        ] {
            alice
                .put(&path, &content)
                .await
                .fails_for(&content.to_string(), 400, "M_BAD_ALIAS");
        }
        for content in [
            json!({ "alias": "here" }),
            json!({ "alt_aliases": ["#here"] }),
        ] {
            alice.put(&path, &content).await.fails_for(
                &content.to_string(),
                400,
                "M_INVALID_PARAM",
            );
        }
        let good = json!({ "alias": "#here:localhost", "alt_aliases": ["#here:localhost"] });
        alice.put(&path, &good).await.ok();
        for content in [
            json!({ "alias": 1 }),
            json!({ "alias": "#a\u{0}:localhost" }),
            json!({ "alt_aliases": "#here:localhost" }),
            json!({ "alt_aliases": [null] }),
        ] {
            let case = content.to_string();
            let answer = alice.put(&path, &content).await;
            answer.fails_for(&case, 400, "M_INVALID_PARAM");
        }
        // Where it leads cannot be known here.
        let elsewhere = json!({ "alt_aliases": ["#a:elsewhere.example"] });
        let answer = alice.put(&path, &elsewhere).await;
        answer.fails(400, "M_BAD_ALIAS");
        // An alias that is there already is not looked at again.
        let bob = server.user("bob").await;
        alice.act(&room, "invite", &bob).await.ok();
        bob.join(&room).await.ok();
        let bobs = "directory/room/%23bobs%3Alocalhost";
        bob.put(bobs, &json!({ "room_id": room })).await.ok();
        let both = json!({ "alias": "#here:localhost", "alt_aliases": ["#bobs:localhost"] });
        alice.put(&path, &both).await.ok();
        bob.delete(bobs).await.ok();
        let still = json!({ "alias": null, "alt_aliases": ["#bobs:localhost"] });
        alice.put(&path, &still).await.ok();
        alice.put(&path, &json!({})).await.ok();
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`, `POST /_matrix/client/v3/createRoom`
#[tokio::test]
async fn an_access_control_list_that_excludes_this_server_is_refused() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let path = format!("rooms/{}/state/m.room.server_acl", segment(&room));
        for acl in [
            json!({}),
            json!({ "allow": ["peer.example"] }),
            json!({ "allow": ["*"], "deny": ["local*"] }),
        ] {
            let refused = alice.put(&path, &acl).await;
            let why = refused.message();
            assert!(
                why.contains("excludes this server itself, localhost"),
                "{why}"
            );
            refused.fails(400, "M_UNKNOWN");
            let state = [json!({ "type": "m.room.server_acl", "content": acl })];
            let refused = alice
                .post("createRoom", &json!({ "initial_state": state }))
                .await;
            refused.fails(400, "M_INVALID_ROOM_STATE");
            // With a key it is no access control list.
            alice.put(&format!("{path}/key"), &acl).await.ok();
        }
        let acl = json!({ "allow": ["*"], "deny": ["evil.example"] });
        alice.put(&path, &acl).await.ok();
        assert_eq!(alice.get(&path).await.ok(), acl);
    })
    .await;
}
