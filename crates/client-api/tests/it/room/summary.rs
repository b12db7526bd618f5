//! Room summaries. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>

use serde_json::{Value, json};

use super::caller::{Answer, Caller, on_servers, segment};

async fn summary(caller: &Caller, room: &str) -> Answer {
    let path = format!("/_matrix/client/v1/room_summary/{}", segment(room));
    caller.send_raw("GET", &path, b"").await
}

/// `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`,
/// `GET /_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}`
#[tokio::test]
async fn a_summary_says_what_the_room_is_and_what_the_user_is_there() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let room = alice
            .create(json!({
                "preset": "public_chat", "name": "Tea", "topic": "leaves", "room_alias_name": "tea",
                "room_version": "10", "initial_state": [
                    { "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } },
                ],
            }))
            .await;
        let mut wanted = json!({
            "room_id": room, "name": "Tea", "topic": "leaves", "canonical_alias": "#tea:localhost",
            "num_joined_members": 1, "world_readable": false, "guest_can_join": false, "join_rule": "public",
            "room_version": "10", "encryption": "m.megolm.v1.aes-sha2",
        });
        assert_eq!(summary(&server.anonymous(), &room).await.ok(), wanted);
        assert_eq!(summary(&server.anonymous(), "#tea:localhost").await.ok(), wanted);
        wanted["membership"] = json!("leave");
        assert_eq!(summary(&bob, "#tea:localhost").await.ok(), wanted);
        alice.act(&room, "invite", &bob).await.ok();
        assert_eq!(summary(&bob, &room).await.ok()["membership"], "invite");
        bob.join(&room).await.ok();
        wanted["membership"] = json!("join");
        wanted["num_joined_members"] = json!(2);
        assert_eq!(summary(&bob, &room).await.ok(), wanted);
        alice.act(&room, "ban", &bob).await.ok();
        assert_eq!(summary(&bob, &room).await.ok()["membership"], "ban");

        // As clients spell it that are older than the specification.
        wanted["membership"] = json!("join");
        wanted["num_joined_members"] = json!(1);
        wanted["im.nheko.summary.room_version"] = json!("10");
        wanted["im.nheko.summary.version"] = json!("10");
        wanted["im.nheko.summary.encryption"] = json!("m.megolm.v1.aes-sha2");
        let prefix = "/_matrix/client/unstable/im.nheko.summary";
        let room = segment(&room);
        for path in [format!("{prefix}/summary/{room}"), format!("{prefix}/rooms/{room}/summary")] {
            assert_eq!(alice.send_raw("GET", &path, b"").await.ok(), wanted);
        }
    })
    .await;
}

/// `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`
#[tokio::test]
async fn a_summary_is_for_who_may_come_in_or_look_in() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let anonymous = server.anonymous();
        let with_rule = async |rule: Value, version: &str| {
            let state = json!([{ "type": "m.room.join_rules", "content": rule }]);
            let wanted = json!({ "room_version": version, "initial_state": state });
            alice.create(wanted).await
        };
        let private = with_rule(json!({ "join_rule": "invite" }), "11").await;
        let knock = with_rule(json!({ "join_rule": "knock" }), "11").await;
        let old = with_rule(json!({ "join_rule": "knock" }), "6").await;
        let allow = json!([{ "type": "m.room_membership", "room_id": private }]);
        let rule = |rule: &str| json!({ "join_rule": rule, "allow": allow });
        let restricted = with_rule(rule("restricted"), "11").await;
        let either = with_rule(rule("knock_restricted"), "11").await;
        for (room, is_shown) in [
            (&private, false),
            (&knock, true),
            (&old, false),
            (&restricted, false),
            (&either, true),
        ] {
            for caller in [&anonymous, &bob] {
                let answer = summary(caller, room).await;
                if is_shown {
                    answer.ok();
                } else {
                    answer.fails_for(room, 404, "M_NOT_FOUND");
                }
            }
            summary(&alice, room).await.ok();
        }
        // A member of the room that is named may come in, so they are told.
        alice.act(&private, "invite", &bob).await.ok();
        assert_eq!(summary(&bob, &private).await.ok()["membership"], "invite");
        summary(&bob, &restricted).await.fails(404, "M_NOT_FOUND");
        bob.join(&private).await.ok();
        let told = summary(&bob, &restricted).await.ok();
        assert_eq!(told["allowed_room_ids"], json!([private]));
        assert_eq!(
            (&told["join_rule"], &told["membership"]),
            (&json!("restricted"), &json!("leave"))
        );
        bob.leave(&private).await.ok();
        summary(&bob, &restricted).await.fails(404, "M_NOT_FOUND");
        summary(&bob, &private).await.fails(404, "M_NOT_FOUND");
        let visibility = format!(
            "rooms/{}/state/m.room.history_visibility",
            segment(&private)
        );
        let open = json!({ "history_visibility": "world_readable" });
        alice.put(&visibility, &open).await.ok();
        assert_eq!(
            summary(&anonymous, &private).await.ok()["world_readable"],
            true
        );

        for unknown in ["!unknown:localhost", "#unknown:localhost"] {
            summary(&bob, unknown).await.fails(404, "M_NOT_FOUND");
        }
        summary(&bob, "nonsense")
            .await
            .fails(400, "M_INVALID_PARAM");
        let forged = server.with_token("forged");
        summary(&forged, &knock).await.fails(401, "M_UNKNOWN_TOKEN");
    })
    .await;
}
