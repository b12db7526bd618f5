//! Presence. <https://spec.matrix.org/v1.19/client-server-api/#presence>

use std::time::Duration;

use serde_json::{Value, json};
use starling_testkit::TestServer;

use crate::caller::{Answer, Caller, Server, on_servers, on_servers_with, segment};

/// Alice and Bob, who share a room. Alice has been told nothing yet, and is not there herself.
struct Scene {
    alice: Caller,
    bob: Caller,
    room: String,
    since: String,
}

impl Scene {
    async fn new(server: &Server) -> Self {
        let (alice, bob, room) = server.two_in_a_room().await;
        let since = alice.sync("set_presence=offline").await.1;
        Self {
            alice,
            bob,
            room,
            since,
        }
    }

    /// What Alice is told of others next.
    async fn told(&mut self) -> Vec<String> {
        let query = format!("set_presence=offline&since={}", self.since);
        let (answer, next) = self.alice.sync(&query).await;
        self.since = next;
        told(&answer)
    }

    async fn status(&self) -> Value {
        get(&self.alice, &self.bob).await.ok()
    }
}

/// `user state`, and `active` where it is said.
fn told(answer: &Value) -> Vec<String> {
    let events = answer["presence"]["events"].as_array().unwrap();
    let line = |event: &Value| {
        assert_eq!(event["type"], "m.presence");
        let user = event["sender"].as_str().unwrap();
        let (name, content) = (user.trim_end_matches(":localhost"), &event["content"]);
        let state = content["presence"].as_str().unwrap();
        let active = match content["currently_active"].as_bool() {
            Some(true) => " active",
            Some(false) => " quiet",
            None => "",
        };
        let status = content["status_msg"].as_str().map(|it| format!(" {it}"));
        format!("{name} {state}{active}{}", status.unwrap_or_default())
    };
    events.iter().map(line).collect()
}

fn path_of(user: &Caller) -> String {
    format!("presence/{}/status", segment(&user.user_id))
}

async fn get(who: &Caller, of: &Caller) -> Answer {
    who.get(&path_of(of)).await
}

async fn put(who: &Caller, body: Value) -> Answer {
    who.put(&path_of(who), &body).await
}

/// Lets time pass, and what is due happen.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
}

async fn seconds(seconds: u64) {
    pass(Duration::from_secs(seconds)).await;
}

/// `GET /_matrix/client/v3/sync`
/// `GET /_matrix/client/v3/presence/{userId}/status`
#[tokio::test]
async fn who_asks_for_news_is_online_and_gone_soon_after() {
    on_servers(async |server| {
        let mut scene = Scene::new(&server).await;
        let bob = scene.bob.clone();
        assert_eq!(scene.status().await, json!({ "presence": "offline" }));
        let (_, since) = bob.sync("").await;
        assert_eq!(scene.told().await, ["@bob online active"]);
        let status = scene.status().await;
        assert_eq!(status["presence"], "online");
        assert_eq!(status["currently_active"], true);
        assert!(
            status["last_active_ago"].as_i64().unwrap() < 20_000,
            "{status}"
        );
        // Asking again is no news.
        bob.sync(&format!("since={since}")).await;
        assert!(scene.told().await.is_empty());
        seconds(20).await;
        assert!(scene.told().await.is_empty());
        seconds(12).await;
        assert_eq!(scene.told().await, ["@bob offline"]);
        let status = scene.status().await;
        assert_eq!(status["presence"], "offline");
        assert!(
            status["last_active_ago"].as_i64().unwrap() >= 32_000,
            "{status}"
        );
        assert!(scene.told().await.is_empty());
        // Who begins without a token is told who is there, and of nobody else.
        assert!(told(&scene.alice.sync("set_presence=offline").await.0).is_empty());
        bob.sync("").await;
        let (whole, _) = scene.alice.sync("set_presence=offline").await;
        assert_eq!(told(&whole), ["@bob online active"]);
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`
/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
#[tokio::test]
async fn who_does_something_is_no_longer_idle() {
    on_servers(async |server| {
        let mut scene = Scene::new(&server).await;
        let (bob, room) = (scene.bob.clone(), segment(&scene.room));
        let hello = json!({ "body": "hello" });
        let sent = bob.send(&scene.room, "m.room.message", "1", &hello);
        let event = segment(&sent.await.event_id());
        let typing = format!("rooms/{room}/typing/{}", segment(&bob.user_id));
        let receipt = format!("rooms/{room}/receipt/m.read/{event}");
        let message = format!("rooms/{room}/send/m.room.message/2");
        let cases = [
            ("PUT", &message, json!({ "body": "x" })),
            ("PUT", &typing, json!({ "typing": true })),
            ("POST", &receipt, json!({})),
        ];
        for (method, path, body) in cases {
            bob.sync("set_presence=unavailable").await;
            assert_eq!(scene.told().await, ["@bob unavailable"]);
            let body = body.to_string();
            bob.send_raw(method, path, body.as_bytes()).await.ok();
            assert_eq!(scene.told().await, ["@bob online active"], "{path}");
        }
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_client_says_what_its_polls_mean() {
    on_servers(async |server| {
        let mut scene = Scene::new(&server).await;
        let bob = scene.bob.clone();
        bob.sync("set_presence=offline").await;
        assert!(scene.told().await.is_empty());
        assert_eq!(scene.status().await, json!({ "presence": "offline" }));
        bob.sync("set_presence=unavailable").await;
        assert_eq!(scene.told().await, ["@bob unavailable"]);
        // Who says nothing stays idle.
        bob.sync("").await;
        assert!(scene.told().await.is_empty());
        bob.sync("set_presence=online").await;
        assert_eq!(scene.told().await, ["@bob online active"]);
        bob.sync("set_presence=offline").await;
        assert_eq!(scene.told().await, ["@bob offline"]);
        // The most present of a user's devices counts.
        let tablet = server.device("bob").await;
        tablet.sync("set_presence=unavailable").await;
        assert_eq!(scene.told().await, ["@bob unavailable"]);
        bob.sync("").await;
        assert_eq!(scene.told().await, ["@bob online active"]);
    })
    .await;
}

/// `PUT /_matrix/client/v3/presence/{userId}/status`
#[tokio::test]
async fn a_user_sets_their_presence_and_what_they_say() {
    on_servers(async |server| {
        let mut scene = Scene::new(&server).await;
        let bob = scene.bob.clone();
        let body = json!({ "presence": "unavailable", "status_msg": "at\u{0} lunch" });
        assert_eq!(put(&bob, body).await.ok(), json!({}));
        assert_eq!(scene.told().await, ["@bob unavailable at\u{0} lunch"]);
        assert_eq!(scene.status().await["status_msg"], "at\u{0} lunch");
        put(&bob, json!({ "presence": "online", "status_msg": "back" }))
            .await
            .ok();
        assert_eq!(scene.told().await, ["@bob online active back"]);
        // A text is kept when its user goes, and over a restart.
        seconds(32).await;
        assert_eq!(scene.told().await, ["@bob offline back"]);
        let server = server.restarted().await;
        scene.alice = server.again(&scene.alice);
        let bob = server.again(&bob);
        let expected = json!({ "presence": "offline", "status_msg": "back" });
        assert_eq!(scene.status().await, expected);
        assert!(scene.told().await.is_empty());
        bob.sync("").await;
        assert_eq!(scene.told().await, ["@bob online active back"]);
        // No text removes it.
        put(&bob, json!({ "presence": "online" })).await.ok();
        assert_eq!(scene.told().await, ["@bob online active"]);
        put(&bob, json!({ "presence": "offline", "status_msg": "" }))
            .await
            .ok();
        assert_eq!(scene.told().await, ["@bob offline"]);
        let server = server.restarted().await;
        scene.alice = server.again(&scene.alice);
        assert_eq!(scene.status().await, json!({ "presence": "offline" }));
    })
    .await;
}

/// `GET /_matrix/client/v3/presence/{userId}/status`
#[tokio::test]
async fn only_those_who_share_a_room_are_told() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene {
            alice, bob, room, ..
        } = &scene;
        let carol = server.user("carol").await;
        let (_, since) = carol.sync("").await;
        bob.sync("").await;
        alice.sync("").await;
        let (answer, since) = carol.sync(&format!("since={since}")).await;
        assert!(told(&answer).is_empty());
        assert_eq!(get(&carol, bob).await.error(), (403, "M_FORBIDDEN"));
        let nobody = carol.get("presence/%40nobody%3Alocalhost/status").await;
        assert_eq!(nobody.error(), (403, "M_FORBIDDEN"));
        assert_eq!(get(&carol, &carol).await.ok()["presence"], "online");
        // Who comes in is told who is there; those who are, that somebody came.
        let (_, for_alice) = alice.sync("").await;
        carol.join(room).await.ok();
        let (answer, since) = carol.sync(&format!("since={since}")).await;
        assert_eq!(
            told(&answer),
            ["@alice online active", "@bob online active"]
        );
        let (answer, _) = alice.sync(&format!("since={for_alice}")).await;
        assert_eq!(told(&answer), ["@carol online active"]);
        assert_eq!(get(&carol, bob).await.ok()["presence"], "online");
        // Who has left is told nothing more.
        carol.leave(room).await.ok();
        put(bob, json!({ "presence": "unavailable" })).await.ok();
        let (answer, _) = carol.sync(&format!("since={since}")).await;
        assert!(told(&answer).is_empty());
        assert_eq!(get(&carol, bob).await.error(), (403, "M_FORBIDDEN"));
        // Nobody sets that of another.
        let body = json!({ "presence": "online" });
        let answer = carol.put(&path_of(bob), &body).await;
        assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_poll_ends_when_somebody_comes_once_for_all_of_a_second() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene {
            alice,
            bob,
            room,
            since,
        } = &scene;
        let carol = server.user("carol").await;
        carol.join(room).await.ok();
        let (answer, since) = alice
            .sync(&format!("set_presence=offline&since={since}"))
            .await;
        assert!(told(&answer).is_empty());
        let waiting = {
            let query = format!("set_presence=offline&since={since}&timeout=60000");
            let alice = alice.clone();
            tokio::spawn(async move { alice.sync(&query).await })
        };
        tokio::task::yield_now().await;
        put(bob, json!({ "presence": "online" })).await.ok();
        put(&carol, json!({ "presence": "unavailable" })).await.ok();
        let (answer, since) = waiting.await.unwrap();
        let told_first = told(&answer);
        assert!(
            told_first.contains(&"@bob online active".to_owned()),
            "{told_first:?}"
        );
        // A second may have ended between the two.
        if told_first.len() == 1 {
            let (answer, _) = alice
                .sync(&format!("set_presence=offline&since={since}"))
                .await;
            assert_eq!(told(&answer), ["@carol unavailable"]);
        }
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_filter_says_whose_presence_is_wanted() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene {
            alice, bob, since, ..
        } = &scene;
        bob.sync("").await;
        let cases = [
            (json!({}), true),
            (json!({ "types": ["m.presence"] }), true),
            (json!({ "types": [] }), false),
            (json!({ "not_types": ["*"] }), false),
            (json!({ "senders": [bob.user_id] }), true),
            (json!({ "senders": [alice.user_id] }), false),
            (json!({ "not_senders": [bob.user_id] }), false),
        ];
        for (presence, wanted) in cases {
            let filter = segment(&json!({ "presence": presence }).to_string());
            for query in [String::new(), format!("&since={since}")] {
                let query = format!("set_presence=offline&filter={filter}{query}");
                let (answer, _) = alice.sync(&query).await;
                assert_eq!(!told(&answer).is_empty(), wanted, "{presence}");
            }
        }
    })
    .await;
}

/// `PUT /_matrix/client/v3/presence/{userId}/status`
/// `GET /_matrix/client/v3/presence/{userId}/status`
#[tokio::test]
async fn presence_may_be_turned_off() {
    let mut config = TestServer::config();
    config.presence.enabled = false;
    on_servers_with(config, async |server| {
        let mut scene = Scene::new(&server).await;
        let bob = scene.bob.clone();
        bob.sync("set_presence=online").await;
        let body = json!({ "presence": "online", "status_msg": "here" });
        assert_eq!(put(&bob, body).await.ok(), json!({}));
        assert!(scene.told().await.is_empty());
        assert_eq!(scene.status().await, json!({ "presence": "offline" }));
    })
    .await;
}
