//! The published room directory. <https://spec.matrix.org/v1.19/client-server-api/#published-room-directory>

use serde_json::{Value, json};
use starling_testkit::TestServer;

use super::caller::{Caller, on_servers, on_servers_with, segment};

/// The names of the rooms of a page.
fn names(page: &Value) -> Vec<&str> {
    let rooms = page["chunk"].as_array().unwrap().iter();
    rooms.map(|room| room["name"].as_str().unwrap()).collect()
}

fn listed(room: &str) -> String {
    format!("directory/list/room/{}", segment(room))
}

async fn publish(caller: &Caller, wanted: Value) -> String {
    let mut wanted = wanted;
    wanted["visibility"] = json!("public");
    caller.create(wanted).await
}

/// `GET /_matrix/client/v3/directory/list/room/{roomId}`, `PUT /_matrix/client/v3/directory/list/room/{roomId}`,
/// `GET /_matrix/client/v3/publicRooms`, `POST /_matrix/client/v3/createRoom`
#[tokio::test]
async fn a_room_is_listed_when_it_is_made_so_and_as_long_as_somebody_wants_it() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let hidden = alice.create(json!({ "name": "hidden" })).await;
        let shown = publish(&alice, json!({ "name": "shown" })).await;
        let anonymous = server.anonymous();
        let public = json!({ "visibility": "public" });
        let private = json!({ "visibility": "private" });
        assert_eq!(anonymous.get(&listed(&shown)).await.ok(), public);
        assert_eq!(anonymous.get(&listed(&hidden)).await.ok(), private);
        assert_eq!(names(&bob.get("publicRooms").await.ok()), ["shown"]);

        // Public is what is meant when nothing is said.
        assert_eq!(
            alice.put(&listed(&hidden), &json!({})).await.ok(),
            json!({})
        );
        assert_eq!(bob.get(&listed(&hidden)).await.ok(), public);
        // Of rooms with as many members the newest comes first.
        let both = ["shown", "hidden"];
        assert_eq!(names(&bob.get("publicRooms").await.ok()), both);
        alice.put(&listed(&shown), &private).await.ok();
        assert_eq!(names(&bob.get("publicRooms").await.ok()), ["hidden"]);
        let again = server.restarted().await;
        let answer = again.again(&bob).get("publicRooms").await.ok();
        assert_eq!(names(&answer), ["hidden"]);
        assert_eq!(answer["total_room_count_estimate"], 1);

        // Who may not change the room's main address changes nothing.
        let body = &private;
        bob.put(&listed(&hidden), body)
            .await
            .fails(403, "M_FORBIDDEN");
        alice.act(&hidden, "invite", &bob).await.ok();
        bob.join(&hidden).await.ok();
        bob.put(&listed(&hidden), body)
            .await
            .fails(403, "M_FORBIDDEN");
        let unknown = listed("!unknown:localhost");
        alice.put(&unknown, body).await.fails(404, "M_NOT_FOUND");
        alice.get(&unknown).await.fails(404, "M_NOT_FOUND");
        let word = json!({ "visibility": "secret" });
        alice
            .put(&listed(&hidden), &word)
            .await
            .fails(400, "M_BAD_JSON");
        assert_eq!(bob.get(&listed(&hidden)).await.ok(), public);
        // An administrator of the server may, from outside.
        let admin = server.admin("admin").await;
        admin.put(&listed(&hidden), body).await.ok();
        assert_eq!(
            names(&bob.get("publicRooms").await.ok()),
            Vec::<&str>::new()
        );
    })
    .await;
}

/// `GET /_matrix/client/v3/publicRooms`
#[tokio::test]
async fn a_listed_room_is_shown_as_its_state_is_now() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let room = publish(
            &alice,
            json!({
                "preset": "public_chat", "name": "Tea", "topic": "leaves", "room_alias_name": "tea",
                "creation_content": { "type": "m.space" },
            }),
        )
        .await;
        let shown = async || {
            let page = bob.get("publicRooms").await.ok();
            page["chunk"][0].clone()
        };
        let wanted = json!({
            "room_id": room, "name": "Tea", "topic": "leaves", "canonical_alias": "#tea:localhost",
            "num_joined_members": 1, "world_readable": false, "guest_can_join": false, "join_rule": "public",
            "room_type": "m.space",
        });
        assert_eq!(shown().await, wanted);

        bob.join(&room).await.ok();
        let set = async |kind: &str, content: Value| {
            let path = format!("rooms/{}/state/{kind}", segment(&room));
            alice.put(&path, &content).await.event_id()
        };
        set("m.room.name", json!({ "name": "Coffee" })).await;
        let html = json!({ "body": "<b>beans</b>", "mimetype": "text/html" });
        let texts = json!([html, { "body": "beans" }]);
        set("m.room.topic", json!({ "topic": "x", "m.topic": { "m.text": texts } })).await;
        let avatar = set("m.room.avatar", json!({ "url": "mxc://localhost/cup" })).await;
        set("m.room.join_rules", json!({ "join_rule": "knock" })).await;
        set("m.room.guest_access", json!({ "guest_access": "can_join" })).await;
        let open = json!({ "history_visibility": "world_readable" });
        set("m.room.history_visibility", open).await;
        set("m.room.canonical_alias", json!({})).await;
        let wanted = json!({
            "room_id": room, "name": "Coffee", "topic": "beans", "avatar_url": "mxc://localhost/cup",
            "num_joined_members": 2, "world_readable": true, "guest_can_join": true, "join_rule": "knock",
            "room_type": "m.space",
        });
        assert_eq!(shown().await, wanted);

        // What was redacted is said no longer; nor is what a name was before.
        let redact = async |event: &str, txn: &str| {
            let path = format!("rooms/{}/redact/{}/{txn}", segment(&room), segment(event));
            alice.put(&path, &json!({})).await.ok();
        };
        redact(&avatar, "1").await;
        let old = set("m.room.name", json!({ "name": "Milk" })).await;
        set("m.room.name", json!({ "name": "Water" })).await;
        redact(&old, "2").await;
        bob.leave(&room).await.ok();
        let now = shown().await;
        assert_eq!(now.get("avatar_url"), None);
        assert_eq!((&now["name"], &now["num_joined_members"]), (&json!("Water"), &json!(1)));

        // Text that nobody reads in a list is cut; what is no text is left out.
        set("m.room.name", json!({ "name": "é".repeat(5000) })).await;
        set("m.room.topic", json!({ "topic": 1 })).await;
        let now = shown().await;
        assert_eq!(now["name"], "é".repeat(512));
        assert_eq!(now.get("topic"), None);

        // A room that everybody has left is of no use.
        alice.leave(&room).await.ok();
        let page = bob.get("publicRooms").await.ok();
        assert_eq!(page, json!({ "chunk": [], "total_room_count_estimate": 0 }));
    })
    .await;
}

/// `GET /_matrix/client/v3/publicRooms`, `POST /_matrix/client/v3/publicRooms`
#[tokio::test]
async fn pages_visit_each_room_once_in_either_direction() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        for number in 0..7 {
            let wanted = json!({ "preset": "public_chat", "name": format!("room {number}") });
            let room = publish(&alice, wanted).await;
            if number == 3 {
                bob.join(&room).await.ok();
            }
        }
        // The largest first, then the newest.
        let order = [3, 6, 5, 4, 2, 1, 0].map(|number| format!("room {number}"));
        let all = alice.get("publicRooms").await.ok();
        assert_eq!(names(&all), order);
        assert_eq!(all["total_room_count_estimate"], 7);
        assert!(all.get("next_batch").is_none() && all.get("prev_batch").is_none());

        let (mut pages, mut since) = (Vec::new(), None::<String>);
        loop {
            let since_query = since.iter().map(|since| format!("&since={since}"));
            let query: String = since_query.collect();
            let page = alice.get(&format!("publicRooms?limit=3{query}")).await.ok();
            since = page["next_batch"].as_str().map(str::to_owned);
            pages.push(page);
            if since.is_none() {
                break;
            }
        }
        let forwards: Vec<Vec<&str>> = pages.iter().map(names).collect();
        assert_eq!(forwards.concat(), order);
        assert_eq!(forwards.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
        assert!(pages[0].get("prev_batch").is_none());

        // Back from the last page, and forth again.
        let back = |page: &Value| json!({ "limit": 3, "since": page["prev_batch"] });
        let second = alice.post("publicRooms", &back(&pages[2])).await.ok();
        assert_eq!(names(&second), forwards[1]);
        let first = alice.post("publicRooms", &back(&second)).await.ok();
        assert_eq!(names(&first), forwards[0]);
        assert!(first.get("prev_batch").is_none(), "{first}");
        let forth = json!({ "limit": 3, "since": first["next_batch"] });
        let forth = alice.post("publicRooms", &forth).await.ok();
        assert_eq!(names(&forth), forwards[1]);

        for bad in ["forged", "", "s1_1", "n1"] {
            let answer = alice.get(&format!("publicRooms?since={bad}")).await;
            answer.fails_for(bad, 400, "M_INVALID_PARAM");
        }
        for bad in ["-1", "many", "1.5"] {
            let answer = alice.get(&format!("publicRooms?limit={bad}")).await;
            answer.fails_for(bad, 400, "M_INVALID_PARAM");
        }
        let bad = json!({ "limit": -1 });
        alice
            .post("publicRooms", &bad)
            .await
            .fails(400, "M_BAD_JSON");
        let many = alice.get("publicRooms?limit=4000000000").await.ok();
        assert_eq!(names(&many), order);
    })
    .await;
}

/// `POST /_matrix/client/v3/publicRooms`
#[tokio::test]
async fn a_search_looks_at_names_topics_aliases_and_types() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        publish(
            &alice,
            json!({ "name": "Ärger im Büro", "room_alias_name": "office" }),
        )
        .await;
        publish(&alice, json!({ "name": "two", "topic": "OFFICE hours" })).await;
        let space = json!({ "name": "three", "creation_content": { "type": "m.space" } });
        publish(&alice, space).await;
        alice.create(json!({ "name": "office four" })).await;
        let found = async |body: Value| {
            let page = alice.post("publicRooms", &body).await.ok();
            // How many there are is told of all.
            assert_eq!(page["total_room_count_estimate"], 3);
            let mut names: Vec<String> = names(&page).iter().map(ToString::to_string).collect();
            names.sort();
            names
        };
        let term = |term: &str| json!({ "filter": { "generic_search_term": term } });
        assert_eq!(found(term("office")).await, ["two", "Ärger im Büro"]);
        assert_eq!(found(term("ÄRGER")).await, ["Ärger im Büro"]);
        assert_eq!(found(term("")).await.len(), 3);
        assert_eq!(found(term("nothing")).await, Vec::<String>::new());
        let types = |types: Value| json!({ "filter": { "room_types": types } });
        assert_eq!(found(types(json!(["m.space"]))).await, ["three"]);
        assert_eq!(found(types(json!([null]))).await, ["two", "Ärger im Büro"]);
        assert_eq!(found(types(json!([null, "m.space"]))).await.len(), 3);
        assert_eq!(found(types(json!([]))).await, Vec::<String>::new());
        assert_eq!(found(json!({})).await.len(), 3);

        // Pages of what is found.
        let mut body = term("office");
        body["limit"] = json!(1);
        let first = alice.post("publicRooms", &body).await.ok();
        body["since"] = first["next_batch"].clone();
        let second = alice.post("publicRooms", &body).await.ok();
        assert_eq!(
            [names(&first), names(&second)].concat(),
            ["two", "Ärger im Büro"]
        );
        assert!(second.get("next_batch").is_none(), "{second}");

        // No network is bridged here.
        let irc = json!({ "third_party_instance_id": "irc" });
        let none = alice.post("publicRooms", &irc).await.ok();
        assert_eq!(none["chunk"], json!([]));
        let both = json!({ "third_party_instance_id": "irc", "include_all_networks": true });
        alice
            .post("publicRooms", &both)
            .await
            .fails(400, "M_INVALID_PARAM");
        assert_eq!(
            found(json!({ "include_all_networks": true })).await.len(),
            3
        );
    })
    .await;
}

/// `GET /_matrix/client/v3/publicRooms`, `POST /_matrix/client/v3/publicRooms`
#[tokio::test]
async fn the_list_of_another_server_cannot_be_had() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        publish(&alice, json!({ "name": "here" })).await;
        let own = alice.get("publicRooms?server=localhost").await.ok();
        assert_eq!(names(&own), ["here"]);
        let answer = alice.get("publicRooms?server=other.example").await;
        answer.fails(403, "M_FORBIDDEN");
        let answer = alice
            .post("publicRooms?server=other.example", &json!({}))
            .await;
        answer.fails(403, "M_FORBIDDEN");
        let answer = alice.get("publicRooms?server=no%20name").await;
        answer.fails(400, "M_INVALID_PARAM");
    })
    .await;
}

/// `GET /_matrix/client/v3/publicRooms`, `POST /_matrix/client/v3/publicRooms`
#[tokio::test]
async fn without_a_login_the_list_is_to_be_had_where_the_configuration_says_so() {
    on_servers(async |server| {
        let anonymous = server.anonymous();
        anonymous
            .get("publicRooms")
            .await
            .fails(401, "M_MISSING_TOKEN");
        let forged = server.with_token("forged");
        forged
            .get("publicRooms")
            .await
            .fails(401, "M_UNKNOWN_TOKEN");
    })
    .await;
    let mut config = TestServer::config();
    config.directory.public_without_login = true;
    on_servers_with(config, async |server| {
        let alice = server.user("alice").await;
        publish(&alice, json!({ "name": "here" })).await;
        let anonymous = server.anonymous();
        assert_eq!(names(&anonymous.get("publicRooms").await.ok()), ["here"]);
        // A search is for users all the same.
        let answer = anonymous.post("publicRooms", &json!({})).await;
        answer.fails(401, "M_MISSING_TOKEN");
    })
    .await;
}
