//! The rooms of a space. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy>

use serde_json::{Value, json};

use super::caller::{Answer, Caller, on_servers, segment};

async fn space(caller: &Caller, name: &str) -> String {
    let wanted = json!({
        "preset": "public_chat", "name": name, "creation_content": { "type": "m.space" },
    });
    caller.create(wanted).await
}

async fn room(caller: &Caller, name: &str) -> String {
    let wanted = json!({ "preset": "public_chat", "name": name });
    caller.create(wanted).await
}

async fn add(caller: &Caller, space: &str, child: &str, content: Value) {
    let mut content = content;
    content["via"] = json!(["localhost"]);
    set(caller, space, child, &content).await;
}

async fn set(caller: &Caller, space: &str, child: &str, content: &Value) {
    let path = format!(
        "rooms/{}/state/m.space.child/{}",
        segment(space),
        segment(child)
    );
    caller.put(&path, content).await.ok();
}

async fn hierarchy(caller: &Caller, space: &str, query: &str) -> Answer {
    let path = format!(
        "/_matrix/client/v1/rooms/{}/hierarchy?{query}",
        segment(space)
    );
    caller.send_raw("GET", &path, b"").await
}

/// The names of the rooms of a page.
fn names(page: &Value) -> Vec<String> {
    let rooms = page["rooms"].as_array().unwrap().iter();
    rooms
        .map(|room| room["name"].as_str().unwrap().to_owned())
        .collect()
}

/// A space `top` of `a` (a space of `a1`, `a2`, and of `top` again), `b`, and `c` (suggested; a space of `a1` and `c1`).
async fn tree(alice: &Caller) -> String {
    let top = space(alice, "top").await;
    let (a, c) = (space(alice, "a").await, space(alice, "c").await);
    let b = room(alice, "b").await;
    let (a1, a2, c1) = (
        room(alice, "a1").await,
        room(alice, "a2").await,
        room(alice, "c1").await,
    );
    add(alice, &top, &c, json!({ "order": "3", "suggested": true })).await;
    add(alice, &top, &b, json!({ "order": "2" })).await;
    add(alice, &top, &a, json!({ "order": "1" })).await;
    add(alice, &a, &a1, json!({ "order": "1" })).await;
    add(alice, &a, &a2, json!({ "order": "2" })).await;
    add(alice, &a, &top, json!({ "order": "3" })).await;
    add(alice, &c, &a1, json!({ "order": "1" })).await;
    add(alice, &c, &c1, json!({ "order": "2", "suggested": true })).await;
    top
}

/// `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`
#[tokio::test]
async fn a_space_is_walked_in_depth_each_room_once_in_pages() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let top = tree(&alice).await;
        let order = ["top", "a", "a1", "a2", "b", "c", "c1"];
        let all = hierarchy(&bob, &top, "").await.ok();
        assert_eq!(names(&all), order);
        assert!(all.get("next_batch").is_none());
        let unstable = format!(
            "/_matrix/client/unstable/org.matrix.msc2946/rooms/{}/hierarchy",
            segment(&top)
        );
        assert_eq!(bob.send_raw("GET", &unstable, b"").await.ok(), all);

        let (mut told, mut sizes, mut from) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = hierarchy(&bob, &top, &format!("limit=2{from}")).await.ok();
            sizes.push(names(&page).len());
            told.extend(names(&page));
            match page["next_batch"].as_str() {
                Some(token) => from = format!("&from={}", segment(token)),
                None => break,
            }
        }
        assert_eq!(told, order);
        assert_eq!(sizes, [2, 2, 2, 1]);

        let depths = [
            (0, &order[..1]),
            (1, &["top", "a", "b", "c"][..]),
            (2, &order[..]),
        ];
        for (depth, wanted) in depths {
            let page = hierarchy(&bob, &top, &format!("max_depth={depth}"))
                .await
                .ok();
            assert_eq!(names(&page), wanted, "depth {depth}");
        }
        let page = hierarchy(&bob, &top, "suggested_only=true").await.ok();
        assert_eq!(names(&page), ["top", "c", "c1"]);
        assert_eq!(
            page["rooms"][0]["children_state"].as_array().unwrap().len(),
            1
        );
    })
    .await;
}

/// `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`
#[tokio::test]
async fn a_page_goes_on_only_with_the_walk_that_it_is_of() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let top = tree(&alice).await;
        let page = hierarchy(&alice, &top, "limit=3&max_depth=5").await.ok();
        let token = segment(page["next_batch"].as_str().unwrap());
        let next =
            async |query: &str| hierarchy(&alice, &top, &format!("from={token}&{query}")).await;
        assert_eq!(
            names(&next("max_depth=5").await.ok()),
            ["a2", "b", "c", "c1"]
        );
        // The token stays good: after a restart, and for whoever asks once more.
        let again = server.restarted().await.again(&alice);
        let page = hierarchy(&again, &top, &format!("from={token}&max_depth=5&limit=1")).await;
        assert_eq!(names(&page.ok()), ["a2"]);
        for query in ["max_depth=4", "", "max_depth=5&suggested_only=true"] {
            next(query).await.fails_for(query, 400, "M_INVALID_PARAM");
        }
        for query in [
            "from=forged",
            "limit=0",
            "limit=-1",
            "limit=x",
            "max_depth=-1",
            "suggested_only=1",
        ] {
            let answer = hierarchy(&alice, &top, query).await;
            answer.fails_for(query, 400, "M_INVALID_PARAM");
        }
        // Where the page ended is no longer part of the space.
        let a1 = page_room(&alice, &top, "a1").await;
        let a = page_room(&alice, &top, "a").await;
        set(&alice, &a, &a1, &json!({})).await;
        let c = page_room(&alice, &top, "c").await;
        set(&alice, &c, &a1, &json!({})).await;
        next("max_depth=5").await.fails(400, "M_INVALID_PARAM");
    })
    .await;
}

/// The id of a room of a space, by its name.
async fn page_room(caller: &Caller, space: &str, name: &str) -> String {
    let page = hierarchy(caller, space, "").await.ok();
    let mut rooms = page["rooms"].as_array().unwrap().iter();
    let room = rooms.find(|room| room["name"] == name).unwrap();
    room["room_id"].as_str().unwrap().to_owned()
}

/// `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`
#[tokio::test]
async fn children_are_those_that_the_space_names_rightly_in_its_order() {
    on_servers(async |server| {
        let alice = server.user("alice").await;
        let top = space(&alice, "top").await;
        let mut rooms = Vec::new();
        for name in ["no order", "later", "last", "first", "bad order"] {
            rooms.push(room(&alice, name).await);
        }
        add(&alice, &top, &rooms[0], json!({})).await;
        add(&alice, &top, &rooms[1], json!({ "order": "aaaa" })).await;
        add(&alice, &top, &rooms[2], json!({ "order": "é" })).await;
        add(&alice, &top, &rooms[3], json!({ "order": " " })).await;
        add(&alice, &top, &rooms[4], json!({ "order": 1, "x": { "y": [1] } })).await;
        let gone = room(&alice, "gone").await;
        for content in [json!({}), json!({ "via": [] }), json!({ "via": "localhost" }), json!({ "via": [1] })] {
            set(&alice, &top, &gone, &content).await;
            let page = hierarchy(&alice, &top, "").await.ok();
            assert!(!names(&page).contains(&"gone".to_owned()), "{content}");
        }
        // What is no room, or none that is here, is passed over.
        add(&alice, &top, "nonsense", json!({})).await;
        add(&alice, &top, "!zero\u{0}:localhost", json!({})).await;
        add(&alice, &top, "!elsewhere:other.example", json!({})).await;
        let page = hierarchy(&alice, &top, "").await.ok();
        let order = ["top", "first", "later"];
        assert_eq!(names(&page)[..3], order);
        let mut rest = names(&page)[3..].to_vec();
        rest.sort();
        assert_eq!(rest, ["bad order", "last", "no order"]);

        let children = page["rooms"][0]["children_state"].as_array().unwrap();
        assert_eq!(children.len(), 6, "{children:?}");
        let mut child = children.iter().find(|child| child["state_key"] == rooms[4]).unwrap().clone();
        assert!(child["origin_server_ts"].take().is_i64());
        let wanted = json!({
            "type": "m.space.child", "state_key": rooms[4], "sender": "@alice:localhost", "origin_server_ts": null,
            "content": { "order": 1, "x": { "y": [1] }, "via": ["localhost"] },
        });
        assert_eq!(child, wanted);
        let first = &page["rooms"][1];
        assert_eq!(first["children_state"], json!([]));
        assert_eq!((&first["num_joined_members"], &first["room_version"]), (&json!(1), &json!("12")));
        // A room that is no space has no children, whatever its state says.
        add(&alice, &rooms[0], &gone, json!({})).await;
        let page = hierarchy(&alice, &rooms[0], "").await.ok();
        assert_eq!(names(&page), ["no order"]);
        assert_eq!(page["rooms"][0]["children_state"], json!([]));
    })
    .await;
}

/// `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`
#[tokio::test]
async fn a_user_is_told_of_rooms_that_they_may_enter_or_read() {
    on_servers(async |server| {
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let top = space(&alice, "top").await;
        let of = async |name: &str, state: Value| {
            let wanted = json!({ "name": name, "initial_state": state });
            let room = alice.create(wanted).await;
            add(&alice, &top, &room, json!({ "order": name })).await;
            room
        };
        let rule = |content: Value| json!([{ "type": "m.room.join_rules", "content": content }]);
        of("a private", json!([])).await;
        let invited = of("b invited", json!([])).await;
        of("c knock", rule(json!({ "join_rule": "knock" }))).await;
        let allow = json!([{ "type": "m.room_membership", "room_id": top }]);
        of(
            "d restricted",
            rule(json!({ "join_rule": "restricted", "allow": allow })),
        )
        .await;
        let open = json!({ "history_visibility": "world_readable" });
        of(
            "e readable",
            json!([{ "type": "m.room.history_visibility", "content": open }]),
        )
        .await;
        alice.act(&invited, "invite", &bob).await.ok();
        let shown = async || names(&hierarchy(&bob, &top, "").await.ok());
        assert_eq!(shown().await, ["top", "b invited", "c knock", "e readable"]);
        bob.join(&top).await.ok();
        assert_eq!(
            shown().await,
            ["top", "b invited", "c knock", "d restricted", "e readable"]
        );

        alice.act(&top, "ban", &bob).await.ok();
        hierarchy(&bob, &top, "").await.fails(403, "M_FORBIDDEN");
        let private = alice
            .create(json!({ "creation_content": { "type": "m.space" } }))
            .await;
        hierarchy(&bob, &private, "")
            .await
            .fails(403, "M_FORBIDDEN");
        let unknown = hierarchy(&bob, "!unknown:localhost", "").await;
        assert_eq!(
            unknown.message(),
            "There is no such room, or you may not see it"
        );
        unknown.fails(403, "M_FORBIDDEN");
        hierarchy(&bob, "nonsense", "")
            .await
            .fails(400, "M_INVALID_PARAM");
    })
    .await;
}
