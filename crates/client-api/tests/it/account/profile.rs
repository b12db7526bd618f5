//! Profiles. <https://spec.matrix.org/v1.19/client-server-api/#profiles>

use http::Method;
use serde_json::json;

use super::{User, anybody, on_servers};

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`, `GET /_matrix/client/v3/profile/{userId}`,
/// `GET /_matrix/client/v3/profile/{userId}/{keyName}`, `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`
#[tokio::test]
async fn what_is_set_is_shown_to_anybody() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let profile = format!("profile/{}", alice.id);
        let (name, avatar) = (
            format!("{profile}/displayname"),
            format!("{profile}/avatar_url"),
        );
        let show = async |path: &str| anybody(&server, Method::GET, path, None).await;
        assert_eq!(show(&profile).await.body, json!({}));
        assert_eq!(show(&name).await.error(), (404, "M_NOT_FOUND"));

        let set = alice.put(&name, json!({ "displayname": "Alice ☂" })).await;
        assert_eq!((set.status.as_u16(), set.body), (200, json!({})));
        alice
            .put(&avatar, json!({ "avatar_url": "mxc://localhost/a" }))
            .await;
        let whole = json!({ "displayname": "Alice ☂", "avatar_url": "mxc://localhost/a" });
        assert_eq!(show(&profile).await.body, whole);
        assert_eq!(show(&name).await.body, json!({ "displayname": "Alice ☂" }));
        assert_eq!(
            show(&avatar).await.body,
            json!({ "avatar_url": "mxc://localhost/a" })
        );

        assert_eq!(alice.delete(&name).await.body, json!({}));
        assert_eq!(alice.delete(&name).await.status, 200);
        assert_eq!(
            alice.put(&avatar, json!({ "avatar_url": "" })).await.status,
            200
        );
        assert_eq!(show(&profile).await.body, json!({}));
    })
    .await;
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`, `GET /_matrix/client/v3/profile/{userId}`,
/// `GET /_matrix/client/v3/profile/{userId}/{keyName}`, `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`
#[tokio::test]
async fn a_profile_has_any_further_fields() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let profile = format!("profile/{}", alice.id);
        let show = async |path: &str| anybody(&server, Method::GET, path, None).await;
        let fields = json!({
            "m.tz": "Europe/London",
            "org.example.pet-name": { "cat": ["Tom", null, 1.5, true], "": "\u{0}" },
            "org.example.null": null,
        });
        for (name, value) in fields.as_object().unwrap() {
            let path = format!("{profile}/{name}");
            assert_eq!(show(&path).await.error(), (404, "M_NOT_FOUND"));
            // Whatever else is in the body is not looked at.
            let set = alice.put(&path, json!({ name: value, "x": 1 })).await;
            assert_eq!((set.status.as_u16(), set.body), (200, json!({})));
            assert_eq!(show(&path).await.body, json!({ name: value }));
        }
        assert_eq!(show(&profile).await.body, fields);
        for name in fields.as_object().unwrap().keys() {
            let path = format!("{profile}/{name}");
            for _ in 0..2 {
                let removed = alice.delete(&path).await;
                assert_eq!((removed.status.as_u16(), removed.body), (200, json!({})));
            }
            assert_eq!(show(&path).await.error(), (404, "M_NOT_FOUND"));
        }
        assert_eq!(show(&profile).await.body, json!({}));
    })
    .await;
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`, `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`,
/// `GET /_matrix/client/v3/sync`
/// <https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information>
#[tokio::test]
async fn a_changed_name_or_picture_is_told_in_rooms() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let other = User::register(&server, "bob").await;
        let open = json!({ "preset": "public_chat" });
        let room = alice.post("createRoom", open).await.body["room_id"].take();
        let room = room.as_str().unwrap();
        other.post(&format!("join/{room}"), json!({})).await;
        let own = |field: &str| format!("profile/{}/{field}", alice.id);
        let mut since = other.get("sync").await.body["next_batch"].take();
        let mut old = json!({ "membership": "join" });
        for (field, value, content) in [
            (
                "displayname",
                json!("Alice"),
                json!({ "membership": "join", "displayname": "Alice" }),
            ),
            (
                "avatar_url",
                json!("mxc://localhost/a"),
                json!({ "membership": "join", "displayname": "Alice", "avatar_url": "mxc://localhost/a" }),
            ),
            (
                "displayname",
                json!(null),
                json!({ "membership": "join", "avatar_url": "mxc://localhost/a" }),
            ),
        ] {
            let changed = if value.is_null() {
                alice.delete(&own(field)).await
            } else {
                alice.put(&own(field), json!({ field: value })).await
            };
            assert_eq!(changed.status, 200, "{}", changed.body);
            server.state.store.jobs().notified().await;
            server.jobs.work().await.unwrap();
            // To who shares the room, and to the user's own devices.
            for user in [&other, &alice] {
                let path = format!("sync?since={}", since.as_str().unwrap());
                let sync = user.get(&path).await.body;
                let timeline = &sync["rooms"]["join"][room]["timeline"];
                let [event] = &timeline["events"].as_array().unwrap()[..] else {
                    panic!("one event: {timeline}");
                };
                assert_eq!(event["type"], "m.room.member");
                assert_eq!(event["state_key"], json!(alice.id));
                assert_eq!(event["content"], content);
                assert_eq!(event["unsigned"]["prev_content"], old);
            }
            old = content;
            since = other.get("sync").await.body["next_batch"].take();
        }
        // What rooms don't show, and what is no change, is told in none.
        for (field, value) in [
            ("m.tz", "UTC"),
            ("avatar_url", "mxc://localhost/a"),
            ("displayname", ""),
        ] {
            let set = alice.put(&own(field), json!({ field: value })).await;
            assert_eq!(set.status, 200);
        }
        server.jobs.work().await.unwrap();
        let path = format!("sync?since={}", since.as_str().unwrap());
        let sync = other.get(&path).await.body;
        assert!(sync["rooms"]["join"][room].is_null(), "{sync}");
    })
    .await;
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`, `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`
#[tokio::test]
async fn nobody_changes_the_profile_of_another() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let bob = User::register(&server, "bob").await;
        let path = format!("profile/{}/displayname", alice.id);
        let answer = bob.put(&path, json!({ "displayname": "Bob" })).await;
        assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
        assert_eq!(bob.delete(&path).await.error(), (403, "M_FORBIDDEN"));
        assert_eq!(alice.get(&path).await.error(), (404, "M_NOT_FOUND"));
    })
    .await;
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`, `GET /_matrix/client/v3/profile/{userId}/{keyName}`
#[tokio::test]
async fn what_is_no_profile_is_refused() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let own = |field: &str| format!("profile/{}/{field}", alice.id);
        for (field, body, status, errcode) in [
            ("displayname", json!({}), 400, "M_MISSING_PARAM"),
            (
                "displayname",
                json!({ "displayname": 7 }),
                400,
                "M_BAD_JSON",
            ),
            (
                "displayname",
                json!({ "displayname": "x".repeat(2_000) }),
                400,
                "M_PROFILE_TOO_LARGE",
            ),
            (
                "avatar_url",
                json!({ "avatar_url": "https://example.org/a" }),
                400,
                "M_INVALID_PARAM",
            ),
            ("m.tz", json!({ "m.tz": ["UTC"] }), 400, "M_BAD_JSON"),
            (
                "org.example.x",
                json!({ "org.example.y": 1 }),
                400,
                "M_MISSING_PARAM",
            ),
            (
                "org.example.x",
                json!({ "org.example.x": "x".repeat(65_536) }),
                400,
                "M_PROFILE_TOO_LARGE",
            ),
            ("Nonsense", json!({ "Nonsense": 1 }), 400, "M_INVALID_PARAM"),
        ] {
            let answer = alice.put(&own(field), body.clone()).await;
            assert_eq!(answer.error(), (status, errcode), "{body}");
        }
        let long = alice.get(&own(&format!("a.{}", "b".repeat(255)))).await;
        assert_eq!(
            long.error(),
            (404, "M_NOT_FOUND"),
            "nobody has such a field"
        );
        for (user, status, errcode) in [
            ("@nobody:localhost", 404, "M_NOT_FOUND"),
            ("@alice:elsewhere", 404, "M_NOT_FOUND"),
            ("alice", 400, "M_INVALID_PARAM"),
        ] {
            let answer = alice.get(&format!("profile/{user}")).await;
            assert_eq!(answer.error(), (status, errcode), "{user}");
        }
    })
    .await;
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`
#[tokio::test]
async fn fields_that_are_set_at_once_are_together_no_larger_than_a_profile() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let setting = (0..20).map(async |number| {
            let field = format!("org.example.x{number}");
            let path = format!("profile/{}/{field}", alice.id);
            let value = json!({ field: "x".repeat(30_000) });
            alice.put(&path, value).await.status == 200
        });
        let set = futures_util::future::join_all(setting).await;
        assert_eq!(set.iter().filter(|set| **set).count(), 2);
    })
    .await;
}
