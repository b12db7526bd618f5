//! Reading events and members. <https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room>

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::caller::{Caller, event_ids, on_servers, segment};

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`
#[tokio::test]
async fn an_event_is_read_by_whom_may_see_it() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let joined_only = json!([{
            "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": "joined" },
        }]);
        let room = alice.create(json!({ "preset": "public_chat", "initial_state": joined_only })).await;
        let other = alice.create(json!({})).await;
        let before = alice.send(&room, "m.room.message", "1", &json!({ "body": "before" })).await.event_id();
        bob.join(&room).await.ok();
        let during = alice.send(&room, "m.room.message", "2", &json!({ "body": "during" })).await.event_id();
        bob.leave(&room).await.ok();
        let after = alice.send(&room, "m.room.message", "3", &json!({ "body": "after" })).await.event_id();
        let path = |room: &str, event: &str| format!("rooms/{}/event/{}", segment(room), segment(event));
        assert_eq!(bob.get(&path(&room, &during)).await.ok()["content"]["body"], "during");
        for (room, event) in [(&room, &before), (&room, &after), (&other, &during), (&room, &"$unknown".to_owned())] {
            bob.get(&path(room, event)).await.fails_for(event, 404, "M_NOT_FOUND");
        }
        alice.get(&path("!unknown:localhost", &during)).await.fails(404, "M_NOT_FOUND");
    })
    .await;
}

async fn members(caller: &Caller, room: &str, query: &str) -> BTreeSet<String> {
    let answer = caller
        .get(&format!("rooms/{}/members{query}", segment(room)))
        .await
        .ok();
    let name = |event: &Value| {
        assert_eq!(event["type"], "m.room.member");
        let key = event["state_key"].as_str().unwrap();
        let (name, _) = key.trim_start_matches('@').split_once(':').unwrap();
        format!(
            "{name} {}",
            event["content"]["membership"].as_str().unwrap()
        )
    };
    answer["chunk"]
        .as_array()
        .unwrap()
        .iter()
        .map(name)
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// `GET /_matrix/client/v3/rooms/{roomId}/members`
#[tokio::test]
async fn members_are_told_by_membership_and_point_in_time() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let carol = server.user("carol").await;
        let dave = server.user("dave").await;
        let room = alice
            .create(json!({ "preset": "public_chat", "invite": [carol.user_id] }))
            .await;
        alice.act(&room, "ban", &dave).await.ok();
        let early = alice.get("sync").await.ok();
        let at = early["rooms"]["join"][&room]["timeline"]["prev_batch"]
            .as_str()
            .unwrap()
            .to_owned();
        let since = early["next_batch"].as_str().unwrap().to_owned();
        bob.join(&room).await.ok();
        let all = ["alice join", "bob join", "carol invite", "dave ban"];
        assert_eq!(members(&alice, &room, "").await, set(&all));
        assert_eq!(
            members(&alice, &room, "?membership=join").await,
            set(&["alice join", "bob join"])
        );
        assert_eq!(
            members(&alice, &room, "?not_membership=join").await,
            set(&["carol invite", "dave ban"])
        );
        // Both together: either will do.
        let either = "?membership=join&not_membership=ban";
        assert_eq!(
            members(&alice, &room, either).await,
            set(&["alice join", "bob join", "carol invite"])
        );
        let then = members(&alice, &room, &format!("?at={since}")).await;
        assert_eq!(then, set(&["alice join", "carol invite", "dave ban"]));
        assert!(
            !members(&alice, &room, &format!("?at={at}"))
                .await
                .contains("bob join")
        );
        alice
            .get(&format!("rooms/{}/members?at=none", segment(&room)))
            .await
            .fails(400, "M_INVALID_PARAM");
        alice
            .get(&format!("rooms/{}/members?membership=in", segment(&room)))
            .await
            .fails(400, "M_INVALID_PARAM");

        // Who has left sees the members of then.
        bob.leave(&room).await.ok();
        carol.join(&room).await.ok();
        assert_eq!(
            members(&bob, &room, "").await,
            set(&["alice join", "bob leave", "carol invite", "dave ban"])
        );
        let stranger = server.user("eve").await;
        stranger
            .get(&format!("rooms/{}/members", segment(&room)))
            .await
            .fails(403, "M_FORBIDDEN");
    })
    .await;
}

/// `GET /_matrix/client/v3/rooms/{roomId}/joined_members`
#[tokio::test]
async fn joined_members_are_told_with_their_profiles() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let name = format!("profile/{}/displayname", segment(&bob.user_id));
        bob.put(&name, &json!({ "displayname": "Robert" }))
            .await
            .ok();
        let room = alice
            .create(json!({ "preset": "public_chat", "invite": [bob.user_id] }))
            .await;
        let path = format!("rooms/{}/joined_members", segment(&room));
        bob.get(&path).await.fails(403, "M_FORBIDDEN");
        bob.join(&room).await.ok();
        let joined = bob.get(&path).await.ok()["joined"].clone();
        assert_eq!(joined.as_object().unwrap().len(), 2);
        assert_eq!(joined[&bob.user_id]["display_name"], "Robert");
        assert!(joined[&alice.user_id].is_object());
        bob.leave(&room).await.ok();
        bob.get(&path).await.fails(403, "M_FORBIDDEN");
    })
    .await;
}

/// `GET /_matrix/client/v3/rooms/{roomId}/messages`
#[tokio::test]
async fn history_is_paged_both_ways_without_loss() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let mut sent = Vec::new();
        for number in 0..25 {
            let body = json!({ "number": number });
            sent.push(
                alice
                    .send(&room, "m.room.message", &number.to_string(), &body)
                    .await
                    .event_id(),
            );
        }
        let backwards = alice.page_all(&room, "dir=b&limit=7", None).await;
        let forwards = alice.page_all(&room, "dir=f&limit=4", None).await;
        let mut reversed = backwards.clone();
        reversed.reverse();
        assert_eq!(reversed, forwards);
        assert!(forwards.ends_with(&sent), "{forwards:?}");
        let filter = segment(r#"{"types":["m.room.message"],"limit":3}"#);
        let mut filtered = alice
            .page_all(&room, &format!("dir=b&filter={filter}"), None)
            .await;
        filtered.reverse();
        assert_eq!(filtered, sent);
    })
    .await;
}

/// `GET /_matrix/client/v3/rooms/{roomId}/messages`
#[tokio::test]
async fn a_page_starts_and_stops_where_it_is_told() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({})).await;
        let say = async |id: &str| {
            alice
                .send(&room, "m.room.message", id, &json!({}))
                .await
                .event_id()
        };
        let token = async || {
            alice.get("sync").await.ok()["next_batch"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let path = |query: &str| format!("rooms/{}/messages?{query}", segment(&room));
        say("1").await;
        let start = token().await;
        let between = [say("2").await, say("3").await];
        let stop = token().await;
        say("4").await;
        let forwards = alice
            .get(&path(&format!("dir=f&from={start}&to={stop}")))
            .await
            .ok();
        assert_eq!(event_ids(&forwards["chunk"]), between);
        let backwards = alice
            .get(&path(&format!("dir=b&from={stop}&to={start}")))
            .await
            .ok();
        let mut reversed = event_ids(&backwards["chunk"]);
        reversed.reverse();
        assert_eq!(reversed, between);
        assert_eq!(forwards["chunk"][0]["room_id"], room);

        alice
            .get(&path("from=a"))
            .await
            .fails(400, "M_MISSING_PARAM");
        alice
            .get(&path("dir=x"))
            .await
            .fails(400, "M_INVALID_PARAM");
        alice
            .get(&path("dir=b&from=a"))
            .await
            .fails(400, "M_INVALID_PARAM");
        alice
            .get(&path("dir=b&to=a"))
            .await
            .fails(400, "M_INVALID_PARAM");
        alice
            .get(&path("dir=b&limit=-1"))
            .await
            .fails(400, "M_INVALID_PARAM");
        alice
            .get(&path("dir=b&filter=%5B%5D"))
            .await
            .fails(400, "M_INVALID_PARAM");
        let stranger = server.user("eve").await;
        stranger.get(&path("dir=b")).await.fails(403, "M_FORBIDDEN");
    })
    .await;
}
