//! Locked and suspended accounts. <https://spec.matrix.org/v1.19/client-server-api/#account-moderation>

use http::Method;
use serde_json::{Value, json};
use starling_testkit::{TestAnswer, TestServer};

use super::{User, anybody, on_servers};

impl User<'_> {
    async fn restriction(&self, kind: &str, user_id: &str, body: Option<Value>) -> TestAnswer {
        let path = format!("/_matrix/client/v1/admin/{kind}/{user_id}");
        let method = match body {
            Some(_) => Method::PUT,
            None => Method::GET,
        };
        let token = Some(self.token.as_str());
        self.server.request(method, &path, token, body).await
    }

    async fn lock(&self, user_id: &str, locked: bool) -> TestAnswer {
        let body = json!({ "locked": locked });
        self.restriction("lock", user_id, Some(body)).await
    }

    async fn suspend(&self, user_id: &str, suspended: bool) -> TestAnswer {
        let body = json!({ "suspended": suspended });
        self.restriction("suspend", user_id, Some(body)).await
    }

    async fn room(&self) -> String {
        let room = self.post("createRoom", json!({ "preset": "public_chat" }));
        room.await.body["room_id"].as_str().unwrap().to_owned()
    }
}

async fn login(server: &TestServer, name: &str) -> TestAnswer {
    let body = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name }, "password": name,
    });
    anybody(server, Method::POST, "login", Some(body)).await
}

/// `PUT /_matrix/client/v1/admin/lock/{userId}`, `GET /_matrix/client/v1/admin/lock/{userId}`,
/// `POST /_matrix/client/v3/logout`, `GET /_matrix/client/v3/capabilities`
#[tokio::test]
async fn a_locked_account_can_only_log_out_until_it_is_unlocked() {
    on_servers(async |server| {
        let admin = User::admin(&server, "admin").await;
        let alice = User::register(&server, "alice").await;
        let can = json!({ "suspend": true, "lock": true });
        let capability = async |user: &User<'_>| {
            user.get("capabilities").await.body["capabilities"]["m.account_moderation"].clone()
        };
        assert_eq!(capability(&admin).await, can);
        assert_eq!(capability(&alice).await, Value::Null);

        let done = admin.lock(&alice.id, true).await;
        assert_eq!(
            (done.status.as_u16(), done.body),
            (200, json!({ "locked": true }))
        );
        let told = admin.restriction("lock", &alice.id, None).await;
        assert_eq!(told.body, json!({ "locked": true }));
        for path in ["account/whoami", "devices", "sync", "joined_rooms"] {
            let answer = alice.get(path).await;
            assert_eq!(answer.error(), (401, "M_USER_LOCKED"), "{path}");
            assert_eq!(answer.body["soft_logout"], true);
        }
        let create = alice.post("createRoom", json!({})).await;
        assert_eq!(create.error(), (401, "M_USER_LOCKED"));
        assert_eq!(
            login(&server, "alice").await.error(),
            (401, "M_USER_LOCKED")
        );

        // The session has lived on.
        admin.lock(&alice.id, false).await;
        assert_eq!(alice.get("account/whoami").await.status, 200);
        admin.lock(&alice.id, true).await;
        assert_eq!(alice.post("logout", json!({})).await.status, 200);
        let gone = alice.get("account/whoami").await;
        assert_eq!(gone.error(), (401, "M_UNKNOWN_TOKEN"));
    })
    .await;
}

/// `PUT /_matrix/client/v1/admin/lock/{userId}`, `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_lock_ends_long_polls() {
    on_servers(async |server| {
        let admin = User::admin(&server, "admin").await;
        let alice = User::register(&server, "alice").await;
        let since = alice.get("sync").await.body["next_batch"].clone();
        let path = format!("sync?timeout=60000&since={}", since.as_str().unwrap());
        let (poll, _) = tokio::join!(alice.get(&path), admin.lock(&alice.id, true));
        assert_eq!(poll.error(), (401, "M_USER_LOCKED"));
    })
    .await;
}

/// `PUT /_matrix/client/v1/admin/suspend/{userId}`, `GET /_matrix/client/v1/admin/suspend/{userId}`,
/// `POST /_matrix/client/v3/rooms/{roomId}/leave`, `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
#[tokio::test]
async fn a_suspended_account_reads_and_leaves_but_does_not_speak() {
    on_servers(async |server| {
        let admin = User::admin(&server, "admin").await;
        let alice = User::register(&server, "alice").await;
        let other = User::register(&server, "bob").await;
        let (room, public) = (alice.room().await, other.room().await);
        let send = |txn: u8| format!("rooms/{room}/send/m.room.message/{txn}");
        let text = json!({ "msgtype": "m.text", "body": "hello" });
        let event = alice.put(&send(1), text.clone()).await.body["event_id"].clone();
        let event = event.as_str().unwrap();
        other.post(&format!("join/{room}"), json!({})).await;
        let others = other.put(&send(2), text.clone()).await.body["event_id"].clone();
        let others = others.as_str().unwrap();

        let done = admin.suspend(&alice.id, true).await;
        assert_eq!(
            (done.status.as_u16(), done.body),
            (200, json!({ "suspended": true }))
        );
        let told = admin.restriction("suspend", &alice.id, None).await;
        assert_eq!(told.body, json!({ "suspended": true }));

        let suspended = (403, "M_USER_SUSPENDED");
        let invite = json!({ "user_id": "@carol:localhost" });
        let name = json!({ "displayname": "Alice" });
        assert_eq!(alice.put(&send(3), text).await.error(), suspended);
        for (path, body) in [
            ("createRoom".to_owned(), json!({})),
            (format!("join/{public}"), json!({})),
            (format!("rooms/{public}/join"), json!({})),
            (format!("rooms/{room}/invite"), invite),
        ] {
            let answer = alice.post(&path, body).await;
            assert_eq!(answer.error(), suspended, "{path}");
        }
        for (path, body) in [
            (format!("profile/{}/displayname", alice.id), name),
            (
                format!("rooms/{room}/state/m.room.topic"),
                json!({ "topic": "x" }),
            ),
            (format!("rooms/{room}/redact/{others}/4"), json!({})),
        ] {
            let answer = alice.put(&path, body).await;
            assert_eq!(answer.error(), suspended, "{path}");
        }

        let own = format!("rooms/{room}/redact/{event}/5");
        assert_eq!(alice.put(&own, json!({})).await.status, 200);
        assert_eq!(alice.get("sync").await.status, 200);
        assert_eq!(login(&server, "alice").await.status, 200);
        let leave = format!("rooms/{room}/leave");
        assert_eq!(alice.post(&leave, json!({})).await.status, 200);

        admin.suspend(&alice.id, false).await;
        assert_eq!(alice.post("createRoom", json!({})).await.status, 200);
    })
    .await;
}

/// `PUT /_matrix/client/v1/admin/lock/{userId}`, `GET /_matrix/client/v1/admin/suspend/{userId}`
#[tokio::test]
async fn only_administrators_moderate_and_not_each_other() {
    on_servers(async |server| {
        let admin = User::admin(&server, "admin").await;
        let other = User::admin(&server, "other").await;
        let alice = User::register(&server, "alice").await;
        let forbidden = (403, "M_FORBIDDEN");
        for user in [&alice.id, &admin.id, "@nobody:localhost", "nonsense"] {
            // Whether there is such a user is not told to whom it does not concern.
            assert_eq!(alice.lock(user, true).await.error(), forbidden);
            let asked = alice.restriction("suspend", user, None).await;
            assert_eq!(asked.error(), forbidden);
        }
        assert_eq!(admin.lock(&admin.id, true).await.error(), forbidden);
        assert_eq!(admin.suspend(&other.id, true).await.error(), forbidden);
        let asked = admin.restriction("lock", &other.id, None).await;
        assert_eq!(asked.error(), forbidden);
        for (user, status, errcode) in [
            ("@nobody:localhost", 404, "M_NOT_FOUND"),
            ("@alice:elsewhere", 400, "M_INVALID_PARAM"),
            ("alice", 400, "M_INVALID_PARAM"),
        ] {
            assert_eq!(admin.lock(user, true).await.error(), (status, errcode));
            let asked = admin.restriction("suspend", user, None).await;
            assert_eq!(asked.error(), (status, errcode));
        }
        let body = Some(json!({ "locked": "yes" }));
        let answer = admin.restriction("lock", &alice.id, body).await;
        assert_eq!(answer.error(), (400, "M_BAD_JSON"));
        assert_eq!(alice.get("account/whoami").await.status, 200);
    })
    .await;
}

/// `GET /_matrix/client/v3/admin/whois/{userId}`
#[tokio::test]
async fn whois_tells_where_devices_were_seen() {
    on_servers(async |server| {
        let admin = User::admin(&server, "admin").await;
        let alice = User::register(&server, "alice").await;
        let other = User::register(&server, "bob").await;
        let path = format!("admin/whois/{}", alice.id);
        for user in [&admin, &alice] {
            let body = user.get(&path).await.body;
            assert_eq!(body["user_id"], json!(alice.id));
            let sessions = &body["devices"][&alice.device_id]["sessions"];
            assert!(sessions[0]["connections"].is_array(), "{body}");
        }
        assert_eq!(other.get(&path).await.error(), (403, "M_FORBIDDEN"));
        let nobody = admin.get("admin/whois/@nobody:localhost").await;
        assert_eq!(nobody.error(), (404, "M_NOT_FOUND"));
    })
    .await;
}
