//! Who wants no invites gets none. <https://spec.matrix.org/v1.19/client-server-api/#invite-permission>

use serde_json::{Value, json};

use super::caller::{Caller, on_servers, segment};

async fn set(user: &Caller, content: &Value) {
    let kind = "m.invite_permission_config";
    let path = format!("user/{}/account_data/{kind}", segment(&user.user_id));
    user.put(&path, content).await.ok();
}

/// `POST /_matrix/client/v3/rooms/{roomId}/invite`, `POST /_matrix/client/v3/createRoom`,
/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
#[tokio::test]
async fn who_blocks_invites_cannot_be_invited() {
    on_servers(async |server| {
        let (alice, bob, carol) = (
            server.user("alice").await,
            server.user("bob").await,
            server.user("carol").await,
        );
        let room = alice.create(json!({ "preset": "private_chat" })).await;
        set(&bob, &json!({ "default_action": "block" })).await;

        alice
            .act(&room, "invite", &bob)
            .await
            .fails(403, "M_INVITE_BLOCKED");
        let path = format!(
            "rooms/{}/state/m.room.member/{}",
            segment(&room),
            segment(&bob.user_id)
        );
        alice
            .put(&path, &json!({ "membership": "invite" }))
            .await
            .fails(403, "M_INVITE_BLOCKED");
        assert_eq!(
            alice
                .state(&room, "m.room.member", &bob.user_id)
                .await
                .status,
            404
        );
        let wanted = json!({ "invite": [carol.user_id, bob.user_id], "room_alias_name": "new" });
        alice
            .post("createRoom", &wanted)
            .await
            .fails(403, "M_INVITE_BLOCKED");
        alice
            .get("directory/room/%23new%3Alocalhost")
            .await
            .fails(404, "M_NOT_FOUND");
        assert_eq!(carol.get("sync").await.ok()["rooms"]["invite"], json!({}));
        // He still bans and invites others, and joins where he may.
        let open = alice.create(json!({ "preset": "public_chat" })).await;
        bob.join(&open).await.ok();
        alice.act(&room, "ban", &bob).await.ok();

        // What the server doesn't know blocks nothing.
        for content in [
            json!({}),
            json!({ "default_action": "allow" }),
            json!({ "default_action": ["block"] }),
        ] {
            set(&bob, &content).await;
            alice.act(&room, "unban", &bob).await.ok();
            alice
                .act(&room, "invite", &bob)
                .await
                .ok_for(&content.to_string());
            alice.act(&room, "ban", &bob).await.ok();
        }
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn who_blocks_invites_is_told_of_none() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let since = bob.get("sync").await.ok()["next_batch"].clone();
        let since = format!("sync?since={}", since.as_str().unwrap());
        let room = alice.create(json!({ "invite": [bob.user_id] })).await;
        let invites = async |path: &str| bob.get(path).await.ok()["rooms"]["invite"].clone();
        assert_ne!(invites(&since).await[&room], Value::Null);
        set(&bob, &json!({ "default_action": "block" })).await;
        assert_eq!(invites("sync").await, json!({}));
        assert_eq!(invites(&since).await, json!({}));
        // Nothing else is any different: the room knows of the invite, and it can be taken up.
        let member = alice.state(&room, "m.room.member", &bob.user_id).await.ok();
        assert_eq!(member["membership"], "invite");
        set(&bob, &json!({})).await;
        assert_ne!(invites("sync").await[&room], Value::Null);
        set(&bob, &json!({ "default_action": "block" })).await;
        bob.join(&room).await.ok();
    })
    .await;
}
