//! The directory and spaces.
//! <https://spec.matrix.org/v1.19/server-server-api/#published-room-directory>

use serde_json::{Value, json};
use starling_testkit::TestServer;

use crate::support::{on_servers, on_servers_with, segment};

fn names(rooms: &Value) -> Vec<&str> {
    let rooms = rooms.as_array().unwrap().iter();
    rooms.map(|room| room["name"].as_str().unwrap()).collect()
}

/// `GET /_matrix/federation/v1/publicRooms`, `POST /_matrix/federation/v1/publicRooms`
#[tokio::test]
async fn published_rooms_are_told_in_pages_and_by_what_they_hold() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let peer = server.peer("peer.example", 1);
        for name in ["Owls", "Larks", "Cats"] {
            let wanted = json!({ "preset": "public_chat", "visibility": "public", "name": name });
            server.room(&alice, wanted).await;
        }
        server.room(&alice, json!({ "name": "Secret" })).await;
        let all = server.get(&peer, "publicRooms").await.body;
        assert_eq!(all["total_room_count_estimate"], 3);
        assert_eq!(names(&all["chunk"]), ["Cats", "Larks", "Owls"]);
        let page = server.get(&peer, "publicRooms?limit=2").await.body;
        assert_eq!(names(&page["chunk"]), ["Cats", "Larks"]);
        let next = page["next_batch"].as_str().unwrap();
        let page = server
            .get(&peer, &format!("publicRooms?limit=2&since={next}"))
            .await;
        assert_eq!(names(&page.body["chunk"]), ["Owls"]);
        let search = json!({ "filter": { "generic_search_term": "lark" } });
        let found = server.post(&peer, "publicRooms", &search).await.body;
        assert_eq!(names(&found["chunk"]), ["Larks"]);
        let spaces = json!({ "filter": { "room_types": ["m.space"] } });
        let found = server.post(&peer, "publicRooms", &spaces).await.body;
        assert_eq!(found["chunk"], json!([]));
        let bridged = "publicRooms?third_party_instance_id=x";
        let none = server.get(&peer, bridged).await.body;
        assert_eq!(none["chunk"], json!([]));
        for path in ["publicRooms?since=x", "publicRooms?limit=x"] {
            let answer = server.get(&peer, path).await;
            assert_eq!(answer.error(), (400, "M_INVALID_PARAM"), "{path}");
        }
        let answer = server
            .post(&peer, "publicRooms", &json!({ "limit": "x" }))
            .await;
        let told = answer.body["error"].to_string();
        assert!(told.contains("`limit` must be a whole number"), "{told}");
        let types: Vec<String> = (0..101).map(|number| number.to_string()).collect();
        let many = json!({ "filter": { "room_types": types } });
        let answer = server.post(&peer, "publicRooms", &many).await;
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM"));
    })
    .await;
}

/// `GET /_matrix/federation/v1/publicRooms`, `POST /_matrix/federation/v1/publicRooms`
#[tokio::test]
async fn a_server_may_keep_its_directory_to_itself() {
    let mut config = TestServer::config();
    config.directory.public_over_federation = false;
    on_servers_with(config, async |server| {
        let peer = server.peer("peer.example", 1);
        let answer = server.get(&peer, "publicRooms").await;
        assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
        let answer = server.post(&peer, "publicRooms", &json!({})).await;
        assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
    })
    .await;
}

/// `GET /_matrix/federation/v1/hierarchy/{roomId}`
#[tokio::test]
async fn of_a_space_is_told_what_users_of_the_server_could_come_into() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let (peer, stranger) = (server.peer("peer.example", 1), server.peer("a.example", 2));
        let space = json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } });
        let space = server.room(&alice, space).await;
        let open = server
            .room(&alice, json!({ "preset": "public_chat", "name": "Open" }))
            .await;
        let closed = server
            .room(&alice, json!({ "preset": "private_chat" }))
            .await;
        let allow = json!([{ "type": "m.room_membership", "room_id": space }]);
        let rules = json!({ "join_rule": "restricted", "allow": allow });
        let rules = json!([{ "type": "m.room.join_rules", "content": rules }]);
        let wanted = json!({ "name": "Restricted", "initial_state": rules });
        let restricted = server.room(&alice, wanted).await;
        for child in [&*open, &*closed, &*restricted, "!elsewhere:other.example"] {
            let via = json!({ "via": ["localhost"], "suggested": child == open });
            server
                .set(&alice, &space, ("m.space.child", child), via)
                .await;
        }
        server
            .member(&peer, &space, "@bob:peer.example", "join")
            .await;
        let path = format!("hierarchy/{}", segment(&space));
        let told = server.get(&peer, &path).await.body;
        assert_eq!(told["room"]["room_id"], space);
        assert_eq!(told["room"]["children_state"].as_array().unwrap().len(), 4);
        let mut children = names(&told["children"]);
        children.sort_unstable();
        assert_eq!(children, ["Open", "Restricted"]);
        assert_eq!(told["inaccessible_children"], json!([closed]));
        let told = server.get(&stranger, &path).await.body;
        assert_eq!(names(&told["children"]), ["Open"]);
        let suggested = format!("{path}?suggested_only=true");
        let told = server.get(&peer, &suggested).await.body;
        assert_eq!(names(&told["children"]), ["Open"]);
        assert_eq!(told["room"]["children_state"].as_array().unwrap().len(), 1);
        for room in [&*closed, "!elsewhere:other.example"] {
            let path = format!("hierarchy/{}", segment(room));
            let answer = server.get(&peer, &path).await;
            assert_eq!(answer.error(), (404, "M_NOT_FOUND"), "{room}");
            let told = answer.body["error"].to_string();
            assert!(told.contains("no such room here"), "{told}");
        }
    })
    .await;
}

/// `GET /_matrix/federation/v1/publicRooms`, `GET /_matrix/federation/v1/query/directory`,
/// `GET /_matrix/federation/v1/hierarchy/{roomId}`, `GET /_matrix/federation/v1/make_join/{roomId}/{userId}`
#[tokio::test]
async fn rooms_that_do_not_federate_are_not_offered_to_other_servers() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let peer = server.peer("peer.example", 1);
        let wanted = json!({
            "preset": "public_chat", "visibility": "public", "name": "Family", "room_alias_name": "family",
            "creation_content": { "type": "m.space", "m.federate": false },
        });
        let family = server.room(&alice, wanted).await;
        let open = json!({ "preset": "public_chat", "visibility": "public", "name": "Open" });
        server.room(&alice, open).await;
        let told = server.get(&peer, "publicRooms?limit=1").await.body;
        assert_eq!(names(&told["chunk"]), ["Open"]);
        let alias = "query/directory?room_alias=%23family%3Alocalhost";
        let answer = server.get(&peer, alias).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND"));
        let family = segment(&family);
        let answer = server.get(&peer, &format!("hierarchy/{family}")).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND"));
        let path = format!("make_join/{family}/{}?ver=12", segment("@bob:peer.example"));
        let answer = server.get(&peer, &path).await;
        assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
    })
    .await;
}
