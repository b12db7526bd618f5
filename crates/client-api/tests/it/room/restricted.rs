//! Rooms that members of other rooms may join.
//! <https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms>

use serde_json::{Value, json};

use super::caller::{Caller, on_servers, segment};

fn member_of(room: &str) -> Value {
    json!({ "type": "m.room_membership", "room_id": room })
}

/// A room that is restricted to `allow`.
async fn restricted(creator: &Caller, version: &str, rule: &str, allow: Value) -> String {
    let rules = json!({ "join_rule": rule, "allow": allow });
    let wanted = json!({
        "room_version": version, "preset": "private_chat",
        "initial_state": [{ "type": "m.room.join_rules", "content": rules }],
    });
    creator.create(wanted).await
}

async fn member(admin: &Caller, room: &str, user: &Caller) -> Value {
    let answer = admin.state(room, "m.room.member", &user.user_id).await;
    if answer.status == 404 {
        return Value::Null;
    }
    answer.ok()
}

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}`, `POST /_matrix/client/v3/rooms/{roomId}/join`
#[tokio::test]
async fn who_meets_a_condition_is_let_in_by_who_may_invite() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let eve = server.user("eve").await;
        let space = alice.create(json!({ "preset": "public_chat" })).await;
        bob.join(&space).await.ok();
        for (version, rule) in [("8", "restricted"), ("9", "restricted"), ("10", "knock_restricted"), ("12", "knock_restricted"), ("12", "restricted")] {
            let allow = json!(["nonsense", { "type": "org.example.other" }, member_of("!unknown:localhost"), member_of(&space)]);
            let room = restricted(&alice, version, rule, allow).await;
            eve.join(&room).await.fails_for(version, 403, "M_FORBIDDEN");
            assert_eq!(member(&alice, &room, &eve).await, Value::Null);
            let path = format!("join/{}?via=example.org", segment(&room));
            bob.post(&path, &json!({ "reason": "curious" })).await.ok_for(version);
            let expected = json!({
                "membership": "join", "reason": "curious", "join_authorised_via_users_server": alice.user_id,
            });
            assert_eq!(member(&alice, &room, &bob).await, expected);
            // What was said of an earlier join is not said of a new name.
            let own = format!("rooms/{}/state/m.room.member/{}", segment(&room), segment(&bob.user_id));
            let mut renamed = expected.clone();
            renamed["displayname"] = json!("Robert");
            bob.put(&own, &renamed).await.ok_for(version);
            assert_eq!(
                member(&alice, &room, &bob).await,
                json!({ "membership": "join", "reason": "curious", "displayname": "Robert" })
            );
            // Once in, the condition need not hold; to come back, it must.
            bob.leave(&space).await.ok();
            bob.send(&room, "m.room.message", "1", &json!({ "body": "hello" })).await.ok();
            bob.leave(&room).await.ok();
            bob.join(&room).await.fails_for(version, 403, "M_FORBIDDEN");
            // An invite is enough.
            alice.act(&room, "invite", &bob).await.ok();
            bob.join(&room).await.ok_for(version);
            assert_eq!(member(&alice, &room, &bob).await, json!({ "membership": "join" }));
            bob.join(&space).await.ok();
        }
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/join`
#[tokio::test]
async fn conditions_that_cannot_be_met_or_looked_at_let_nobody_in() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let invited_to = alice
            .create(json!({ "preset": "private_chat", "invite": [bob.user_id] }))
            .await;
        let left = alice.create(json!({ "preset": "public_chat" })).await;
        bob.join(&left).await.ok();
        bob.leave(&left).await.ok();
        let cases = [
            (json!([]), 403, "M_FORBIDDEN"),
            (json!("all"), 403, "M_FORBIDDEN"),
            (json!([{ "type": "m.room_membership" }]), 403, "M_FORBIDDEN"),
            (
                json!([{ "type": "m.room_membership", "room_id": "room" }]),
                403,
                "M_FORBIDDEN",
            ),
            (
                json!([{ "type": "m.room_membership", "room_id": "!a\u{0}:localhost" }]),
                403,
                "M_FORBIDDEN",
            ),
            (
                json!([{ "type": "org.example.other", "room_id": left }]),
                403,
                "M_FORBIDDEN",
            ),
            (
                json!([member_of(&invited_to), member_of(&left)]),
                403,
                "M_FORBIDDEN",
            ),
            (
                json!([member_of(&left), member_of("!unknown:example.org")]),
                403,
                "M_FORBIDDEN",
            ),
            (
                json!([member_of("!unknown:example.org")]),
                400,
                "M_UNABLE_TO_AUTHORISE_JOIN",
            ),
        ];
        for (allow, status, errcode) in cases {
            let room = restricted(&alice, "12", "restricted", allow.clone()).await;
            bob.join(&room)
                .await
                .fails_for(&allow.to_string(), status, errcode);
            assert_eq!(member(&alice, &room, &bob).await, Value::Null, "{allow}");
        }
        // Before version 8, there is no such rule.
        let room = restricted(&alice, "7", "restricted", json!([member_of(&left)])).await;
        bob.join(&left).await.ok();
        bob.join(&room).await.fails(403, "M_FORBIDDEN");
        // Banned is banned.
        let room = restricted(&alice, "12", "restricted", json!([member_of(&left)])).await;
        alice.act(&room, "ban", &bob).await.ok();
        bob.join(&room).await.fails(403, "M_FORBIDDEN");
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/join`
#[tokio::test]
async fn whoever_may_invite_lets_others_in_and_without_them_nobody_comes() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let space = alice.create(json!({ "preset": "public_chat" })).await;
        let names = ["bob", "carol", "dave", "eve"];
        let mut users = Vec::new();
        for name in names {
            let user = server.user(name).await;
            user.join(&space).await.ok();
            users.push(user);
        }
        let [bob, carol, dave, eve] = &users[..] else { panic!("four users") };
        let room = restricted(&alice, "11", "restricted", json!([member_of(&space)])).await;
        let levels = format!("rooms/{}/state/m.room.power_levels/", segment(&room));
        bob.join(&room).await.ok();
        // Whoever is in the room may invite here.
        alice.leave(&room).await.ok();
        carol.join(&room).await.ok();
        assert_eq!(member(bob, &room, carol).await["join_authorised_via_users_server"], bob.user_id);

        alice.join(&room).await.ok();
        alice.put(&levels, &json!({ "users": { (alice.user_id.as_str()): 100, (carol.user_id.as_str()): 60 }, "invite": 60 })).await.ok();
        alice.leave(&room).await.ok();
        dave.join(&room).await.ok();
        assert_eq!(member(bob, &room, dave).await["join_authorised_via_users_server"], carol.user_id);

        carol.leave(&room).await.ok();
        eve.join(&room).await.fails(400, "M_UNABLE_TO_GRANT_JOIN");
        assert_eq!(member(bob, &room, eve).await, Value::Null);
    })
    .await;
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
#[tokio::test]
async fn a_member_event_of_ones_own_joins_by_the_same_rules() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let space = alice.create(json!({ "preset": "public_chat" })).await;
        let room = restricted(&alice, "12", "restricted", json!([member_of(&space)])).await;
        let own = format!("rooms/{}/state/m.room.member/{}", segment(&room), segment(&bob.user_id));
        let claimed = json!({ "membership": "join", "join_authorised_via_users_server": alice.user_id });
        bob.put(&own, &claimed).await.fails(403, "M_FORBIDDEN");
        bob.join(&space).await.ok();
        let claimed = json!({ "membership": "join", "join_authorised_via_users_server": "@nobody:localhost" });
        bob.put(&own, &claimed).await.ok();
        assert_eq!(member(&alice, &room, &bob).await["join_authorised_via_users_server"], alice.user_id);
    })
    .await;
}

/// `POST /_matrix/client/v3/rooms/{roomId}/join`, `POST /_matrix/client/v3/join/{roomIdOrAlias}`
#[tokio::test]
async fn guests_come_in_only_where_the_room_takes_guests() {
    let mut config = starling_testkit::TestServer::config();
    config.registration.guests = true;
    super::caller::on_servers_with(config, async |server| {
        let alice = server.user("alice").await;
        let guest = server.guest().await;
        let space = alice.create(json!({ "preset": "public_chat", "initial_state": [{ "type": "m.room.guest_access", "content": { "guest_access": "can_join" } }] })).await;
        guest.join(&space).await.ok();
        let room = restricted(&alice, "12", "restricted", json!([member_of(&space)])).await;
        let access = format!("rooms/{}/state/m.room.guest_access/", segment(&room));
        alice.put(&access, &json!({ "guest_access": "forbidden" })).await.ok();
        guest.join(&room).await.fails(403, "M_GUEST_ACCESS_FORBIDDEN");
        alice.act(&room, "invite", &guest).await.ok();
        guest.post(&format!("join/{}", segment(&room)), &json!({})).await.fails(403, "M_GUEST_ACCESS_FORBIDDEN");
        let own = format!("rooms/{}/state/m.room.member/{}", segment(&room), segment(&guest.user_id));
        for membership in ["join", "knock"] {
            let content = json!({ "membership": membership });
            guest.put(&own, &content).await.fails_for(membership, 403, "M_GUEST_ACCESS_FORBIDDEN");
        }
        assert_eq!(member(&alice, &room, &guest).await["membership"], "invite");
        alice.put(&access, &json!({ "guest_access": "can_join" })).await.ok();
        guest.join(&room).await.ok();
    })
    .await;
}
