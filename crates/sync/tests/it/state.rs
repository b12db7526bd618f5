//! The state beside the timeline: before it, after it, lazily loaded, and the summary.

use serde_json::json;
use starling_store::SCHEMA;
use starling_testkit::{TestDb, on_each_engine};

use crate::server::{Server, request, room, state, state_after, timeline};

const LAZY: &str = r#"{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":2}}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_leads_up_to_the_timeline_or_ends_with_it() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let topic = async |text: &str| server.topic("alice", &room_id, text).await;
        topic("known").await;
        let since = server.token("alice").await;
        topic("in the gap").await;
        server
            .set("alice", &room_id, "m.room.name", json!({"name": "gap"}))
            .await;
        server.say("alice", &room_id, "one").await;
        topic("in the timeline").await;
        server.say("alice", &room_id, "two").await;
        let mut asked = request(&since, r#"{"room":{"timeline":{"limit":3}}}"#);
        let answer = server.sync_with("alice", &asked).await;
        let told = room(&answer, "join", &room_id);
        assert_eq!(timeline(told), ["one", "topic=in the timeline", "two"]);
        assert_eq!(state(told), ["name=gap", "topic=in the gap"]);
        assert!(told.get("state_after").is_none());
        asked.use_state_after = true;
        let answer = server.sync_with("alice", &asked).await;
        let told = room(&answer, "join", &room_id);
        assert_eq!(state_after(told), ["name=gap", "topic=in the timeline"]);
        assert!(told.get("state").is_none());

        // Everything is in the timeline: before it nothing has changed.
        let all = server.sync_with("alice", &request(&since, "{}")).await;
        assert!(state(room(&all, "join", &room_id)).is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_the_timeline_leaves_out_is_told_as_state() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let since = server.token("alice").await;
        server.say("alice", &room_id, "one").await;
        server.set("alice", &room_id, "m.room.topic", json!({"topic": "new"})).await;
        server.say("alice", &room_id, "two").await;
        let filter = r#"{"room":{"timeline":{"types":["m.room.message"]}}}"#;
        let answer = server.sync_with("alice", &request(&since, filter)).await;
        let told = room(&answer, "join", &room_id);
        assert_eq!(timeline(told), ["one", "two"]);
        assert_eq!(state(told), ["topic=new"]);
        let filter = r#"{"room":{"timeline":{"types":["m.room.message"]},"state":{"not_types":["m.room.topic"]}}}"#;
        let answer = server.sync_with("alice", &request(&since, filter)).await;
        assert!(state(room(&answer, "join", &room_id)).is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_state_on_request() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        let since = server.token("alice").await;
        let mut asked = request(&since, "{}");
        asked.full_state = true;
        let answer = server.sync_with("alice", &asked).await;
        let told = room(&answer, "join", &room_id);
        assert!(timeline(told).is_empty());
        let all = state(told);
        assert!(
            all.contains(&"create".to_owned()) && all.contains(&"@alice:join".to_owned()),
            "{all:?}"
        );
        server.say("alice", &room_id, "new").await;
        let answer = server.sync_with("alice", &asked).await;
        assert_eq!(
            timeline(room(&answer, "join", &room_id)),
            ["new"],
            "the timeline still begins at the token"
        );
        assert_eq!(state(room(&answer, "join", &room_id)), all);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lazily_loaded_members_are_those_who_speak() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        // With a name nobody needs heroes.
        server
            .set("alice", &room_id, "m.room.name", json!({"name": "n"}))
            .await;
        for who in ["bob", "carol"] {
            server.join(who, &room_id).await;
        }
        server.say("bob", &room_id, "one").await;
        server.say("bob", &room_id, "two").await;
        let answer = server.sync_by("alice", LAZY).await;
        let told = room(&answer, "join", &room_id);
        let members: Vec<String> = state(told)
            .into_iter()
            .filter(|name| name.starts_with('@'))
            .collect();
        assert_eq!(
            members,
            ["@alice:join", "@bob:join"],
            "the reader, and who spoke"
        );
        assert!(
            state(told).contains(&"create".to_owned()),
            "other state is told all the same"
        );

        // In a gap, every change of a membership is told, of who speaks or not.
        let since = server.token("alice").await;
        server.join("dave", &room_id).await;
        for text in ["three", "four", "five"] {
            server.say("carol", &room_id, text).await;
        }
        let answer = server.sync_with("alice", &request(&since, LAZY)).await;
        let told = room(&answer, "join", &room_id);
        assert_eq!(timeline(told), ["four", "five"]);
        assert_eq!(state(told), ["@carol:join", "@dave:join"]);
        assert_eq!(told["summary"]["m.joined_member_count"], 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heroes_stand_for_a_room_without_a_name() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let server = Server::start(&db).await;
        let room_id = server.room("alice").await;
        for name in ["b", "c", "d", "e"] {
            server.join(name, &room_id).await;
        }
        for name in ["f", "g"] {
            server.member("alice", &room_id, name, "invite").await;
        }
        let answer = server.sync_by("alice", LAZY).await;
        let summary = &room(&answer, "join", &room_id)["summary"];
        assert_eq!(
            *summary,
            json!({
                "m.heroes": ["@b:localhost", "@c:localhost", "@d:localhost", "@e:localhost", "@f:localhost"],
                "m.joined_member_count": 5,
                "m.invited_member_count": 2,
            })
        );
        let state = state(room(&answer, "join", &room_id));
        assert!(state.contains(&"@b:join".to_owned()) && state.contains(&"@e:join".to_owned()), "{state:?}");
        server.set("alice", &room_id, "m.room.name", json!({"name": "a name"})).await;
        let answer = server.sync_by("alice", LAZY).await;
        assert!(room(&answer, "join", &room_id)["summary"].get("m.heroes").is_none());
    })
    .await;
}
