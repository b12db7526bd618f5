//! Who is in a room. <https://spec.matrix.org/v1.19/client-server-api/#room-membership>

use serde_json::{Value, json};

use super::caller::{Caller, on_servers, segment};

async fn membership(caller: &Caller, room: &str, user: &Caller) -> String {
    let answer = caller.state(room, "m.room.member", &user.user_id).await;
    match answer.status {
        404 => "none".to_owned(),
        _ => answer.ok()["membership"].as_str().unwrap().to_owned(),
    }
}

/// Brings a user from nowhere to a membership of a private room.
async fn bring(admin: &Caller, room: &str, user: &Caller, to: &str) {
    match to {
        "none" => {}
        "ban" => drop(admin.act(room, "ban", user).await.ok()),
        _ => drop(admin.act(room, "invite", user).await.ok()),
    }
    if matches!(to, "join" | "leave") {
        user.join(room).await.ok();
    }
    if to == "leave" {
        user.post(&format!("rooms/{}/leave", segment(room)), &json!({}))
            .await
            .ok();
    }
}

/// `POST /_matrix/client/v3/rooms/{roomId}/join`, `POST /_matrix/client/v3/rooms/{roomId}/leave`,
/// `POST /_matrix/client/v3/rooms/{roomId}/invite`, `POST /_matrix/client/v3/rooms/{roomId}/kick`,
/// `POST /_matrix/client/v3/rooms/{roomId}/ban`, `POST /_matrix/client/v3/rooms/{roomId}/unban`,
/// `GET /_matrix/client/v3/joined_rooms`
#[tokio::test]
async fn every_action_on_every_membership() {
    // From, action, status, membership afterwards. What a user does alone is `join` and `leave`; the rest is done to them.
    let cases = [
        ("none", "invite", 200, "invite"),
        ("none", "kick", 403, "none"),
        ("none", "ban", 200, "ban"),
        ("none", "unban", 403, "none"),
        ("none", "join", 403, "none"),
        ("none", "leave", 403, "none"),
        ("invite", "invite", 200, "invite"),
        ("invite", "kick", 200, "leave"),
        ("invite", "ban", 200, "ban"),
        ("invite", "unban", 403, "invite"),
        ("invite", "join", 200, "join"),
        ("invite", "leave", 200, "leave"),
        ("join", "invite", 403, "join"),
        ("join", "kick", 200, "leave"),
        ("join", "ban", 200, "ban"),
        ("join", "unban", 403, "join"),
        ("join", "join", 200, "join"),
        ("join", "leave", 200, "leave"),
        ("leave", "invite", 200, "invite"),
        ("leave", "kick", 403, "leave"),
        ("leave", "ban", 200, "ban"),
        ("leave", "unban", 403, "leave"),
        ("leave", "join", 403, "leave"),
        ("leave", "leave", 403, "leave"),
        ("ban", "invite", 403, "ban"),
        ("ban", "kick", 403, "ban"),
        ("ban", "ban", 200, "ban"),
        ("ban", "unban", 200, "leave"),
        ("ban", "join", 403, "ban"),
        ("ban", "leave", 403, "ban"),
    ];
    on_servers(async move |server| {
        let alice = server.user("alice").await;
        // Those between have the same rules for these memberships.
        for version in ["1", "11", "12"] {
            let room = alice
                .create(json!({ "preset": "private_chat", "room_version": version }))
                .await;
            for (number, (from, action, status, then)) in cases.into_iter().enumerate() {
                let user = server.user(&format!("user{version}.{number}")).await;
                bring(&alice, &room, &user, from).await;
                let answer = match action {
                    "join" => user.join(&room).await,
                    "leave" => user.leave(&room).await,
                    _ => alice.act(&room, action, &user).await,
                };
                let case = format!("{action} from {from} in version {version}");
                match status {
                    200 => drop(answer.ok_for(&case)),
                    _ if action == "unban" => answer.fails_for(&case, 403, "M_BAD_STATE"),
                    _ => answer.fails_for(&case, 403, "M_FORBIDDEN"),
                }
                assert_eq!(membership(&alice, &room, &user).await, then, "{case}");
                let is_listed =
                    user.get("joined_rooms").await.ok() == json!({ "joined_rooms": [room] });
                assert_eq!(is_listed, then == "join", "{case}");
            }
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/join`, `POST /_matrix/client/v3/rooms/{roomId}/leave`,
/// `POST /_matrix/client/v3/rooms/{roomId}/invite`, `POST /_matrix/client/v3/rooms/{roomId}/kick`,
/// `POST /_matrix/client/v3/rooms/{roomId}/ban`, `POST /_matrix/client/v3/rooms/{roomId}/unban`
#[tokio::test]
async fn reasons_stand_in_the_member_events() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let room = alice.create(json!({ "preset": "private_chat" })).await;
        let steps = [
            (&alice, "invite"),
            (&bob, "join"),
            (&bob, "leave"),
            (&alice, "invite"),
            (&alice, "kick"),
            (&alice, "ban"),
            (&alice, "unban"),
        ];
        for (caller, action) in steps {
            let reason = format!("why {action}");
            let mut body = json!({ "reason": reason });
            if caller.user_id == alice.user_id {
                body["user_id"] = Value::from(bob.user_id.as_str());
            }
            caller
                .post(&format!("rooms/{}/{action}", segment(&room)), &body)
                .await
                .ok_for(action);
            let member = alice.state(&room, "m.room.member", &bob.user_id).await.ok();
            assert_eq!(member["reason"], reason);
        }
        let joined = alice.create(json!({ "preset": "public_chat" })).await;
        let body = json!({ "reason": "curious" });
        bob.post(&format!("join/{}", segment(&joined)), &body)
            .await
            .ok();
        assert_eq!(
            bob.state(&joined, "m.room.member", &bob.user_id).await.ok()["reason"],
            "curious"
        );
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/invite`, `POST /_matrix/client/v3/rooms/{roomId}/kick`,
/// `POST /_matrix/client/v3/rooms/{roomId}/ban`, `POST /_matrix/client/v3/rooms/{roomId}/unban`
#[tokio::test]
async fn who_lacks_the_power_or_is_not_in_the_room_moves_nobody() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let carol = server.user("carol").await;
        let dave = server.user("dave").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        bob.join(&room).await.ok();
        carol.join(&room).await.ok();
        for action in ["kick", "ban"] {
            bob.act(&room, action, &carol)
                .await
                .fails_for(action, 403, "M_FORBIDDEN");
            dave.act(&room, action, &carol)
                .await
                .fails_for(action, 403, "M_FORBIDDEN");
        }
        assert_eq!(membership(&alice, &room, &carol).await, "join");
        bob.act(&room, "invite", &dave)
            .await
            .fails(403, "M_FORBIDDEN");
        dave.act(&room, "invite", &dave)
            .await
            .fails(403, "M_FORBIDDEN");
        alice.act(&room, "ban", &dave).await.ok();
        bob.act(&room, "unban", &dave)
            .await
            .fails(403, "M_FORBIDDEN");
        dave.join(&room).await.fails(403, "M_FORBIDDEN");
        assert_eq!(membership(&alice, &room, &dave).await, "ban");
    })
    .await;
}

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}`, `POST /_matrix/client/v3/rooms/{roomId}/join`
#[tokio::test]
async fn a_room_is_joined_by_id_or_alias_whatever_the_servers_named() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let room = alice.create(json!({ "preset": "public_chat", "room_alias_name": "open" })).await;
        let alias = segment("#open:localhost");
        let by_id = segment(&room);
        let paths = [
            format!("join/{by_id}"),
            format!("rooms/{by_id}/join"),
            format!("join/{alias}"),
            format!("join/{alias}?via=example.org&via=other.example"),
            format!("join/{by_id}?server_name=example.org"),
        ];
        for (number, path) in paths.iter().enumerate() {
            let user = server.user(&format!("user{number}")).await;
            assert_eq!(user.post(path, &json!({})).await.ok(), json!({ "room_id": room }), "{path}");
            // Again, and with an empty body, as older clients do.
            assert_eq!(user.send_raw("POST", path, b"").await.ok(), json!({ "room_id": room }), "{path}");
        }
        let eve = server.user("eve").await;
        eve.post("join/%23none%3Alocalhost", &json!({})).await.fails(404, "M_NOT_FOUND");
        eve.post("join/%23open%3Aother.example", &json!({})).await.fails(404, "M_NOT_FOUND");
        let signed = json!({ "third_party_signed": { "sender": "@a:b", "mxid": "@c:d", "token": "x", "signatures": {} } });
        eve.post(&format!("join/{by_id}"), &signed).await.fails(403, "M_FORBIDDEN");
        assert_eq!(membership(&alice, &room, &eve).await, "none");
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/forget`
#[tokio::test]
async fn a_room_is_forgotten_after_it_was_left() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let room = alice.create(json!({ "preset": "public_chat" })).await;
        let (forget, leave) = (
            format!("rooms/{}/forget", segment(&room)),
            format!("rooms/{}/leave", segment(&room)),
        );
        bob.post(&forget, &json!({}))
            .await
            .fails(404, "M_NOT_FOUND");
        bob.join(&room).await.ok();
        bob.post(&forget, &json!({})).await.fails(400, "M_UNKNOWN");
        bob.post(&leave, &json!({})).await.ok();
        let messages = format!("rooms/{}/messages?dir=b", segment(&room));
        bob.get(&messages).await.ok();
        let state = format!("rooms/{}/state", segment(&room));
        bob.get(&state).await.ok();

        bob.post(&forget, &json!({})).await.ok();
        bob.get(&messages).await.fails(403, "M_FORBIDDEN");
        bob.get(&state).await.fails(403, "M_FORBIDDEN");
        let all = bob
            .get("sync?filter=%7B%22room%22%3A%7B%22include_leave%22%3Atrue%7D%7D")
            .await
            .ok();
        assert_eq!(all["rooms"]["leave"].get(&room), None);

        // Who comes back remembers.
        bob.join(&room).await.ok();
        bob.get(&messages).await.ok();
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`, `GET /_matrix/client/v3/joined_rooms`
#[tokio::test]
async fn member_events_set_as_state_change_memberships_too() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let room = alice.create(json!({ "preset": "private_chat" })).await;
        let of_bob = format!(
            "rooms/{}/state/m.room.member/{}",
            segment(&room),
            segment(&bob.user_id)
        );
        alice
            .put(&of_bob, &json!({ "membership": "invite" }))
            .await
            .ok();
        let invited = bob.get("sync").await.ok();
        assert!(invited["rooms"]["invite"][&room].is_object(), "{invited}");
        // Only bob joins as bob.
        alice
            .put(&of_bob, &json!({ "membership": "join" }))
            .await
            .fails(403, "M_FORBIDDEN");
        bob.put(
            &of_bob,
            &json!({ "membership": "join", "displayname": "Robert" }),
        )
        .await
        .ok();
        assert_eq!(
            bob.get("joined_rooms").await.ok(),
            json!({ "joined_rooms": [room] })
        );
        let members = alice
            .get(&format!("rooms/{}/joined_members", segment(&room)))
            .await
            .ok();
        assert_eq!(members["joined"][&bob.user_id]["display_name"], "Robert");
        alice
            .put(&of_bob, &json!({ "membership": "ban" }))
            .await
            .ok();
        assert_eq!(
            bob.get("joined_rooms").await.ok(),
            json!({ "joined_rooms": [] })
        );
        bob.put(&of_bob, &json!({ "membership": "join" }))
            .await
            .fails(403, "M_FORBIDDEN");
    })
    .await;
}
