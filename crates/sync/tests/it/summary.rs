//! The summary of a room: counts and heroes, and when they are told.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_roomsummary>

use ruma_common::OwnedRoomId;
use serde_json::{Value, json};
use starling_store::SCHEMA;
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{Server, next_batch, room};

/// Alice's client, which syncs again and again.
struct Client<'a> {
    server: &'a Server,
    room_id: OwnedRoomId,
    since: String,
}

impl Client<'_> {
    /// The summary that is told now; null if none is.
    async fn summary(&mut self) -> Value {
        let answer = self.server.sync("alice", Some(&self.since)).await;
        self.since = next_batch(&answer);
        room(&answer, "join", &self.room_id)["summary"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_told_when_a_membership_becomes_another() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        server
            .set("alice", &room_id, "m.room.name", json!({"name": "n"}))
            .await;
        let since = server.token("alice").await;
        let mut client = Client { server: &server, room_id: room_id.clone(), since };
        let counts = |joined: i64, invited: i64| {
            json!({ "m.joined_member_count": joined, "m.invited_member_count": invited })
        };
        server.join("bob", &room_id).await;
        assert_eq!(client.summary().await, counts(2, 0));
        server.say("bob", &room_id, "hello").await;
        assert_eq!(client.summary().await, Value::Null);
        // A changed name is a member event, and changes no membership.
        let bob = server.world.user("bob").await;
        let named = json!({ "membership": "join", "displayname": "Bobby" });
        let key = ("m.room.member", bob.user_id.as_str());
        server.world.set(&bob, &room_id, key, &named).await.unwrap();
        assert_eq!(client.summary().await, Value::Null);
        server.member("alice", &room_id, "carol", "invite").await;
        assert_eq!(client.summary().await, counts(2, 1));
        server.join("carol", &room_id).await;
        server.member("alice", &room_id, "bob", "ban").await;
        assert_eq!(client.summary().await, counts(2, 0));
        // There and back again between two answers: nothing is another.
        server.leave("carol", &room_id).await;
        server.join("carol", &room_id).await;
        assert_eq!(client.summary().await, Value::Null);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heroes_are_told_when_they_may_have_changed() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let since = server.token("alice").await;
        let mut client = Client {
            server: &server,
            room_id: room_id.clone(),
            since,
        };
        server.join("bob", &room_id).await;
        let summary = client.summary().await;
        assert_eq!(summary["m.heroes"], json!(["@bob:localhost"]));
        assert_eq!(summary["m.joined_member_count"], 2);
        server.topic("alice", &room_id, "no name").await;
        assert_eq!(client.summary().await, Value::Null);
        let name = async |name: &str| {
            server
                .set("alice", &room_id, "m.room.name", json!({ "name": name }))
                .await;
        };
        name("named").await;
        assert_eq!(client.summary().await, Value::Null);
        server.join("carol", &room_id).await;
        assert!(client.summary().await.get("m.heroes").is_none());
        // Without its name the room needs somebody to stand for it.
        name("").await;
        assert_eq!(
            client.summary().await,
            json!({ "m.heroes": ["@bob:localhost", "@carol:localhost"] })
        );
        for who in ["bob", "carol"] {
            server.leave(who, &room_id).await;
        }
        assert_eq!(
            client.summary().await,
            json!({
                "m.heroes": ["@bob:localhost", "@carol:localhost"],
                "m.joined_member_count": 1, "m.invited_member_count": 0,
            }),
            "who left stands for a room in which nobody else is"
        );
    })
    .await;
}
