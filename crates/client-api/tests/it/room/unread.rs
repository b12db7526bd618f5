//! Unread counts. <https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications>

use serde_json::{Value, json};

use super::caller::{Caller, Server, on_servers, segment};

/// A client that keeps what it was told of one room.
struct Client<'a> {
    caller: &'a Caller,
    room: &'a str,
    filter: String,
    since: Option<String>,
    /// Highlights and notifications; of threads, too, if they are told apart.
    counts: Value,
}

impl<'a> Client<'a> {
    fn new(caller: &'a Caller, room: &'a str, threads: bool) -> Self {
        let filter = json!({ "room": { "timeline": { "limit": 1, "unread_thread_notifications": threads } } });
        Self {
            caller,
            room,
            filter: segment(&filter.to_string()),
            since: None,
            counts: Value::Null,
        }
    }

    /// Syncs; whether it was told of the room.
    async fn sync(&mut self) -> bool {
        let since = self
            .since
            .as_ref()
            .map_or_else(String::new, |since| format!("&since={since}"));
        let answer = self
            .caller
            .get(&format!("sync?filter={}{since}", self.filter))
            .await
            .ok();
        self.since = answer["next_batch"].as_str().map(str::to_owned);
        let room = &answer["rooms"]["join"][self.room];
        if !room.is_null() {
            self.counts = counts(room);
        }
        !room.is_null()
    }

    /// What it knows after a sync that tells of the room.
    async fn told(&mut self) -> Value {
        assert!(self.sync().await, "the room is told");
        self.counts.clone()
    }
}

/// `[highlights, notifications]`, and after them the same by thread if there are any.
fn counts(room: &Value) -> Value {
    let pair = |counts: &Value| json!([counts["highlight_count"], counts["notification_count"]]);
    let mut all = pair(&room["unread_notifications"]);
    if let Some(threads) = room["unread_thread_notifications"].as_object() {
        let threads: serde_json::Map<String, Value> = threads
            .iter()
            .map(|(root, counts)| (root.clone(), pair(counts)))
            .collect();
        all.as_array_mut().unwrap().push(Value::Object(threads));
    }
    all
}

struct Scene {
    alice: Caller,
    bob: Caller,
    room: String,
}

impl Scene {
    async fn new(server: &Server) -> Self {
        let (alice, bob, room) = server.two_in_a_room().await;
        Self { alice, bob, room }
    }

    async fn send(&self, txn_id: &str, content: Value) -> String {
        self.send_as(&self.alice, txn_id, content).await
    }

    async fn send_as(&self, who: &Caller, txn_id: &str, content: Value) -> String {
        who.send(&self.room, "m.room.message", txn_id, &content)
            .await
            .event_id()
    }

    async fn say(&self, text: &str) -> String {
        self.send(text, json!({ "msgtype": "m.text", "body": text }))
            .await
    }

    async fn reply_in(&self, root: &str, text: &str) -> String {
        let relation = json!({ "rel_type": "m.thread", "event_id": root });
        self.send(
            text,
            json!({ "msgtype": "m.text", "body": text, "m.relates_to": relation }),
        )
        .await
    }

    async fn read(&self, event: &str, kind: &str, body: Value) {
        let path = format!(
            "rooms/{}/receipt/{kind}/{}",
            segment(&self.room),
            segment(event)
        );
        self.bob.post(&path, &body).await.ok();
    }

    async fn rule(&self, path: &str, body: Value) {
        self.bob
            .put(&format!("pushrules/global/{path}"), &body)
            .await
            .ok();
    }
}

/// `GET /_matrix/client/v3/sync`, `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
#[tokio::test]
async fn a_message_counts_in_the_sync_that_tells_it_until_it_is_read() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let mut bob = Client::new(&scene.bob, &scene.room, false);
        let mut alice = Client::new(&scene.alice, &scene.room, false);
        assert_eq!(bob.told().await, json!([0, 0]));
        scene.say("one").await;
        assert_eq!(bob.told().await, json!([0, 1]));
        let second = scene.say("two").await;
        let third = scene.say("three").await;
        assert_eq!(bob.told().await, json!([0, 3]));
        assert_eq!(alice.told().await, json!([0, 0]), "one's own don't count");
        scene.read(&second, "m.read.private", json!({})).await;
        assert_eq!(bob.told().await, json!([0, 1]));
        // A receipt that lags behind changes nothing.
        scene.read(&third, "m.read", json!({})).await;
        assert_eq!(bob.told().await, json!([0, 0]));
        assert!(!bob.sync().await, "nothing more is told");
        // A new client, and one after a restart, learn the same.
        scene.say("four").await;
        assert_eq!(
            Client::new(&scene.bob, &scene.room, true).told().await,
            json!([0, 1])
        );
        let again = server.restarted().await;
        let again = again.again(&scene.bob);
        assert_eq!(
            Client::new(&again, &scene.room, false).told().await,
            json!([0, 1])
        );
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn counts_are_told_again_also_to_who_wants_no_receipts() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let last = scene.say("one").await;
        let mut bob = Client::new(&scene.bob, &scene.room, false);
        let filter = json!({ "room": { "ephemeral": { "not_types": ["*"] } } });
        bob.filter = segment(&filter.to_string());
        assert_eq!(bob.told().await, json!([0, 1]));
        scene.read(&last, "m.read", json!({})).await;
        assert_eq!(bob.told().await, json!([0, 0]));
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn what_the_rules_leave_out_does_not_count_and_mentions_stand_out() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let mut bob = Client::new(&scene.bob, &scene.room, false);
        bob.sync().await;
        let body = |more: Value| {
            let mut content = json!({ "msgtype": "m.text", "body": "x" });
            for (name, value) in more.as_object().unwrap() {
                content[name] = value.clone();
            }
            content
        };
        scene
            .send("notice", body(json!({ "msgtype": "m.notice" })))
            .await;
        let edited = scene.say("edited").await;
        assert_eq!(bob.told().await, json!([0, 1]));
        let replace = json!({ "rel_type": "m.replace", "event_id": edited });
        scene
            .send(
                "edit",
                body(json!({ "m.relates_to": replace, "m.new_content": {} })),
            )
            .await;
        scene
            .alice
            .send(
                &scene.room,
                "m.reaction",
                "r",
                &json!({
                    "m.relates_to": { "rel_type": "m.annotation", "event_id": edited, "key": "x" },
                }),
            )
            .await
            .ok();
        scene
            .alice
            .put(
                &format!("rooms/{}/state/m.room.name", scene.room),
                &json!({ "name": "x" }),
            )
            .await
            .ok();
        assert_eq!(bob.told().await, json!([0, 1]));
        scene
            .send(
                "you",
                body(
                    json!({ "m.mentions": { "user_ids": ["@bob:localhost", "@carol:localhost"] } }),
                ),
            )
            .await;
        assert_eq!(bob.told().await, json!([1, 2]));
        scene
            .send("room", body(json!({ "m.mentions": { "room": true } })))
            .await;
        assert_eq!(bob.told().await, json!([2, 3]));
        // Without the power to it is a message like others.
        let mut alice = Client::new(&scene.alice, &scene.room, false);
        scene
            .send_as(
                &scene.bob,
                "bob",
                body(json!({ "m.mentions": { "room": true } })),
            )
            .await;
        assert_eq!(alice.told().await, json!([0, 1]));
        scene
            .alice
            .send(
                &scene.room,
                "m.room.encrypted",
                "e",
                &json!({ "algorithm": "x" }),
            )
            .await
            .ok();
        // Who writes has read.
        assert_eq!(bob.told().await, json!([0, 1]));
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`, `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`,
/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`
#[tokio::test]
async fn changed_rules_change_what_counts_at_once() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let mut bob = Client::new(&scene.bob, &scene.room, false);
        scene.say("one").await;
        scene
            .send(
                "two",
                json!({ "body": "x", "m.mentions": { "user_ids": ["@bob:localhost"] } }),
            )
            .await;
        assert_eq!(bob.told().await, json!([1, 2]));
        let room = format!("room/{}", segment(&scene.room));
        scene.rule(&room, json!({ "actions": [] })).await;
        // A mention comes before the room's rule.
        assert_eq!(bob.told().await, json!([1, 1]));
        scene
            .rule(&format!("{room}/enabled"), json!({ "enabled": false }))
            .await;
        assert_eq!(bob.told().await, json!([1, 2]));
        // A word is looked for from then on, in any case, as a whole word.
        scene
            .rule(
                "content/cake",
                json!({ "pattern": "Cake", "actions": ["notify", { "set_tweak": "highlight" }] }),
            )
            .await;
        scene.say("pancakes").await;
        assert_eq!(bob.told().await, json!([1, 3]));
        scene.say("what a CAKE!").await;
        assert_eq!(bob.told().await, json!([2, 4]));
        scene
            .rule("sender/@alice:localhost", json!({ "actions": [] }))
            .await;
        scene.say("hush").await;
        assert_eq!(bob.told().await, json!([2, 4]));
        scene
            .rule(
                "override/.m.rule.master/enabled",
                json!({ "enabled": true }),
            )
            .await;
        scene.say("nobody hears this cake").await;
        let mut anew = Client::new(&scene.bob, &scene.room, false);
        let told = anew.told().await;
        assert_eq!(bob.told().await, told);
        // What was decided by itself stays as it was.
        assert_eq!(told, json!([2, 2]));
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn whose_rules_look_for_a_name_is_told_when_it_is_said() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let named = json!({ "displayname": "Bob the Builder" });
        let path = format!(
            "rooms/{}/state/m.room.member/@bob:localhost",
            segment(&scene.room)
        );
        let mut member = named.clone();
        member["membership"] = json!("join");
        scene.bob.put(&path, &member).await.ok();
        let conditions = json!([{ "kind": "contains_display_name" }]);
        let actions = json!(["notify", { "set_tweak": "highlight" }]);
        scene
            .rule(
                "override/name",
                json!({ "conditions": conditions, "actions": actions }),
            )
            .await;
        let mut bob = Client::new(&scene.bob, &scene.room, false);
        bob.sync().await;
        scene.say("hello bob the builder").await;
        scene.say("hello bob").await;
        assert_eq!(bob.told().await, json!([1, 2]));
        member["displayname"] = json!("💥");
        scene.bob.put(&path, &member).await.ok();
        scene.say("hello Bob the Builder!").await;
        scene.say("💥").await;
        assert_eq!(bob.told().await, json!([2, 4]));
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`, `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
#[tokio::test]
async fn threads_are_counted_apart_where_the_filter_asks_for_it() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let (mut apart, mut together) = (
            Client::new(&scene.bob, &scene.room, true),
            Client::new(&scene.bob, &scene.room, false),
        );
        let root = scene.say("root").await;
        let other = scene.say("other").await;
        let one = scene.reply_in(&root, "one").await;
        scene.reply_in(&root, "two").await;
        scene.reply_in(&other, "three").await;
        // In the thread by way of an event in it; no more than a reaction, so it doesn't count.
        scene
            .alice
            .send(
                &scene.room,
                "m.reaction",
                "r",
                &json!({
                    "m.relates_to": { "rel_type": "m.annotation", "event_id": one, "key": "x" },
                }),
            )
            .await
            .ok();
        assert_eq!(
            apart.told().await,
            json!([0, 2, { &root: [0, 2], &other: [0, 1] }])
        );
        assert_eq!(together.told().await, json!([0, 5]));
        scene
            .read(&one, "m.read", json!({ "thread_id": root }))
            .await;
        assert_eq!(
            apart.told().await,
            json!([0, 2, { &root: [0, 1], &other: [0, 1] }])
        );
        assert_eq!(together.told().await, json!([0, 4]));
        scene
            .read(&other, "m.read", json!({ "thread_id": "main" }))
            .await;
        assert_eq!(
            apart.told().await,
            json!([0, 0, { &root: [0, 1], &other: [0, 1] }])
        );
        let relation = json!({ "rel_type": "m.thread", "event_id": other });
        scene
            .send_as(
                &scene.bob,
                "mine",
                json!({ "body": "x", "m.relates_to": relation }),
            )
            .await;
        assert_eq!(
            apart.told().await,
            json!([0, 0, { &root: [0, 1] }]),
            "who writes has read"
        );
        let last = scene.say("last").await;
        assert_eq!(apart.told().await, json!([0, 1, { &root: [0, 1] }]));
        scene.read(&last, "m.read", json!({})).await;
        assert_eq!(apart.told().await, json!([0, 0]));
        together.sync().await;
        assert_eq!(together.counts, json!([0, 0]));
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`, `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`,
/// `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`
#[tokio::test]
async fn what_is_redacted_or_ignored_does_not_count() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        let carol = server.user("carol").await;
        carol.join(&scene.room).await.ok();
        let mut bob = Client::new(&scene.bob, &scene.room, false);
        let mention = json!({ "body": "x", "m.mentions": { "user_ids": ["@bob:localhost"] } });
        let gone = scene.send("gone", mention.clone()).await;
        scene.say("stays").await;
        scene.send_as(&carol, "hers", mention).await;
        scene.send_as(&carol, "hers2", json!({ "body": "x" })).await;
        assert_eq!(bob.told().await, json!([2, 4]));
        let path = format!("rooms/{}/redact/{}/1", segment(&scene.room), segment(&gone));
        scene.alice.put(&path, &json!({})).await.ok();
        assert_eq!(bob.told().await, json!([1, 3]));
        let list = format!(
            "user/{}/account_data/m.ignored_user_list",
            scene.bob.user_id
        );
        scene
            .bob
            .put(
                &list,
                &json!({ "ignored_users": { "@carol:localhost": {} } }),
            )
            .await
            .ok();
        assert_eq!(bob.told().await, json!([0, 1]));
        scene.send_as(&carol, "hers3", json!({ "body": "x" })).await;
        assert_eq!(
            Client::new(&scene.bob, &scene.room, false).told().await,
            json!([0, 1])
        );
        scene
            .bob
            .put(&list, &json!({ "ignored_users": {} }))
            .await
            .ok();
        assert_eq!(
            Client::new(&scene.bob, &scene.room, false).told().await,
            json!([1, 4])
        );
    })
    .await;
}

/// `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn who_comes_back_has_nothing_unread_from_before() {
    on_servers(async |server| {
        let scene = Scene::new(&server).await;
        scene
            .send(
                "you",
                json!({ "body": "x", "m.mentions": { "user_ids": ["@bob:localhost"] } }),
            )
            .await;
        scene.bob.leave(&scene.room).await.ok();
        scene.say("meanwhile").await;
        scene.bob.join(&scene.room).await.ok();
        let mut bob = Client::new(&scene.bob, &scene.room, false);
        assert_eq!(bob.told().await, json!([0, 0]));
        scene.say("since").await;
        assert_eq!(bob.told().await, json!([0, 1]));
        // Another name is no sign of having read.
        let path = format!(
            "rooms/{}/state/m.room.member/@bob:localhost",
            segment(&scene.room)
        );
        scene
            .bob
            .put(&path, &json!({ "membership": "join", "displayname": "B" }))
            .await
            .ok();
        assert_eq!(bob.told().await, json!([0, 1]));
    })
    .await;
}
