//! Knocking. <https://spec.matrix.org/v1.19/client-server-api/#knocking-on-rooms>

use serde_json::{Value, json};

use super::caller::{Answer, Caller, on_servers, segment};

async fn knock(user: &Caller, room: &str, reason: &str) -> Answer {
    let path = format!("knock/{}", segment(room));
    user.post(&path, &json!({ "reason": reason })).await
}

async fn member(admin: &Caller, room: &str, user: &Caller) -> Value {
    admin.state(room, "m.room.member", &user.user_id).await.ok()
}

/// A room that one may knock at.
fn knockable(version: &str, rule: &str) -> Value {
    json!({
        "room_version": version, "preset": "private_chat", "name": "Inside",
        "initial_state": [{ "type": "m.room.join_rules", "content": { "join_rule": rule } }],
    })
}

/// `POST /_matrix/client/v3/knock/{roomIdOrAlias}`
#[tokio::test]
async fn who_knocks_shows_up_with_reason_and_profile_and_may_be_let_in() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let name = format!("profile/{}/displayname", segment(&bob.user_id));
        bob.put(&name, &json!({ "displayname": "Bob" })).await.ok();
        for (version, rule) in [
            ("7", "knock"),
            ("10", "knock_restricted"),
            ("11", "knock"),
            ("12", "knock_restricted"),
        ] {
            let room = alice.create(knockable(version, rule)).await;
            let answer = knock(&bob, &room, "let me in").await.ok_for(version);
            assert_eq!(answer, json!({ "room_id": room }));
            assert_eq!(
                member(&alice, &room, &bob).await,
                json!({ "membership": "knock", "reason": "let me in", "displayname": "Bob" })
            );
            // He has asked already: nothing changes.
            let before = alice.page_all(&room, "dir=f", None).await.len();
            knock(&bob, &room, "once more").await.ok_for(version);
            assert_eq!(alice.page_all(&room, "dir=f", None).await.len(), before);

            bob.join(&room).await.fails_for(version, 403, "M_FORBIDDEN");
            alice.act(&room, "invite", &bob).await.ok();
            knock(&bob, &room, "again").await.fails(403, "M_FORBIDDEN");
            bob.join(&room).await.ok();
            knock(&bob, &room, "again").await.fails(403, "M_FORBIDDEN");
            assert_eq!(member(&alice, &room, &bob).await["membership"], "join");
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/knock/{roomIdOrAlias}`, `POST /_matrix/client/v3/rooms/{roomId}/leave`,
/// `POST /_matrix/client/v3/rooms/{roomId}/kick`, `POST /_matrix/client/v3/rooms/{roomId}/ban`
#[tokio::test]
async fn a_knock_can_be_taken_back_and_turned_down() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let room = alice.create(knockable("12", "knock")).await;
        knock(&bob, &room, "").await.ok();
        bob.leave(&room).await.ok();
        assert_eq!(member(&alice, &room, &bob).await["membership"], "leave");
        knock(&bob, &room, "").await.ok();
        alice.act(&room, "kick", &bob).await.ok();
        assert_eq!(member(&alice, &room, &bob).await["membership"], "leave");
        knock(&bob, &room, "").await.ok();
        alice.act(&room, "ban", &bob).await.ok();
        knock(&bob, &room, "").await.fails(403, "M_FORBIDDEN");
        assert_eq!(member(&alice, &room, &bob).await["membership"], "ban");
    })
    .await;
}

/// `POST /_matrix/client/v3/knock/{roomIdOrAlias}`
#[tokio::test]
async fn one_knocks_by_alias_where_the_room_and_its_version_let_one() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let mut wanted = knockable("12", "knock");
        wanted["room_alias_name"] = json!("door");
        let room = alice.create(wanted).await;
        let path = "knock/%23door%3Alocalhost?via=example.org&server_name=other.example";
        // Older clients send no body.
        let answer = bob.send_raw("POST", path, b"").await.ok();
        assert_eq!(answer, json!({ "room_id": room }));
        assert_eq!(member(&alice, &room, &bob).await["membership"], "knock");

        for (version, rule) in [
            ("6", "knock"),
            ("9", "knock_restricted"),
            ("12", "invite"),
            ("12", "public"),
        ] {
            let room = alice.create(knockable(version, rule)).await;
            knock(&bob, &room, "")
                .await
                .fails_for(rule, 403, "M_FORBIDDEN");
            assert_eq!(
                alice
                    .state(&room, "m.room.member", &bob.user_id)
                    .await
                    .status,
                404
            );
        }
        let carol = server.user("carol").await;
        knock(&carol, "#none:localhost", "")
            .await
            .fails(404, "M_NOT_FOUND");
        knock(&carol, "#door:other.example", "")
            .await
            .fails(404, "M_NOT_FOUND");
        knock(&carol, "!none:localhost", "")
            .await
            .fails(404, "M_NOT_FOUND");
    })
    .await;
}

/// `POST /_matrix/client/v3/knock/{roomIdOrAlias}`, `GET /_matrix/client/v3/sync`
#[tokio::test]
async fn a_knock_is_told_with_what_the_room_is() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let room = alice.create(knockable("12", "knock")).await;
        let since = bob.get("sync").await.ok()["next_batch"].clone();
        knock(&bob, &room, "please").await.ok();
        let since = since.as_str().unwrap();
        for path in ["sync".to_owned(), format!("sync?since={since}")] {
            let sync = bob.get(&path).await.ok();
            let events = sync["rooms"]["knock"][&room]["knock_state"]["events"].clone();
            let kinds: Vec<&str> = events
                .as_array()
                .unwrap()
                .iter()
                .map(|event| event["type"].as_str().unwrap())
                .collect();
            for kind in [
                "m.room.create",
                "m.room.join_rules",
                "m.room.name",
                "m.room.member",
            ] {
                assert!(kinds.contains(&kind), "{kind} is not in {events}");
            }
        }
    })
    .await;
}
