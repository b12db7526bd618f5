//! Typing. <https://spec.matrix.org/v1.19/client-server-api/#typing-notifications>

use std::time::Duration;

use serde_json::{Value, json};

use super::caller::{Answer, Caller, Server, on_servers, segment};

/// A room of Alice in which Bob is, too, and how far Alice has been told.
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

    /// Who types, as Alice is told next; `None` when she isn't.
    async fn told(&mut self) -> Option<Vec<String>> {
        let (answer, next) = self.alice.sync(&self.query("")).await;
        self.since = next;
        typing(&answer, &self.room)
    }

    fn query(&self, more: &str) -> String {
        format!("set_presence=offline&since={}{more}", self.since)
    }

    async fn types(&self, who: &Caller, body: Value) -> Answer {
        put(who, &self.room, &who.user_id, body).await
    }
}

async fn put(who: &Caller, room: &str, user_id: &str, body: Value) -> Answer {
    let path = format!("rooms/{}/typing/{}", segment(room), segment(user_id));
    who.put(&path, &body).await
}

fn typing(answer: &Value, room: &str) -> Option<Vec<String>> {
    let events = answer["rooms"]["join"][room]["ephemeral"]["events"].as_array()?;
    let typing = events.iter().find(|event| event["type"] == "m.typing")?;
    assert_eq!(typing.as_object().unwrap().len(), 2, "{typing}");
    let users = typing["content"]["user_ids"].as_array().unwrap();
    let users = users.iter().map(|user| user.as_str().unwrap().to_owned());
    Some(users.collect())
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

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`
#[tokio::test]
async fn who_types_is_told_as_a_whole_list() {
    on_servers(async |server| {
        let mut scene = Scene::new(&server).await;
        let bob = scene.bob.clone();
        let carol = server.user("carol").await;
        carol.join(&scene.room).await.ok();
        assert_eq!(scene.told().await, None);
        let on = json!({ "typing": true, "timeout": 30_000 });
        assert_eq!(scene.types(&bob, on.clone()).await.ok(), json!({}));
        assert_eq!(scene.told().await, Some(vec![bob.user_id.clone()]));
        assert_eq!(scene.told().await, None);
        // Going on is no news.
        scene.types(&bob, on.clone()).await.ok();
        assert_eq!(scene.told().await, None);
        scene.types(&carol, json!({ "typing": true })).await.ok();
        let both = vec![bob.user_id.clone(), carol.user_id.clone()];
        assert_eq!(scene.told().await, Some(both.clone()));
        // One's own typing is told to one's devices, too.
        let (whole, _) = server.device("bob").await.sync("").await;
        assert_eq!(typing(&whole, &scene.room), Some(both));
        scene.types(&bob, json!({ "typing": false })).await.ok();
        assert_eq!(scene.told().await, Some(vec![carol.user_id.clone()]));
        scene.types(&carol, json!({ "typing": false })).await.ok();
        assert_eq!(scene.told().await, Some(vec![]));
        scene.types(&carol, json!({ "typing": false })).await.ok();
        assert_eq!(scene.told().await, None);
        // Who comes in is told with the room.
        scene.types(&bob, on).await.ok();
        let dave = server.user("dave").await;
        let (_, since) = dave.sync("").await;
        dave.join(&scene.room).await.ok();
        let (answer, _) = dave.sync(&format!("since={since}")).await;
        assert_eq!(
            typing(&answer, &scene.room),
            Some(vec![bob.user_id.clone()])
        );
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`
#[tokio::test]
async fn typing_ends_after_its_time() {
    on_servers(async |server| {
        let mut scene = Scene::new(&server).await;
        let bob = scene.bob.clone();
        // The longest is two minutes, whatever a client asks for; nothing said is 30 seconds.
        for (body, seconds) in [
            (json!({ "typing": true, "timeout": 5_000 }), 5),
            (json!({ "typing": true }), 30),
            (
                json!({ "typing": true, "timeout": 10_000_000_000_u64 }),
                120,
            ),
        ] {
            scene.types(&bob, body).await.ok();
            assert_eq!(scene.told().await, Some(vec![bob.user_id.clone()]));
            pass(Duration::from_secs(seconds - 2)).await;
            assert_eq!(scene.told().await, None, "{seconds}");
            pass(Duration::from_secs(3)).await;
            assert_eq!(scene.told().await, Some(vec![]), "{seconds}");
        }
        scene
            .types(&bob, json!({ "typing": true, "timeout": 0 }))
            .await
            .ok();
        assert_eq!(scene.told().await, None);
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`
/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
#[tokio::test]
async fn typing_ends_with_a_message_and_with_a_leave() {
    on_servers(async |server| {
        let mut scene = Scene::new(&server).await;
        let (alice, bob, room) = (scene.alice.clone(), scene.bob.clone(), scene.room.clone());
        let on = json!({ "typing": true });
        let typists = Some(vec![bob.user_id.clone()]);
        scene.types(&bob, on.clone()).await.ok();
        assert_eq!(scene.told().await, typists);
        // Neither a reaction nor a state event is what Bob was typing.
        let relation = json!({ "rel_type": "m.annotation", "event_id": "$x", "key": "x" });
        bob.send(
            &room,
            "m.reaction",
            "1",
            &json!({ "m.relates_to": relation }),
        )
        .await
        .ok();
        assert_eq!(scene.told().await, None);
        bob.send(&room, "m.room.message", "2", &json!({ "body": "x" }))
            .await
            .ok();
        // Message and end are told at once.
        let (answer, next) = alice.sync(&scene.query("")).await;
        scene.since = next;
        let told = &answer["rooms"]["join"][&room];
        assert_eq!(told["timeline"]["events"].as_array().unwrap().len(), 1);
        assert_eq!(typing(&answer, &room), Some(vec![]));

        scene.types(&bob, on.clone()).await.ok();
        assert_eq!(scene.told().await, typists);
        bob.leave(&room).await.ok();
        assert_eq!(scene.told().await, Some(vec![]));
        bob.join(&room).await.ok();
        scene.types(&bob, on.clone()).await.ok();
        assert_eq!(scene.told().await, typists);
        alice.act(&room, "kick", &bob).await.ok();
        assert_eq!(scene.told().await, Some(vec![]));
        let answer = scene.types(&bob, on).await;
        assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
        assert_eq!(scene.told().await, None);
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`
/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_poll_ends_when_somebody_begins_to_type() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let (alice, query) = (scene.alice.clone(), scene.query("&timeout=60000"));
        let waiting = tokio::spawn(async move { alice.sync(&query).await });
        tokio::task::yield_now().await;
        scene
            .types(&scene.bob, json!({ "typing": true }))
            .await
            .ok();
        let (answer, _) = waiting.await.unwrap();
        assert_eq!(
            typing(&answer, &scene.room),
            Some(vec![scene.bob.user_id.clone()])
        );
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_token_of_another_process_gets_what_is_so_now() {
    on_servers(async |server| {
        let mut scene = Scene::new(&server).await;
        let bob = scene.bob.clone();
        scene.types(&bob, json!({ "typing": true })).await.ok();
        assert_eq!(scene.told().await, Some(vec![bob.user_id.clone()]));
        let server = server.restarted().await;
        scene.alice = server.again(&scene.alice);
        let bob = server.again(&bob);
        assert_eq!(scene.told().await, None, "nobody types any longer");
        scene.since = {
            let (epoch_and_position, _) = scene.since.rsplit_once('_').unwrap();
            format!("{epoch_and_position}_0")
        };
        scene.types(&bob, json!({ "typing": true })).await.ok();
        let typists = Some(vec![bob.user_id.clone()]);
        assert_eq!(scene.told().await, typists);
        // Tokens that say nothing of it, or of what has not been.
        let fields: Vec<String> = scene.since.split('_').map(str::to_owned).collect();
        for since in [
            format!("{}_{}", fields[0], fields[1]),
            format!("{}_{}_{}_{}", fields[0], fields[1], fields[2], 1_000_000),
            format!("{}_{}_{}_{}", fields[0], fields[1], 5, 0),
        ] {
            scene.since = since;
            assert_eq!(scene.told().await, typists);
        }
        // The same token is good elsewhere.
        let path = format!(
            "rooms/{}/messages?dir=b&from={}",
            segment(&scene.room),
            scene.since
        );
        scene.alice.get(&path).await.ok();
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_filter_says_whose_typing_is_wanted() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let Scene { bob, room, .. } = &scene;
        scene.types(bob, json!({ "typing": true })).await.ok();
        let told = Some(vec![bob.user_id.clone()]);
        let cases = [
            (json!({}), told.clone()),
            (json!({ "types": ["m.typ*"] }), told.clone()),
            (json!({ "types": ["m.receipt"] }), None),
            (json!({ "not_types": ["m.typing"] }), None),
            (json!({ "not_senders": [bob.user_id] }), Some(vec![])),
            (json!({ "rooms": [room] }), told),
            (json!({ "not_rooms": [room] }), None),
        ];
        for (ephemeral, expected) in cases {
            let filter = json!({ "room": { "ephemeral": ephemeral } }).to_string();
            let more = format!("&filter={}", segment(&filter));
            let (answer, _) = scene.alice.sync(&scene.query(&more)).await;
            assert_eq!(typing(&answer, room), expected, "{filter}");
        }
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`
#[tokio::test]
async fn nobody_types_for_another() {
    on_servers(async |server| {
        let mut scene = Scene::new(&server).await;
        let (bob, room) = (scene.bob.clone(), scene.room.clone());
        let carol = server.user("carol").await;
        let on = json!({ "typing": true });
        for (who, user) in [(&carol, &carol), (&carol, &bob), (&scene.alice, &bob)] {
            let answer = put(who, &room, &user.user_id, on.clone()).await;
            assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
        }
        assert_eq!(scene.told().await, None);
    })
    .await;
}
