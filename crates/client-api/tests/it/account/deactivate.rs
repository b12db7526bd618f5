//! Deactivating one's account. <https://spec.matrix.org/v1.19/client-server-api/#account-deactivation>

use http::Method;
use serde_json::json;

use super::{User, anybody, on_servers};

/// `POST /_matrix/client/v3/account/deactivate`
#[tokio::test]
async fn a_deactivated_account_is_gone_and_its_name_taken() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let asked = alice.call(Method::POST, "account/deactivate", None).await;
        assert_eq!((asked.status.as_u16(), asked.errcode()), (401, ""));
        assert_eq!(alice.get("account/whoami").await.status, 200);
        let body = json!({ "auth": alice.auth(), "erase": true });
        let done = alice.post("account/deactivate", body).await;
        let answer = json!({ "id_server_unbind_result": "no-support" });
        assert_eq!((done.status.as_u16(), done.body), (200, answer));
        assert_eq!(
            alice.get("account/whoami").await.error(),
            (401, "M_UNKNOWN_TOKEN")
        );
        let login = json!({ "type": "m.login.password", "user": "alice", "password": "alice" });
        let login = anybody(&server, Method::POST, "login", Some(login)).await;
        assert_eq!(login.error(), (403, "M_FORBIDDEN"));
        let again = "register/available?username=alice";
        let again = anybody(&server, Method::GET, again, None).await;
        assert_eq!(again.error(), (400, "M_USER_IN_USE"));
    })
    .await;
}

/// `POST /_matrix/client/v3/account/deactivate`
#[tokio::test]
async fn a_deactivated_user_leaves_all_rooms() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let other = User::register(&server, "bob").await;
        let create = async |body| {
            let answer = other.post("createRoom", body).await.body;
            answer["room_id"].as_str().unwrap().to_owned()
        };
        let joined = create(json!({ "preset": "public_chat" })).await;
        alice.post(&format!("join/{joined}"), json!({})).await;
        let invited = create(json!({ "invite": [alice.id] })).await;
        let banned = create(json!({})).await;
        let target = json!({ "user_id": alice.id });
        other.post(&format!("rooms/{banned}/ban"), target).await;

        let body = json!({ "auth": alice.auth() });
        alice.post("account/deactivate", body).await;
        server.state.store.jobs().notified().await;
        server.jobs.work().await.unwrap();
        for (room, membership) in [(joined, "leave"), (invited, "leave"), (banned, "ban")] {
            let path = format!("rooms/{room}/state/m.room.member/{}", alice.id);
            assert_eq!(other.get(&path).await.body["membership"], membership);
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/account/deactivate`, `GET /_matrix/client/v3/rooms/{roomId}/messages`,
/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn what_an_erased_user_said_is_hidden_from_whoever_was_not_there() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let other = User::register(&server, "bob").await;
        let open = json!({ "preset": "public_chat", "name": "Tea" });
        let room = alice.post("createRoom", open).await.body["room_id"].clone();
        let room = room.as_str().unwrap();
        other.post(&format!("join/{room}"), json!({})).await;
        let text = json!({ "msgtype": "m.text", "body": "hello" });
        let send = format!("rooms/{room}/send/m.room.message/1");
        alice.put(&send, text).await;
        let body = json!({ "auth": alice.auth(), "erase": true });
        // Who is erased is in memory by now.
        other.get("sync").await;
        assert_eq!(alice.post("account/deactivate", body).await.status, 200);
        server.jobs.work().await.unwrap();
        let late = User::register(&server, "carol").await;
        late.post(&format!("join/{room}"), json!({})).await;

        let history = async |user: &User<'_>, kind: &str| {
            let path = format!("rooms/{room}/messages?dir=f&limit=100");
            let chunk = user.get(&path).await.body["chunk"].take();
            let events = chunk.as_array().unwrap().iter();
            let contents = events.filter(|event| event["type"] == kind);
            contents
                .map(|event| event["content"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(history(&other, "m.room.message").await[0]["body"], "hello");
        assert_eq!(history(&late, "m.room.message").await, [json!({})]);
        assert_eq!(
            history(&late, "m.room.name").await,
            [json!({ "name": "Tea" })]
        );
        let sync = late.get("sync").await.body;
        let timeline = &sync["rooms"]["join"][room]["timeline"]["events"];
        let said = timeline.as_array().unwrap().iter();
        let said: Vec<_> = said
            .filter(|event| event["type"] == "m.room.message")
            .collect();
        assert_eq!(said.len(), 1, "{sync}");
        assert_eq!(said[0]["content"], json!({}));
    })
    .await;
}
