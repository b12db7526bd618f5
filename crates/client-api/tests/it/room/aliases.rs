//! Room aliases. <https://spec.matrix.org/v1.19/client-server-api/#room-aliases>

use serde_json::json;

use super::caller::{on_servers, segment};

/// `PUT /_matrix/client/v3/directory/room/{roomAlias}`, `GET /_matrix/client/v3/directory/room/{roomAlias}`,
/// `GET /_matrix/client/v3/rooms/{roomId}/aliases`, `DELETE /_matrix/client/v3/directory/room/{roomAlias}`
#[tokio::test]
async fn an_alias_is_made_resolved_listed_and_removed() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let alias = format!("directory/room/{}", segment("#name:localhost"));
        alice.get(&alias).await.fails(404, "M_NOT_FOUND");
        alice.put(&alias, &json!({ "room_id": room })).await.ok();
        let target = json!({ "room_id": room, "servers": ["localhost"] });
        assert_eq!(alice.get(&alias).await.ok(), target);
        // Anybody may ask, also without a token.
        assert_eq!(server.anonymous().get(&alias).await.ok(), target);
        let list = format!("rooms/{}/aliases", segment(&room));
        assert_eq!(
            alice.get(&list).await.ok(),
            json!({ "aliases": ["#name:localhost"] })
        );
        let taken = alice.put(&alias, &json!({ "room_id": room })).await;
        taken.fails(409, "M_UNKNOWN");
        assert_eq!(alice.delete(&alias).await.ok(), json!({}));
        alice.get(&alias).await.fails(404, "M_NOT_FOUND");
        alice.delete(&alias).await.fails(404, "M_NOT_FOUND");
        assert_eq!(alice.get(&list).await.ok(), json!({ "aliases": [] }));
    })
    .await;
}

/// `PUT /_matrix/client/v3/directory/room/{roomAlias}`, `DELETE /_matrix/client/v3/directory/room/{roomAlias}`,
/// `GET /_matrix/client/v3/rooms/{roomId}/aliases`
#[tokio::test]
async fn only_who_may_changes_and_lists_aliases() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let carol = server.user("carol").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        bob.join(&room).await.ok();
        let path = |name: &str| format!("directory/room/{}", segment(name));
        let body = json!({ "room_id": room });
        carol
            .put(&path("#carols:localhost"), &body)
            .await
            .fails(403, "M_FORBIDDEN");
        bob.put(&path("#bobs:localhost"), &body).await.ok();
        alice.put(&path("#alices:localhost"), &body).await.ok();
        bob.delete(&path("#alices:localhost"))
            .await
            .fails(403, "M_FORBIDDEN");
        carol
            .delete(&path("#bobs:localhost"))
            .await
            .fails(403, "M_FORBIDDEN");
        let list = format!("rooms/{}/aliases", segment(&room));
        carol.get(&list).await.fails(403, "M_FORBIDDEN");
        let mut aliases = bob.get(&list).await.ok();
        aliases["aliases"]
            .as_array_mut()
            .unwrap()
            .sort_by_key(ToString::to_string);
        assert_eq!(
            aliases,
            json!({ "aliases": ["#alices:localhost", "#bobs:localhost"] })
        );
        let visibility = format!("rooms/{}/state/m.room.history_visibility", segment(&room));
        alice
            .put(
                &visibility,
                &json!({ "history_visibility": "world_readable" }),
            )
            .await
            .ok();
        carol.get(&list).await.ok();
        // Who may change the canonical alias may remove every alias.
        alice.delete(&path("#bobs:localhost")).await.ok();
        let unknown = json!({ "room_id": "!unknown:localhost" });
        alice
            .put(&path("#other:localhost"), &unknown)
            .await
            .fails(403, "M_FORBIDDEN");
        alice
            .put(&path("#name:other.example"), &body)
            .await
            .fails(400, "M_INVALID_PARAM");
        alice
            .put(&path("#other:localhost"), &json!({ "room_id": "room" }))
            .await
            .fails(400, "M_INVALID_PARAM");
        alice
            .put(&path("#other:localhost"), &json!({}))
            .await
            .fails(400, "M_BAD_JSON");
    })
    .await;
}

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}`, `GET /_matrix/client/v3/directory/room/{roomAlias}`,
/// `GET /_matrix/client/v3/profile/{userId}`
#[tokio::test]
async fn of_what_is_on_another_server_nobody_is_told_that_there_is_none() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        for (server, says_more) in [("localhost", false), ("other.example", true)] {
            let alias = segment(&format!("#a:{server}"));
            let answers = [
                alice.post(&format!("join/{alias}"), &json!({})).await,
                alice.get(&format!("directory/room/{alias}")).await,
                alice.get(&format!("profile/@nobody:{server}")).await,
            ];
            for answer in answers {
                assert_eq!(answer.error(), (404, "M_NOT_FOUND"));
                let message = answer.message();
                assert_eq!(message.contains("other servers"), says_more, "{message}");
            }
        }
    })
    .await;
}

/// `DELETE /_matrix/client/v3/directory/room/{roomAlias}`
#[tokio::test]
async fn a_removed_alias_is_no_canonical_alias_where_who_removes_it_may_say_so() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let (bob, admin) = (server.user("bob").await, server.admin("admin").await);
        let wanted = json!({ "preset": "public_chat", "room_alias_name": "main" });
        let room = alice.create(wanted).await;
        bob.join(&room).await.ok();
        let path =
            |name: &str| format!("directory/room/{}", segment(&format!("#{name}:localhost")));
        let body = json!({ "room_id": room });
        bob.put(&path("bobs"), &body).await.ok();
        alice.put(&path("other"), &body).await.ok();
        let canonical = format!("rooms/{}/state/m.room.canonical_alias", segment(&room));
        let all = json!({
            "alias": "#main:localhost", "x": 1,
            "alt_aliases": ["#main:localhost", "#bobs:localhost", "#other:localhost"],
        });
        alice.put(&canonical, &all).await.ok();
        // Bob may remove the alias that he made, and not what the room says of it.
        bob.delete(&path("bobs")).await.ok();
        bob.get(&path("bobs")).await.fails(404, "M_NOT_FOUND");
        assert_eq!(bob.get(&canonical).await.ok(), all);
        // An administrator of the server who isn't in the room, too.
        admin.delete(&path("other")).await.ok();
        assert_eq!(bob.get(&canonical).await.ok(), all);
        alice.delete(&path("main")).await.ok();
        let rest = json!({ "x": 1, "alt_aliases": ["#bobs:localhost", "#other:localhost"] });
        assert_eq!(bob.get(&canonical).await.ok(), rest);
        // Of an alias that it doesn't name, the event says nothing new.
        alice.put(&path("more"), &body).await.ok();
        let history = "dir=b&limit=100";
        let before = alice.page_all(&room, history, None).await;
        alice.delete(&path("more")).await.ok();
        assert_eq!(alice.page_all(&room, history, None).await, before);
    })
    .await;
}
