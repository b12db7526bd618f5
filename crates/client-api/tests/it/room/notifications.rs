//! Listing notifications. <https://spec.matrix.org/v1.19/client-server-api/#listing-notifications>

use serde_json::{Value, json};

use super::caller::{Caller, on_servers, segment};

async fn page(who: &Caller, query: &str) -> (Vec<Value>, Option<String>) {
    let answer = who.get(&format!("notifications?{query}")).await.ok();
    let next = answer["next_token"].as_str().map(str::to_owned);
    (answer["notifications"].as_array().unwrap().clone(), next)
}

/// The bodies of all pages of this size, and whether each is read.
async fn all(who: &Caller, query: &str) -> Vec<(String, bool)> {
    let (mut from, mut found) = (String::new(), Vec::new());
    for _ in 0..20 {
        let (page, next) = page(who, &format!("{query}{from}")).await;
        found.extend(page.iter().map(|one| {
            let body = one["event"]["content"]["body"].as_str().unwrap_or("invite");
            (body.to_owned(), one["read"].as_bool().unwrap())
        }));
        match next {
            Some(next) => from = format!("&from={next}"),
            None => return found,
        }
    }
    panic!("notifications never end");
}

async fn say(who: &Caller, room: &str, text: &str) -> String {
    let content = json!({ "msgtype": "m.text", "body": text });
    who.send(room, "m.room.message", text, &content)
        .await
        .event_id()
}

/// `GET /_matrix/client/v3/notifications`
#[tokio::test]
async fn they_are_listed_over_all_rooms_newest_first_in_pages() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let one = alice.create(json!({ "preset": "public_chat" })).await;
        let two = alice.create(json!({ "preset": "public_chat" })).await;
        say(&alice, &one, "before bob").await;
        bob.join(&one).await.ok();
        bob.join(&two).await.ok();
        let read = say(&alice, &one, "a").await;
        say(&alice, &two, "b").await;
        say(&bob, &two, "own").await;
        say(&alice, &one, "c").await;
        let content = json!({ "body": "you", "m.mentions": { "user_ids": ["@bob:localhost"] } });
        alice.send(&two, "m.room.message", "you", &content).await.ok();
        let quiet = json!({ "msgtype": "m.notice", "body": "quiet" });
        alice.send(&one, "m.room.message", "quiet", &quiet).await.ok();
        alice.create(json!({ "invite": ["@bob:localhost"] })).await;
        let path = format!("rooms/{}/receipt/m.read/{}", segment(&one), segment(&read));
        bob.post(&path, &json!({})).await.ok();
        let expected = [("invite", false), ("you", false), ("c", false), ("b", true), ("a", true)]
            .map(|(body, read)| (body.to_owned(), read));
        for limit in [1, 2, 100] {
            assert_eq!(all(&bob, &format!("limit={limit}")).await, expected, "{limit}");
        }
        assert_eq!(all(&bob, "").await, expected);
        let highlights = all(&bob, "only=highlight").await;
        assert_eq!(highlights, [("you".to_owned(), false)]);
        let (first, next) = page(&bob, "only=highlight").await;
        assert_eq!(next, None);
        let actions = json!(["notify", { "set_tweak": "sound", "value": "default" }, { "set_tweak": "highlight" }]);
        assert_eq!((&first[0]["actions"], &first[0]["room_id"]), (&actions, &json!(two)));
        assert!(first[0]["ts"].is_i64() && first[0]["event"]["event_id"].is_string());
        assert!(first[0]["event"].get("room_id").is_none());
        assert!(all(&alice, "").await.iter().all(|(body, _)| body == "own"));
    })
    .await;
}

/// `GET /_matrix/client/v3/notifications`
#[tokio::test]
async fn what_nobody_is_told_of_any_longer_is_not_listed() {
    on_servers(async |server| {
        let (alice, bob, room) = server.two_in_a_room().await;
        let gone = say(&alice, &room, "gone").await;
        say(&alice, &room, "stays").await;
        let path = format!("rooms/{}/redact/{}/1", segment(&room), segment(&gone));
        alice.put(&path, &json!({})).await.ok();
        assert_eq!(all(&bob, "").await, [("stays".to_owned(), false)]);
        bob.put(
            "pushrules/global/override/.m.rule.master/enabled",
            &json!({ "enabled": true }),
        )
        .await
        .ok();
        assert!(all(&bob, "").await.is_empty());
        bob.put(
            "pushrules/global/override/.m.rule.master/enabled",
            &json!({ "enabled": false }),
        )
        .await
        .ok();
        let ignored = json!({ "ignored_users": { "@alice:localhost": {} } });
        let list = format!("user/{}/account_data/m.ignored_user_list", bob.user_id);
        bob.put(&list, &ignored).await.ok();
        assert!(all(&bob, "").await.is_empty());
        bob.put(&list, &json!({})).await.ok();
        bob.leave(&room).await.ok();
        assert!(all(&bob, "").await.is_empty());
    })
    .await;
}

/// `GET /_matrix/client/v3/notifications`
#[tokio::test]
async fn bad_parameters_are_refused() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        for query in [
            "from=nonsense",
            "from=",
            "from=s999_1",
            "limit=many",
            "limit=-1",
        ] {
            alice
                .get(&format!("notifications?{query}"))
                .await
                .fails_for(query, 400, "M_INVALID_PARAM");
        }
        server
            .anonymous()
            .get("notifications")
            .await
            .fails(401, "M_MISSING_TOKEN");
    })
    .await;
}
